//! The example `shell` in scripts: how it ends, and what its status is then.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use qmp_blocking::Empty;
use qmp_server::Machine;
use qmp_tests::example::program;
use qmp_tests::qemu::within;
use qmp_tests::scripted::Server;
use qmp_tests::shell::{Said, echo, serve, shell};
use rustix::pipe::pipe;

const DONE: &str = r#"{"return": {}}"#;

#[test]
fn scripts_get_what_is_returned_and_a_status() {
    let (_server, address) = echo();
    let said = shell(&[&address, "-e", "echo a=1", "--execute", "query-status"], "stop\n");
    let status = r#"{"status": "prelaunch", "singlestep": false, "running": false}"#;
    assert_eq!((said.lines(), said.code), (vec![r#"{"a": 1}"#, status], 0));
    // The first that fails is the last.
    let said = shell(&[&address, "-e", "fail", "-e", "echo"], "");
    assert_eq!((&*said.output, said.code), ("", 1));
    assert_eq!(said.errors, "error: GenericError: no \"luck\"\n");
    let said = shell(&[&address, "-e", "echo a", "-e", "echo"], "");
    assert_eq!((&*said.output, said.code), ("", 2));
    for wrong in [
        &["--nonsense"][..],
        &[],
        &[&*address, &*address],
        &["nonsense:x,y"],
        &["-e"],
        &["-t"],
        &["-t", "soon", &address],
        &["-t", "0", &address],
        &["--timeout", "-1", &address],
    ] {
        let said = shell(wrong, "");
        assert_eq!((said.code, &*said.output), (2, ""), "{wrong:?}");
        assert!(said.errors.starts_with("error: "), "{said:?}");
    }
    let said = shell(&["--help"], "");
    assert!(said.code == 0 && said.output.starts_with("usage: "), "{said:?}");
}

#[test]
fn a_server_that_goes_away_is_told() {
    let mut machine = Machine::new();
    machine.on("die", |vm, _| {
        vm.end();
        Ok(Empty {})
    });
    let (_server, address) = serve(machine);
    let said = shell(&[&address], "die\nquery-status\nquery-status\n");
    assert_eq!((said.lines(), said.code), (vec![r#"{"return": {}}"#], 2));
    assert_eq!(said.errors.lines().count(), 1, "{said:?}");
}

#[test]
fn a_server_that_answers_quit_and_stays_is_not_waited_for_for_ever() {
    for arguments in [&["-t", "0.2", "-e", "quit"][..], &["--timeout", "0.2"]] {
        let server = Server::unix(|peer| {
            peer.greet();
            let quit = peer.expect("quit");
            peer.reply(&quit, "{}");
            peer.expect_eof();
        });
        let said = shell(&[&[server.address()], arguments].concat(), "quit\n");
        assert_eq!(said.errors, "error: the server was told to quit, and goes on for 200ms\n");
        assert_eq!(said.code, 3, "{said:?}");
        server.join();
    }
}

/// A server without the lines that say how long it answers: `quit` is no other command to it.
const SERVER: &str = r#"
    echo '{"QMP": {"version": {"qemu": {"major": 9, "minor": 0, "micro": 0}, "package": ""}, "capabilities": []}}' >&0
    answer() {
        read -r line && id=${line##*\"id\":} && echo "{\"return\": {}, \"id\": $id" >&0
    }"#;

#[test]
fn a_program_that_was_started_and_does_not_end_is_named() {
    let stays = "while answer; do :; done";
    let stays_without_monitor = "answer; answer; exec 0<&-; sleep 5";
    for rest in [stays, stays_without_monitor] {
        let server = format!("{SERVER}\n{rest}");
        let said = shell(&["-t", "1", "--start", "sh", "-c", &server], "query-status\n");
        assert_eq!((said.lines(), said.code), (vec![DONE], 3), "{said:?}");
        let problem = "error: QEMU does not end in 1s: process ";
        let named = said.errors.lines().find_map(|line| line.strip_prefix(problem));
        let process = named.and_then(|rest| rest.parse().ok());
        assert!(process.is_some_and(|process: u32| process > 1), "{said:?}");
    }
}

#[test]
fn a_command_that_is_not_answered_in_time_has_a_status_of_its_own() {
    let server = Server::unix(|peer| {
        peer.greet();
        peer.expect("query-status");
        let late = peer.expect("query-name");
        peer.reply(&late, "{}");
        peer.expect_eof();
    });
    let said = shell(&[server.address(), "-t", "0.2"], "query-status\nquery-name\n");
    let problem = "error: the deadline passed after the command was sent; it may have run\n";
    assert_eq!((&*said.errors, said.code), (problem, 3));
    // The next is none the worse for it.
    assert_eq!(said.lines(), [DONE]);
    server.join();
}

#[test]
fn what_stands_behind_quit_is_not_lost_silently() {
    let not_executed = "error: not executed, as the server has ended: query-name\n";
    for (arguments, input, errors, code) in [
        (&["-e", "quit", "-e", "", "-e", "query-name"][..], "", not_executed, 2),
        (&["-e", "quit", "-e", "# the end"], "", "", 0),
        (&[], "quit\n\n# the end\nquery-name\nquery-status\n", not_executed, 2),
        (&[], "quit\n# the end", "", 0),
        (&[], "quit", "", 0),
        (&[], "fail\nquit\nquery-name", not_executed, 2),
    ] {
        let (_server, address) = echo();
        let said = shell(&[&[&*address], arguments].concat(), input);
        assert_eq!((&*said.errors, said.code), (errors, code), "{arguments:?} {input:?}");
    }
}

/// A shell whose output goes somewhere else; its input stays open until it has ended.
#[track_caller]
fn shell_into(arguments: &[&str], input: &[u8], output: Stdio) -> Said {
    let mut command = Command::new(program("shell"));
    command.args(arguments).env_remove("QMP_SOCKET");
    command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended without.
    let _ = stdin.write_all(input);
    let said = within(move || child.wait_with_output()).unwrap();
    drop(stdin);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = said.status.code().expect("an exit status");
    Said { output: text(said.stdout), errors: text(said.stderr), code }
}

#[test]
fn it_ends_behind_quit_though_its_input_does_not() {
    for (input, code) in [(&b"quit\n"[..], 0), (b"quit\nquery", 2)] {
        let (_server, address) = echo();
        let said = shell_into(&[&address], input, Stdio::piped());
        assert_eq!((said.lines().last(), said.code), (Some(&DONE), code), "{said:?}");
    }
}

/// As on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_told() {
    let (_server, address) = echo();
    let full = || File::options().write(true).open("/dev/full").unwrap().into();
    for arguments in [
        &[&*address][..],
        &[&*address, "-e", "echo a=1", "-e", "stop"],
        &[&*address, "-H", "-e", "info"],
        &["--help"],
    ] {
        // Whatever comes behind is not read, so its input need not end.
        let said = shell_into(arguments, b"echo\n", full());
        let problem =
            "error: the output cannot be written: No space left on device (os error 28)\n";
        assert_eq!((&*said.errors, said.code), (problem, 2), "{arguments:?}");
    }
}

#[test]
fn it_ends_quietly_where_nobody_reads_its_output() {
    let (_server, address) = echo();
    for arguments in [&[&*address][..], &[&*address, "-e", "echo", "-e", "fail"], &["--help"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let said = shell_into(arguments, b"echo\n", writer.into());
        assert_eq!((&*said.errors, said.code), ("", 128 + 13), "{arguments:?}");
    }
}

#[test]
fn a_line_that_is_no_text_is_told_and_the_others_go_on() {
    let (_server, address) = echo();
    let said = shell(&[&address], b"echo a=\xff\necho a=1\n");
    assert_eq!(said.errors, "error: not UTF-8, so not sent: echo a=\u{fffd}\n");
    assert_eq!((said.lines(), said.code), (vec![r#"{"return": {"a": 1}}"#], 2));
    // Nor is a part of a transaction sent.
    for input in
        [&b"transaction(\na x=\xff\nb\n)\necho\n"[..], b"transaction( a x=\xff\nb\n)\necho\n"]
    {
        let said = shell(&[&address], input);
        assert_eq!((said.lines(), said.code), (vec![DONE], 2), "{said:?}");
        assert!(said.errors.ends_with("\nerror: the transaction was not sent\n"), "{said:?}");
    }
}
