//! What errors say, word by word.
#![forbid(unsafe_code)]

use std::error::Error;

use qmp_proto::{
    CloseReason, CommandError, ErrorClass, ExecuteError, IoFailure, JsonFault, NotQmp, Refusal,
    Violation,
};

/// The text of an error, and that of its source.
#[track_caller]
fn says(error: impl Error, text: &str, source: Option<&str>) {
    assert_eq!(error.to_string(), text);
    assert_eq!(error.source().map(ToString::to_string).as_deref(), source);
}

/// A reason that says what its source says.
#[track_caller]
fn passes_on(reason: impl Error, text: &str) {
    says(reason, text, Some(text));
}

#[test]
fn c22_how_a_connection_ended() {
    says(CloseReason::Requested, "closed on request", None);
    says(CloseReason::Quit, "closed after quit", None);
    says(CloseReason::Eof { mid_message: false }, "the server closed the connection", None);
    let torn = "the server closed the connection in the middle of a message";
    says(CloseReason::Eof { mid_message: true }, torn, None);
    passes_on(CloseReason::Failed(IoFailure::Reset), "the server reset the connection");
    let failed = "the transport failed (OS error 5)";
    passes_on(CloseReason::Failed(IoFailure::Os(5)), failed);
    let abandoned = "nobody drives the connection any more: its driver was dropped or panicked";
    passes_on(CloseReason::Failed(IoFailure::DriverGone), abandoned);
    says(CloseReason::CallbackPanicked("no".into()), "a callback panicked: no", None);
    says(
        CloseReason::NegotiationRefused(CommandError::generic("no")),
        "the server refused qmp_capabilities: GenericError: no",
        Some("GenericError: no"),
    );
}

#[cfg(feature = "std")]
#[test]
fn c22_what_an_error_of_the_operating_system_is() {
    use std::io;
    let failure = |error: io::Error| IoFailure::from(&error);
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    for kind in [ConnectionReset, BrokenPipe] {
        assert_eq!(failure(kind.into()), IoFailure::Reset);
    }
    assert_eq!(failure(UnexpectedEof.into()), IoFailure::Eof);
    assert_eq!(failure(io::Error::from_raw_os_error(5)), IoFailure::Os(5));
    let text = |error| CloseReason::Failed(failure(error)).to_string();
    let untold = io::ErrorKind::InvalidData.into();
    assert_eq!(text(untold), "the transport failed: invalid data");
    let told = io::Error::new(io::ErrorKind::InvalidData, "no \u{1b}[2Jcertificate");
    assert_eq!(text(told), "the transport failed: invalid data: no \\u001b[2Jcertificate");
    let endless = io::Error::other("x".repeat(1_000_000));
    assert!(text(endless).len() < 300);
}

#[test]
fn c7_who_it_was_instead() {
    for (speaker, text) in [
        (NotQmp::HumanMonitor, "this is QEMU's human monitor; use -qmp, or mode=control with -mon"),
        (NotQmp::Telnet, "this is telnet; leave out telnet=on"),
        (NotQmp::Ssh, "this is an SSH server"),
        (NotQmp::Http, "this is an HTTP server"),
        (NotQmp::Vnc, "this is a VNC server"),
        (NotQmp::OtherJson, "a JSON object came that is not a QMP message"),
        (NotQmp::Unknown { said: "".into() }, "expected a JSON object, found a string"),
        (
            NotQmp::Unknown { said: "char device redirected".into() },
            "expected a JSON object, found \"char device redirected\"",
        ),
    ] {
        passes_on(CloseReason::NotQmp(speaker), &format!("no QMP server: {text}"));
    }
}

#[test]
fn c3_c5_c6_what_a_server_did() {
    let error = CommandError::new(ErrorClass::Other("New".into()), "no");
    for (violation, text) in [
        (Violation::TooLarge { limit: 9 }, "a message is larger than max_message (9 bytes)"),
        (
            Violation::TooDeep { limit: 9, offset: 7 },
            "a message is nested deeper than max_depth (9 levels) at byte 7",
        ),
        (Violation::TooManyMembers { limit: 9 }, "a message has more than 9 members"),
        (Violation::MismatchedBracket { offset: 7 }, "mismatched bracket at byte 7 of a message"),
        (Violation::Garbage { byte: 0xfe }, "expected a JSON object, found the byte 0xfe"),
        (
            Violation::Envelope { member: "", expected: "a name" },
            "unreadable message: expected a name",
        ),
        (
            Violation::Envelope { member: "event", expected: "a string" },
            "unreadable message: expected a string in \"event\"",
        ),
        (Violation::SecondGreeting, "a second greeting: the server has restarted"),
        (
            Violation::TooManyGreetings { limit: 9 },
            "more than 9 greetings came, and no reply to qmp_capabilities",
        ),
        (
            Violation::UnattributableError(error),
            "an error without an id, which any command may have caused: New: no",
        ),
    ] {
        passes_on(CloseReason::Violation(violation), text);
    }
}

#[test]
fn c22_why_a_command_was_refused() {
    for (refusal, text) in [
        (
            Refusal::OobNotNegotiated,
            "out-of-band execution was not negotiated: it has to be asked for (`oob`)",
        ),
        (Refusal::NoDescriptors, "this transport cannot pass a file descriptor"),
        (Refusal::DescriptorOutOfBand, "an out-of-band command cannot carry a file descriptor"),
        (Refusal::TooLarge, "the command is larger than QEMU reads (64 MiB, 2 Mi tokens)"),
        (Refusal::TooDeep, "the command is nested deeper than QEMU reads (1,024 levels)"),
        (Refusal::QueueFull, "too many commands wait for their turn"),
        (Refusal::Closing, "the connection is closing"),
    ] {
        says(refusal, text, None);
    }
    says(
        Refusal::Closed(CloseReason::Requested),
        "the connection is closed: closed on request",
        Some("closed on request"),
    );
}

#[test]
fn c6_what_is_wrong_with_arguments() {
    for (fault, text) in [
        (JsonFault::Syntax { offset: 7 }, "no JSON at byte 7"),
        (JsonFault::NotAnObject, "they must be a JSON object"),
        (JsonFault::NotSerializable, "they cannot be written as JSON"),
        (
            JsonFault::DuplicateMember { offset: 7 },
            "a member stands twice in the object that ends at byte 7",
        ),
        (JsonFault::LoneSurrogate { offset: 7 }, "half a surrogate pair at byte 7"),
        (
            JsonFault::Number { offset: 7 },
            "a zero with an exponent, which QEMU does not read, before byte 7",
        ),
        (JsonFault::Noncharacter { offset: 7 }, "a Unicode noncharacter at byte 7"),
    ] {
        let refusal = format!("the arguments cannot be sent: {fault}");
        says(Refusal::InvalidJson(fault), &refusal, Some(text));
    }
}

#[test]
fn c17_how_a_command_ended() {
    let reason = || CloseReason::Requested;
    says(
        ExecuteError::NotSent(reason()),
        "the command was not sent: closed on request",
        Some("closed on request"),
    );
    says(
        ExecuteError::Unanswered(reason()),
        "the command was sent, at least in part, and not answered: closed on request",
        Some("closed on request"),
    );
    passes_on(ExecuteError::Command(CommandError::generic("no")), "GenericError: no");
}

#[test]
fn c5_classes_are_read_as_they_are_written() {
    for name in [
        "GenericError",
        "CommandNotFound",
        "DeviceNotActive",
        "DeviceNotFound",
        "KVMMissingCap",
        "New",
    ] {
        assert_eq!(ErrorClass::from(name).as_str(), name);
    }
}
