//! One story, told through each adapter: one source, compiled once for each of them.
//!
//! The chapters name an adapter `qmp`, and differ in nothing else but what `wait!` means: a call of
//! the blocking adapter has waited when it returns, one of the others gives a future. So a name, a
//! signature or a meaning that drifts in one of them does not compile here, or fails.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]
#![allow(clippy::duplicate_mod, reason = "that is what this is about")]

/// Waits for what a call of the adapter's leads to.
macro_rules! wait {
    ($call:expr) => {
        $call
    };
}

#[path = "story"]
mod blocking {
    use qmp_blocking as qmp;
    use qmp_tests::adapters::blocking as runtime;

    #[path = "chapters.rs"]
    mod chapters;
}

// From here on a call gives a future.
macro_rules! wait {
    ($call:expr) => {
        $call.await
    };
}

#[path = "story"]
mod smol {
    use qmp_smol as qmp;
    use qmp_tests::adapters::smol as runtime;

    #[path = "chapters.rs"]
    mod chapters;
}

#[path = "story"]
mod async_std {
    use qmp_async_std as qmp;
    use qmp_tests::adapters::async_std as runtime;

    #[path = "chapters.rs"]
    mod chapters;
}
