//! README's code blocks, run with real QEMU. `build.rs` makes modules of the Rust blocks. Paths in `/tmp` and the
//! fixed port are replaced, as tests run in parallel.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use qmp_blocking::commands::{QueryStatus, Quit};
use qmp_tests::agent::Agent;
use qmp_tests::example::{Example, program};
use qmp_tests::qemu::{Monitor, Server, Setup, next_event, patient, within};
use qmp_tests::readme::{Block, blocks};
use qmp_tests::terminal::Terminal;
use rustix::process::{Pid, Signal, kill_process_group};

#[allow(dead_code, unreachable_pub, reason = "each has what its reader needs")]
mod rust {
    include!(concat!(env!("OUT_DIR"), "/readme.rs"));
}

/// README's addresses, and their replacements.
static ADDRESSES: Mutex<Option<HashMap<&str, String>>> = Mutex::new(None);

/// The replacement of an address in a block.
fn address(written: &str) -> String {
    let addresses = ADDRESSES.lock().unwrap();
    addresses.as_ref().and_then(|all| all.get(written)).expect("a test gives it").clone()
}

fn put(written: &'static str, address: impl ToString) {
    let mut addresses = ADDRESSES.lock().unwrap();
    addresses.get_or_insert_default().insert(written, address.to_string());
}

/// Runs a block to its end, which has to be a good one.
#[track_caller]
fn run(block: impl FnOnce() -> Result<(), Box<dyn Error>> + Send + 'static) {
    within(move || block().map_err(|error| error.to_string())).unwrap();
}

/// The blocks of a language.
fn written(language: &str) -> Vec<Block> {
    let mut blocks = blocks(include_str!("../../README.md"));
    blocks.retain(|block| block.language == language);
    blocks
}

/// The block for a shell that has this in it.
fn shell_block(part: &str) -> String {
    let block = written("sh").into_iter().find(|block| block.text.contains(part));
    block.expect("README has it").text
}

/// QEMU as README starts it, with a monitor more.
fn qemu() -> Option<Setup> {
    let block = shell_block("qemu-system-x86_64 ");
    Some(Setup::written(block.lines().next().unwrap())?.monitor(Monitor::Unix))
}

/// A shell's line with the built programs instead of `cargo run`, and with a folder instead of `/tmp`.
fn line(line: &str, folder: &Path) -> String {
    let line = line.trim_start_matches("$ ").replace("/tmp/", &format!("{}/", folder.display()));
    let Some((before, rest)) = line.split_once("cargo run -p ") else { return line };
    let mut words = rest.split_whitespace();
    let (package, option, name) = (words.next(), words.next(), words.next().unwrap());
    assert_eq!(option, Some("--example"), "{line}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(package.unwrap());
    let sources = folder.join("examples").join(name);
    assert!(sources.is_dir() || sources.with_extension("rs").is_file(), "{sources:?}");
    let arguments = rest.split_once(" -- ").map_or("", |(_, arguments)| arguments);
    format!("{before}{} {arguments}", program(name).display())
}

/// The arguments of the only line of a block.
fn arguments(block: &str, folder: &Path) -> Vec<String> {
    line(block.trim_end(), folder).split_whitespace().skip(1).map(str::to_owned).collect()
}

fn start(name: &str, block: &str, folder: &Path) -> Example {
    let arguments = arguments(block, folder);
    Example::start(name, &arguments.iter().map(|argument| &**argument).collect::<Vec<_>>())
}

/// Runs a block in a shell; returns its output. It has to succeed, and its processes are ended.
#[track_caller]
fn shell(block: &str, folder: &Path) -> String {
    let lines: Vec<_> = block.lines().map(|text| line(text, folder)).collect();
    let mut sh = Command::new("sh");
    sh.args(["-e", "-c", &lines.join("\n")]).process_group(0);
    sh.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = sh.spawn().unwrap();
    let group = Pid::from_child(&child);
    let output = within(move || child.wait_with_output()).unwrap();
    // Usually all of its processes have ended.
    let _ = kill_process_group(group, Signal::KILL);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn every_block_has_its_test() {
    let headings =
        |language| -> Vec<_> { written(language).into_iter().map(|block| block.heading).collect() };
    let rust = [
        "Ten lines",
        "Ten lines",
        "Ten lines",
        "Events and callbacks",
        "Events and callbacks",
        "The guest agent",
        "Commands of your own",
        "Testing without QEMU",
    ];
    assert_eq!(headings("rust"), rust);
    let sh = [
        "Try it",
        "Try it",
        // `make test`, which runs these.
        "Try it",
        "The guest agent",
        "The guest agent",
        "Examples",
        "Testing without QEMU",
        "Testing without QEMU",
    ];
    assert_eq!(headings("sh"), sh);
    assert_eq!(headings("text"), ["", "Try it"]);
    assert_eq!(headings("toml"), ["Ten lines", "Features"]);
    let all = blocks(include_str!("../../README.md"));
    assert_eq!(all.len(), rust.len() + sh.len() + 2 + 2, "another language");
}

#[test]
fn ten_lines_start_a_qemu() {
    if Setup::bare().is_none() {
        return;
    }
    run(rust::block1::main);
    run(rust::block2::main);
    run(rust::block3::main);
}

#[test]
fn a_guest_is_asked_to_power_down() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
    put("unix:/tmp/vm.sock", server.address());
    let (guest, mut events) = patient().connect_with_events(&server.addresses()[1]).unwrap();
    let ended = std::thread::spawn(|| run(rust::block4::power_down));
    // There is no guest, so another monitor ends QEMU.
    while next_event(&mut events).name() != "POWERDOWN" {}
    guest.execute(&Quit).unwrap();
    within(|| ended.join()).unwrap();
}

#[test]
fn callbacks_are_called() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Tcp).start();
    put("tcp:localhost:4444", server.address());
    run(rust::block5::main);
}

#[test]
fn a_guest_s_agent_runs_a_program() {
    let Some(agent) = Agent::start() else { return };
    put("unix:/tmp/guest-agent.sock", agent.address());
    run(rust::block6::main);
    symlink(agent.path(), agent.file("guest-agent.sock")).unwrap();
    let listed = shell(&shell_block("--example guest_exec"), agent.folder());
    assert!(listed.contains("root") && listed.contains("etc"), "{listed}");
}

#[test]
fn qemu_has_a_channel_for_an_agent() {
    let Some(setup) = Setup::bare() else { return };
    drop(setup);
    let (command, channel) = (shell_block("qemu-system-x86_64 "), shell_block("-chardev "));
    let command = command.lines().next().unwrap().trim_end_matches(" &");
    let server =
        Setup::written(&format!("{command} {}", channel.replace("\\\n", " "))).unwrap().start();
    let chardevs = server.connect().query("chardev").unwrap();
    let socket = format!("{}/guest-agent.sock", server.folder().display());
    assert!(chardevs.as_str().unwrap().contains(&socket), "{}", chardevs.display());
    UnixStream::connect(socket).unwrap();
}

#[test]
fn a_tray_opens_and_the_event_is_its_own() {
    let Some(setup) = qemu() else { return };
    let server = setup.start();
    let client = server.connect();
    run(move || rust::block7::eject(&client));
}

#[test]
fn a_machine_of_ones_own_stands_in_for_qemu() {
    run(rust::block8::main);
}

/// The quickstart's lines, sorted and without versions: the place of events varies.
fn steps(text: &str) -> Vec<String> {
    let mut steps: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("connecting"))
        .map(|line| {
            if line.starts_with("version   QEMU ") { "version".to_owned() } else { line.to_owned() }
        })
        .collect();
    steps.sort();
    steps
}

#[test]
fn the_quickstart_prints_what_is_shown() {
    if Setup::bare().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let printed = shell(written("sh")[0].text.as_str(), folder.path());
    assert_eq!(steps(&printed), steps(&written("text")[1].text));
    let printed = shell(&written("sh")[1].text, folder.path());
    // QEMU is not its child there, so two lines are missing.
    let mut shown = steps(&written("text")[1].text);
    shown.retain(|step| !step.starts_with("started") && !step.starts_with("QEMU"));
    assert_eq!(steps(&printed), shown);
}

#[test]
fn the_shell_answers_as_is_shown() {
    let Some(setup) = qemu() else { return };
    let server = setup.start();
    let block = shell_block("(QEMU) ");
    let [start, typed, answer] = *block.lines().collect::<Vec<_>>() else { panic!("{block}") };
    let mut words = line(start, server.folder());
    words = words.trim().to_owned();
    let (program, address) = words.rsplit_once(' ').unwrap();
    let mut command = Command::new(program.trim());
    command.arg(address).env("NO_COLOR", "1");
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(command, home.path());
    let (prompt, typed) = typed.split_at("(QEMU) ".len());
    terminal.expect_line(prompt);
    terminal.type_text(typed);
    terminal.press('\r');
    terminal.expect(answer);
    terminal.expect_line(prompt);
}

/// Ends a QEMU through an example at an address.
#[track_caller]
fn quit_at(address: &str, server: &mut Server) {
    let client = patient().connect(address).unwrap();
    client.execute(&QueryStatus).unwrap();
    client.execute(&Quit).unwrap();
    drop(client);
    assert!(server.wait().success());
}

#[test]
fn a_session_is_recorded() {
    let Some(setup) = qemu() else { return };
    let mut server = setup.start();
    let folder = server.folder().to_owned();
    let record = start("record", &shell_block("--example record"), &folder);
    record.line();
    quit_at(&format!("unix:{}/session.trace.sock", folder.display()), &mut server);
    let (lines, status) = record.end();
    assert!(status.success(), "{lines:?}");
    let trace = fs::read_to_string(folder.join("session.trace")).unwrap();
    assert!(trace.contains("query-status"), "{trace}");
}

#[test]
fn a_monitor_is_shared() {
    let Some(setup) = qemu() else { return };
    let mut server = setup.start();
    let folder = server.folder().to_owned();
    let share = start("share", &shell_block("--example share"), &folder);
    share.line();
    let address = format!("unix:{}/shared.sock", folder.display());
    let other = patient().connect(&*address).unwrap();
    other.execute(&QueryStatus).unwrap();
    quit_at(&address, &mut server);
    drop(other);
    assert!(share.end().1.success());
}

/// Each manifest names existing crates and features, also in its commented lines.
#[test]
fn the_manifests_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("");
    for block in written("toml") {
        let dependencies = match block.text.starts_with('[') {
            true => block.text,
            false => format!("[dependencies]\n{}", block.text),
        };
        let uncommented = dependencies.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        });
        let dependencies =
            uncommented.collect::<String>().replace("../qmp/", root.to_str().unwrap());
        let package =
            "[package]\nname = \"reader\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), "").unwrap();
        fs::write(folder.path().join("Cargo.toml"), format!("{package}{dependencies}")).unwrap();
        fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["tree", "--offline"]).current_dir(&folder);
        let output = within(move || cargo.output()).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{dependencies}\n{errors}");
    }
}
