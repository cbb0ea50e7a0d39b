//! What becomes of input, in tables and at random. What a real QEMU makes of the same kind of input
//! is compared in `tests/tests/real_input_faults.rs`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What a client's bytes become, and whether something is left unfinished.
#[derive(Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) items: Vec<Result<String, Fault>>,
    pub(super) mid_message: bool,
}

pub(super) fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    read_by(Rules::default(), chunks)
}

fn read_by<'a>(rules: Rules, chunks: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut reader = Reader::new(rules);
    let mut items = Vec::new();
    for mut chunk in chunks {
        while let Some(item) = reader.next(&mut chunk) {
            items.push(match item {
                Item::Object(object) => Ok(checked(&object)),
                Item::Fault(fault) => Err(fault),
            });
        }
        assert!(chunk.is_empty());
    }
    Reading { items, mid_message: reader.mid_message() }
}

/// The object's text. Its members are where it says, and all of them.
fn checked(object: &Object) -> String {
    let text = core::str::from_utf8(&object.text).expect("UTF-8");
    let members = object.members.iter().map(|member| {
        let name: String = serde_json::from_str(&text[member.name.range()]).expect("a name");
        assert_eq!(&text[member.name.range().end..member.value.range().start], ":");
        (name, &text[member.value.range()])
    });
    let together: Vec<_> =
        members.map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
    assert_eq!(text, format!("{{{}}}", together.join(",")));
    text.to_string()
}

/// What the whole of `input` becomes, which is the same byte by byte.
#[track_caller]
pub(super) fn items(input: impl AsRef<[u8]>) -> Vec<Result<String, Fault>> {
    let input = input.as_ref();
    let whole = read([input]);
    assert_eq!(read(input.chunks(1)), whole, "{}", input.escape_ascii());
    whole.items
}

/// The text of the only object in `input`.
#[track_caller]
pub(super) fn only_object(input: impl AsRef<[u8]>) -> String {
    match &items(input)[..] {
        [Ok(text)] => text.clone(),
        items => panic!("{items:?}"),
    }
}

/// What QEMU 11.1 and those after it do.
pub(super) const AT_ONCE: Rules = Rules { at_once: true, max_bytes: MAX_BYTES };

/// As `items`, by these rules.
#[track_caller]
pub(super) fn items_by(rules: Rules, input: impl AsRef<[u8]>) -> Vec<Result<String, Fault>> {
    let input = input.as_ref();
    let whole = read_by(rules, [input]);
    assert_eq!(read_by(rules, input.chunks(1)), whole, "{}", input.escape_ascii());
    whole.items
}

#[test]
fn objects() {
    let table = [
        ("{}", "{}"),
        (" \t\r\n{ \n} ", "{}"),
        ("{'a':'b'}", r#"{"a":"b"}"#),
        (
            r#"{ "a" : [ 1 , -2.50e+3, {} ] , "b":{"a":[ ]} }"#,
            r#"{"a":[1,-2.50e+3,{}],"b":{"a":[]}}"#,
        ),
        (r#"{"a":[true,false,null],"":0}"#, r#"{"a":[true,false,null],"":0}"#),
        // Numbers stay as they are.
        (
            r#"{"a":[-0,0.0,1E-400,1e400,123456789012345678901234567890]}"#,
            r#"{"a":[-0,0.0,1E-400,1e400,123456789012345678901234567890]}"#,
        ),
        // Strings are written in one way alone.
        (r#"{'\'':"'",'"':'\"'}"#, r#"{"'":"'","\"":"\""}"#),
        (r#"{"a":"\"\\\/\b\f\n\r\t"}"#, r#"{"a":"\"\\/\b\f\n\r\t"}"#),
        (
            r#"{"a":"\u0041\u00e9\u20AC\ud83d\uDE00é€😀\u0000\u001f"}"#,
            r#"{"a":"Aé€😀é€😀\u0000\u001f"}"#,
        ),
        // The same name in objects inside one another.
        (
            r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#,
            r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#,
        ),
    ];
    for (input, expected) in table {
        assert_eq!(only_object(input), expected, "{input}");
        assert_eq!(only_object(expected), expected, "{input}");
    }
    assert_eq!(only_object(b"{\"a\":\"\xC0\x80\x7F\"}"), "{\"a\":\"\\u0000\x7F\"}");
}

#[test]
fn one_fault() {
    use Fault::*;
    let table: &[(Fault, &[&[u8]])] = &[
        (NotAnObject, &[b"1 ", b"-0.5e7\n", b"'a'", b"null ", b"[]", b"[[1,{}],2]"]),
        (Syntax, &[b"[{]}", b"[}", b"[1,]", b"[1 2]"]),
        (
            Syntax,
            &[b"}", b"]", b",", b":", b"{]", b"{,}", b"{:}", b"{1:2}", b"{true:1}", b"{{}:1}"],
        ),
        (Syntax, &[b"{\"a\"}", b"{\"a\":}", b"{\"a\" 1}", b"{\"a\":1,}", b"{\"a\":1 \"b\":2}"]),
        (
            Syntax,
            &[b"{\"a\":[}]", b"{\"a\":[1,]}", b"{\"a\":[,]}", b"{\"a\":[1 2]}", b"{\"a\":1:2}"],
        ),
        (Syntax, &[b"{\"a\":0e1}", b"{[}]", b"{{}}", b"{'a':{]", b"{'a':1]"]),
        (Keyword, &[b"nonsense ", b"[nil]", b"{'a':nil}", b"{'a':truefalse}", b"{'a':[t]}"]),
        (
            Escape,
            &[br#"{"a":"\x"}"#, br#"{"a":"\u12"}"#, br#"{"\U0041":1}"#, b"{'a':'\\\xC3\xA9'}"],
        ),
        (Escape, &[br#"{"a":"\u"}"#, br#"{"a":"\u+123"}"#]),
        (Unicode, &[br#"{"a":"\ud800"}"#, br#"{"\udc00":1}"#, br#"{"a":"\ud800\u0041"}"#]),
        (Unicode, &[br#"{"a":"\udc00\ud800"}"#, br#"{"a":"\ud800x"}"#, br#"{"a":"\ud83f\udffe"}"#]),
        (Unicode, &[br#"{"a":"\uffff"}"#, br#"{"a":"\uFDD0"}"#, b"{'a':'\xEF\xBF\xBE'}"]),
        (Unicode, &[b"{'a':'\x80'}", b"{'a':'\xC3'}", b"{'a':'\xC0\x81'}", b"{'a':'\xC0'}"]),
        (Unicode, &[b"{'a':'\xED\xA0\x80'}", b"{'a':'\xF4\x90\x80\x80'}", b"{'a':'\xE0\x80\x80'}"]),
        (RepeatedMember, &[b"{'a':1,'a':1}", b"{'a':1,'b':2,'\\u0061':3}", b"{'':1,'':2}"]),
        (RepeatedMember, &[b"{'a':[{'b':1,\"b\":2}]}", b"{'\\u0000':1,'\xC0\x80':2}"]),
        (RepeatedMember, &[b"{'\xC3\xA9':1,'\\u00E9':2}", b"{'\"':1,\"\\\"\":2}"]),
        (Stray, &[b"#", b"\x00", b"\x1F", b"\x7F", b"\x80", b"\xFE", b"\xFF", b"\x0C", b"A", b"%"]),
        (
            Stray,
            &[
                b"+1", b".5", b"-a", b"-\n", b"--", b"00", b"-01", b"1.\n", b"1.e5", b"1e\n",
                b"1e+a",
            ],
        ),
        (
            Stray,
            &[
                b"'\x01",
                b"'\n",
                b"'\xFE",
                b"\"\xFF",
                b"'\\\n",
                b"'\\\xFF",
                b"{'a':\xFF",
                b"{'a':1\xFF",
            ],
        ),
        // No quote ends the recovery, nor white space that is no control character.
        (Stray, &[b"# 'a' 1 true", b"#\"\"", b"#\n", b"#\t\r", b"$'"]),
    ];
    for (fault, inputs) in table {
        for input in *inputs {
            let context = input.escape_ascii().to_string();
            let mut input = input.to_vec();
            input.push(b' ');
            let expected = Reading { items: vec![Err(*fault)], mid_message: false };
            assert_eq!(read([&input[..]]), expected, "{context}");
            assert_eq!(read(input.chunks(1)), expected, "{context}");
        }
    }
}

#[test]
fn what_follows_a_fault() {
    use Fault::*;
    type Row<'a> = (&'a [u8], &'a [Result<&'a str, Fault>]);
    let table: &[Row<'_>] = &[
        (b"#'a'{}", &[Err(Stray), Ok("{}")]),
        (b"# 1\n1 ", &[Err(Stray), Err(NotAnObject)]),
        (b"#\t1\r1 ", &[Err(Stray), Err(NotAnObject)]),
        (b"#,{}", &[Err(Stray), Err(Syntax), Ok("{}")]),
        (b"#:}", &[Err(Stray), Err(Syntax), Err(Syntax)]),
        (b"\xFF\xFF\x01", &[Err(Stray), Err(Stray), Err(Stray)]),
        (b"#\xFE", &[Err(Stray), Err(Stray)]),
        // What does not fit is gone, even where it would be structure.
        (b"-{}", &[Err(Stray), Err(Syntax)]),
        (b"1.{}", &[Err(Stray), Err(Syntax)]),
        // What is left open is given up.
        (b"{'a':[#{}", &[Err(Stray), Ok("{}")]),
        (b"{'a':'\x01'}{}", &[Err(Stray), Err(Syntax), Ok("{}")]),
        (b"{]{}", &[Err(Syntax), Ok("{}")]),
        (b"{'a':[}{}", &[]),
        (b"0e1 ", &[Err(NotAnObject), Err(Keyword), Err(NotAnObject)]),
        (b"1true'a'", &[Err(NotAnObject), Err(NotAnObject), Err(NotAnObject)]),
        (b"1\xFF", &[Err(NotAnObject), Err(Stray)]),
        (b"}{}]", &[Err(Syntax), Ok("{}"), Err(Syntax)]),
    ];
    for (input, expected) in table {
        let expected: Vec<_> = expected.iter().map(|item| item.map(String::from)).collect();
        assert_eq!(items(input), expected, "{}", input.escape_ascii());
    }
}

#[test]
fn it_knows_whether_something_has_begun() {
    for begun in ["{", "{}[", "'", "'a", "1", "-", "{'a':[}", "tr", "[]1"] {
        assert!(read([begun.as_bytes()]).mid_message, "{begun}");
    }
    for ended in ["", " ", "{}", "{} \n", "#", "#'", "{'a':#", "{]", "1,"] {
        assert!(!read([ended.as_bytes()]).mid_message, "{ended}");
    }
}

#[test]
fn it_takes_no_byte_behind_an_item() {
    for (input, rest) in [("{}{}", "{}"), ("{} ", " "), ("1{}", "{}"), ("# {}", " {}"), ("}1", "1")]
    {
        let mut left = input.as_bytes();
        assert!(Reader::default().next(&mut left).is_some());
        assert_eq!(left, rest.as_bytes(), "{input}");
    }
}

fn json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        string().prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            object_of(inner).prop_map(Value::from),
        ]
    })
}

fn object_of(
    values: impl Strategy<Value = Value>,
) -> impl Strategy<Value = serde_json::Map<String, Value>> {
    prop::collection::vec((string(), values), 0..5)
        .prop_map(|members| members.into_iter().collect())
}

fn string() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        prop::char::range(' ', '~'),
        prop::sample::select(
            &['\0', '\n', '\x1F', '\x7F', '"', '\'', '\\', 'é', '€', '\u{FFFD}', '😀'][..]
        ),
    ];
    prop::collection::vec(character, 0..8).prop_map(String::from_iter)
}

/// Of these, much goes wrong.
const PIECES: [&[u8]; 32] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"'",
    b"\"",
    b"\\",
    b"'a':",
    b"\"b\":",
    b"1",
    b"-",
    b"0",
    b".",
    b"e",
    b"true",
    b"null",
    b" ",
    b"\n",
    b"#",
    b"\x01",
    b"\xFF",
    b"\xC0\x80",
    b"\xC3",
    b"\xA9",
    b"\\u00",
    b"\\ud83d",
    b"\\ude00",
    b"\\'",
    b"{'a':1}",
    b"\xEF\xBF\xBF",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(&PIECES[..]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The same value comes out, and its text is written as JSON's own writers do.
    #[test]
    fn what_is_json_is_read(object in object_of(json())) {
        let text = Value::from(object).to_string();
        prop_assert_eq!(only_object(&text), text);
    }

    #[test]
    fn white_space_and_ascii_escapes_change_nothing(object in object_of(json())) {
        let value = Value::from(object);
        let pretty = serde_json::to_string_pretty(&value).expect("JSON");
        let escaped: String = pretty.chars().map(|character| match character {
            ' '..='~' | '\n' => character.to_string(),
            _ => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        }).collect();
        prop_assert_eq!(only_object(&escaped), value.to_string());
    }

    /// Whatever comes: its chunks do not matter, and objects are JSON.
    #[test]
    fn chunks_do_not_matter(stream in pieces(), at in any::<prop::sample::Index>()) {
        let whole = read([&stream[..]]);
        prop_assert_eq!(&read(stream.chunks(1)), &whole);
        let (left, right) = stream.split_at(at.index(stream.len() + 1));
        prop_assert_eq!(&read([left, right]), &whole);
        for rules in [AT_ONCE, Rules { at_once: false, max_bytes: 9 }] {
            let whole = read_by(rules, [&stream[..]]);
            prop_assert_eq!(&read_by(rules, stream.chunks(1)), &whole);
            prop_assert_eq!(&read_by(rules, [left, right]), &whole);
        }
        for text in whole.items.iter().flatten() {
            let parsed: serde_json::Result<&serde_json::value::RawValue> = serde_json::from_str(text);
            prop_assert!(parsed.is_ok(), "{}", text);
        }
    }
}
