"""Two sessions at once: each has its own replies, and both have all events.

usage: pair.py SOCKET SOCKET [quit]

The sockets are one and the same, or two monitors of one server. With "quit", the second session ends the server.
"""

import asyncio
import sys

from common import check_event, connect, fact, hangs_up, refused, run, session


async def together(first, second):
    """Commands of both at once. Both number them alike, so that a reply that goes astray finds a taker."""
    rounds = range(100)
    asked = [first.execute("query-version") for _ in rounds]
    asked += [second.execute("query-status") for _ in rounds]
    asked += [refused(first, "CommandNotFound", "no-such-command"), second.execute("query-version")]
    replies = await asyncio.gather(*asked)
    assert all("qemu" in reply for reply in replies[:100])
    assert all("status" in reply for reply in replies[100:200])
    fact("together", len(replies))


async def both_hear(first, second, command, name):
    """What the first does, both hear."""
    await first.execute(command)
    for client in (first, second):
        check_event(await client.events.get(), name)
    fact("both", name)


async def alone(paths, second):
    """One comes and goes, the other stays."""
    async with session(paths[0]) as third:
        await both_hear(second, third, "cont", "RESUME")
    await second.execute("stop")
    check_event(await second.events.get(), "STOP")
    fact("alone")


async def quits(paths, second):
    """One ends the server, both are told."""
    first = await connect(paths[0])
    await second.execute("quit")
    for client in (first, second):
        check_event(await client.events.get(), "SHUTDOWN")
        await hangs_up(client)
    fact("quit")


async def main():
    """The sessions overlap as the names say."""
    *paths, end = sys.argv[1:] if len(sys.argv) > 3 else sys.argv[1:] + [None]
    second = await connect(paths[1])
    async with session(paths[0]) as first:
        await together(first, second)
        await both_hear(first, second, "cont", "RESUME")
        await both_hear(second, first, "stop", "STOP")
    await alone(paths, second)
    if end == "quit":
        await quits(paths, second)
    else:
        await second.disconnect()


run(main())
