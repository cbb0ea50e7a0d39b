//! C23: real QEMU with a guest agent's channel, and no agent behind it: the guest has no system. And
//! what is no channel for an agent at all.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

use std::time::{Duration, Instant};

use qmp_blocking::{Address, ConnectError, Dialect, Evidence};
use qmp_tests::qemu::{Monitor, Setup, patient, within};

const SHORT: Duration = Duration::from_millis(300);

/// Why no agent was found there.
fn searched(address: Address) -> ConnectError {
    let start = Instant::now();
    let error = within(move || patient().deadline(SHORT).connect_guest_agent(address).unwrap_err());
    assert!(start.elapsed() >= SHORT, "{error}");
    error
}

fn is_silent(error: &ConnectError) {
    let ConnectError::NoAgent { waited, evidence: None } = error else { panic!("{error:?}") };
    assert!(*waited >= SHORT);
    let text = error.to_string();
    assert!(text.starts_with("connected, but no guest agent answered in "), "{text}");
    assert!(text.contains("is qemu-ga running in the guest?"), "{text}");
}

#[test]
fn c23_a_guest_without_an_agent_is_told_in_words() {
    let Some(setup) = Setup::q35() else { return };
    let path = setup.folder().join("agent");
    let chardev = format!("socket,id=agent,path={},server=on,wait=off", path.display());
    let port = "virtserialport,chardev=agent,name=org.qemu.guest_agent.0";
    let server =
        setup.args(["-device", "virtio-serial-pci", "-chardev", &chardev, "-device", port]).start();
    // One after the other: none leaves anything behind that would keep the next one out.
    for _ in 0..3 {
        is_silent(&searched(Address::from(path.clone())));
    }
    drop(server);
}

/// A monitor greets, and refuses what is no command of its own: that is no agent.
#[test]
fn c23_a_monitor_is_no_guest_agent() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let error = searched(server.address().clone());
    assert!(matches!(error, ConnectError::NoAgent { evidence: Some(Evidence::Greeting), .. }));
    let text =
        "; instead came the greeting of a monitor, which speaks QMP: connect to it as to a monitor";
    assert!(error.to_string().ends_with(text), "{error}");
    // Nor does it matter to the monitor.
    let client = patient().connect(server.address()).unwrap();
    client.query("status").unwrap();
}

#[test]
fn c23_nobody_listens_for_a_guest_agents_client() {
    let folder = tempfile::tempdir().unwrap();
    let builder = patient().deadline(SHORT).dialect(Dialect::GuestAgent);
    let error = builder.connect(folder.path().join("agent").as_path()).unwrap_err();
    let ending = "is QEMU running, with a -chardev for its guest agent there?";
    assert!(error.to_string().ends_with(ending), "{error}");
}
