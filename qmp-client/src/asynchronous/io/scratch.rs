//! A buffer to receive into, one for each thread: a connection that is idle has none.

use std::cell::RefCell;

/// What is received at once, in bytes.
const SIZE: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the thread's buffer. What is in it does not last.
pub(crate) fn with<T>(receive: impl FnOnce(&mut [u8]) -> T) -> T {
    // Lent already, or gone with the end of the thread: a new one.
    let mut buffer = BUFFER
        .try_with(|buffer| buffer.try_borrow_mut().map(|mut buffer| std::mem::take(&mut *buffer)))
        .map_or_else(|_| Vec::new(), Result::unwrap_or_default);
    buffer.resize(SIZE, 0);
    let outcome = receive(&mut buffer);
    let _ = BUFFER.try_with(|kept| kept.replace(buffer));
    outcome
}
