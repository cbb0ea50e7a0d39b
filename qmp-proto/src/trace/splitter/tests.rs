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

fn show(piece: &Piece<'_>) -> String {
    let (before, bytes, behind) = match piece {
        Piece::Message(bytes) => ("", bytes, ""),
        Piece::Other(bytes) => ("<", bytes, ">"),
    };
    assert!(!bytes.is_empty());
    alloc::format!("{before}{}{behind}", bytes.escape_ascii())
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

/// A flood of the shortest pieces of each kind: lines would take many times their bytes.
#[test]
fn c21_short_pieces_are_joined_once_there_are_too_many() {
    let floods: [&[u8]; 10] = [
        b"\xff",
        b"{}",
        b"{]",
        b"a\n",
        b"}",
        b"{a}\n",
        b"\x01",
        b"{\x01",
        b"{\"\x01}",
        b"x{}\xff\n{\x01",
    ];
    for flood in floods {
        let stream = flood.repeat(20_000);
        for new in [|| Splitter::new(1 << 20), || Splitter::new(1 << 20).resynchronising()] {
            let pieces = |chunk: usize| {
                let (mut splitter, mut pieces) = (new(), Vec::new());
                for mut input in stream.chunks(chunk) {
                    while let Some(piece) = splitter.next(&mut input) {
                        pieces.push(show(&piece));
                    }
                }
                pieces.extend(splitter.finish().as_ref().map(show));
                pieces
            };
            let whole = pieces(usize::MAX);
            let most = (stream.len() + ALLOWANCE) / COST + 1;
            assert!(whole.len() <= most, "{} of {}", whole.len(), flood.escape_ascii());
            assert!(pieces(1) == whole && pieces(7) == whole, "{}", flood.escape_ascii());
        }
    }
}

/// At its end there may be no credit for a piece, so the next message may be bytes.
#[test]
fn c21_messages_are_messages_before_a_flood_and_soon_after_it() {
    let message = b"{\"return\": {}, \"id\": 1}\r\n";
    let stream = [message, &[0xFF; 50_000][..], b"\n", message, message].concat();
    let shown = split_with(Splitter::new(1 << 20).resynchronising(), &[&stream]);
    let message = message.trim_ascii().escape_ascii().to_string();
    assert!(shown.starts_with(&message) && shown.ends_with(&alloc::format!(" {message}")));
    assert_eq!(shown.matches("\\xff").count(), 50_000);
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
