//! C7 and C20: why there is no connection, and which step was not reached.

use std::net::SocketAddr;
use std::time::Duration;

use qmp_tests::scripted::{PATIENCE, Peer, pair};
use rustix::net::{AddressFamily, SocketType};

use super::qmp;
use super::qmp::{Builder, CloseReason, ConnectError, NotQmp};
use super::runtime::tell;

const SHORT: Duration = Duration::from_millis(50);

/// The error of a client for whose connection a server does this.
async fn error_of(script: impl FnOnce(&mut Peer) + Send + 'static) -> ConnectError {
    let (socket, script) = pair(script);
    let error = wait!(Builder::new().deadline(SHORT).from_stream(socket)).unwrap_err();
    script.join();
    error
}

#[track_caller]
fn assert_waited(waited: Duration) {
    assert!((SHORT..PATIENCE).contains(&waited), "it waited {waited:?}");
}

#[test]
fn c20_no_socket_and_no_address() {
    tell(async {
        let hasty = Builder::new().deadline(SHORT);
        let error = wait!(hasty.connect("unix:/nonexistent/qmp.sock")).unwrap_err();
        assert!(matches!(error, ConnectError::NoSocket(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("no connection to unix:/nonexistent/qmp.sock in "), "{text}");
        let error = wait!(qmp::connect("udp:localhost:4444")).unwrap_err();
        assert!(matches!(error, ConnectError::Address(_)), "{error:?}");
        let error = wait!(qmp::connect("fd:1000000")).unwrap_err();
        assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
        // Bound, so that nobody else has the port; but nobody listens there.
        let bound = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&bound, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(&bound).unwrap()).unwrap();
        let error = wait!(hasty.connect(format!("tcp:{address}"))).unwrap_err();
        assert!(matches!(error, ConnectError::NoSocket(_)), "{error:?}");
    });
}

#[test]
fn c20_no_greeting_or_half_of_one() {
    tell(async {
        for said in ["", r#"{"QMP": {"version": "#] {
            let error = error_of(move |peer| {
                peer.send(said);
                peer.expect_eof();
            });
            let ConnectError::NoGreeting { waited } = error.await else { panic!() };
            assert_waited(waited);
        }
    });
}

#[test]
fn c20_no_capabilities() {
    tell(async {
        let error = error_of(|peer| {
            peer.say_hello();
            peer.expect("qmp_capabilities");
            // Neither of these is the answer.
            peer.event("STOP", "{}");
            peer.send(r#"{"return": {}, "id": "another's"}"#);
            peer.expect_eof();
        });
        let ConnectError::NoCapabilities { waited } = error.await else { panic!() };
        assert_waited(waited);
        let error = error_of(|peer| {
            peer.say_hello();
            let negotiation = peer.expect("qmp_capabilities");
            peer.fail(&negotiation, "GenericError", "Capability oob is unavailable");
            peer.expect_eof();
        });
        let text = error.await.to_string();
        assert!(text.ends_with("GenericError: Capability oob is unavailable"), "{text}");
    });
}

#[test]
fn c20_a_server_that_goes_away_is_no_matter_of_time() {
    tell(async {
        let (socket, script) = pair(|peer| peer.send(r#"{"QMP""#));
        let patient = Builder::new().deadline(Duration::MAX);
        let error = wait!(patient.from_stream(socket)).unwrap_err();
        let ended = CloseReason::Eof { mid_message: true };
        assert!(matches!(&error, ConnectError::Ended(reason) if *reason == ended), "{error:?}");
        script.join();
    });
}

#[test]
fn c7_what_is_no_qmp_is_named_at_once() {
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.send("QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ");
            // Nothing has been sent to it.
            peer.expect_eof();
        });
        let patient = Builder::new().deadline(Duration::MAX);
        let error = wait!(patient.from_stream(socket)).unwrap_err();
        let ConnectError::Ended(CloseReason::NotQmp(what)) = error else { panic!("{error:?}") };
        assert_eq!(what, NotQmp::HumanMonitor);
        script.join();
    });
}
