//! What errors say, word by word.
#![forbid(unsafe_code)]

use std::error::Error;

use qmp_proto::IoFailure;
use qmp_server::{CloseReason, RespondError};

/// The text of an error, and that of its source.
#[track_caller]
fn says(error: impl Error, text: &str, source: Option<&str>) {
    assert_eq!(error.to_string(), text);
    assert_eq!(error.source().map(ToString::to_string).as_deref(), source);
}

#[test]
fn how_a_client_left() {
    says(CloseReason::Requested, "closed on request", None);
    says(CloseReason::Eof { mid_message: false }, "the client left", None);
    let torn = "the client left in the middle of a command";
    says(CloseReason::Eof { mid_message: true }, torn, None);
    says(CloseReason::Failed(IoFailure::Reset), "the client reset the connection", None);
    let failed = "the transport failed (OS error 5)";
    says(CloseReason::Failed(IoFailure::Os(5)), failed, None);
}

#[test]
fn why_a_server_cannot_answer() {
    says(RespondError::NotOutstanding, "no such command waits for an answer", None);
    let text = "what was to be returned cannot be written as JSON";
    says(RespondError::NotSerializable, text, None);
}
