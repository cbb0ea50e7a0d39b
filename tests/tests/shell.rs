//! The example `shell`: what lines mean, and what is shown of what comes. `shell_in_scripts.rs` has how it ends, and
//! `shell_at_terminal.rs` the rest.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::process::{Child, Command, Stdio};

use qmp_blocking::commands::QueryCommands;
use qmp_blocking::{CommandError, Empty};
use qmp_proto::trace::Trace;
use qmp_server::Machine;
use qmp_server::net::Server;
use qmp_tests::out_of_band::has_yank;
use qmp_tests::qemu::{Monitor, Setup, find};
use qmp_tests::scripted;
use qmp_tests::shell::{echo, shell};
use serde_json::{Value, json};

/// Lines and what they mean as arguments.
fn meanings() -> Vec<(&'static str, Value)> {
    vec![
        ("", json!({})),
        ("a=1 b=-2 c=0.5 d=1e3", json!({"a": 1, "b": -2, "c": 0.5, "d": 1000.0})),
        ("a=18446744073709551615 b=-9223372036854775808", json!({"a": u64::MAX, "b": i64::MIN})),
        (
            "a=00000000000000000000007 b=1.2.3 c=1e5x",
            json!({"a": "00000000000000000000007", "b": "1.2.3", "c": "1e5x"}),
        ),
        (
            r#"a='18446744073709551616' b=["99999999999999999999"]"#,
            json!({"a": "18446744073709551616", "b": ["99999999999999999999"]}),
        ),
        ("a=true b=False c=null d=TRUE", json!({"a": true, "b": false, "c": null, "d": true})),
        (
            "a=text b=1x c=007 d=0x10 e=-",
            json!({"a": "text", "b": "1x", "c": "007", "d": "0x10", "e": "-"}),
        ),
        (r#"a="1" b='true' c='' d="x y""#, json!({"a": "1", "b": "true", "c": "", "d": "x y"})),
        (r#"a="\u00fc\n\"" b='it\'s "it"'"#, json!({"a": "ü\n\"", "b": "it's \"it\""})),
        ("a=b=c d=x:[1] e=[::1]x", json!(null)),
        ("a=b=c d=x:[1", json!({"a": "b=c", "d": "x:[1"})),
        ("a.b=1 a.c.d=x e=2", json!({"a": {"b": 1, "c": {"d": "x"}}, "e": 2})),
        (
            r#"a={"b": [1, {"c": "} ]"}], "d": null} e=[]"#,
            json!({"a": {"b": [1, {"c": "} ]"}], "d": null}, "e": []}),
        ),
        (
            r#"a={'b':True,'c':[False, None, 'x "y"']}"#,
            json!({"a": {"b": true, "c": [false, null, "x \"y\""]}}),
        ),
        (r#"a={"b": 1} a.c=2"#, json!({"a": {"b": 1, "c": 2}})),
        ("file=/a\\ b=ü", json!({"file": "/a\\", "b": "ü"})),
    ]
}

#[test]
fn lines_mean_what_one_expects() {
    let (_server, address) = echo();
    let meanings: Vec<_> =
        meanings().into_iter().filter(|(_, meaning)| !meaning.is_null()).collect();
    let input: String = meanings.iter().map(|(line, _)| format!("  echo   {line}  \n")).collect();
    let said = shell(&[&address], &input);
    assert_eq!((said.code, &*said.errors), (0, ""));
    assert_eq!(said.lines().len(), meanings.len(), "{said:?}");
    for (reply, (line, meaning)) in said.lines().into_iter().zip(meanings) {
        let reply: Value = serde_json::from_str(reply).unwrap();
        assert_eq!(reply, json!({ "return": meaning }), "{line}");
    }
}

#[test]
fn lines_of_no_sense_are_told_and_not_sent() {
    let (_server, address) = echo();
    for (line, problem) in [
        ("echo a", "a is no KEY=VALUE"),
        ("echo a=1 a=2", "a is given twice"),
        ("echo a.b=1 a=2", "a is given twice"),
        ("echo a=1 a.b=2", "a.b: a has a value already, so it has no members"),
        ("echo =1", "= names no member"),
        ("echo a.=1", "a.= names no member"),
        (
            "echo a=[::1]",
            "[::1] is no JSON (expected value at line 1 column 2); quote it if it is a text",
        ),
        ("echo a='b", "'b does not end with the ' that ends the text"),
        ("echo a='b'c", "'b'c does not end with the ' that ends the text"),
        (
            r#"{"execute": "echo", "more": 1}"#,
            "unknown field `more`, expected one of `execute`, `exec-oob`, `arguments`, `id` at line 1 column 26",
        ),
        (
            "echo a=18446744073709551616",
            "18446744073709551616 does not fit into a number of 64 bits; quote it if it is a text",
        ),
        ("echo a=-1e400", "-1e400 does not fit into a number of 64 bits; quote it if it is a text"),
        (
            "echo a=[-9223372036854775809]",
            "[-9223372036854775809] is no JSON (-9223372036854775809 does not fit into a number of 64 bits); \
            quote it if it is a text",
        ),
        (
            r#"{"execute": "echo", "arguments": {"a": 18446744073709551616}}"#,
            "18446744073709551616 does not fit into a number of 64 bits",
        ),
        ("{}", "a command has either \"execute\" or \"exec-oob\""),
    ] {
        let said = shell(&[&address], format!("{line}\necho a=9\n"));
        assert_eq!(said.errors, format!("error: {problem}\n"), "{line}");
        // The others go on, and it is not forgotten.
        assert_eq!((said.code, said.lines()), (2, vec![r#"{"return": {"a": 9}}"#]), "{line}");
    }
}

#[test]
fn messages_are_one_line_each_in_a_pipe_or_indented_on_request() {
    let (_server, address) = echo();
    let said =
        shell(&[&address], "pretty\nfail\n# a comment\n\n{\"execute\": \"echo\", \"id\": 7}\n");
    let fail = r#"{"error": {"class": "GenericError", "desc": "no \"luck\""}}"#;
    assert_eq!(said.lines(), [r#"{"return": {"a": [], "b": 0.10}}"#, fail, r#"{"return": {}}"#]);
    assert_eq!((said.code, &*said.errors), (1, ""));
    let said = shell(&["-p", &address], "pretty\n");
    let lines =
        ["{", "    \"return\": {", "        \"a\": [],", "        \"b\": 0.10", "    }", "}"];
    assert_eq!(said.lines(), lines);
    let said = shell(&["-v", &address], "echo a=1\nstop\n");
    let sent = "{\"execute\": \"echo\", \"arguments\": {\"a\": 1}}\n{\"execute\": \"stop\"}\n";
    assert_eq!(said.errors, sent);
}

#[test]
fn a_transaction_goes_out_whole_or_not_at_all() {
    let (_server, address) = echo();
    let both = json!({"return": {"actions": [
        {"type": "a", "data": {"x": {"y": 1}}}, {"type": "b", "data": {}}]}});
    for input in ["transaction(\na x.y=1\n\nb\n)\n", "transaction( a x.y=1\nb )\n"] {
        let said = shell(&[&address], input);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(serde_json::from_str::<Value>(&said.output).unwrap(), both, "{input}");
    }
    let said = shell(&[&address], "transaction(\na x\nb\n)\necho\n");
    let problems = "error: x is no KEY=VALUE; the transaction will not be sent\n\
        error: the transaction was not sent\n";
    assert_eq!((&*said.errors, said.lines(), said.code), (problems, vec![r#"{"return": {}}"#], 2));
    let said = shell(&[&address], "transaction( a x )\necho\n");
    assert_eq!((said.lines(), said.code), (vec![r#"{"return": {}}"#], 2));
    let said = shell(&[&address], "transaction( a\n");
    assert_eq!((&*said.errors, said.code), ("error: the transaction has no end\n", 2));
}

#[test]
fn events_are_shown_in_their_place() {
    let (_server, address) = echo();
    let said = shell(&[&address], "cont\nstop\nquit\n");
    let without_time = |line: &str| {
        let mut message: Value = serde_json::from_str(line).unwrap();
        message.as_object_mut().unwrap().remove("timestamp");
        message
    };
    let lines: Vec<_> = said.lines().into_iter().map(without_time).collect();
    let done = json!({"return": {}});
    let shutdown =
        json!({"event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}});
    let expected = [
        json!({"event": "RESUME"}),
        done.clone(),
        json!({"event": "STOP"}),
        done.clone(),
        shutdown,
        done,
    ];
    assert_eq!(lines, expected);
    assert_eq!((&*said.errors, said.code), ("", 0));
    assert!(said.output.starts_with(r#"{"timestamp": {"seconds": "#), "{said:?}");
}

#[test]
fn human_commands_are_passed_through() {
    let (_server, address) = echo();
    let said = shell(&["--hmp", &address], "info status\ncpu 3\ninfo  registers\ncpu x\n");
    assert_eq!(said.lines(), [r#"null: "info status""#, r#"3: "info  registers""#]);
    assert_eq!((&*said.errors, said.code), ("error: cpu takes a number\n", 2));
}

#[test]
fn c21_the_log_has_no_secrets() {
    let (_server, address) = echo();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let arguments = ["--log", log.to_str().unwrap(), &address, "-e", "echo password=s3cret a=kept"];
    assert_eq!(shell(&arguments, "").code, 0);
    let text = std::fs::read_to_string(log).unwrap();
    assert!(!text.contains("s3cret") && text.contains("kept"), "{text}");
    assert!(text.parse::<Trace>().unwrap().is_redacted());
}

#[test]
fn it_drives_qemu() {
    let Some(setup) = Setup::q35() else { return };
    let mut server = setup.args(["-device", "qemu-xhci"]).monitor(Monitor::Unix).start();
    let address = server.address().to_string();
    let path = address.strip_prefix("unix:").unwrap();
    let said = shell(&[&address, "-e", "device_add driver=usb-kbd id=k0", "--hmp"], "");
    assert_eq!(said.code, 0, "{said:?}");
    let said = shell(
        &[path],
        "device_add driver=usb-kbd id=k0\n\
        blockdev-add driver=raw node-name=n0 file.driver=null-co file.size=1024\n\
        transaction( block-dirty-bitmap-add node=n0 name=b0 )\n\
        device_del id=k0\n",
    );
    assert_eq!((said.code, &*said.errors), (0, ""), "{said:?}");
    assert_eq!(said.lines(), [r#"{"return": {}}"#; 4]);
    let has_yank = has_yank(&server.connect().execute(&QueryCommands).unwrap());
    let (command, code, expected) = if has_yank {
        ("query-yank", 0, "monitor0")
    } else {
        ("migrate-pause", 1, "only supported during postcopy")
    };
    let said = shell(&[path], format!("{{\"exec-oob\": \"{command}\"}}\n"));
    assert_eq!((said.code, &*said.errors), (code, ""), "{said:?}");
    assert!(said.output.contains(expected), "{said:?}");
    let said = shell(&[&address, "-e", "query-named-block-nodes flat=true"], "");
    let nodes: Value = serde_json::from_str(&said.output).unwrap();
    let bitmaps = nodes.as_array().unwrap().iter().find_map(|node| node.get("dirty-bitmaps"));
    assert_eq!(bitmaps.unwrap()[0]["name"], "b0");
    let said =
        shell(&["--hmp", &address, "-e", "info status", "-e", "cpu 0", "-e", "info cpus"], "");
    assert!(said.code == 0 && said.output.starts_with("VM status: paused"), "{said:?}");
    assert!(said.output.contains("CPU #0"), "{said:?}");
    // Its errors are text, which nothing tells from its answers.
    let said = shell(&["--hmp", &address, "-e", "nosuch"], "");
    assert!(said.code == 0 && said.output.starts_with("unknown command: 'nosuch'"), "{said:?}");
    let said = shell(&["--hmp", &address, "-e", "cpu 77"], "");
    assert!(said.code == 1 && said.errors.contains("cpu-index"), "{said:?}");
    assert_eq!(shell(&["--hmp", &address, "-e", "quit"], "").code, 0);
    assert!(server.wait().success());
}

#[test]
fn it_starts_a_qemu_and_ends_it() {
    if Setup::bare().is_none() {
        return;
    }
    let qemu = ["--start", "qemu-system-x86_64", "-machine", "none", "-display", "none", "-S"];
    for (lines, code) in [("query-status\nquit\n", 0), ("query-status\n", 0), ("x\nquit\n", 1)] {
        assert_eq!(shell(&qemu, lines).code, code, "{lines}");
    }
    let said = shell(&["--start", "/nonexistent/qemu"], "");
    assert!(said.code == 2 && said.errors.contains("/nonexistent/qemu"), "{said:?}");
}

/// A process that is ended with the test.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn c23_it_talks_to_a_guest_agent() {
    let Some(program) = find("qemu-ga") else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("ga.sock").to_str().unwrap().to_owned();
    let mut agent = Command::new(program);
    agent.args(["-m", "unix-listen", "-p", &socket, "-t"]).arg(folder.path());
    let _agent = Guarded(agent.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let said = shell(&["--agent", &socket], "guest-ping\nguest-nonsense\nguest-sync id=7\n");
    assert_eq!((said.code, &*said.errors), (1, ""));
    let lines = said.lines();
    assert_eq!((lines[0], lines[2]), (r#"{"return": {}}"#, r#"{"return": 7}"#));
    assert!(lines[1].contains("CommandNotFound"), "{said:?}");
}

#[test]
fn c23_a_silent_success_is_not_shown_as_a_reply() {
    for (closes, note) in
        [(true, "the agent closed the connection"), (false, "the agent reported no error in 200ms")]
    {
        let server = scripted::Server::unix(move |peer| {
            let sync = peer.expect("guest-sync-delimited");
            let number = sync.arguments["id"].to_string();
            peer.send([b"\xff", sync.success(&number).as_bytes()].concat());
            peer.expect("guest-shutdown");
            if !closes {
                peer.rest();
            }
        });
        let said = shell(&["--agent", "-t", "0.2", server.address(), "-e", "guest-shutdown"], "");
        assert_eq!((&*said.output, said.code), ("", 0), "{said:?}");
        assert!(said.errors.contains(note), "{said:?}");
        server.join();
    }
}

#[test]
fn a_key_without_end_is_a_mistake() {
    let (_server, address) = echo();
    let line = format!("echo {}=1", ["a"; 50_000].join("."));
    let said = shell(&["-e", &line, &address], "");
    assert!(said.errors.contains("at most 100 dots"), "{said:?}");
    assert_eq!(said.code, 2);
}

#[test]
fn no_control_character_of_an_error_gets_to_the_terminal() {
    let mut machine = Machine::new();
    machine.on("fail", |_, _| -> Result<Empty, _> {
        Err(CommandError::generic("\u{1b}[31mred\u{7}"))
    });
    let server = Server::bind("tcp:127.0.0.1:0", machine).unwrap();
    let said = shell(&["-e", "fail", &server.address().to_string()], "");
    assert!(said.errors.contains("red"), "{said:?}");
    assert!(!said.errors.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
    assert_eq!(said.code, 1);
}
