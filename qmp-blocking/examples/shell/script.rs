//! Lines that nobody types: those of `-e`, and those that are piped in.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::outcome::Outcome;
use crate::session::{Session, is_command};

/// Executes lines up to the first that fails.
pub(crate) fn given(session: &mut Session, lines: &[String]) -> Outcome {
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        match session.execute(line.as_bytes()) {
            Outcome::Done => {}
            Outcome::Over => match lines.find(|line| is_command(line.as_bytes())) {
                Some(line) => return session.too_late(line.as_bytes()),
                None => return Outcome::Over,
            },
            failed => return failed,
        }
    }
    session.finish()
}

/// Executes all lines of standard input. What went worst is the outcome.
pub(crate) fn piped(session: &mut Session) -> io::Result<Outcome> {
    let mut input = BufReader::new(File::from(io::stdin().as_fd().try_clone_to_owned()?));
    let (mut line, mut worst) = (Vec::new(), Outcome::Done);
    while input.read_until(b'\n', &mut line)? > 0 {
        let outcome = session.execute(&line);
        worst = worst.max(outcome);
        if outcome.ends() {
            let left = if outcome == Outcome::Over { next_command(&mut input)? } else { None };
            return Ok(left.map_or(worst, |line| worst.max(session.too_late(&line))));
        }
        line.clear();
    }
    Ok(worst.max(session.finish()))
}

/// The next command of what has come by now: who writes may go on only when we have ended.
fn next_command(input: &mut BufReader<File>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    while !input.buffer().is_empty() || has_come(input.get_ref()) {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        let length = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
        line.extend_from_slice(&bytes[..length]);
        input.consume(length);
        if line.ends_with(b"\n") {
            if is_command(&line) {
                break;
            }
            line.clear();
        }
    }
    Ok(is_command(&line).then_some(line))
}

fn has_come(input: &File) -> bool {
    let mut polled = [PollFd::new(input, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
