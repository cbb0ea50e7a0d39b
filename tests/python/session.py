"""Sessions with a QMP server, one after another.

usage: session.py SOCKET STEP...

Each step has a connection of its own and prints a line that begins with its name. The status is 0 if the server did in
all of them what it has to do.
"""

import asyncio
import os
import sys

from qemu.qmp import EventListener

from common import check_event, connect, fact, hangs_up, refused, run, session


async def greeting(path):
    """What the greeting says, and that query-version says the same."""
    async with session(path) as client:
        said = client.greeting.QMP
        assert said.version == await client.execute("query-version"), said
        for part in ("major", "minor", "micro"):
            assert isinstance(said.version["qemu"][part], int), said
        fact("greeting", *said.capabilities)


async def handshake(path):
    """The negotiation by hand: nothing goes before it, and it goes once."""
    async with session(path, negotiate=False) as client:
        await refused(client, "CommandNotFound", "query-status")
        await client.execute("qmp_capabilities")
        await refused(client, "CommandNotFound", "qmp_capabilities")
        await refused(client, "GenericError", "query-status", oob=True)
        assert "status" in await client.execute("query-status")
        fact("handshake")


async def commands(path):
    """Many commands at once: each gets its own reply."""
    async with session(path) as client:
        names = ["query-status", "query-version"] * 100
        replies = await asyncio.gather(*(client.execute(name) for name in names))
        for name, reply in zip(names, replies):
            assert ("status" if name == "query-status" else "qemu") in reply, (name, reply)
        fact("commands", len(replies))


async def errors(path):
    """Errors, after which the connection goes on."""
    async with session(path) as client:
        await refused(client, "CommandNotFound", "no-such-command")
        await refused(client, "GenericError", "query-status", {"no-such-argument": 1})
        assert "status" in await client.execute("query-status")
        fact("errors")


async def events(path):
    """The events of stop and cont, with what the server then says of itself."""
    async with session(path) as client:
        heard = EventListener(("STOP", "RESUME"))
        with client.listen(heard):
            for command, name, running in (("cont", "RESUME", True), ("stop", "STOP", False)) * 2:
                await client.execute(command)
                check_event(await heard.get(), name)
                assert (await client.execute("query-status"))["running"] is running
        fact("events", *(event["event"] for event in heard.history))


async def oob(path):
    """Out-of-band commands, which the library enables where the greeting offers it."""
    async with session(path) as client:
        offered = "oob" in client.greeting.QMP.capabilities
        if offered:
            # QEMU before 6.0 lacks the command: there another one, which fails without a migration.
            if "query-yank" in {command["name"] for command in await client.execute("query-commands")}:
                assert isinstance(await client.execute("query-yank", oob=True), list)
            else:
                await refused(client, "GenericError", "migrate-pause", oob=True)
            await refused(client, "CommandNotFound", "no-such-command", oob=True)
        await refused(client, "GenericError", "query-status", oob=True)
        fact("oob", "enabled" if offered else "refused")


async def schema(path):
    """A reply that takes many reads."""
    async with session(path) as client:
        names = {entity.get("name") for entity in await client.execute("query-qmp-schema")}
        assert {"query-status", "STOP"} <= names
        fact("schema")


async def descriptor(path):
    """A descriptor goes with the command behind it, and is used up by that."""
    async with session(path) as client:
        with open(os.devnull, "rb") as file:
            client.send_fd_scm(file.fileno())
        await client.execute("getfd", {"fdname": "null"})
        await refused(client, "GenericError", "getfd", {"fdname": "another"})
        await client.execute("closefd", {"fdname": "null"})
        fact("descriptor")


async def quit_(path):
    """The end: SHUTDOWN, the reply, and nothing more."""
    client = await connect(path)
    with client.listener("SHUTDOWN") as heard:
        await client.execute("quit")
        event = await heard.get()
    check_event(event, "SHUTDOWN")
    await hangs_up(client)
    fact("quit", event["data"]["reason"])


STEPS = {step.__name__.rstrip("_"): step for step in (
    greeting, handshake, commands, errors, events, oob, schema, descriptor, quit_,
)}


async def main():
    """Takes the steps."""
    path, *names = sys.argv[1:]
    for name in names:
        await STEPS[name](path)


run(main())
