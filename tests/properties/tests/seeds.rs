//! The seeds that stand for programs: each is in `fuzz/corpus` under the name that it has here, so
//! that it can be read, and is the program that it is here, so that its name stays true.
//!
//! `QMP_WRITE_SEEDS=1 cargo test -p qmp-properties --test seeds` writes them, after a change of a
//! target or of these.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

use std::cmp::Reverse;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};

#[path = "seeds/client.rs"]
mod client;
#[path = "seeds/pair.rs"]
mod pair;
#[path = "seeds/server.rs"]
mod server;

#[test]
fn the_seeds_of_client_are_what_they_are_called() {
    check("client", client::seeds());
}

#[test]
fn the_seeds_of_server_are_what_they_are_called() {
    check("server", server::seeds());
}

#[test]
fn the_seeds_of_pair_are_what_they_are_called() {
    check("pair", pair::seeds());
}

fn check<P: for<'a> Arbitrary<'a> + Debug>(target: &str, seeds: Vec<(&str, P)>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    for (name, program) in seeds {
        let path = folder.join(name);
        let wanted = format!("{program:?}");
        let is_there = fs::read(&path).is_ok_and(|bytes| program_of::<P>(&bytes) == wanted);
        if !is_there && std::env::var_os("QMP_WRITE_SEEDS").is_some() {
            fs::write(path, bytes_of::<P>(&wanted)).unwrap();
        } else {
            assert!(is_there, "{target}/{name} is not there, or not {wanted}: QMP_WRITE_SEEDS=1");
        }
    }
}

fn program_of<P: for<'a> Arbitrary<'a> + Debug>(bytes: &[u8]) -> String {
    format!("{:?}", P::arbitrary_take_rest(Unstructured::new(bytes)).unwrap())
}

/// The zeros at a seed's end. Lengths of texts are read from there: all are empty.
const END: [u8; 16] = [0; 16];

/// Looks for the bytes that a program is read from, a few at a time: those that make the most of it
/// right, from its beginning on. All that is not there yet reads as zeros.
fn bytes_of<P: for<'a> Arbitrary<'a> + Debug>(wanted: &str) -> Vec<u8> {
    let right = |bytes: &[u8]| {
        let program = program_of::<P>(&[bytes, &END].concat());
        let same = program.bytes().zip(wanted.bytes()).take_while(|(ours, theirs)| ours == theirs);
        if program == wanted { usize::MAX } else { same.count() }
    };
    let mut bytes = Vec::new();
    let mut best = right(&bytes);
    while best < usize::MAX {
        let longer = continuations().map(|next| [&*bytes, &*next].concat());
        let rated = longer.map(|bytes| (right(&bytes), Reverse(bytes.len()), bytes));
        let (rate, _, found) = rated.max().expect("there are some");
        assert!(rate > best, "stuck behind {}", &wanted[..best]);
        (best, bytes) = (rate, found);
    }
    bytes.extend(END);
    bytes
}

/// A value behind some zeros, and a step of a program before it or not. A choice among variants is
/// four bytes, of which the last counts.
fn continuations() -> impl Iterator<Item = Vec<u8>> {
    let values = (0..9)
        .flat_map(|zeros| (1..=255u8).map(move |value| [vec![0; zeros], vec![value]].concat()));
    let steps = values.clone().map(|value| [vec![1], value].concat());
    values.chain(steps).chain([vec![1]])
}
