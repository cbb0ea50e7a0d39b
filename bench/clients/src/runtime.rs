//! The runtimes for tasks, as far as they differ.

use std::future::Future;
use std::path::Path;

use futures_lite::{AsyncRead, AsyncWrite};
use qmp_smol::Client;

/// A runtime, its sockets, and our client for it.
pub(crate) trait Runtime: 'static {
    type Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn block_on<T>(future: impl Future<Output = T>) -> T;
    fn spawn<T: Send + 'static>(
        future: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T>;
    fn socket(path: &Path) -> impl Future<Output = Self::Socket> + Send;
    fn client(path: &Path, oob: bool) -> impl Future<Output = Client> + Send;
}

/// Where a loop runs.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// In a task, as most of a program for tasks does.
    Task,
    /// In `block_on`, while the driver is a task of another thread's.
    Outside,
}

impl Place {
    pub(crate) fn run<R: Runtime, T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self {
            Self::Task => R::block_on(R::spawn(future)),
            Self::Outside => R::block_on(future),
        }
    }
}

pub(crate) enum Smol {}

impl Runtime for Smol {
    type Socket = smol::net::unix::UnixStream;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        smol::block_on(future)
    }

    fn spawn<T: Send + 'static>(
        future: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> {
        smol::spawn(future)
    }

    async fn socket(path: &Path) -> Self::Socket {
        Self::Socket::connect(path).await.expect("a server")
    }

    async fn client(path: &Path, oob: bool) -> Client {
        qmp_smol::Builder::new().oob(oob).connect(path).await.expect("a server")
    }
}

pub(crate) enum AsyncStd {}

impl Runtime for AsyncStd {
    type Socket = async_std::os::unix::net::UnixStream;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_std::task::block_on(future)
    }

    fn spawn<T: Send + 'static>(
        future: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> {
        async_std::task::spawn(future)
    }

    async fn socket(path: &Path) -> Self::Socket {
        Self::Socket::connect(path).await.expect("a server")
    }

    async fn client(path: &Path, oob: bool) -> Client {
        qmp_async_std::Builder::new().oob(oob).connect(path).await.expect("a server")
    }
}
