"""Python's qemu.qmp as a worker: worker.py SCENARIO SOCKET, with orders on the standard input.

The crate bench-worker says what the orders are, and what is printed.
"""

import asyncio
import json
import sys
import time

from qemu.qmp import EventListener, QMPClient

AT_ONCE = 64


async def connect(path):
    client = QMPClient()
    await client.connect(path)
    return client


async def ask(client, line):
    return await client.execute("human-monitor-command", {"command-line": line})


async def commands(client, count, laps=None):
    for _ in range(count):
        await client.execute("query-version")
        if laps is not None:
            laps.append(time.perf_counter_ns())


async def outstanding(client, count):
    await asyncio.gather(*(commands(client, count // AT_ONCE) for _ in range(AT_ONCE)))


async def events(client, count):
    listener = EventListener()
    with client.listen(listener):
        await ask(client, f"events {count}")
        for _ in range(count):
            await listener.get()


async def typed(client, count, size):
    for _ in range(count):
        await ask(client, f"size {size}")


async def connecting(path, count):
    for _ in range(count):
        await (await connect(path)).disconnect()


async def talk(client, count):
    listener = EventListener()
    with client.listen(listener):
        for _ in range(count):
            await ask(client, "events 1")
            await listener.get()


async def open_scenario(scenario, path):
    """What does the work so many times; None if there is no such thing."""
    word, _, number = scenario.partition(":")
    if word == "connect":
        return lambda count: connecting(path, count)
    if word == "crowd":
        clients = [await connect(path) for _ in range(int(number))]

        async def crowd(count):
            await asyncio.gather(*(talk(client, count) for client in clients))

        return crowd
    if word not in ("commands", "outstanding", "events", "typed"):
        return None
    client = await connect(path)
    if word == "typed":
        return lambda count: typed(client, count, int(number))
    return lambda *order: globals()[word](client, *order)


async def obey(line, work, scenario):
    count, _, each = line.partition(" ")
    count = int(count)
    laps = [time.perf_counter_ns()]
    await (work(count, laps) if each else work(count))
    nanoseconds = time.perf_counter_ns() - laps[0]
    times = sorted(after - before for before, after in zip(laps, laps[1:]))
    shares = [percent / 100 for percent in range(1, 100)] + [0.999]
    word, _, number = scenario.partition(":")
    return {
        "done": count * int(number) if word == "crowd" else count,
        "nanoseconds": nanoseconds,
        "each": [times[round((count - 1) * share)] for share in shares] if times else [],
    }


async def main(scenario, path):
    work = await open_scenario(scenario, path)
    if work is None:
        print("none", flush=True)
        return
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await obey(line.strip(), work, scenario)), flush=True)


asyncio.run(main(*sys.argv[1:]))
