//! What the tests of every adapter need of each: how a program of its kind starts, runs parts of
//! itself at the same time, and waits.
//!
//! Tests that are one source, compiled once for each adapter, call one of these modules `runtime`.
#![allow(clippy::unwrap_used, reason = "a test's panic is its failure")]

/// Threads.
pub mod blocking {
    use std::fs::File;
    use std::future::Future;
    use std::process::{Child, ExitStatus};
    use std::thread::{self, JoinHandle};

    use qmp_blocking::{Event, Events, Lagged};
    use smol::future::block_on;

    use crate::scripted::Watched;

    /// Runs a story to its end.
    pub fn tell(story: impl Future<Output = ()>) {
        let _watched = Watched::new();
        block_on(story);
    }

    /// Runs a part beside the rest.
    pub fn start<T: Send + 'static>(
        part: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        thread::spawn(|| block_on(part))
    }

    /// What a part comes to.
    ///
    /// # Panics
    ///
    /// As the part did.
    pub async fn finish<T>(part: JoinHandle<T>) -> T {
        part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The next event.
    pub async fn next(events: &mut Events) -> Option<Result<Event, Lagged>> {
        events.next()
    }

    /// Waits for a child's end.
    pub async fn ended(mut child: Child) -> ExitStatus {
        child.wait().unwrap()
    }

    /// A pipe, as the adapter reads and writes it.
    pub fn stream(pipe: File) -> File {
        pipe
    }
}

/// Tasks on smol.
pub mod smol {
    use std::fs::File;
    use std::future::Future;
    use std::process::ExitStatus;

    use qmp_smol::process::Child;
    use qmp_smol::{Event, Events, Lagged};
    use smol::stream::StreamExt;
    use smol::{Async, Task};

    use crate::scripted::Watched;

    /// Runs a story to its end.
    pub fn tell(story: impl Future<Output = ()>) {
        let _watched = Watched::new();
        smol::block_on(story);
    }

    /// Runs a part beside the rest.
    pub fn start<T: Send + 'static>(part: impl Future<Output = T> + Send + 'static) -> Task<T> {
        smol::spawn(part)
    }

    /// What a part comes to.
    ///
    /// # Panics
    ///
    /// As the part did.
    pub async fn finish<T>(part: Task<T>) -> T {
        part.await
    }

    /// The next event.
    pub async fn next(events: &mut Events) -> Option<Result<Event, Lagged>> {
        StreamExt::next(events).await
    }

    /// Waits for a child's end.
    pub async fn ended(mut child: Child) -> ExitStatus {
        child.status().await.unwrap()
    }

    /// A pipe, as the adapter reads and writes it.
    pub fn stream(pipe: File) -> Async<File> {
        Async::new(pipe).unwrap()
    }
}

/// Tasks on async-std.
pub mod async_std {
    use std::future::Future;
    use std::process::ExitStatus;

    use async_std::fs::File;
    use async_std::stream::StreamExt;
    use async_std::task::{self, JoinHandle};
    use qmp_async_std::process::Child;
    use qmp_async_std::{Event, Events, Lagged};

    use crate::scripted::Watched;

    /// Runs a story to its end.
    pub fn tell(story: impl Future<Output = ()>) {
        let _watched = Watched::new();
        task::block_on(story);
    }

    /// Runs a part beside the rest.
    pub fn start<T: Send + 'static>(
        part: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        task::spawn(part)
    }

    /// What a part comes to.
    ///
    /// # Panics
    ///
    /// As the part did.
    pub async fn finish<T>(part: JoinHandle<T>) -> T {
        part.await
    }

    /// The next event.
    pub async fn next(events: &mut Events) -> Option<Result<Event, Lagged>> {
        StreamExt::next(events).await
    }

    /// Waits for a child's end.
    pub async fn ended(mut child: Child) -> ExitStatus {
        child.status().await.unwrap()
    }

    /// A pipe, as the adapter reads and writes it.
    pub fn stream(pipe: std::fs::File) -> File {
        pipe.into()
    }
}
