//! A program in the guest, from its start to its output: what `guest_exec` of the adapters' clients
//! takes and gives, and the steps in between, without waiting for anything.

mod error;
mod exec;
mod output;
mod program;

pub use error::GuestExecError;
pub use exec::{Asked, Running, Step, start, wait};
pub use output::{GuestExitStatus, GuestOutput};
pub use program::GuestProgram;
