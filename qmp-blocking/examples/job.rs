//! Follows a block job from start to finish: copies a disk of 256 MiB, with a progress bar.
//! `query-jobs` tells how far it is, and `JOB_STATUS_CHANGE` when to look.
//!
//! ```sh
//! cargo run -p qmp-blocking --example job                       # starts a QEMU
//! cargo run -p qmp-blocking --example job -- unix:/tmp/vm.sock  # one on this host, or a qemu-storage-daemon
//! ```
//!
//! ```text
//! [██████████████░░░░░░░░░░] 149.00 MiB of 256.00 MiB, 121.20 MiB/s
//! ```

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use qmp_blocking::{Builder, Client, Events, Request, commands::Quit, printable};
use serde_json::json;

const SIZE: u64 = 256 << 20;

/// What is used here of what `query-jobs` says of a job.
#[derive(serde::Deserialize)]
struct Job {
    id: String,
    status: String,
    #[serde(rename = "current-progress")]
    progress: u64,
    error: Option<String>,
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    if let Some(address) = std::env::args().nth(1) {
        let (client, events) = qmp_blocking::connect_with_events(&address)?;
        return copy(&client, events);
    }
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "none", "-nodefaults", "-display", "none"]);
    let (client, events, mut child) = Builder::new().spawn_with_events(qemu)?;
    copy(&client, events)?;
    client.execute(&Quit)?;
    Ok(child.wait().map(drop)?)
}

fn copy(client: &Client, mut events: Events) -> Result<(), Box<dyn Error>> {
    let run = |name, arguments| client.execute_request(Request::new(name).arguments(arguments));
    let file = tempfile::NamedTempFile::new()?;
    file.as_file().set_len(SIZE)?;
    run("blockdev-add", json!({"node-name": "from", "driver": "null-co", "size": SIZE}))?;
    run("blockdev-add", json!({"node-name": "to", "driver": "file", "filename": file.path()}))?;
    let backup = json!({"job-id": "copy", "device": "from", "target": "to", "sync": "full",
        "speed": SIZE / 2, "auto-dismiss": false});
    run("blockdev-backup", backup)?;
    let style = "[{bar:24}] {bytes} of {total_bytes}, {bytes_per_sec}";
    let bar = ProgressBar::new(SIZE).with_style(ProgressStyle::with_template(style)?);
    let ended = loop {
        let jobs: Vec<Job> = client.query("jobs")?.parse()?;
        let job = jobs.into_iter().find(|job| job.id == "copy").ok_or("the job is gone")?;
        bar.set_position(job.progress);
        match &*job.status {
            "concluded" => break job,
            // Until something changes, at the latest when the bar is to move.
            _ => events.next_timeout(Duration::from_millis(100)),
        };
    };
    bar.finish();
    run("job-dismiss", json!({"id": "copy"}))?;
    run("blockdev-del", json!({"node-name": "to"}))?;
    run("blockdev-del", json!({"node-name": "from"}))?;
    println!("copied {} of {SIZE} bytes", ended.progress);
    ended.error.map_or(Ok(()), |error| Err(printable(&error).to_string().into()))
}
