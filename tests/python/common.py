"""What the scripts share: sessions, and what a server has to do in any of them."""

import asyncio
import logging
import sys
from contextlib import asynccontextmanager

from qemu.qmp import ExecuteError, QMPClient, Runstate

# Longer than any wait of a server that works, and shorter than the patience of who runs these scripts.
SECONDS = 50


class Complaints(logging.Handler):
    """Keeps what the library warns of, such as a reply that belongs to no command."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.found = []

    def emit(self, record):
        self.found.append(record.getMessage())


COMPLAINTS = Complaints()
logging.getLogger("qemu.qmp").addHandler(COMPLAINTS)


def run(main):
    """Runs a script's coroutine."""
    asyncio.run(asyncio.wait_for(main, SECONDS))
    end()


def end():
    """Ends the script, with status 1 if the library has complained."""
    if COMPLAINTS.found:
        sys.exit("\n".join(COMPLAINTS.found))


def fact(name, *details):
    """Prints one line of the result."""
    print(name, *details, flush=True)


async def connect(path, negotiate=True):
    """A connection that the server will end."""
    client = QMPClient()
    client.negotiate = negotiate
    await client.connect(path)
    return client


@asynccontextmanager
async def session(path, negotiate=True):
    """A connection that is closed at the end of the block."""
    client = await connect(path, negotiate)
    yield client
    await client.disconnect()


async def refused(client, error_class, command, arguments=None, oob=False):
    """A command that has to fail with this error class."""
    try:
        answer = await client.execute(command, arguments, oob=oob)
    except ExecuteError as error:
        assert error.error_class == error_class, error.received
        assert error.error.error.desc, "a description"
    else:
        assert False, f"{command} succeeded: {answer}"


def check_event(event, name):
    """Whether this is that event, with all that an event has."""
    assert event["event"] == name, event
    stamp = event["timestamp"]
    assert isinstance(stamp["seconds"], int), event
    assert -1 <= stamp["microseconds"] < 1_000_000, event


async def hangs_up(client):
    """Waits until the server has hung up."""
    while client.runstate == Runstate.RUNNING:
        await client.runstate_changed()
    try:
        await client.disconnect()
    except (EOFError, ConnectionResetError):
        return
    assert False, "the library did not say that the server hung up"
