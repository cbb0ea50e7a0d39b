//! What `query-version` returns, for those who decode it with a type of their own.

use serde::Deserialize;

/// The version of a server.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "it is decoded to be decoded")]
pub struct Version {
    qemu: Numbers,
    package: String,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "it is decoded to be decoded")]
struct Numbers {
    major: i64,
    minor: i64,
    micro: i64,
}
