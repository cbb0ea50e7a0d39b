//! What a callback's panic does.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What a callback that panics does. The panic's message is on standard error in any case, or
/// wherever the program's panic hook puts it.
///
/// # Why `Close` is the default
///
/// A panic is a bug of the program's, and what the callback was to do is not done: nobody knows any
/// more whether the disk error was seen to, or the next command sent. To go on hides that, and
/// whoever waits for what the callback was to bring about waits for ever. To abort takes down the
/// hundred other machines that the process looks after. Closing the client is in between: the
/// damage stays with this connection, everyone who uses it learns why it ended, and the machine
/// itself runs on and takes the next client.
///
/// A program that is built with `panic = "abort"` aborts whatever is chosen here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnPanic {
    /// Ends the connection at once, with
    /// [`CloseReason::CallbackPanicked`](crate::CloseReason::CallbackPanicked): every command ends
    /// with it, and [`Client::closed`](crate::Client::closed) tells it.
    #[default]
    Close,
    /// Goes on: the callback is called again with its next event, in whatever state it left what it
    /// captured. With the feature `tracing` the panic is logged, at the level ERROR.
    Continue,
    /// Aborts the process.
    Abort,
}

/// Whether this thread is in a callback, whoever's.
pub(super) fn is_inside() -> bool {
    INSIDE.get()
}

/// Runs a callback; gives what it panicked with.
pub(super) fn run(callback: impl FnOnce()) -> Result<(), Arc<str>> {
    let before = INSIDE.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(callback));
    INSIDE.set(before);
    outcome.map_err(|payload| text(&*payload).into())
}

fn text(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "something that is no text",
    }
}
