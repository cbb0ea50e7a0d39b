//! The loop that does the least possible, over the sockets of a runtime for tasks.

use std::path::{Path, PathBuf};

use bench_worker::{AT_ONCE, BEFORE, LATE, Scenario, Work, lap};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use memchr::memchr_iter;

use crate::bare::{COMMAND, HELLO, ROOM, ask};
use crate::runtime::{Place, Runtime};

pub(crate) fn open<R: Runtime>(scenario: Scenario, path: &Path, place: Place) -> Option<Work> {
    let path = path.to_owned();
    Some(match scenario {
        Scenario::Connect => {
            Box::new(move |count| place.run::<R, _>(connect::<R>(path.clone(), count)))
        }
        Scenario::Idle => {
            let mut kept = Vec::new();
            Box::new(move |count| {
                kept.extend((0..count).map(|_| R::block_on(Bare::<R>::connect(&path)).stream));
                count
            })
        }
        Scenario::Crowd(size) => crowd::<R>(&path, size),
        Scenario::Typed(_) | Scenario::Window => return None,
        _ => {
            let mut bare = Some(R::block_on(Bare::<R>::connect(&path)));
            Box::new(move |count| {
                let mut taken = bare.take().expect("it was put back");
                bare = Some(place.run::<R, _>(async move {
                    taken.work(scenario, count).await;
                    taken
                }));
                count
            })
        }
    })
}

async fn connect<R: Runtime>(path: PathBuf, count: usize) -> usize {
    for _ in 0..count {
        drop(Bare::<R>::connect(&path).await);
    }
    count
}

/// A task for each connection.
fn crowd<R: Runtime>(path: &Path, size: usize) -> Work {
    let mut crowd: Vec<_> = (0..size).map(|_| R::block_on(Bare::<R>::connect(path))).collect();
    Box::new(move |count| {
        let at_work = crowd.drain(..).map(|mut bare| {
            R::spawn(async move {
                bare.talk(count).await;
                bare
            })
        });
        let at_work: Vec<_> = at_work.collect();
        R::block_on(async {
            for one in at_work {
                crowd.push(one.await);
            }
        });
        count * size
    })
}

/// A connection that is negotiated.
struct Bare<R: Runtime> {
    stream: R::Socket,
    buffer: Vec<u8>,
    length: usize,
}

impl<R: Runtime> Bare<R> {
    async fn connect(path: &Path) -> Self {
        let stream = R::socket(path).await;
        let mut bare = Self { stream, buffer: vec![0; ROOM], length: 0 };
        bare.lines(1).await;
        bare.send(HELLO).await;
        bare.lines(1).await;
        bare
    }

    async fn work(&mut self, scenario: Scenario, count: usize) {
        match scenario {
            Scenario::Outstanding => {
                let all = COMMAND.repeat(AT_ONCE);
                for _ in 0..count / AT_ONCE {
                    self.send(&all).await;
                    self.lines(AT_ONCE).await;
                }
            }
            Scenario::Events => {
                self.send(&ask(&format!("events {count}"))).await;
                self.lines(count + 1).await;
            }
            Scenario::Followed => {
                let command = ask(LATE);
                for _ in 0..count {
                    for _ in 0..BEFORE {
                        self.send(COMMAND).await;
                        self.lines(1).await;
                    }
                    self.send(&command).await;
                    self.lines(2).await;
                }
            }
            Scenario::Raw(size) => {
                let command = ask(&format!("size {size}"));
                for _ in 0..count {
                    self.send(&command).await;
                    drop(self.long_line().await);
                }
            }
            _ => {
                for _ in 0..count {
                    self.send(COMMAND).await;
                    self.lines(1).await;
                    lap();
                }
            }
        }
    }

    /// Commands that an event follows.
    async fn talk(&mut self, count: usize) {
        let command = ask("events 1");
        for _ in 0..count {
            self.send(&command).await;
            self.lines(2).await;
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("a server that reads");
    }

    /// Passes over so many lines.
    async fn lines(&mut self, mut count: usize) {
        loop {
            let mut taken = 0;
            for end in memchr_iter(b'\n', &self.buffer[..self.length]).take(count) {
                (taken, count) = (end + 1, count - 1);
            }
            self.buffer.copy_within(taken..self.length, 0);
            self.length -= taken;
            if count == 0 {
                return;
            }
            self.length += self.stream.read(&mut self.buffer[self.length..]).await.expect("bytes");
        }
    }

    /// One line of any length, in a buffer of its own.
    async fn long_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let read = self.stream.read(&mut self.buffer).await.expect("bytes");
            line.extend_from_slice(&self.buffer[..read]);
        }
        line
    }
}
