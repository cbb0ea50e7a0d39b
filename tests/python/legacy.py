"""A session with a QMP server through the library's synchronous interface, in which commands may have no id.

usage: legacy.py SOCKET [quit]
"""

import sys

from qemu.qmp import ExecuteError
from qemu.qmp.legacy import QEMUMonitorProtocol

from common import SECONDS, check_event, end, fact


def without_an_id(monitor):
    """What was asked without an id is answered without one."""
    assert "id" not in monitor.cmd_raw("query-status")
    reply = monitor.cmd_obj({"execute": "no-such-command"})
    assert reply["error"]["class"] == "CommandNotFound" and "id" not in reply, reply
    fact("without-id")


def with_an_id(monitor):
    """An id comes back as it was."""
    strange = 'é "\\ \u2028 \U0001f600'
    assert monitor.cmd_obj({"execute": "query-status", "id": strange})["id"] == strange
    reply = monitor.cmd_obj({"execute": "no-such-command", "id": strange})
    assert reply["error"]["class"] == "CommandNotFound" and reply["id"] == strange, reply
    fact("with-id")


def errors(monitor):
    """An error is raised, and the next command goes."""
    try:
        monitor.cmd("no-such-command", argument=[1, {"a": None}])
    except ExecuteError as error:
        assert error.error_class == "CommandNotFound"
    else:
        assert False, "it succeeded"
    assert "status" in monitor.cmd("query-status")
    fact("errors")


def events(monitor):
    """Events that are waited for."""
    for command, name in (("cont", "RESUME"), ("stop", "STOP")):
        monitor.cmd(command)
        check_event(monitor.pull_event(wait=float(SECONDS)), name)
    assert monitor.get_events() == []
    fact("events")


def quits(monitor):
    """SHUTDOWN, and the end, which the library tells of when it closes."""
    monitor.cmd("quit")
    check_event(monitor.pull_event(wait=float(SECONDS)), "SHUTDOWN")
    try:
        monitor.close()
    except (EOFError, ConnectionResetError):
        pass
    fact("quit")


def main():
    """One connection for all of it."""
    monitor = QEMUMonitorProtocol(sys.argv[1])
    monitor.settimeout(SECONDS)
    greeting = monitor.connect()
    assert "qemu" in greeting["QMP"]["version"], greeting
    for step in (without_an_id, with_an_id, errors, events):
        step(monitor)
    if sys.argv[2:] == ["quit"]:
        quits(monitor)
    else:
        monitor.close()
    end()


main()
