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

    #[path = "chapters.rs"]
    mod chapters;

    mod runtime {
        use std::fs::File;
        use std::future::Future;
        use std::process::{Child, ExitStatus};
        use std::thread::{self, JoinHandle};

        use qmp_blocking::{Event, Events, Lagged};
        use smol::future::block_on;

        pub(super) fn tell(story: impl Future<Output = ()>) {
            let _watched = qmp_tests::scripted::Watched::new();
            block_on(story);
        }

        pub(super) fn start<T: Send + 'static>(
            part: impl Future<Output = T> + Send + 'static,
        ) -> JoinHandle<T> {
            thread::spawn(|| block_on(part))
        }

        pub(super) async fn finish<T>(part: JoinHandle<T>) -> T {
            part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }

        pub(super) async fn next(events: &mut Events) -> Option<Result<Event, Lagged>> {
            events.next()
        }

        pub(super) async fn ended(mut child: Child) -> ExitStatus {
            child.wait().unwrap()
        }

        pub(super) fn stream(pipe: File) -> File {
            pipe
        }
    }
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

    #[path = "chapters.rs"]
    mod chapters;

    mod runtime {
        use std::fs::File;
        use std::future::Future;
        use std::process::ExitStatus;

        use ::smol::stream::StreamExt;
        use ::smol::{Async, Task};
        use qmp_smol::process::Child;
        use qmp_smol::{Event, Events, Lagged};

        pub(super) fn tell(story: impl Future<Output = ()>) {
            let _watched = qmp_tests::scripted::Watched::new();
            ::smol::block_on(story);
        }

        pub(super) fn start<T: Send + 'static>(
            part: impl Future<Output = T> + Send + 'static,
        ) -> Task<T> {
            ::smol::spawn(part)
        }

        pub(super) async fn finish<T>(part: Task<T>) -> T {
            part.await
        }

        pub(super) async fn next(events: &mut Events) -> Option<Result<Event, Lagged>> {
            StreamExt::next(events).await
        }

        pub(super) async fn ended(mut child: Child) -> ExitStatus {
            child.status().await.unwrap()
        }

        pub(super) fn stream(pipe: File) -> Async<File> {
            Async::new(pipe).unwrap()
        }
    }
}

#[path = "story"]
mod async_std {
    use qmp_async_std as qmp;

    #[path = "chapters.rs"]
    mod chapters;

    mod runtime {
        use std::future::Future;
        use std::process::ExitStatus;

        use ::async_std::fs::File;
        use ::async_std::stream::StreamExt;
        use ::async_std::task::{self, JoinHandle};
        use qmp_async_std::process::Child;
        use qmp_async_std::{Event, Events, Lagged};

        pub(super) fn tell(story: impl Future<Output = ()>) {
            let _watched = qmp_tests::scripted::Watched::new();
            task::block_on(story);
        }

        pub(super) fn start<T: Send + 'static>(
            part: impl Future<Output = T> + Send + 'static,
        ) -> JoinHandle<T> {
            task::spawn(part)
        }

        pub(super) async fn finish<T>(part: JoinHandle<T>) -> T {
            part.await
        }

        pub(super) async fn next(events: &mut Events) -> Option<Result<Event, Lagged>> {
            StreamExt::next(events).await
        }

        pub(super) async fn ended(mut child: Child) -> ExitStatus {
            child.status().await.unwrap()
        }

        pub(super) fn stream(pipe: std::fs::File) -> File {
            pipe.into()
        }
    }
}
