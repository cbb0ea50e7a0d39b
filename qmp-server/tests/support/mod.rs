//! What the test files share: the recorded sessions, which are `qmp-proto`'s, and a server's connection played by hand.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file compiles its own copy and uses a part of it"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

#[path = "../../../qmp-proto/tests/support/mod.rs"]
pub mod recorded;
pub mod server;
