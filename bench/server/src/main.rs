//! A QMP server that answers at once: `bench-server SOCKET`, until it is killed.
//!
//! A thread for each client reads what is there, answers all of it, and writes once. It looks at
//! commands no closer than it has to, and answers any with a version, except that
//! `human-monitor-command` with `size N` returns a string such that the whole reply has about N
//! bytes, with `events N` returns, and N events follow, and with `late N` returns, and N microseconds later
//! an event follows.
#![forbid(unsafe_code)]

mod command;
mod reply;

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use crate::command::Command;
use crate::reply::Replies;

/// For a thread that calls little.
const STACK: usize = 128 << 10;

fn main() -> io::Result<()> {
    let path = std::env::args().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    let listener = UnixListener::bind(path)?;
    // Who started this waits for it.
    println!("ready");
    for stream in listener.incoming() {
        let stream = stream?;
        thread::Builder::new().stack_size(STACK).spawn(move || {
            // The client leaves as it likes.
            let _ = serve(stream);
        })?;
    }
    Ok(())
}

fn serve(mut stream: UnixStream) -> io::Result<()> {
    let mut replies = Replies::default();
    replies.greet();
    stream.write_all(replies.bytes())?;
    let mut input = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        replies.clear();
        match stream.read(&mut input[length..])? {
            0 => return Ok(()),
            more => length += more,
        }
        let mut taken = 0;
        while let Some(end) = command::end(&input[taken..length]) {
            replies.answer(&Command::read(&input[taken..taken + end]), &mut stream)?;
            taken += end;
        }
        input.copy_within(taken..length, 0);
        length -= taken;
        stream.write_all(replies.bytes())?;
    }
}
