//! How to do things right that are easily done wrong: one page for each.
//!
//! - [`events`]: to wait for an event without a race, and to follow a machine without a gap.
//! - [`timeouts`]: to give up waiting, and what is known then.
//! - [`descriptors`]: to hand open files to QEMU, and what becomes of them there.
//! - [`out_of_band`]: to be heard while QEMU is blocked.
//! - [`connecting`]: where a monitor is, why nobody answers there, and how to come back.
//! - [`testing`]: to test your own program without QEMU.
//!
//! For those who come from another client:
//!
//! - [`from_qapi`]: from qapi-rs, the crate `qapi`.
//! - [`from_qemu_qmp`]: from Python's `qemu.qmp`.
//! - [`predecessor`](crate::predecessor): from `qmp_client`, the Ruby library.
//!
//! The differences for tasks are in `qmp_client::asynchronous::guide`; event loops of one's own, and fuzzing, in
//! [`qmp_proto::guide`]. The code on these pages runs as tests.

#[doc = include_str!("connecting.md")]
pub mod connecting {}
#[doc = include_str!("descriptors.md")]
pub mod descriptors {}
#[doc = include_str!("events.md")]
pub mod events {}
#[doc = include_str!("from_qapi.md")]
pub mod from_qapi {}
#[doc = include_str!("from_qemu_qmp.md")]
pub mod from_qemu_qmp {}
#[doc = include_str!("out_of_band.md")]
pub mod out_of_band {}
#[doc = include_str!("testing.md")]
pub mod testing {}
#[doc = include_str!("timeouts.md")]
pub mod timeouts {}
