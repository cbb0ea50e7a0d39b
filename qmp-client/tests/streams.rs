//! Any pair of streams: those that take a byte at a time, hold back what they took, or fail.
#![cfg(not(qmp_shuttle))]
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test's panic is its failure")]

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use futures_lite::future::{block_on, yield_now, zip};
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use qmp_client::asynchronous::{Client, Driver};
use qmp_client::{ConnectError, Error};
use qmp_proto::{CloseReason, IoFailure, Request};
use support::{Builder, GREETING, id};

mod support;

/// What both ends of the streams share.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Written, and held back until a flush.
    held: Vec<u8>,
    flushed: Vec<u8>,
    incoming: Vec<u8>,
    broken: bool,
    dropped: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Greets, and answers so many commands, which it gives back, behind `qmp_capabilities`.
    async fn serve(&self, commands: usize) -> Vec<String> {
        self.lock().incoming.extend(GREETING.as_bytes());
        let mut said = Vec::new();
        for _ in 0..=commands {
            let command = self.line().await;
            let reply = format!("{{\"return\": {{}}, \"id\": {}}}\r\n", id(&command));
            self.lock().incoming.extend(reply.as_bytes());
            said.push(command);
        }
        said
    }

    async fn line(&self) -> String {
        loop {
            let end = self.lock().flushed.iter().position(|byte| *byte == b'\n');
            match end {
                Some(end) => {
                    let line = self.lock().flushed.drain(..=end).collect();
                    return String::from_utf8(line).unwrap();
                }
                None => yield_now().await,
            }
        }
    }
}

/// It takes and gives a byte at a time, every other time.
#[derive(Debug)]
struct Slow {
    shared: Shared,
    /// Whether it was ready the last time.
    ready: bool,
}

impl Slow {
    fn new(shared: &Shared) -> Self {
        Self { shared: shared.clone(), ready: false }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Poll<MutexGuard<'_, State>> {
        self.ready = !self.ready;
        if !self.ready {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.shared.lock())
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.shared.lock().dropped += 1;
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = ready!(self.turn(context));
        if state.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.held.push(bytes[0]);
        Poll::Ready(Ok(1))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = ready!(self.turn(context));
        let held = std::mem::take(&mut state.held);
        state.flushed.extend(held);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = ready!(self.turn(context));
        if state.incoming.is_empty() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        buffer[0] = state.incoming.remove(0);
        Poll::Ready(Ok(1))
    }
}

async fn connect(shared: &Shared) -> Result<(Client, Driver), ConnectError> {
    let (reader, writer) = (Slow::new(shared), Slow::new(shared));
    let (client, _, driver) = Builder::new().from_io_with_driver(reader, writer).await?;
    Ok((client, driver))
}

/// Larger than what is held back for the writer, so that it is taken in parts.
#[test]
fn c8_a_large_command_goes_out_whole_and_flushed() {
    let shared = Shared::default();
    let large = "x".repeat(150_000);
    let talk = async {
        let (client, driver) = connect(&shared).await.unwrap();
        let arguments = serde_json::json!({ "device": large });
        let execute = client.execute_request(Request::new("eject").arguments(&arguments));
        let driven = async {
            driver.await;
            unreachable!("it is still used")
        };
        execute.or(driven).await.unwrap();
    };
    let (_, said) = block_on(zip(talk, shared.serve(1)));
    assert!(said[1].contains(&large), "torn");
    assert_eq!(shared.lock().dropped, 2, "both streams are dropped at the end");
}

/// What it has swallowed would be waited for in vain.
#[test]
fn c17_a_writer_that_fails_ends_the_connection() {
    let shared = Shared::default();
    block_on(async {
        let (connected, _) = zip(connect(&shared), shared.serve(0)).await;
        let (client, driver) = connected.unwrap();
        shared.lock().broken = true;
        let mut execute = pin!(client.execute_request(Request::new("stop")));
        let (outcome, ended) = zip(&mut execute, driver).await;
        let reset = CloseReason::Failed(IoFailure::Reset);
        assert_eq!(ended, reset);
        assert_eq!(outcome, Err(Error::Unanswered(reset)));
        assert_eq!(shared.lock().dropped, 2, "they do not wait for the client to be dropped");
    });
}

/// They carry no descriptors.
#[test]
fn c11_a_descriptor_is_refused() {
    let shared = Shared::default();
    block_on(async {
        let (connected, _) = zip(connect(&shared), shared.serve(0)).await;
        let (client, _driver) = connected.unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let request = Request::new("getfd").descriptor(null.into());
        let refused = client.execute_request(request).await;
        assert_eq!(refused, Err(Error::Refused(qmp_proto::Refusal::NoDescriptors)));
    });
}
