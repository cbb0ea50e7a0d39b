//! Every future can be dropped after any number of polls, and the connection is as good as before.
#![cfg(not(qmp_shuttle))]
#![allow(missing_docs, reason = "a test")]

use std::future::Future;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::{block_on, zip};
use qmp_client::asynchronous::Client;
use qmp_client::{Error, Lagged};
use qmp_proto::commands::{Cont, QueryName, Stop};
use qmp_proto::{CloseReason, Event, Request};
use support::{Bench, Builder, GREETING, Wire, id, poll};

mod support;

type Boxed<'a> = Pin<Box<dyn Future<Output = bool> + 'a>>;

/// Polls a future so often and drops it; tells how it ended, if it had.
fn poll_and_drop(bench: &mut Bench, mut future: Boxed<'_>, times: usize) -> Option<bool> {
    for _ in 0..times {
        if let Poll::Ready(outcome) = poll(future.as_mut()) {
            return Some(outcome);
        }
        bench.step();
    }
    None
}

/// For every number of polls, up to the one at which it has ended: another command's reply is still
/// its own, and everything that went out is whole.
fn drop_after_every_poll(make: impl for<'a> Fn(&'a Client) -> Boxed<'a>) {
    for room in [usize::MAX, 7, 1] {
        let mut times = 0;
        loop {
            let mut bench = Bench::new(&Builder::new(), room);
            let client = bench.client.clone();
            let ended = poll_and_drop(&mut bench, make(&client), times);
            let after = bench.run(client.query("name"));
            assert!(after.is_ok(), "after {times} polls: {after:?}");
            assert_eq!(bench.run(client.wait_idle(None)), Ok(()));
            assert_eq!(bench.commands.last().map(String::as_str), Some("query-name"));
            if let Some(outcome) = ended {
                assert!(outcome, "after {times} polls");
                break;
            }
            times += 1;
        }
        assert!(times > 1, "it was dropped before it ended");
    }
}

#[test]
fn c8_execute_is_dropped_after_every_poll() {
    drop_after_every_poll(|client| {
        let execute = client.execute(&Stop);
        Box::pin(async { execute.await.is_ok() })
    });
}

#[test]
fn c8_execute_until_is_dropped_after_every_poll() {
    drop_after_every_poll(|client| {
        let execute = client.execute_until(&Stop, |event| event.name() == "GONE");
        Box::pin(async { execute.await.is_ok() })
    });
}

#[test]
fn c16_wait_idle_is_dropped_after_every_poll() {
    drop_after_every_poll(|client| {
        let (execute, idle) = (client.execute(&Stop), client.wait_idle(None));
        Box::pin(async { zip(execute, idle).await.1.is_ok() })
    });
}

/// However it ends, the descriptor is closed.
#[test]
fn c11_a_command_with_a_descriptor_is_dropped_after_every_poll() {
    for times in 0_usize.. {
        let mut bench = Bench::new(&Builder::new(), 7);
        let client = bench.client.clone();
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let request = Request::new("getfd").descriptor(OwnedFd::from(writer));
        let execute = client.execute_request(request);
        let ended = poll_and_drop(&mut bench, Box::pin(async { execute.await.is_ok() }), times);
        bench.run(client.wait_idle(None)).unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "after {times} polls it is open");
        if ended.is_some() {
            return;
        }
    }
}

#[test]
fn c14_waiting_for_the_next_event_is_given_up_after_every_poll() {
    for times in 0_usize.. {
        let mut bench = Bench::new(&Builder::new(), 7);
        let mut events = bench.client.events();
        let client = bench.client.clone();
        let next = async {
            let event = zip(client.execute(&Stop), events.next()).await.1;
            event.is_some_and(|event| event.is_ok())
        };
        let ended = poll_and_drop(&mut bench, Box::pin(next), times);
        bench.run(client.query("name")).unwrap();
        let taken = usize::from(ended == Some(true));
        drop((client, bench.client));
        // None is lost: one for each command that came.
        let left: Vec<Result<Event, Lagged>> = block_on(events.collect());
        assert!(left.iter().all(Result::is_ok));
        if taken == 1 {
            return assert_eq!(left.len() + taken, bench.commands.len());
        }
        // The event may have been taken by a future that still waited for the reply.
        assert!(left.len() + 1 >= bench.commands.len(), "after {times} polls");
    }
}

/// The socket is closed, whatever has been said on it.
#[test]
fn c18_connecting_is_dropped_after_every_poll() {
    let builder = Builder::new();
    for times in 1_usize.. {
        let wire = Wire::with_room(7);
        let mut connecting = Box::pin(builder.from_transport_with_driver(wire.clone()));
        let (mut sent, mut ended) = (String::new(), false);
        for step in 0..times {
            if step == 1 {
                wire.say(GREETING);
            }
            ended = poll(connecting.as_mut()).is_ready();
            sent += &wire.take_sent();
            if sent.ends_with('\n') {
                wire.answer(&[id(&sent).to_owned()]);
                sent.clear();
            }
        }
        drop(connecting);
        assert!(wire.is_shut());
        if ended {
            return assert!(times > 4);
        }
    }
}

/// Closing goes on without the future that began it, and without a deadline.
#[test]
fn c19_close_is_dropped_after_every_poll() {
    for times in 1_usize.. {
        let mut bench = Bench::new(&Builder::new(), 7);
        let client = bench.client.clone();
        let mut execute = pin!(client.execute(&Stop));
        assert!(poll(execute.as_mut()).is_pending());
        bench.step();
        let closing = client.close(Duration::from_secs(1));
        let ended = poll_and_drop(&mut bench, Box::pin(async { closing.await.is_ok() }), times);
        assert!(bench.run(execute).is_ok());
        assert_eq!(bench.run(client.closed()), CloseReason::Requested);
        bench.step();
        assert!(bench.wire.is_shut());
        if let Some(outcome) = ended {
            return assert!(outcome);
        }
    }
}

/// The window is full: no byte of it has gone out.
#[test]
fn c8_what_was_not_claimed_is_never_sent() {
    let mut bench = Bench::new(&Builder::new().window(1), usize::MAX);
    let client = bench.client.clone();
    let mut first = pin!(client.execute(&Stop));
    assert!(poll(first.as_mut()).is_pending());
    let mut second = Box::pin(client.execute(&Cont));
    assert!(poll(second.as_mut()).is_pending());
    drop(second);
    assert!(bench.run(first).is_ok());
    bench.run(client.wait_idle(None)).unwrap();
    assert_eq!(bench.commands, ["stop"]);
}

/// Whoever polls it on is told nothing, another's outcome least of all.
#[test]
fn a_future_that_has_ended_stays_pending() {
    let mut bench = Bench::new(&Builder::new(), usize::MAX);
    let client = bench.client.clone();
    let mut execute = client.execute(&Stop);
    bench.run(&mut execute).unwrap();
    assert!(poll(Pin::new(&mut execute)).is_pending());
    bench.wire.end();
    let ended = bench.run(client.execute(&QueryName));
    assert!(matches!(ended, Err(Error::Unanswered(CloseReason::Eof { .. }))), "{ended:?}");
    assert!(poll(Pin::new(&mut execute)).is_pending());
}
