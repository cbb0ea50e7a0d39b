use alloc::format;
use alloc::string::{String, ToString};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![(0..2).prop_map(Value::from), Just(Value::Null)];
    scalar.prop_recursive(4, 16, 4, |inner| {
        let members = prop::collection::vec(("[a-d]", inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Its text, with the members of each object in another order.
fn text(value: &Value, turn: usize) -> String {
    let join = |parts: Vec<String>| parts.join([",", " , ", ",\r\n"][turn % 3]);
    match value {
        Value::Array(items) => {
            format!("[{}]", join(items.iter().map(|item| text(item, turn)).collect()))
        }
        Value::Object(members) => {
            let mut parts: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("\"{name}\" :{}", text(value, turn / 2)))
                .collect();
            let length = parts.len().max(1);
            parts.rotate_left(turn % length);
            if turn % 2 == 1 {
                parts.reverse();
            }
            format!("{{{}}}", join(parts))
        }
        scalar => scalar.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c21_it_agrees_with_a_parser(one in value(), other in value(), turns: [u8; 2]) {
        let of = |value: &Value, turn: u8| format!("{{\"v\":{}}}", text(value, turn.into()));
        prop_assert!(same_message(&of(&one, turns[0]), &of(&one, turns[1]), false));
        let same = same_message(&of(&one, turns[0]), &of(&other, turns[1]), false);
        prop_assert_eq!(same, one == other);
    }
}

#[track_caller]
fn assert_same(expected: &str, got: &str) {
    assert!(same_message(expected, got, false), "{expected} and {got}");
}

#[track_caller]
fn assert_differ(expected: &str, got: &str) {
    assert!(!same_message(expected, got, false), "{expected} and {got}");
    assert!(!same_message(got, expected, false), "{got} and {expected}");
}

#[test]
fn c21_what_says_the_same_is_the_same() {
    assert_same(r#"{"a":1,"b":[true,null]}"#, r#" { "b" : [ true , null ] , "a" : 1 } "#);
    assert_same(r#"{"\u0061":"\u00e4"}"#, r#"{"a":"ä"}"#);
    assert_same(r#"{"a":{},"id":1}"#, r#"{"id":{"x":[2]},"a":{}}"#);
    assert_same(
        r#"{"a":[[],{},[{}]],"b":{"c":1,"d":[2],"e":{"f":3,"g":4}}}"#,
        r#"{"b":{"c":1,"e":{"g":4,"f":3},"d":[2]},"a":[[],{},[{}]]}"#,
    );
    assert_same(
        r#"{"a":{"x":1,"y":{"z":1,"w":2}},"b":[{"p":1,"q":2},3]}"#,
        r#"{"a":{"y":{"w":2,"z":1},"x":1},"b":[{"q":2,"p":1},3]}"#,
    );
    assert_same(r#"{"a":[1.50,1e3,-0.0]}"#, r#"{"a":[1.5,1000.0,-0e0]}"#);
    assert_same(r#"{"a":184467440737095516160}"#, r#"{"a":184467440737095516160}"#);
    assert_same(r#"{"id":1,"id":2}"#, r#"{"id":1,"id":2}"#);
    assert_same(r#"{"a":"\ud800"}"#, r#"{"a":"\ud800"}"#);
}

#[test]
fn c21_what_does_not_differs() {
    assert_differ(r#"{"a":1}"#, r#"{"a":2}"#);
    assert_differ(r#"{"a":1}"#, r#"{"b":1}"#);
    assert_differ(r#"{"a":1}"#, r#"{"a":"1"}"#);
    assert_differ(r#"{"a":1}"#, "{}");
    assert_differ(r#"{"a":[1]}"#, r#"{"a":[1,2]}"#);
    assert_differ(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#);
    assert_differ(r#"{"a":[]}"#, r#"{"a":{}}"#);
    assert_differ(r#"{"a":{"id":1}}"#, r#"{"a":{"id":2}}"#);
    assert_differ(r#"{"a":1,"b":{}}"#, r#"{"a":{},"b":1}"#);
    assert_differ(r#"{"a":[{}]}"#, r#"{"a":[[]]}"#);
    assert_differ(r#"{"a":[1,{"b":1}]}"#, r#"{"a":[1,{}]}"#);
    assert_differ(r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"c":1,"b":2}}"#);
    assert_differ(r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"c":2,"d":1}}"#);
    assert_differ(r#"{"a":{"b":1,"b":2}}"#, r#"{"a":{"b":1}}"#);
    assert_differ(r#"{"a":true}"#, r#"{"a":false}"#);
    assert_differ(r#"{"a":null}"#, r#"{"a":"null"}"#);
}

#[test]
fn c21_numbers_that_differ_differ() {
    assert_differ(r#"{"a":18446744073709551616}"#, r#"{"a":18446744073709551617}"#);
    assert_differ(r#"{"a":-9223372036854775809}"#, r#"{"a":-9223372036854775810}"#);
    assert_differ(r#"{"a":1}"#, r#"{"a":1.0}"#);
    assert_differ(r#"{"a":1e400}"#, r#"{"a":1e500}"#);
    assert_differ(r#"{"a":1}"#, r#"{"a":true}"#);
}

/// One of the two is not what the server answers with.
#[test]
fn c21_an_id_stands_once() {
    assert_differ(r#"{"a":1,"id":1}"#, r#"{"a":1,"id":1,"id":1}"#);
    assert_differ(r#"{"a":1,"id":1}"#, r#"{"a":1}"#);
    assert_differ(r#"{"id":1,"id":2}"#, r#"{"id":1,"id":3}"#);
}

#[test]
fn c21_what_was_redacted_equals_everything() {
    let expected = r#"{"a":"(redacted)","b":1}"#;
    for got in [r#"{"a":{"x":[1]},"b":1}"#, r#"{"b":1,"a":"s"}"#] {
        assert!(same_message(expected, got, true), "{got}");
        assert!(!same_message(expected, got, false), "{got}");
    }
    assert!(!same_message(expected, r#"{"a":"s","b":2}"#, true));
    assert!(!same_message(expected, r#"{"b":1}"#, true));
}

/// On a test's stack of 2 MiB.
#[test]
fn c21_depth_takes_no_stack() {
    let nested = |inner: &str| {
        let (open, close) = ("{\"a\":[".repeat(50_000), "]}".repeat(50_000));
        [&open, inner, &close].concat()
    };
    assert_same(&nested("1"), &nested(" 1"));
    assert_differ(&nested("1"), &nested("2"));
}
