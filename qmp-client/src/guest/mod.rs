//! A program in the guest, from its start to its output: what `guest_exec` of the adapters' clients
//! takes and gives, and the steps in between, without waiting for anything.

// What to run (`program`), how it ended (`output`), the steps in between (`exec`), why they fail (`error`), and `base64`, in
// which an agent sends and receives bytes.
mod program;
mod output;
mod exec;
mod error;
pub mod base64;

pub use error::GuestExecError;
pub use exec::{Asked, Running, Step, start, wait};
pub use output::{GuestExitStatus, GuestOutput};
pub use program::GuestProgram;
