//! C4: the example `shell` bounds its memory, whatever a server or a guest sends.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use qmp_tests::example::program;
use qmp_tests::qemu::{peak_memory, within};
use qmp_tests::scripted::Server;
use qmp_tests::terminal::Terminal;

/// A text of a given size that repeats one element.
fn filled(head: &str, element: &str, tail: &str, size: usize) -> String {
    let count = (size - head.len() - tail.len()) / (element.len() + 1);
    format!("{head}{}{element}{tail}", format!("{element},").repeat(count - 1))
}

/// A server or an agent that sends the description in reply to each command.
fn describing(agent: bool, description: String) -> Server {
    Server::unix(move |peer| {
        if !agent {
            peer.greet();
        }
        while let Some(command) = peer.try_command() {
            match &*command.name {
                "guest-sync-delimited" => {
                    let number = command.arguments["id"].to_string();
                    peer.try_send([b"\xff", command.success(&number).as_bytes()].concat());
                }
                _ => drop(peer.try_send(command.success(&description))),
            }
        }
    })
}

#[test]
fn c4_a_description_of_commands_takes_little_memory() {
    // The largest that is read, and one that is too large.
    for size in [2 << 20, 16 << 20] {
        let info = filled("{\"supported_commands\":[", "{\"name\":\"\"}", "]}", size);
        let schema =
            filled("[", "{\"name\":\"a\",\"meta-type\":\"\",\"members\":[{},{}]}", "]", size);
        let one = "[{\"name\":\"a\",\"meta-type\":\"\",\"members\":[";
        let members = filled(one, "{}", "]}]", size);
        for (option, description) in [("--agent", info), ("-p", schema), ("-p", members)] {
            let server = describing(option == "--agent", description);
            let home = tempfile::tempdir().unwrap();
            let mut command = Command::new(program("shell"));
            command.args([option, server.address()]).env_remove("QMP_SOCKET");
            let mut terminal = Terminal::start(command, home.path());
            terminal.expect_line("(QEMU) ");
            let peak = peak_memory(terminal.process());
            eprintln!("{} MiB, {option}: {} MiB", size >> 20, peak >> 20);
            assert!(peak < 96 << 20, "{size} {option}: {peak}");
            drop(terminal);
            server.join();
        }
    }
}

#[test]
fn c4_a_large_reply_is_laid_out_piece_by_piece() {
    const SIZE: usize = 1 << 20;
    let (open, close) = ("[".repeat(32), "]".repeat(32));
    let reply = filled(&open, "1", &close, SIZE);
    let server = Server::unix(move |peer| {
        peer.greet();
        let query = peer.expect("query-name");
        peer.reply(&query, &reply);
        peer.expect_eof();
    });
    let mut command = Command::new(program("shell"));
    command.args(["-p", server.address()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = command.spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    input.write_all(b"query-name\n").unwrap();
    let output = shell.stdout.take().unwrap();
    let shown = within(move || {
        let lines = BufReader::new(output).lines().map(|line| line.unwrap());
        let mut length = 0;
        lines.take_while(|line| line != "}").for_each(|line| length += line.len());
        length
    });
    let peak = peak_memory(shell.id());
    eprintln!("{} MiB shown with {} MiB", shown >> 20, peak >> 20);
    assert!(shown > 32 * SIZE && peak < 32 << 20, "{shown} {peak}");
    drop(input);
    assert!(within(move || shell.wait()).unwrap().success());
    server.join();
}
