//! A message is read as a naive reader reads it, and as serde_json does where it reads it at all.

/// The messages stand in a stream, one after the other.
pub fn check(data: &[u8]) {
    qmp_proto::fuzzing::message::check(data);
}
