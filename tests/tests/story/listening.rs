//! QEMU connects to us, and comes again.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use qmp_tests::qemu::{DEADLINE, Monitor, Setup, has_chardev_option};
use qmp_tests::scripted::GREETING;

use super::qmp::commands::{Cont, QueryStatus, Quit, RunState};
use super::qmp::{
    Address, Builder, CloseReason, CommandError, ConnectError, Dialect, Evidence, Listener,
};
use super::runtime::tell;
use super::{next_event, patient, qmp};

async fn refused(address: impl Into<Address>) -> String {
    match wait!(qmp::listen(address.into())) {
        Err(error @ ConnectError::Io(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The options by which a chardev connects again, a while after it was closed. QEMU 10.0 has both,
/// 5.2 only the first, 11.1 only the second.
const AGAIN: [(&str, &str); 2] = [("reconnect", "1"), ("reconnect-ms", "100")];

/// Each way in which the QEMU at hand connects to the listener, and again.
async fn qemu_comes_to(listener: &Listener, target: &str) {
    let Some(setup) = Setup::bare() else { return };
    let asked = setup.monitor(Monitor::Unix).start();
    let asked = asked.connect();
    let offered = AGAIN.iter().filter(|(option, _)| has_chardev_option(&asked, option));
    let offered: Vec<_> = offered.collect();
    assert!(!offered.is_empty());
    for (option, value) in offered {
        comes_again(listener, &format!("{target},server=off,{option}={value}")).await;
    }
}

/// QEMU with a monitor that connects to the listener, and again after it was closed.
async fn comes_again(listener: &Listener, options: &str) {
    let setup = Setup::bare().unwrap();
    let chardev = format!("socket,id=back,{options}");
    let setup = setup.args(["--chardev", &chardev, "-mon", "chardev=back,mode=control"]);
    let mut server = setup.start();

    let (client, mut events) = wait!(listener.accept_with_events(DEADLINE)).unwrap();
    wait!(client.execute(&Cont)).unwrap();
    assert_eq!(next_event(&mut events).await.name(), "RESUME");
    wait!(client.close(DEADLINE)).unwrap();

    // The same machine, and a session of its own.
    let client = wait!(listener.accept(DEADLINE)).unwrap();
    assert_eq!(client.greeting().capabilities, ["oob"]);
    assert_eq!(wait!(client.execute(&QueryStatus)).unwrap().status, RunState::Running);
    wait!(client.execute(&Quit)).unwrap();
    assert_eq!(wait!(client.closed()), CloseReason::Quit);
    assert!(server.wait().success());
}

#[test]
fn qemu_comes_to_a_unix_socket_and_again() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("back.sock");
        let listener = wait!(patient().listen(path.as_path())).unwrap();
        qemu_comes_to(&listener, &format!("path={}", path.display())).await;
        drop(listener);
        assert!(!path.exists(), "it removes its file");
    });
}

#[test]
fn qemu_comes_to_a_tcp_port_and_again() {
    tell(async {
        let listener = wait!(patient().listen("tcp:127.0.0.1:0")).unwrap();
        let Address::Tcp { host, port } = listener.address().clone() else { panic!() };
        qemu_comes_to(&listener, &format!("host={host},port={port}")).await;
    });
}

#[test]
fn c20_nobody_comes() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("back.sock");
        let listener = wait!(qmp::listen(path.as_path())).unwrap();
        let error = wait!(listener.accept(Duration::from_millis(20))).unwrap_err();
        assert!(matches!(&error, ConnectError::NobodyCame { .. }), "{error}");
        let hint = format!("is QEMU running with -qmp unix:{},server=off?", path.display());
        assert!(error.to_string().ends_with(&hint), "{error}");

        let builder = Builder::new().dialect(Dialect::GuestAgent);
        drop(listener);
        let listener = wait!(builder.listen(path.as_path())).unwrap();
        let error = wait!(listener.accept(Duration::from_millis(20))).unwrap_err();
        let hint =
            "is QEMU running with a -chardev socket,server=off for its guest agent, to unix:";
        assert!(error.to_string().contains(hint), "{error}");
    });
}

/// It is the last one that counts.
#[test]
fn c20_a_listener_reports_how_the_last_connection_ended() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("back.sock");
        let listener = wait!(qmp::listen(path.as_path())).unwrap();
        let left = |said: &str| {
            UnixStream::connect(&path).unwrap().write_all(said.as_bytes()).unwrap();
        };
        let text = |error: &ConnectError| {
            let text = error.to_string();
            assert!(text.starts_with("no server became ready in "), "{text}");
            let ended = format!(": the last connection to unix:{} ended: ", path.display());
            assert!(text.contains(&ended), "{text}");
            text
        };
        left("{");
        left(&format!(
            "{GREETING}{}",
            r#"{"error": {"class": "GenericError", "desc": "too many"}}"#
        ));
        let error = wait!(listener.accept(Duration::from_millis(20))).unwrap_err();
        let ConnectError::NobodyCame { reason, evidence, .. } = &error else { panic!("{error:?}") };
        assert!(reason.as_ref().is_some_and(CloseReason::is_by_server), "{error:?}");
        assert_eq!(*evidence, Some(Evidence::Error(CommandError::generic("too many").into())));
        let sent = "; the server had sent the error GenericError: too many";
        assert!(text(&error).ends_with(sent), "{error}");

        left("");
        let error = wait!(listener.accept(Duration::from_millis(20))).unwrap_err();
        let hint = ": the server closed the connection; is QEMU quitting, or failing at its start?";
        assert!(text(&error).ends_with(hint), "{error}");
    });
}

/// Who comes and is no QEMU does not keep others away, and who leaves at once is nobody.
#[test]
fn c20_after_somebody_else_the_listener_goes_on() {
    tell(async {
        let builder = patient().deadline(Duration::from_millis(20));
        let listener = wait!(builder.listen("tcp::0")).unwrap();
        let Address::Tcp { host, port } = listener.address().clone() else { panic!() };
        assert_eq!(host, "127.0.0.1", "QEMU takes no empty host");
        let silent = TcpStream::connect((host.as_str(), port)).unwrap();
        let error = wait!(listener.accept(DEADLINE)).unwrap_err();
        assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error}");
        drop(silent);
        drop(TcpStream::connect((host.as_str(), port)).unwrap());
        let error = wait!(listener.accept(Duration::from_millis(20))).unwrap_err();
        assert!(matches!(error, ConnectError::NobodyCame { .. }), "{error}");
    });
}

/// What is left behind is replaced; what is in use, or no socket, is not.
#[test]
fn c20_where_one_may_listen() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("back.sock");
        drop(UnixListener::bind(&path).unwrap());
        let listener = wait!(qmp::listen(path.as_path())).unwrap();
        let used = refused(path.as_path()).await;
        let what = format!("cannot listen at unix:{}: another program listens", path.display());
        assert!(used.contains(&what), "{used}");
        // To find that out, it has connected and left: that is nobody's coming.
        let error = wait!(listener.accept(Duration::from_millis(20))).unwrap_err();
        assert!(matches!(error, ConnectError::NobodyCame { .. }), "{error}");

        // Another's file in the place of ours stays.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        drop(listener);
        assert!(path.exists());
        let file = refused(path.as_path()).await;
        assert!(file.ends_with("the file is not a socket"), "{file}");
        refused(Address::Stdio).await;
        refused(folder.path().join("none/back.sock")).await;
    });
}
