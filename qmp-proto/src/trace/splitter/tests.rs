use super::*;
use alloc::string::{String, ToString};

/// Messages as they are, the rest in `<>`.
fn split(max: usize, pieces: &[&[u8]]) -> String {
    split_with(Splitter::new(max), pieces)
}

fn split_with(mut splitter: Splitter, pieces: &[&[u8]]) -> String {
    let mut shown = Vec::new();
    for mut input in pieces.iter().copied() {
        while let Some(piece) = splitter.next(&mut input) {
            shown.push(show(&piece));
        }
        assert_eq!(input, b"");
        assert!(splitter.buffer.len() < splitter.max_message);
    }
    shown.extend(splitter.finish().as_ref().map(show));
    assert!(splitter.finish().is_none());
    shown.join(" ")
}

pub(in crate::trace) fn show(piece: &Piece<'_>) -> String {
    let bytes = piece.bytes().escape_ascii().to_string();
    assert_ne!(bytes, "");
    if matches!(piece, Piece::Message(_)) { bytes } else { alloc::format!("<{bytes}>") }
}

/// Whole, byte by byte, and cut once anywhere.
#[track_caller]
fn assert_split(max: usize, text: &[u8], expected: &str) {
    assert_eq!(split(max, &[text]), expected, "whole");
    let bytes: Vec<_> = text.chunks(1).collect();
    assert_eq!(split(max, &bytes), expected, "byte by byte");
    for at in 0..text.len() {
        assert_eq!(split(max, &<[_; 2]>::from(text.split_at(at))), expected, "cut at {at}");
    }
}

#[test]
fn c21_messages_are_cut_by_their_brackets() {
    assert_split(99, b" {}\r\n{\"a\":[{}]}{ }\t", r#"{} {\"a\":[{}]} { }"#);
    assert_split(99, br#"{"}":"\"}\\"}{"]":1}"#, r#"{\"}\":\"\\\"}\\\\\"} {\"]\":1}"#);
    assert_split(
        99,
        br#"{"'":"{"}{"a":0E1}{"a":-0e-1}"#,
        r#"{\"\'\":\"{\"} {\"a\":0E1} {\"a\":-0e-1}"#,
    );
}

/// What servers read is known by their rules, whatever else it is.
#[test]
fn c21_single_quotes_make_strings() {
    assert_split(99, b"{'a':'}\"'}{}", r#"<{\'a\':\'}\"\'}> {}"#);
    assert_split(99, br"{'a':'\'}'} {'b':1}", r"<{\'a\':\'\\\'}\'}> <{\'b\':1}>");
    assert_split(99, b"{'}}}{\"a\":1}':{}}", r#"<{\'}}}{\"a\":1}\':{}}>"#);
}

/// It may belong to what was at fault.
#[test]
fn c21_behind_a_fault_the_line_is_no_message() {
    assert_split(99, b"{[}]{]{}\n{}", "<{[}]> <{]> <{}> {}");
    assert_split(99, b"{\"a\" 1} {\"b\":\n{}}\r\n{}", r#"<{\"a\" 1}> <{\"b\":\n{}}> {}"#);
    assert_split(99, b"{\"a\":True} {}\n{}", r#"<{\"a\":True}> <{}> {}"#);
    assert_split(99, b"{\"a\":True,\n{}} {}\xff{}", r#"<{\"a\":True,\n{}}> <{}> <\xff> {}"#);
    assert_split(99, b"{\"a\":1,'b':2}{}", r#"<{\"a\":1,\'b\':2}> {}"#);
    assert_split(99, b"{\"a\":1,'a':2}{}", r#"<{\"a\":1,\'a\':2}> <{}>"#);
    assert_split(99, b"{\"a\":1,\"a\":2}{}", r#"{\"a\":1,\"a\":2} {}"#);
}

#[test]
fn c21_what_is_no_message_is_cut_by_lines() {
    assert_split(99, b"QEMU 7 \r\n(qemu) {} \n\n x\n", r"<QEMU 7 \r\n> <(qemu) > <{}> <x\n>");
    assert_split(99, b"\xff{}\xff\xff\n{}\xff", r"<\xff> {} <\xff> <\xff> {} <\xff>");
    assert_split(99, b"{}]}", "{} <]}>");
    assert_split(99, b"x\xff{}", r"<x> <\xff> {}");
}

#[test]
fn c21_what_is_unfinished_is_kept() {
    assert_split(99, b"{} {\"a", r#"{} <{\"a>"#);
}

/// Where a message is broken off, nothing tells what was to stand in it.
#[test]
fn c21_behind_a_message_that_is_broken_off_nothing_is_a_message() {
    assert_split(99, b"{\"b\": \xff\r\n{}", r#"<{\"b\": > <\xff> <{}>"#);
    assert_split(99, b"{\"b\": \x01{} \n{}", r#"<{\"b\": > <\x01{}> <{}>"#);
    assert_split(
        99,
        b"{} {'a':'\xff\xff\n\n{\"b\":{}} {}'}\n{}",
        r#"{} <{\'a\':\'> <\xff> <\xff> <{\"b\":{}> <}> <{}> <\'}> <{}>"#,
    );
    assert_split(99, b"{\"a\\\x01{}\n{}", r#"<{\"a\\> <\x01{}> <{}>"#);
    assert_split(99, b"{\"a\n{}\n{}", r#"<{\"a> <{}> <{}>"#);
}

#[test]
fn c21_what_is_too_large_comes_in_parts() {
    assert_split(4, b"{ }{  }{   }{}\n{}", "{ } {  } <{   > <}> <{}> {}");
    assert_split(4, b"{\"}}}}\"}\n{}", r#"<{\"}}> <}}\"}> {}"#);
    assert_split(4, b"{   \xff{}", r"<{   > <\xff> <{}>");
    assert_split(4, b"{\"a\"\xff{}", r#"<{\"a\"> <\xff> <{}>"#);
    assert_split(4, b"{\"ab\xff{}", r#"<{\"ab> <\xff> <{}>"#);
    assert_split(4, b"{{{{}{}}}}\n{}", "<{{{{> <}{}}> <}}> {}");
    assert_split(4, b"abcd{}abcdef \n{}", "<abcd> <{}> <abcd> <ef \\n> {}");
    assert_split(0, b"{}a", "<{> <}> <a>");
}

/// With a guest agent a 0xFF is no part of what was before.
#[test]
fn c23_behind_a_0xff_messages_are_messages_again() {
    let agent = || Splitter::new(99).resynchronising();
    for (text, expected) in [
        (&b"\xff{\"a\":1}\n{}"[..], r#"<\xff> {\"a\":1} {}"#),
        (b"{\"a\": \"half\xff{\"b\":1}{}", r#"<{\"a\": \"half> <\xff> {\"b\":1} {}"#),
        (b"half {\xff\xff{}", r"<half > <{> <\xff> <\xff> {}"),
        (b"{\"a\x01{}}\xff{}", r#"<{\"a> <\x01{}> <}> <\xff> {}"#),
    ] {
        assert_eq!(split_with(agent(), &[text]), expected);
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(split_with(agent(), &bytes), expected, "byte by byte");
    }
}

const TOKENS: [&[u8]; 16] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\n",
    b" ",
    b"\xff",
    b"\x01",
    b"a",
    b"{}",
    b"{\"a\":1}",
    b"'",
    b"{\"return\": {}, \"id\": 1}\r\n",
    b",",
];

/// Streams made of tokens at random, always the same ones, and the numbers for more choices.
pub(in crate::trace) fn streams(count: usize) -> impl Iterator<Item = (Vec<u8>, Choices)> {
    let mut choices = Choices(0x9E37_79B9_7F4A_7C15);
    (0..count).map(move |_| {
        let tokens = 1 + choices.below(14);
        let stream = (0..tokens).flat_map(|_| TOKENS[choices.below(TOKENS.len())]).copied();
        (stream.collect(), Choices(choices.below(usize::MAX) as u64 | 1))
    })
}

/// A xorshift generator.
pub(in crate::trace) struct Choices(u64);

impl Choices {
    pub(in crate::trace) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % limit
    }
}

/// White space between pieces is lost, and nothing else.
pub(in crate::trace) fn without_space(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

#[test]
fn c21_pieces_do_not_depend_on_how_the_bytes_come() {
    for (stream, mut choices) in streams(4_000) {
        let max = [1, 2, 5, 99][choices.below(4)];
        let is_agent = choices.below(2) == 0;
        let new =
            || if is_agent { Splitter::new(max).resynchronising() } else { Splitter::new(max) };
        let whole = split_with(new(), &[&stream]);
        for length in [1, 1 + choices.below(6)] {
            let chunks: Vec<_> = stream.chunks(length).collect();
            assert_eq!(split_with(new(), &chunks), whole, "{length}: {}", stream.escape_ascii());
        }
    }
}
