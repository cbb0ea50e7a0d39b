//! What moves the bytes of an async client.
//!
//! `task_io` is shared by clients and `driver`. `bell` wakes whoever is to receive. `transport` is the interface to
//! `streams` and to sockets, and `scratch` has each thread's buffer for reading.

pub(crate) mod task_io;
pub(crate) mod driver;
pub(crate) mod bell;
pub(crate) mod transport;
pub(crate) mod streams;
pub(crate) mod scratch;
