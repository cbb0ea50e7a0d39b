//! The framer on chosen streams and random ones, whole and in pieces, and its limits.

use alloc::string::String;
use alloc::{format, vec};

use proptest::prelude::*;

use super::properties::{Limits, Mid, check, oracle, read};
use super::*;
use crate::codec::scanner::MAX_MEMBERS;

const WIDE: Limits = Limits { message: usize::MAX, depth: MAX_DEPTH };

/// Streams with something remarkable in them.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "",
        "{}",
        "{}{}",
        " {} \r\n\t{ }",
        r#"{"return": {}, "id": 1}"#,
        r#"{"a":"}","b":"]","c":"{[,:","d":1}"#,
        r#"{"a": "\"}", "b\\": "\\", "c": "\\\"}", "\"": "\u007d"}"#,
        r#"{"a":{"b":[1,{"c":",:"},[]],"d":{}},"e":[":",","]}"#,
        r#"{"a":1:2,"b"}"#,
        r#"{,}{:}{,,:,}{"a"}"#,
        r#"{"a"}}"#,
        r#"{"a":[}"#,
        r#"{"a":[1,2}]"#,
        r#"{]"#,
        r#"{"a":{"b":]"#,
        r#"{"open": "string"#,
        r#"{"open": "\"#,
        r#"{"open": [{"#,
        r#"{"a":1} x {"b":2}"#,
        r#"["a"]"#,
        r#"{} ]"#,
        r#"{} "{}""#,
        "{\n  \"pretty\": [\n    1,\n    2\n  ]\n}\n",
        "{\"long string\": \"0123456789abcdef0123456789abcdef\\\"0123456789abcdef\"}",
        "{\"sixteen\": \"0123456789abcde\\\"0123456789abcdef\\\\\"}",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    seeds.push(b"\xff{\"a\": 1}\xff\xff{\"b\": \"\xff\"}\xff".to_vec());
    seeds.push(b"{\"a\": \"\xc3\x28 \x00 \x1f \xf0\x9f\x98\x80\", \x00\xff: \x80}".to_vec());
    seeds.push(b"\xef\xbb\xbf{}".to_vec());
    seeds.push(format!("{{{}}}", "\"a\":1,".repeat(40)).into_bytes());
    seeds
}

#[test]
fn c1_every_split_and_byte_by_byte_equal_the_oracle() {
    let narrow = [
        WIDE,
        Limits { message: 24, depth: MAX_DEPTH },
        Limits { message: 1, depth: MAX_DEPTH },
        Limits { message: usize::MAX, depth: 2 },
        Limits { message: 30, depth: 3 },
        Limits { message: usize::MAX, depth: 1 },
    ];
    for seed in seeds() {
        for limits in narrow {
            let expected = oracle(&seed, limits);
            let text = seed.escape_ascii();
            for split in 0..=seed.len() {
                let (one, two) = seed.split_at(split);
                assert_eq!(read([one, two], limits), expected, "{text} at {split}");
            }
            assert_eq!(read(seed.chunks(1), limits), expected, "{text} byte by byte");
        }
    }
}

/// JSON without its values' details: what brackets, strings and escapes can do.
fn json() -> impl Strategy<Value = String> {
    let string = "\"([a-z,:{}\\[\\] ]|\\\\\"|\\\\\\\\|\\\\u00e9){0,20}\"";
    let leaf = prop_oneof![Just(String::from("null")), Just(String::from("-1.5e3")), string];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let member = (string, inner.clone()).prop_map(|(name, value)| format!("{name}: {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..5)
                .prop_map(|members| { format!("{{{}}}", members.join(", ")) }),
        ]
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let message = json().prop_map(|value| format!("{{\"a\" : {value},\"b\":{value}}}"));
    let space = prop::sample::select(vec!["", "\r\n", " \t", "\n\n"]);
    let part = (message, space).prop_map(|(message, space)| message + space);
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat().into_bytes())
}

/// A stream in which some bytes are other than they were.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(b"{}[]\",:\\ a\xff".to_vec());
    let damage = prop::collection::vec((any::<prop::sample::Index>(), byte), 0..4);
    (stream(), damage).prop_map(|(mut stream, damage)| {
        for (index, byte) in damage {
            if !stream.is_empty() {
                let at = index.index(stream.len());
                stream[at] = byte;
            }
        }
        stream
    })
}

fn cut(stream: &[u8], at: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<usize> = at.iter().map(|index| index.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn c1_any_chunking_equals_the_oracle(
        stream in damaged(),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        message in prop_oneof![3 => Just(usize::MAX), 1 => 1usize..200],
        depth in prop_oneof![3 => Just(MAX_DEPTH), 1 => 1usize..8],
    ) {
        let limits = Limits { message, depth };
        let cuts = cut(&stream, &at);
        check(&stream, cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]), limits);
    }
}

fn nested(levels: usize) -> String {
    format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
}

#[test]
fn c3_the_depth_limit_is_exact() {
    for limit in [1, 2, 63, 64, 65, 128, 1023, 1024] {
        let limits = Limits { depth: limit, ..WIDE };
        for chunk in [1, 7, usize::MAX] {
            let fits = read(nested(limit).as_bytes().chunks(chunk), limits);
            assert_eq!((fits.messages.len(), fits.end), (1, Ok(Mid::Nothing)), "{limit}");
            let too_deep = read(nested(limit + 1).as_bytes().chunks(chunk), limits);
            let offset = "{\"a\":".len() + limit - 1;
            assert_eq!(too_deep.end, Err(Violation::TooDeep { limit, offset }));
        }
    }
    // More cannot be configured, and the error names what holds.
    let limits = Limits { depth: 5000, ..WIDE };
    let end = read([nested(1025).as_bytes()], limits).end;
    assert!(matches!(end, Err(Violation::TooDeep { limit: 1024, .. })), "{end:?}");
}

#[test]
fn c3_the_size_limit_is_exact_whatever_the_chunking() {
    let text = br#"{"return": "0123456789"}"#;
    let stream = [text.as_slice(), b"\r\n", text].concat();
    for chunk in 1..=stream.len() {
        let read = |message| read(stream.chunks(chunk), Limits { message, ..WIDE });
        assert_eq!(read(text.len()).messages.len(), 2, "in chunks of {chunk}");
        let short = text.len() - 1;
        assert_eq!(read(short).messages.len(), 0);
        assert_eq!(read(short).end, Err(Violation::TooLarge { limit: short }));
    }
}

#[test]
fn c3_the_buffer_never_has_room_for_more_than_the_limit() {
    let limit = 100_000;
    for chunk in [1, 999, 4096, 70_000] {
        let mut framer = Framer::new(limit, MAX_DEPTH);
        let text = [b"{\"a\":\"".as_slice(), &vec![b'x'; limit]].concat();
        for chunk in text[..limit - 1].chunks(chunk) {
            assert!(framer.next(&mut &*chunk).unwrap().is_none());
            assert!(framer.buffer.capacity() <= limit, "{}", framer.buffer.capacity());
        }
        let end = framer.next(&mut &b"xx"[..]).unwrap_err();
        assert_eq!(end, Violation::TooLarge { limit });
    }
}

#[test]
fn c3_more_members_than_any_server_writes_are_refused() {
    let members = |count| format!("{{{}}}", vec!["\"a\":1"; count].join(","));
    for chunk in [1, usize::MAX] {
        let most = read(members(MAX_MEMBERS).as_bytes().chunks(chunk), WIDE);
        assert_eq!(most.messages[0].1.len(), MAX_MEMBERS);
        let more = read(members(MAX_MEMBERS + 1).as_bytes().chunks(chunk), WIDE);
        assert_eq!(more.end, Err(Violation::TooManyMembers { limit: MAX_MEMBERS }));
    }
}

#[test]
fn c3_a_message_that_came_in_pieces_keeps_no_spare_room() {
    let text = [b"{\"a\":\"".as_slice(), &vec![b'x'; 5000], b"\"}"].concat();
    let mut framer = Framer::new(usize::MAX, MAX_DEPTH);
    for chunk in text[..text.len() - 1].chunks(1000) {
        assert!(framer.next(&mut &*chunk).unwrap().is_none());
    }
    let frame = framer.next(&mut &b"}"[..]).unwrap().unwrap();
    let Text::Owned(bytes) = frame.text else {
        panic!("lent");
    };
    // Nobody else has the buffer, so this is the buffer itself.
    assert_eq!(Vec::from(bytes).capacity(), text.len());
}

#[test]
fn c3_small_messages_that_come_in_pieces_take_one_buffer() {
    let mut framer = Framer::new(usize::MAX, MAX_DEPTH);
    let mut buffers = Vec::new();
    for text in [r#"{"a": 1}"#, r#"{"bc": {"d": [2, 3]}}"#] {
        let (first, mut last) = text.as_bytes().split_at(5);
        assert!(framer.next(&mut &*first).unwrap().is_none());
        assert!(framer.mid_message());
        let frame = framer.next(&mut last).unwrap().unwrap();
        assert_eq!(frame.text.bytes(), text.as_bytes());
        buffers.push(frame.text.bytes().as_ptr());
        assert!(!framer.mid_message());
    }
    assert_eq!(buffers[0], buffers[1]);
    assert_eq!(framer.buffer.capacity(), LEAST_BUFFER);
}

#[test]
fn c3_a_message_that_comes_whole_is_lent_and_not_copied() {
    let stream = br#"  {"a": 1}{"b": 2}"#;
    let mut framer = Framer::new(usize::MAX, MAX_DEPTH);
    let mut input = &stream[..];
    for start in [2, 10] {
        let frame = framer.next(&mut input).unwrap().unwrap();
        assert!(
            matches!(&frame.text, Text::Lent(text) if text.as_ptr() == stream[start..].as_ptr())
        );
    }
    assert_eq!(framer.buffer.capacity(), 0);
}
