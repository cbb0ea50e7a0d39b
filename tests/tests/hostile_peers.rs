//! C22: the examples filter the text of servers and guests.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::process::Command;

use qmp_blocking::printable;
use qmp_tests::agent::Agent;
use qmp_tests::example::{program, run};
use qmp_tests::scripted::{self, Peer, Server, event_text};
use qmp_tests::terminal::Terminal;

/// Escaped in JSON: a sequence that clears a terminal, and a forged line. The second text is unescaped: C1 controls and
/// bidirectional overrides.
const HOSTILE: &str = r"hostile\u001b[2J\u0007\r\nerror: all is well";
const RAW: &str = "\u{9b}2J\u{7f}\u{202e}\u{2066}";

/// Checks an example's output: the peer's text is in it, and it is harmless.
#[track_caller]
fn check(text: &[u8]) {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.contains("hostile"), "{text:?}");
    assert_eq!(printable(text).with_lines().to_string(), text);
    assert!(!text.lines().any(|line| line.starts_with("error: all is well")), "{text:?}");
}

type Answers = fn(&mut Peer, &scripted::Command);

/// A monitor that answers so many commands, and sends an event before each answer and at the end.
fn monitor(commands: usize, answers: Answers) -> Server {
    Server::unix(move |peer| {
        let package = format!("\"package\": \"{HOSTILE}{RAW}\"");
        peer.send(scripted::GREETING.replace("\"package\": \"\"", &package));
        let negotiation = peer.expect("qmp_capabilities");
        peer.reply(&negotiation, "{}");
        for _ in 0..commands {
            let Some(command) = peer.try_command() else { return };
            event(peer);
            answers(peer, &command);
            if command.name == "quit" {
                return;
            }
        }
        event(peer);
    })
}

/// Its data is not UTF-8, and has a control character that no JSON may hold.
fn event(peer: &mut Peer) {
    let text = event_text(&format!("HI{RAW}"), "\"hostile \u{1b}[2J ?\"");
    let (head, tail) = text.split_once('?').unwrap();
    peer.try_send([head.as_bytes(), b"\xff", tail.as_bytes()].concat());
}

fn refuse(peer: &mut Peer, command: &scripted::Command) {
    let echo = command.success("0");
    let desc = format!("{HOSTILE}{RAW}");
    let error = format!(r#""error": {{"class": "{desc}", "desc": "{desc}"}}"#);
    peer.try_send(echo.replacen("\"return\": 0", &error, 1));
}

fn comply(peer: &mut Peer, command: &scripted::Command) {
    let text = format!("{HOSTILE}{RAW}");
    let answer = match &*command.name {
        "query-version" => {
            format!(r#"{{"qemu": {{"major": 9, "minor": 0, "micro": 0}}, "package": "{text}"}}"#)
        }
        "query-status" => format!(r#"{{"status": "{text}", "running": true}}"#),
        "query-jobs" => format!(
            r#"[{{"id": "copy", "status": "concluded", "current-progress": 0, "error": "{text}"}}]"#
        ),
        "query-block" => format!(r#"["{text}"]"#),
        "qom-get" => format!("\"{text}\""),
        "device_del" => {
            peer.try_send(event_text("DEVICE_DELETED", r#"{"device": "hotplug0", "path": "/"}"#));
            "{}".to_owned()
        }
        _ => "{}".to_owned(),
    };
    peer.try_send(command.success(&answer));
}

#[test]
fn c22_a_server_s_text_does_nothing_to_a_terminal() {
    for (name, commands) in [
        // These two run until the server ends.
        ("events", 0),
        ("mio_loop", 1),
        ("hotplug", usize::MAX),
        ("job", usize::MAX),
        ("predecessor", usize::MAX),
        ("quickstart", usize::MAX),
        ("tokio", usize::MAX),
    ] {
        // Building it may take longer than the server waits.
        program(name);
        for answers in [refuse as Answers, comply] {
            let server = monitor(commands, answers);
            let address = match name {
                "mio_loop" => server.address().strip_prefix("unix:").unwrap(),
                _ => server.address(),
            };
            let output = run(name, &[address]);
            let text = [output.stdout, output.stderr].concat();
            eprintln!("{name}: {}", String::from_utf8_lossy(&text));
            check(&text);
            // A byte that is not UTF-8 is visible as such.
            let event = r#"HI\u009b2J\u007f\u202e\u2066 "hostile \u001b[2J \xff""#;
            assert_eq!(String::from_utf8_lossy(&text).contains(event), name == "events");
        }
    }
}

/// An agent that answers each command with an error, except for the synchronisation.
fn unwilling_agent() -> Server {
    Server::unix(|peer| {
        while let Some(command) = peer.try_command() {
            match &*command.name {
                "guest-sync-delimited" => {
                    let number = command.arguments["id"].to_string();
                    peer.try_send([b"\xff", command.success(&number).as_bytes()].concat());
                }
                _ => refuse(peer, &command),
            }
        }
    })
}

#[test]
fn c22_an_agent_s_text_does_nothing_to_a_terminal() {
    let agent = unwilling_agent();
    let output = run("guest_exec", &[agent.address(), "true"]);
    assert_eq!((output.stdout.len(), output.status.code()), (0, Some(255)));
    check(&output.stderr);
}

#[test]
fn c22_a_guest_program_s_output_is_filtered_for_a_terminal_and_not_for_a_pipe() {
    let Some(agent) = Agent::start() else { return };
    let address = agent.address().to_string();
    let script = "printf 'hostile\\033[2J\\377\\r\\n'; printf 'hostile\\007\\342\\200\\256\\n' >&2";
    let arguments = [&*address, "sh", "-c", script];
    let output = run("guest_exec", &arguments);
    assert_eq!(output.stdout, b"hostile\x1b[2J\xff\r\n");
    assert_eq!(output.stderr, b"hostile\x07\xe2\x80\xae\n");
    let mut command = Command::new(program("guest_exec"));
    command.args(arguments);
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(command, home.path());
    terminal.expect(r"hostile\u001b[2J\xff");
    terminal.expect(r"hostile\u0007\u202e");
    assert!(terminal.end().success());
}
