use super::*;
use alloc::string::String;

/// Messages as they are, the rest in `<>`.
fn split(max: usize, pieces: &[&[u8]]) -> String {
    let mut splitter = Splitter::new(max);
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
    assert_split(99, b"{[}]{]{}", "{[}] {] {}");
}

#[test]
fn c21_what_is_no_message_is_cut_by_lines() {
    assert_split(99, b"QEMU 7 \r\n(qemu) {} \n\n x\n", r"<QEMU 7 \r\n> <(qemu) > {} <x\n>");
    assert_split(99, b"\xff{}\xff\xff\n{}\xff", r"<\xff> {} <\xff\xff\n> {} <\xff>");
    assert_split(99, b"{}]}", "{} <]}>");
}

#[test]
fn c21_what_is_unfinished_is_kept() {
    assert_split(99, b"{} {\"a", r#"{} <{\"a>"#);
    assert_split(
        99,
        b"{\"a\\\xff{\"b\": \xff\r\n{}",
        r#"<{\"a\\> <\xff> <{\"b\": > <\xff\r\n> {}"#,
    );
}

#[test]
fn c21_what_is_too_large_comes_in_parts() {
    assert_split(4, b"{ }{  }{   }{}", "{ } {  } <{   > <}> {}");
    assert_split(4, b"{\"}}}}\"}{}", r#"<{\"}}> <}}\"}> {}"#);
    assert_split(4, b"{   \xff{}", r"<{   > <\xff> {}");
    assert_split(4, b"{{{{}{}}}}{}", "<{{{{> <}{}}> <}}> {}");
    assert_split(4, b"abcd{}abcdef \n{}", "<abcd> {} <abcd> <ef \\n> {}");
    assert_split(0, b"{}a", "<{> <}> <a>");
}
