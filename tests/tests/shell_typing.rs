//! The example `shell` at a terminal: keys, Ctrl-C, pasted text, help and addresses.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use qmp_blocking::{Event, Raw, Timestamp};
use qmp_server::Machine;
use qmp_tests::example::program;
use qmp_tests::qemu::{Block, Monitor, Setup, patient};
use qmp_tests::screen::Screen;
use qmp_tests::scripted::{GREETING, Peer, Server};
use qmp_tests::shell::{echo, serve, shell};
use qmp_tests::terminal::Terminal;

const PROMPT: &str = "(QEMU) ";
const CONTROL_C: char = '\u{3}';
const STATUS: &str =
    r#"{"return": {"status": "prelaunch", "singlestep": false, "running": false}}"#;

fn terminal(arguments: &[&str], home: &Path) -> Terminal {
    let mut command = Command::new(program("shell"));
    command.args(arguments).env("NO_COLOR", "1").env_remove("QMP_SOCKET");
    Terminal::start(command, home)
}

/// A shell at its first prompt.
fn prompted(arguments: &[&str], home: &Path) -> Terminal {
    let mut terminal = terminal(arguments, home);
    terminal.expect("Tab completes");
    terminal.expect_line(PROMPT);
    terminal
}

/// A monitor without a description of its commands.
fn monitor(script: impl FnOnce(&mut Peer) + Send + 'static) -> Server {
    Server::unix(|peer| {
        peer.greet();
        let schema = peer.expect("query-qmp-schema");
        peer.fail(&schema, "CommandNotFound", "no schema here");
        script(peer);
    })
}

#[test]
fn at_a_terminal_keys_that_come_in_one_piece_are_all_taken() {
    let (_server, address) = echo();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompted(&[&address], home.path());
    terminal.type_at_once("query-status\recho a=1\recho b");
    terminal.expect_line("query-status");
    terminal.expect(STATUS);
    terminal.expect_line("echo a=1");
    terminal.expect(r#"{"return": {"a": 1}}"#);
    // An unfinished line waits for the rest. A single key is shown at once.
    terminal.expect_line("echo b");
    terminal.type_text("=");
    terminal.type_at_once("ü漢\r");
    terminal.expect(r#"{"return": {"b": "\u00FC\u6F22"}}"#);
    terminal.expect_line(PROMPT);
    terminal.type_at_once("exit\r");
    assert!(terminal.end().success());
}

#[test]
fn at_a_terminal_keys_that_come_before_the_prompt_are_all_taken() {
    let (_server, address) = echo();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = terminal(&[&address], home.path());
    terminal.type_at_once("echo a=1\rexit\r");
    terminal.expect(r#"{"return": {"a": 1}}"#);
    assert!(terminal.end().success());
}

#[test]
fn at_a_terminal_what_is_typed_while_a_command_runs_comes_behind_it() {
    let (release, released) = mpsc::channel::<()>();
    let mut machine = Machine::new();
    machine.on("slow", move |_, _| {
        released.recv().unwrap();
        Ok(Raw::from_static("\"at last\""))
    });
    machine.on("echo", |_, arguments: &Raw| Ok(arguments.clone()));
    let (_server, address) = serve(machine);
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompted(&[&address], home.path());
    terminal.type_at_once("slow\r");
    terminal.expect("slow");
    terminal.type_at_once("echo a=1\rexit\r");
    release.send(()).unwrap();
    terminal.expect(r#"{"return": "at last"}"#);
    terminal.expect(r#"{"return": {"a": 1}}"#);
    assert!(terminal.end().success());
}

#[test]
fn at_a_terminal_control_c_ends_the_wait_for_a_reply() {
    let server = monitor(|peer| {
        let hangs = peer.expect("hang");
        let status = peer.expect("query-status");
        // The late reply is dropped.
        peer.reply(&hangs, "\"late\"");
        peer.reply(&status, "{\"running\": true}");
        peer.expect_eof();
    });
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompted(&[server.address()], home.path());
    // Ctrl-C drops the line that was typed ahead.
    terminal.type_at_once("hang\rquery-name\r");
    terminal.press(CONTROL_C);
    terminal.expect("error: stopped waiting: the command may have run, or may still run");
    terminal.expect_line(PROMPT);
    terminal.type_at_once("query-status\r");
    let between = terminal.expect(r#"{"return": {"running": true}}"#);
    assert!(!between.contains("late"), "{between}");
    terminal.expect_line(PROMPT);
    terminal.type_at_once("exit\r");
    assert!(terminal.end().success());
    server.join();
}

#[test]
fn at_a_terminal_control_c_ends_the_wait_for_what_the_server_knows() {
    let server = Server::unix(|peer| {
        peer.greet();
        let schema = peer.expect("query-qmp-schema");
        let status = peer.expect("query-status");
        peer.reply(&status, "{\"running\": true}");
        peer.reply(&schema, "[]");
        peer.expect_eof();
    });
    let home = tempfile::tempdir().unwrap();
    let mut terminal = terminal(&[server.address()], home.path());
    terminal.expect("Tab completes");
    terminal.press(CONTROL_C);
    terminal.expect_line(PROMPT);
    terminal.type_at_once("query-status\r");
    terminal.expect(r#"{"return": {"running": true}}"#);
    terminal.type_at_once("exit\r");
    assert!(terminal.end().success());
    server.join();
}

#[test]
fn at_a_terminal_control_c_ends_the_wait_for_a_server_that_quits_and_stays() {
    let server = monitor(|peer| {
        let quit = peer.expect("quit");
        peer.reply(&quit, "{}");
        peer.expect_eof();
    });
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompted(&[server.address(), "-t", "3600"], home.path());
    terminal.type_at_once("quit\r");
    terminal.expect(r#"{"return": {}}"#);
    terminal.press(CONTROL_C);
    terminal.expect("error: the server was told to quit, and goes on");
    terminal.expect_line(PROMPT);
    terminal.type_at_once("exit\r");
    assert!(terminal.end().success());
    server.join();
}

#[test]
fn at_a_terminal_control_c_ends_the_wait_for_a_qemu_that_hangs() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompted(&[&server.address().to_string()], home.path());
    let other = patient().connect(&server.addresses()[1]).unwrap();
    let block = Block::new(&other, server.folder());
    terminal.type_at_once("query-name\r");
    terminal.expect("query-name");
    terminal.press(CONTROL_C);
    terminal.expect("error: stopped waiting");
    terminal.expect_line(PROMPT);
    // The blocking command reads an empty file, and fails.
    let _ = block.release();
    terminal.type_at_once("query-status\r");
    terminal.expect(r#""running": false"#);
    terminal.expect_line(PROMPT);
    terminal.type_at_once("quit\r");
    terminal.expect("the connection has ended: closed after quit");
    assert!(terminal.end().success());
}

#[test]
fn at_a_terminal_several_pasted_lines_are_several_commands() {
    let (_server, address) = echo();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompted(&[&address], home.path());
    // With the marks of a bracketed paste, in which a tab is not a key; and without marks.
    for (pasted, enter) in [
        ("\u{1b}[200~echo a=1\r\necho\tb=2\ntransaction( x y=1\rz )\recho c=3\u{1b}[201~", "\r"),
        ("echo a=1\recho b=2\rtransaction( x y=1\rz )\recho c=3", "\r"),
    ] {
        terminal.type_at_once(pasted);
        terminal.expect(r#"{"return": {"a": 1}}"#);
        terminal.expect(r#"{"return": {"b": 2}}"#);
        for action in [r#""type": "x""#, r#""type": "z""#] {
            terminal.expect(action);
        }
        // The last line has no end yet.
        terminal.expect_line("echo c=3");
        terminal.type_at_once(enter);
        terminal.expect(r#"{"return": {"c": 3}}"#);
        terminal.expect_line(PROMPT);
    }
    terminal.type_at_once("exit\r");
    assert!(terminal.end().success());
}

#[test]
fn at_a_terminal_lines_are_edited() {
    let (_server, address) = echo();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompted(&[&address], home.path());
    let (home_key, end, left, up, delete) =
        ("\u{1b}[H", "\u{1b}OF", "\u{1b}[D", "\u{1b}[A", "\u{1b}[3~");
    for (keys, value) in [
        (format!("cho a=1{home_key}e{end}2"), r#"{"a": 12}"#),
        (format!("echo a=x{left}{left}{left}b{delete}"), r#"{"b": "x"}"#),
        // Ctrl-W deletes a word, Ctrl-Y inserts it again; Ctrl-U deletes up to the cursor.
        ("echo c=1 d=2\u{17}\u{17}\u{19}".to_owned(), r#"{"c": 1}"#),
        (format!("nonsense\u{15}{up}"), r#"{"c": 1}"#),
        // An accent belongs to its letter.
        ("echo a=xe\u{301}\u{7f}".to_owned(), r#"{"a": "x"}"#),
        // Ctrl-R searches for a line.
        ("\u{12}b=".to_owned(), r#"{"b": "x"}"#),
        // Escape, and keys without a meaning.
        (format!("\u{1b}[5~\u{1b}[1;2Pecho a={left}\u{1b}[C7"), r#"{"a": 7}"#),
    ] {
        terminal.type_at_once(&keys);
        terminal.press('\r');
        terminal.expect(&format!("{{\"return\": {value}}}"));
        terminal.expect_line(PROMPT);
    }
    // Ctrl-C drops a line.
    terminal.type_at_once("echo nonsense");
    terminal.expect_line("echo nonsense");
    terminal.press(CONTROL_C);
    terminal.expect_line(PROMPT);
    terminal.press('\u{4}');
    assert!(terminal.end().success());
}

/// Line editors fail at the last column, and at a row that is just full.
#[test]
fn at_a_terminal_a_line_of_several_rows_is_edited_and_events_pass_above_it() {
    let (server, address) = echo();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompted(&[&address], home.path());
    let mut screen = Screen::new(20);
    terminal.resize(20);
    // Of the output so far, only the prompt counts.
    screen.write(PROMPT);
    // Types keys, and waits for a line, the cursor in it, and a text above it.
    let mut check = |keys: &str, line: &str, cursor: usize, above: &str| {
        terminal.type_at_once(keys);
        let whole: Vec<char> = format!("{PROMPT}{line}").chars().collect();
        let rows: Vec<String> = whole.chunks(20).map(|row| row.iter().collect()).collect();
        let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
        terminal.until(|text| {
            screen.write(text);
            let shown = screen.rows();
            let first = shown.len().saturating_sub(rows.len());
            let (row, column) = screen.cursor();
            let at = row.saturating_sub(first) * 20 + column;
            shown[first..] == rows
                && shown[..first].concat().contains(above)
                && at == PROMPT.len() + cursor
        });
    };
    let mut line = String::new();
    for c in "echo a=bcdefghijklmnopqrstuvwxyz0123456789".chars() {
        line.push(c);
        check(&c.to_string(), &line, line.len(), "");
    }
    // In the middle, across the ends of rows.
    let mut cursor = line.len();
    for _ in 0..20 {
        cursor -= 1;
        check("\u{1b}[D", &line, cursor, "");
    }
    for c in "ABCDEFGHIJKLMNOP".chars() {
        line.insert(cursor, c);
        cursor += 1;
        check(&c.to_string(), &line, cursor, "");
    }
    for _ in 0..30 {
        cursor -= 1;
        line.remove(cursor);
        check("\u{7f}", &line, cursor, "");
    }
    let at = Timestamp { seconds: 1, microseconds: 2 };
    assert!(server.event(&Event::new("AN_EVENT_LONGER_THAN_A_ROW", None, at)));
    check("", &line, cursor, "AN_EVENT_LONGER_THAN_A_ROW");
    check("\u{7f}", &format!("{}{}", &line[..cursor - 1], &line[cursor..]), cursor - 1, "");
}

#[test]
fn at_a_terminal_help_lists_what_a_command_takes() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompted(&[&server.address().to_string()], home.path());
    let mut help = |line: &str| {
        terminal.type_at_once(&format!("help {line}\r"));
        terminal.expect(line);
        terminal.expect_line(PROMPT)
    };
    let device_add = help("device_add");
    for part in ["    driver=STRING", "    [bus=STRING]", "    [id=STRING]"] {
        assert!(device_add.contains(part), "{device_add}");
    }
    let blockdev_add = help("blockdev-add");
    for part in [
        "    driver=blkdebug|",
        "    [cache.KEY=VALUE...]",
        "more by driver: help blockdev-add driver=...",
    ] {
        assert!(blockdev_add.contains(part), "{blockdev_add}");
    }
    let qcow2 = help("blockdev-add driver=qcow2");
    assert!(qcow2.contains("    file=STRING or file.KEY=VALUE..."), "{qcow2}");
    assert!(help("query-status").contains("takes no more arguments"));
    assert!(help("nonsense").contains("no command nonsense in the server's description"));
    terminal.type_at_once("help\r");
    terminal.expect("help COMMAND lists its arguments");
}

#[test]
fn an_address_that_can_only_fail_does_so_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file").to_str().unwrap().to_owned();
    fs::write(&file, "").unwrap();
    let folder = folder.path().to_str().unwrap();
    for (address, problem) in [
        ("localhost", "there is no socket localhost here; for a port, it is localhost:PORT"),
        ("stdio", "stdio: that is where this shell itself reads and writes"),
        (&file, "is not a socket"),
        (&format!("unix:{file}"), "is not a socket"),
        (folder, "is not a socket"),
        ("udp:localhost:4444", "no address of a monitor"),
        ("localhost:http", "no address of a monitor"),
    ] {
        // Waiting for an hour would fail the test.
        let said = shell(&["-t", "3600", address], "");
        assert_eq!((&*said.output, said.code), ("", 2));
        assert!(said.errors.contains(problem), "{said:?}");
    }
}

#[test]
fn at_a_terminal_it_tells_for_whom_it_waits() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("vm.sock").to_str().unwrap().to_owned();
    let mut terminal = terminal(&["-t", "3", &path], home.path());
    terminal.expect(&format!("waiting for unix:{path}, 3s at most; Ctrl-C ends that"));
    terminal.expect("error: no connection");
    assert_eq!(terminal.end().code(), Some(2));
}

#[test]
fn a_reply_that_is_not_utf_8_is_shown_as_such_and_is_no_success() {
    let raw = |peer: &mut Peer| {
        let command = peer.expect("query-name");
        let (head, tail) = (r#"{"return": {"name": "a"#, r#"}"#);
        let id = format!(", \"id\": {}", command.id);
        peer.send(
            [head.as_bytes(), b"\xff\xfe\"", id.replacen(',', "},", 1).as_bytes(), tail.as_bytes()]
                .concat(),
        );
    };
    for (arguments, input, shown) in [
        (&["-e", "query-name", "-e", "query-status"][..], "", "{\"name\": \"a\\xff\\xfe\"}\n"),
        (&[], "query-name\n", "{\"return\": {\"name\": \"a\\xff\\xfe\"}}\n"),
    ] {
        let server = Server::unix(move |peer| {
            peer.greet();
            raw(peer);
            peer.expect_eof();
        });
        let said = shell(&[&[server.address()], arguments].concat(), input);
        assert_eq!((&*said.output, said.code), (shown, 2));
        assert!(said.errors.starts_with("error: the reply is not UTF-8"), "{said:?}");
        server.join();
    }
}

#[test]
fn c22_at_a_terminal_nothing_that_a_server_says_is_acted_on() {
    let schema = r#"[{"name": "query-q", "meta-type": "command", "arg-type": "0"},
        {"name": "0", "meta-type": "object", "members": [{"name": "a?b", "type": "str"}, {"name": "good", "type": "str"}]},
        {"name": "query-?evil", "meta-type": "command"}]"#;
    let schema = schema.replace('?', "\u{202e}");
    let server = Server::unix(move |peer| {
        peer.send(GREETING.replace("\"package\": \"\"", "\"package\": \"\u{9b}2J\u{202e}\""));
        let negotiation = peer.expect("qmp_capabilities");
        peer.reply(&negotiation, "{}");
        let asked = peer.expect("query-qmp-schema");
        peer.reply(&asked, &schema);
        let query = peer.expect("query-q");
        peer.event("E\u{202e}", "\"\u{1b}]0;title\u{7}\u{2067}\"");
        peer.fail(&query, "\u{202e}Class", "\u{202e}\u{1b}[2J\n");
        let query = peer.expect("query-q");
        peer.reply(&query, "\"\u{1b}]0;title\u{7}\u{202e}\"");
        peer.expect_eof();
    });
    let home = tempfile::tempdir().unwrap();
    let mut terminal = terminal(&[server.address()], home.path());
    let mut all = terminal.expect_line(PROMPT);
    // A name with hidden characters is not offered.
    terminal.type_at_once("query-\t");
    all += &terminal.expect_line("query-q ");
    terminal.type_at_once("\t");
    all += &terminal.expect_line("good=");
    terminal.type_at_once("1\r");
    all += &terminal.expect(r#""event": "E\u202e", "data": "\u001b]0;title\u0007\u2067"}"#);
    all += &terminal.expect(r#""desc": "\u202e\u001b[2J\n"}"#);
    terminal.type_at_once("query-q\r");
    all += &terminal.expect(r#"{"return": "\u001b]0;title\u0007\u202e"}"#);
    terminal.type_at_once("exit\r");
    assert!(terminal.end().success());
    assert!(all.contains("\\u009b2J\\u202e"), "{all:?}");
    assert!(!all.contains(['\u{202e}', '\u{2067}', '\u{9b}', '\u{7}']), "{all:?}");
    server.join();
}
