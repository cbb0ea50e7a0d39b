//! A program at a terminal, and a person who types.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it fails the test that uses it")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::qemu::DEADLINE;

/// What a terminal is told at the end of a line that is drawn anew.
const DRAWN: &str = "\u{1b}[?2026l";

/// A program at a terminal. Dropped, it is killed.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    /// What came and was not looked for yet.
    shown: Vec<u8>,
}

impl Terminal {
    /// Starts a program at a terminal of its own, with a home folder.
    pub fn start(mut command: Command, home: &Path) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(name, flags, Mode::empty()).expect("its other end");
        // Wide enough for lines that do not wrap.
        let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).unwrap();
        let again = || OwnedFd::from(File::from(theirs.try_clone().unwrap()));
        command.stdin(again()).stdout(again()).stderr(again());
        command.env("TERM", "xterm").env("HOME", home).env_remove("XDG_STATE_HOME");
        let child = command.spawn().expect("a program");
        let keys = File::from(ours);
        let mut output = keys.try_clone().unwrap();
        let (sender, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end is an error here.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keys, screen, shown: Vec::new() }
    }

    /// Waits until a text is shown, behind those that were waited for before; gives what is before it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let found = self.shown.windows(text.len()).position(|part| part == text.as_bytes());
            if let Some(at) = found {
                let before = self.shown.drain(..at + text.len()).take(at).collect::<Vec<_>>();
                return String::from_utf8_lossy(&before).into_owned();
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            match self.screen.recv_timeout(left) {
                Ok(more) => self.shown.extend(more),
                Err(_) => panic!("no {text:?} in {:?}", String::from_utf8_lossy(&self.shown)),
            }
        }
    }

    /// Waits until `enough` accepts the output. It is called with each new piece.
    #[track_caller]
    pub fn until(&mut self, mut enough: impl FnMut(&str) -> bool) {
        let start = Instant::now();
        let mut shown = std::mem::take(&mut self.shown);
        loop {
            // The last character may have come in part.
            let valid = shown.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
            let text: Vec<u8> = shown.drain(..valid).collect();
            if enough(&String::from_utf8_lossy(&text)) {
                self.shown = shown;
                return;
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            match self.screen.recv_timeout(left) {
                Ok(more) => shown.extend(more),
                Err(_) => panic!("it is not shown"),
            }
        }
    }

    /// As [`expect`](Self::expect), for a part of the line that is being typed: waits until all of the
    /// line is shown.
    #[track_caller]
    pub fn expect_line(&mut self, part: &str) -> String {
        let before = self.expect(part);
        self.expect(DRAWN);
        before
    }

    /// Types a text, each key when the one before is shown. The line has to be all shown by then.
    #[track_caller]
    pub fn type_text(&mut self, text: &str) {
        for key in text.chars() {
            self.press(key);
            self.expect(key.encode_utf8(&mut [0; 4]));
        }
    }

    /// Presses a key of which nothing need be shown.
    pub fn press(&mut self, key: char) {
        self.keys.write_all(key.encode_utf8(&mut [0; 4]).as_bytes()).expect("a terminal");
    }

    /// Types a text in one write, and does not wait.
    pub fn type_at_once(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("a terminal");
    }

    /// Makes the terminal so many columns wide.
    pub fn resize(&self, columns: u16) {
        let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keys, size).unwrap();
    }

    /// The program's process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn end(mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "it does not end");
            // It may wait for us to take what it shows.
            let _ = self.screen.recv_timeout(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What has ended already stays so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
