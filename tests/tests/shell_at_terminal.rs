//! The example `shell` at a terminal: completion, history, and events beside what is typed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::path::Path;
use std::process::Command;

use qmp_blocking::commands::Cont;
use qmp_blocking::{Event, Raw, Timestamp};
use qmp_server::Machine;
use qmp_server::net::Server;
use qmp_tests::example::program;
use qmp_tests::qemu::{Monitor, Setup, patient};
use qmp_tests::terminal::Terminal;

/// A part of QEMU's own description: two commands, and what they take.
const SCHEMA: &str = r#"[
    {"name": "query-status", "meta-type": "command", "arg-type": "0", "ret-type": "0"},
    {"name": "blockdev-add", "meta-type": "command", "arg-type": "1", "ret-type": "0"},
    {"name": "STOP", "meta-type": "event", "arg-type": "0"},
    {"name": "0", "meta-type": "object", "members": []},
    {"name": "1", "meta-type": "object", "tag": "driver", "members": [
        {"name": "driver", "type": "2"}, {"name": "node-name", "type": "str", "default": null},
        {"name": "read-only", "type": "bool", "default": null}],
        "variants": [{"case": "raw", "type": "3"}, {"case": "null-co", "type": "4"}]},
    {"name": "2", "meta-type": "enum", "values": ["raw", "null-co"]},
    {"name": "3", "meta-type": "object", "members": [{"name": "file", "type": "5"}]},
    {"name": "4", "meta-type": "object", "members": [{"name": "size", "type": "int", "default": null}]},
    {"name": "5", "meta-type": "alternate", "members": [{"type": "1"}, {"type": "str"}]},
    {"name": "str", "meta-type": "builtin", "json-type": "string"},
    {"name": "int", "meta-type": "builtin", "json-type": "int"},
    {"name": "bool", "meta-type": "builtin", "json-type": "boolean"}]"#;

const PROMPT: &str = "(QEMU) ";
const TAB: char = '\t';
const ENTER: char = '\r';
const CONTROL_C: char = '\u{3}';
const CONTROL_D: char = '\u{4}';

fn terminal(address: &str, home: &Path) -> Terminal {
    let mut command = Command::new(program("shell"));
    command.arg(address).env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command, home);
    terminal.expect("Tab completes");
    terminal.expect_line(PROMPT);
    terminal
}

#[test]
fn at_a_terminal_it_completes_and_shows_events_beside_what_is_typed() {
    let mut machine = Machine::new();
    machine.on("query-qmp-schema", |_, _| Ok(Raw::from_static(SCHEMA)));
    machine.on("blockdev-add", |_, arguments: &Raw| Ok(arguments.clone()));
    let server = Server::bind("tcp:127.0.0.1:0", machine).unwrap();
    let address = server.address().to_string();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = terminal(&address, home.path());

    terminal.type_text("bl");
    terminal.press(TAB);
    terminal.expect_line("blockdev-add ");
    terminal.press(TAB);
    // A list, with what may be left out in brackets.
    let list = terminal.expect_line("(QEMU) blockdev-add ");
    assert!(list.contains("driver=") && list.contains("[node-name=]"), "{list}");
    assert!(!list.contains("file"), "{list}");
    for (begin, whole) in [
        ("d", "driver="),
        ("r", "raw "),
        ("file.d", "file.driver="),
        ("n", "null-co "),
        ("file.s", "file.size="),
        ("9 re", "read-only="),
        ("f", "false "),
    ] {
        terminal.type_text(begin);
        terminal.press(TAB);
        terminal.expect_line(whole);
    }
    let event = Event::new("STOP", None, Timestamp { seconds: 1, microseconds: 2 });
    assert!(server.event(&event));
    terminal.expect(r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#);
    // The line is there again, and goes on.
    terminal.expect_line(
        "(QEMU) blockdev-add driver=raw file.driver=null-co file.size=9 read-only=false ",
    );
    terminal.type_text("a=1");
    terminal.press(ENTER);
    let reply = terminal.expect_line(PROMPT);
    for part in [r#""driver": "raw""#, r#""read-only": false"#, r#""size": 9"#, r#""a": 1"#] {
        assert!(reply.contains(part), "{reply}");
    }
    terminal.press(CONTROL_D);
    assert!(terminal.end().success());
}

#[test]
fn at_a_terminal_lines_are_kept_but_for_secrets() {
    let mut machine = Machine::new();
    machine.on("echo", |_, arguments: &Raw| Ok(arguments.clone()));
    let server = Server::bind("tcp:127.0.0.1:0", machine).unwrap();
    let address = server.address().to_string();
    let home = tempfile::tempdir().unwrap();
    let mut at = terminal(&address, home.path());
    for line in [
        "echo a=kept",
        "echo password=one",
        "echo b={\"key\":\"two\"}",
        " echo c=three",
        "x passwd three",
    ] {
        at.type_text(line);
        at.press(ENTER);
        at.expect_line(PROMPT);
    }
    at.press(CONTROL_D);
    assert!(at.end().success());
    let file = home.path().join(".local/state/qmp-shell/history");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("echo a=kept"), "{kept}");
    for secret in ["one", "two", "three"] {
        assert!(!kept.contains(secret), "{kept}");
    }
    // Another day, Ctrl-P gives the last line again.
    let mut at = terminal(&address, home.path());
    at.press('\u{10}');
    at.expect_line("echo a=kept");
    at.press(ENTER);
    at.expect(r#"{"return": {"a": "kept"}}"#);
    at.expect_line(PROMPT);
    at.type_text("quit");
    at.press(ENTER);
    at.expect("the connection has ended: closed after quit");
    assert!(at.end().success());
}

#[test]
fn at_a_terminal_help_helps_and_exit_leaves() {
    let server = Server::bind("tcp:127.0.0.1:0", Machine::new()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = terminal(&server.address().to_string(), home.path());
    terminal.type_text("help");
    terminal.press(ENTER);
    terminal.expect("COMMAND KEY=VALUE");
    terminal.expect_line(PROMPT);
    terminal.type_text("exit");
    terminal.press(ENTER);
    assert!(terminal.end().success());
    // The server is there for others.
    patient().connect(server.address()).unwrap();
}

#[test]
fn at_a_terminal_qemu_s_own_schema_completes() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = terminal(&server.address().to_string(), home.path());
    for (begin, whole) in [
        ("blockdev-ad", "blockdev-add "),
        ("dri", "driver="),
        ("qcow2 bac", "[backing.]"),
        (".dri", ".driver="),
        ("null-c", "null-co "),
        ("backing.si", "backing.size="),
    ] {
        terminal.type_text(begin);
        terminal.press(TAB);
        terminal.expect_line(whole);
    }
    terminal.press(CONTROL_C);
    terminal.expect_line(PROMPT);
    // In a transaction, actions and what belongs to them.
    for (begin, whole) in [
        ("transaction( block-dirty-bitmap-a", "block-dirty-bitmap-add "),
        ("no", "node="),
        ("n na", "name="),
    ] {
        terminal.type_text(begin);
        terminal.press(TAB);
        terminal.expect_line(whole);
    }
    // Somebody else does something.
    let other = patient().connect(&server.addresses()[1]).unwrap();
    other.execute(&Cont).unwrap();
    terminal.expect("RESUME");
    terminal.expect_line("node=n name=");
    drop(server);
    terminal.expect("the connection has ended");
}
