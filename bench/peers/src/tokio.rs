//! A runtime of tokio's in this thread.

use std::future::Future;
use std::rc::Rc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Shared by the parts of a scenario.
#[derive(Clone)]
pub(crate) struct Tokio(Rc<Runtime>);

impl Tokio {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Builder::new_current_thread().enable_all().build().expect("a runtime")))
    }

    /// Runs it outside a task.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.block_on(future)
    }

    /// Runs it in a task.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.block_on(async { self.spawn(future).await.expect("it does not panic") })
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.spawn(future)
    }

    /// Waits for all of them.
    pub(crate) fn join<T>(&self, all: Vec<JoinHandle<T>>) -> Vec<T> {
        self.block_on(async {
            let mut results = Vec::new();
            for one in all {
                results.push(one.await.expect("it does not panic"));
            }
            results
        })
    }
}
