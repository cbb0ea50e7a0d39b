//! No error repeats a value from the wire (C22): a value may be a secret.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Debug};

use qmp_proto::{Config, DecodeError, Output, Raw, Refusal, Request};
use serde::de::{self, DeserializeOwned, Deserializer, Unexpected};
use serde::{Deserialize, Serialize};

use support::peer::Peer;

/// What must not be seen.
const SECRET: &str = "s3cr3t";

/// The texts of an error and of all its sources.
fn texts(error: &dyn Error) -> String {
    let mut texts = format!("{error} {error:?} {error:#?}");
    if let Some(source) = error.source() {
        texts += &self::texts(source);
    }
    texts
}

/// What `return` becomes of a payload that a server sends.
#[track_caller]
fn returned(payload: &str) -> Raw {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("query-block");
    peer.take_all();
    peer.feed(format!("{{\"return\": {payload}, \"id\": {id}}}"));
    match peer.connection.poll_output() {
        Some(Output::Reply(_, Ok(raw))) => raw,
        other => panic!("{payload}: {other:?}"),
    }
}

/// The error of a payload that does not fit `T`, which must not hold the secret.
#[track_caller]
fn mismatch<T: DeserializeOwned + Debug>(payload: &str) -> DecodeError {
    let raw = returned(payload);
    assert!(!format!("{raw:?}").contains(SECRET), "{raw:?}");
    let error = raw.parse::<T>().expect_err(payload);
    let texts = format!("{} {}", texts(&error), error.member());
    assert!(!texts.contains(SECRET), "{payload}: {texts}");
    error
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only decoding matters")]
struct Secret {
    number: u8,
}

#[derive(Debug, Deserialize)]
enum Never {}

#[derive(Debug, Deserialize)]
enum Variant {
    #[serde(rename = "one")]
    One,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
#[allow(dead_code, reason = "only decoding matters")]
enum Tagged {
    #[serde(rename = "a")]
    A { number: u32 },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[allow(dead_code, reason = "only decoding matters")]
enum Untagged {
    Number(u32),
    Pair(bool, bool),
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only decoding matters")]
struct Flattened {
    #[serde(flatten)]
    rest: BTreeMap<String, u32>,
}

#[test]
fn c22_a_value_of_the_wrong_type_is_not_repeated() {
    for (came, found) in [
        (r#""s3cr3t""#, "string"),
        (r#""s3cr3t\", expected s3cr3t, found `s3cr3t`""#, "string"),
        (r#""a, expected s3cr3t at line 5""#, "string"),
        (r#"["s3cr3t"]"#, "sequence"),
        (r#"{"a": "s3cr3t"}"#, "map"),
        ("true", "boolean"),
        ("null", "null"),
        ("1.5", "floating point"),
    ] {
        let error = mismatch::<BTreeMap<String, u8>>(&format!("{{\"number\": {came}}}"));
        let text = error.to_string();
        assert!(text.contains(&format!("expected u8, found {found}")), "{text}");
        assert_eq!(error.member(), "number");
    }
    // A number is a value, too.
    let error = mismatch::<Vec<u8>>("[918273645]");
    assert!(!texts(&error).contains("918273645"), "{error}");
    assert!(error.to_string().contains("expected u8"), "{error}");
    assert!(!texts(&mismatch::<String>("918273645")).contains("918273645"));
    assert!(!texts(&mismatch::<String>("1.9182736")).contains("9182736"));
}

#[test]
fn c22_an_unknown_variant_or_field_is_not_repeated() {
    mismatch::<Variant>(r#""s3cr3t""#);
    mismatch::<Variant>(r#""a`, expected s3cr3t""#);
    mismatch::<Never>(r#""s3cr3t""#);
    mismatch::<Never>(r#""a, expected s3cr3t""#);
    mismatch::<Never>(r#""a`, expected s3cr3t, expected s3cr3t""#);
    mismatch::<Vec<Untagged>>(r#"["s3cr3t"]"#);
    mismatch::<Tagged>(r#"{"type": "s3cr3t"}"#);
    mismatch::<Secret>(r#"{"number": "s3cr3t"}"#);
}

/// serde gives no place to the errors of what it buffers, so their texts end otherwise.
#[test]
fn c22_a_value_in_a_buffered_part_is_not_repeated() {
    for value in [
        r#""s3cr3t""#,
        r#""a, expected s3cr3t at line 5""#,
        r#""a at line 5, expected s3cr3t at line 6 column 7""#,
        r#"["s3cr3t"]"#,
    ] {
        mismatch::<Tagged>(&format!(r#"{{"type": "a", "number": {value}}}"#));
        mismatch::<Vec<Tagged>>(&format!(r#"[{{"type": "a", "number": {value}}}]"#));
        mismatch::<Flattened>(&format!(r#"{{"type": {value}}}"#));
        mismatch::<Untagged>(value);
    }
}

/// A type that decodes itself, and is careless about what it says.
#[derive(Debug)]
struct Careless<const HOW: u8>;

impl<'de, const HOW: u8> Deserialize<'de> for Careless<HOW> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = String::deserialize(deserializer)?;
        Err(match HOW {
            0 => de::Error::custom(format!("cannot read {value}")),
            1 => de::Error::custom(format!("{value}, expected {value}, found `{value}`")),
            2 => de::Error::invalid_value(Unexpected::Str(&value), &"a number"),
            3 => de::Error::invalid_type(Unexpected::Other(&value), &"a number"),
            4 => de::Error::custom(format!("missing field `a` in {value}")),
            5 => de::Error::custom(format!("duplicate field `a`: `{value}`")),
            6 => de::Error::unknown_field(&value, &[]),
            7 => de::Error::unknown_variant(&value, &["one", "two"]),
            _ => de::Error::custom(format!("recursion limit exceeded by {value}")),
        })
    }
}

#[test]
fn c22_a_careless_type_does_not_repeat_it_either() {
    for payload in [r#""s3cr3t""#, r#""a, expected s3cr3t""#, r#""a `s3cr3t` at line 1 column 9""#]
    {
        mismatch::<Careless<0>>(payload);
        mismatch::<Careless<1>>(payload);
        let error = mismatch::<Careless<2>>(payload);
        assert!(error.to_string().contains("expected a number"), "{error}");
        mismatch::<Careless<3>>(payload);
        mismatch::<Careless<4>>(payload);
        mismatch::<Careless<5>>(payload);
        mismatch::<Careless<6>>(payload);
        mismatch::<Careless<7>>(payload);
        let error = mismatch::<Careless<8>>(payload);
        assert_eq!(error.kind(), qmp_proto::DecodeErrorKind::Mismatch);
    }
}

/// What is no JSON has no members to be trusted: a value may stand where a name should.
#[test]
fn c22_what_is_no_json_does_not_make_a_name_of_a_value() {
    for payload in [
        r#"{"password": "s3cr3t": 1}"#,
        r#"{"password": "s3cr3t", : 1}"#,
        r#"{"password": "s3cr3t", "user": "s3cr3t": [1 2]}"#,
        r#"{["s3cr3t"]: 1}"#,
        r#"{"password": {"s3cr3t"}: 1}"#,
        r#"{"password": ["s3cr3t": 1]}"#,
        r#"{"password": "s3cr3t" : "s3cr3t" : nul}"#,
        r#"{"": "s3cr3t": 1}"#,
        r#"{"password": "s3cr3t\ud800", "a": 1}"#,
        r#"{"password": "s3cr3t\q"}"#,
        r#"["s3cr3t", s3cr3t]"#,
        "[s3cr3t]",
    ] {
        let error = mismatch::<serde_json::Value>(payload);
        assert_eq!(error.kind(), qmp_proto::DecodeErrorKind::Syntax, "{payload}");
        mismatch::<BTreeMap<String, Vec<u8>>>(payload);
    }
}

#[test]
fn c22_the_end_of_a_connection_does_not_repeat_what_came() {
    for text in [
        r#"{"return": "s3cr3t", "event": "s3cr3t"}"#,
        r#"{"event": ["s3cr3t"]}"#,
        r#"{"event": "s3cr3t\ud800"}"#,
        r#"{"error": "s3cr3t"}"#,
        r#"{"error": ["s3cr3t"]}"#,
        r#"{"s3cr3t": "s3cr3t"}"#,
        r#"{s3cr3t: "s3cr3t"}"#,
        r#"{"return": ["s3cr3t"}"#,
        r#""s3cr3t""#,
        r#"s3cr3t"#,
        r#"{"QMP": {"capabilities": ["s3cr3t"]}}"#,
    ] {
        for greeted in [true, false] {
            let mut peer =
                if greeted { Peer::ready(Config::default()) } else { Peer::new(Config::default()) };
            // A speaker that does not begin with JSON is quoted, if there was no greeting.
            if !greeted && (text.contains("QMP") || text.starts_with('s')) {
                continue;
            }
            peer.feed(text);
            let reason = peer.connection.close_reason().expect("closed").clone();
            assert!(!texts(&reason).contains(SECRET), "{text}: {}", texts(&reason));
        }
    }
}

#[test]
fn c22_events_and_replies_are_shown_without_their_payloads() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("query-block");
    peer.take_all();
    peer.feed(format!(
        r#"{{"event": "A", "data": {{"key": "s3cr3t"}}, "timestamp": {{"seconds": "s3cr3t"}}}}
           {{"return": "s3cr3t", "id": "s3cr3t"}} {{"return": ["s3cr3t"], "id": {id}}}"#
    ));
    let outputs: Vec<_> = std::iter::from_fn(|| peer.connection.poll_output()).collect();
    assert_eq!(outputs.len(), 3);
    assert!(!format!("{outputs:?} {outputs:#?}").contains(SECRET), "{outputs:?}");
}

/// Neither as text nor as a list of bytes, on one line or on many.
#[track_caller]
fn assert_unseen(shown: &impl Debug) {
    for text in [format!("{shown:?}"), format!("{shown:#?}")] {
        assert!(!text.contains(SECRET), "{text}");
        let list = format!("{:?}", SECRET.as_bytes()).replace(['[', ']', ' '], "");
        let dense: String = text.split_whitespace().collect();
        assert!(!dense.contains(&list), "{text}");
    }
}

#[test]
fn c22_a_request_is_shown_without_its_arguments() {
    #[derive(Debug, Serialize)]
    struct Password {
        password: &'static str,
    }
    let open = support::peer::OpenDescriptors::default();
    let descriptor = support::peer::Descriptor::open(1, &open);
    let request = Request::new("set_password").arguments(Password { password: SECRET });
    let request = request.descriptor(descriptor);
    assert!(format!("{request:?}").contains("set_password"), "{request:?}");
    assert_unseen(&request);
    assert_unseen(&request.prepare().unwrap());
    let json = r#"{"password": "s3cr3t"}"#;
    let raw = Request::<_, ()>::new("set_password").raw_arguments(json).unwrap();
    assert_unseen(&raw);
    assert_unseen(&raw.prepare().unwrap());
}

/// Queued, claimed, sent in part, received in part, and told.
#[test]
fn c22_a_connection_is_shown_without_what_goes_through_it() {
    let mut peer = Peer::new(support::peer::config(|config| {
        (config.oob, config.window) = (true, Some(1));
    }));
    let request = || Request::new("set_password").arguments(BTreeMap::from([("password", SECRET)]));
    let before = peer.connection.execute(request(), None).unwrap();
    assert_unseen(&peer.connection);
    peer.greet();
    peer.accept();
    peer.told();
    peer.connection.execute(request(), None).unwrap();
    assert_unseen(&peer.connection);
    assert_unseen(&peer.connection.transmit().unwrap());
    assert_unseen(&peer.connection);
    peer.take(10).unwrap();
    assert_unseen(&peer.connection);
    peer.connection.execute(request().out_of_band(), None).unwrap();
    assert_unseen(&peer.connection);
    peer.take_all();
    for half in [
        format!(r#"{{"return": {{"password": "{SECRET}"}}, "id": {before}"#),
        format!(r#"}} {{"event": "A", "data": "{SECRET}"#),
        r#""} {"return": "#.to_owned(),
    ] {
        peer.feed(half);
        assert_unseen(&peer.connection);
    }
    peer.connection.handle_eof();
    assert_unseen(&peer.connection);
    assert!(peer.told().len() >= 4, "they were there to be seen");
}

/// An argument that cannot be written, and says why.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(format_args!("cannot write {SECRET}")))
    }
}

#[test]
fn c22_a_refusal_does_not_repeat_the_arguments() {
    let mut peer = Peer::ready(Config::default());
    let mut refused = |json: &str| -> Refusal {
        let request = match Request::new("x").raw_arguments(json) {
            Ok(request) => request,
            Err(refusal) => return refusal,
        };
        peer.connection.execute(request, None).expect_err(json)
    };
    for json in [
        r#"{"a": "s3cr3t", "a": "s3cr3t"}"#,
        r#"{"s3cr3t": 1, "s3cr3t": 2}"#,
        r#"{"a": "s3cr3t\ud800"}"#,
        r#"{"a": "s3cr3t\uffff"}"#,
        r#"{"a": s3cr3t}"#,
        r#"["s3cr3t"]"#,
    ] {
        let refusal = refused(json);
        assert!(!texts(&refusal).contains(SECRET), "{json}: {}", texts(&refusal));
    }
    let refusal =
        peer.connection.execute(Request::new("x").arguments(Unwritable), None).unwrap_err();
    assert!(!texts(&refusal).contains(SECRET), "{}", texts(&refusal));
}

/// The server's own description of an error is passed on, and nothing else of its reply.
#[test]
fn c22_of_a_servers_error_the_description_is_passed_on() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("eject");
    peer.take_all();
    peer.feed(format!(
        r#"{{"error": {{"class": "DeviceNotFound", "desc": "no such device", "data": "s3cr3t"}}, "id": {id}}}"#
    ));
    let Some(Output::Reply(_, Err(error))) = peer.connection.poll_output() else {
        panic!("no error");
    };
    assert_eq!(error.to_string(), "DeviceNotFound: no such device");
    assert!(!texts(&error).contains(SECRET));
}

/// Keeps `fmt` honest: the secret would be seen if it were there.
#[test]
fn the_search_finds_the_secret_in_a_source() {
    #[derive(Debug)]
    struct Leak(Option<Box<Leak>>);
    impl fmt::Display for Leak {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if self.0.is_none() { SECRET } else { "fine" })
        }
    }
    impl Error for Leak {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.0.as_deref().map(|leak| leak as _)
        }
    }
    assert!(texts(&Leak(Some(Box::new(Leak(None))))).contains(SECRET));
}
