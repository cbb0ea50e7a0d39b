//! C7 and C20: why there is no connection, and which step was not reached.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use qmp_tests::scripted::{GREETING, PATIENCE, Peer, event_text, pair};
use rustix::net::{AddressFamily, SocketType};

use super::qmp::{Builder, CloseReason, CommandError, ConnectError, Evidence, NotQmp};
use super::runtime::tell;
use super::{heard, qmp};

const SHORT: Duration = Duration::from_millis(50);

/// Time enough to read a greeting that has been sent, on a busy machine too.
const LONGER: Duration = Duration::from_millis(500);

/// The error of a client to whom a server has said this before it came, and then does that.
async fn error_of(
    deadline: Duration,
    said: &'static str,
    then: impl FnOnce(&mut Peer) + Send + 'static,
) -> ConnectError {
    let (say, is_said) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.send(said);
        say.send(()).unwrap();
        then(peer);
    });
    heard(&is_said);
    let error = wait!(Builder::new().deadline(deadline).from_stream(socket)).unwrap_err();
    script.join();
    error
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
        let failed = || Evidence::Error(CommandError::generic("no").into());
        for (said, came) in [
            ("", None),
            (r#"{"QMP": {"version": "#, Some(Evidence::Noise(20))),
            (r#"{"return": {}, "id": 7}"#, Some(Evidence::Reply)),
            (r#"{"error": {"class": "GenericError", "desc": "no"}}"#, Some(failed())),
        ] {
            let error = error_of(SHORT, said, Peer::expect_eof).await;
            let ConnectError::NoGreeting { waited, evidence } = &error else { panic!("{error:?}") };
            assert!((SHORT..PATIENCE).contains(waited), "it waited {waited:?}");
            assert_eq!(*evidence, came);
            let text = error.to_string();
            let instead =
                came.map(|came| format!("; instead came {came}: ")).unwrap_or(": ".into());
            assert!(text.contains(&format!("s{instead}QEMU may")), "{text}");
            for cause in
                ["starting", "stopped", "another client", "websocket", "TLS", "guest agent"]
            {
                assert!(text.contains(cause), "{text}");
            }
        }
    });
}

#[test]
fn c20_no_capabilities() {
    tell(async {
        let error = error_of(LONGER, GREETING, |peer| {
            peer.expect("qmp_capabilities");
            // None of these is the answer. It may have given up by then.
            peer.try_send(event_text("STOP", "{}"));
            peer.try_send(r#"{"return": {}, "id": "another's"}"#);
            peer.try_send(r#"{"error": {"class": "GenericError", "desc": "what?"}}"#);
            peer.expect_eof();
        });
        let error = error.await;
        let ConnectError::NoCapabilities { waited, evidence } = &error else { panic!("{error:?}") };
        assert!((LONGER..PATIENCE).contains(waited), "it waited {waited:?}");
        assert_eq!(*evidence, Some(Evidence::Error(CommandError::generic("what?").into())));
        let text = error.to_string();
        assert!(text.contains("; instead came the error GenericError: what?: "), "{text}");
    });
}

#[test]
fn c20_an_error_before_the_end_is_reported() {
    tell(async {
        let error = error_of(PATIENCE, GREETING, |peer| {
            peer.expect("qmp_capabilities");
            peer.send(r#"{"error": {"class": "GenericError", "desc": "too many"}}"#);
        });
        let error = error.await;
        let ConnectError::Ended { reason, evidence } = &error else { panic!("{error:?}") };
        assert_eq!(*reason, CloseReason::Eof { mid_message: false });
        assert_eq!(*evidence, Some(Evidence::Error(CommandError::generic("too many").into())));
        let text = error.to_string();
        assert!(text.ends_with("; the server had sent the error GenericError: too many"), "{text}");
    });
}

#[test]
fn c20_a_refused_negotiation_is_told_in_the_servers_words() {
    tell(async {
        let error = error_of(PATIENCE, GREETING, |peer| {
            let negotiation = peer.expect("qmp_capabilities");
            peer.fail(&negotiation, "GenericError", "Capability oob is unavailable");
            peer.expect_eof();
        });
        let text = error.await.to_string();
        let refused = "refused qmp_capabilities: GenericError: Capability oob is unavailable";
        assert!(text.ends_with(refused), "{text}");
    });
}

#[test]
fn c20_a_server_that_goes_away_is_no_matter_of_time() {
    tell(async {
        let (socket, script) = pair(|peer| peer.send(r#"{"QMP""#));
        let patient = Builder::new().deadline(Duration::MAX);
        let error = wait!(patient.from_stream(socket)).unwrap_err();
        let ended = CloseReason::Eof { mid_message: true };
        assert!(
            matches!(&error, ConnectError::Ended { reason, .. } if *reason == ended),
            "{error:?}"
        );
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
        let ConnectError::Ended { reason: CloseReason::NotQmp(what), .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(what, NotQmp::HumanMonitor);
        script.join();
    });
}
