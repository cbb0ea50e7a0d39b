//! Messages are found in any bytes, however they are cut, as an oracle finds them.

use qmp_proto::fuzzing::framer::{self, Limits};

/// The limits that an input may choose. The first are those that real streams keep to.
const LIMITS: [Limits; 8] = [
    limits(usize::MAX, 1024),
    limits(usize::MAX, 1),
    limits(usize::MAX, 2),
    limits(usize::MAX, 5),
    limits(1, 1024),
    limits(20, 1024),
    limits(64, 65),
    limits(300, 4),
];

/// Up to this size a stream is cut in two at every byte.
const SHORT: usize = 120;

const fn limits(message: usize, depth: usize) -> Limits {
    Limits { message, depth }
}

/// The first byte chooses the limits, the second one the chunks; the rest is the stream.
pub fn check(data: &[u8]) {
    let [choice, seed, stream @ ..] = data else { return };
    let limits = LIMITS[usize::from(*choice) % LIMITS.len()];
    framer::check(stream, chunks(stream, *seed), limits);
    if stream.len() <= SHORT {
        let expected = framer::oracle(stream, limits);
        for at in 0..=stream.len() {
            let (start, rest) = stream.split_at(at);
            assert_eq!(framer::read([start, rest], limits), expected, "cut at {at}");
        }
    }
}

/// Short and long ones, the same for the same seed.
fn chunks(mut stream: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u64::from(seed);
    let mut chunks = Vec::new();
    while !stream.is_empty() {
        // Knuth's constants for a linear congruential generator.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let longest = if state >> 63 == 0 { 4 } else { 64 };
        let length = 1 + (state >> 33) as usize % longest;
        let (chunk, rest) = stream.split_at(length.min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks
}
