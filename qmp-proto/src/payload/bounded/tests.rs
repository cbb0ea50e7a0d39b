use super::*;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use core::fmt::Debug;
use core::num::NonZeroU8;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::payload::raw::Raw;

/// Decodes with just so many values, and not with one fewer.
#[track_caller]
fn takes<T: for<'a> Deserialize<'a> + Debug + PartialEq>(text: &str, values: usize, expected: T) {
    assert_eq!(from_str::<T>(text, values).unwrap(), expected, "{text}");
    if let Some(fewer) = values.checked_sub(1) {
        assert!(matches!(from_str::<T>(text, fewer), Err(Failure::TooMany(_))), "{text}");
    }
}

#[derive(Debug, PartialEq, serde::Deserialize)]
enum Choice {
    Unit,
    Newtype(u8),
    Tuple(u8, u8),
    Struct { a: u8 },
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Everything {
    list: Vec<Choice>,
    pair: (i8, String),
    maybe: Option<Box<Everything>>,
    numbers: BTreeMap<u8, f64>,
    unit: (),
    char: char,
}

#[test]
fn c3_elements_and_members_are_counted_at_all_depths() {
    takes("7", 0, json!(7));
    takes("[]", 0, json!([]));
    takes("{}", 0, json!({}));
    takes("[1,2,3]", 3, json!([1, 2, 3]));
    takes("[[],[],[]]", 3, json!([[], [], []]));
    takes(r#"{"a":{"b":[true,null]},"c":"x"}"#, 5, json!({"a": {"b": [true, null]}, "c": "x"}));
    takes("[1,2,3]", 3, vec![1u8, 2, 3]);
    takes("[[[[1]]]]", 4, vec![vec![vec![vec![1u8]]]]);
    takes(r#"["Unit",{"Newtype":1}]"#, 2, vec![Choice::Unit, Choice::Newtype(1)]);
    takes(r#"[{"Tuple":[1,2]}]"#, 3, vec![Choice::Tuple(1, 2)]);
    takes(r#"[{"Struct":{"a":1}}]"#, 2, vec![Choice::Struct { a: 1 }]);
}

#[test]
fn c3_whatever_is_decoded_is_what_serde_json_makes_of_it() {
    let text = r#"{"list": ["Unit"], "pair": [-1, "\u00e9"], "unit": null, "char": "x", "maybe":
        {"list": [], "pair": [0, ""], "maybe": null, "numbers": {}, "unit": null, "char": "y"},
        "numbers": {"1": 2, "3": 0.5}, "unknown": [[], {"a": 1}]}"#;
    let expected: Everything = serde_json::from_str(text).unwrap();
    assert_eq!(from_str::<Everything>(text, 99).unwrap(), expected);
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(from_str::<Value>(text, 99).unwrap(), value);
    assert_eq!(from_str::<&RawValue>(text, 0).unwrap().get(), text);
    assert_eq!(from_str::<Box<RawValue>>(text, 0).unwrap().get(), text);
    assert_eq!(from_str::<&str>("\"borrowed\"", 0).unwrap(), "borrowed");
    assert!(from_str::<Value>("{} x", 9).is_err() && from_str::<Value>("{", 9).is_err());
}

/// It is not decoded, so its own members do not count either.
#[test]
fn c4_a_raw_value_counts_once() {
    let raw = |json: &'static str| Raw::from_static(json);
    takes("[1,{\"a\":[2]}]", 2, vec![raw("1"), raw("{\"a\":[2]}")]);
    let members = BTreeMap::from([("a".to_string(), raw("1")), ("b".to_string(), raw("[2,3]"))]);
    takes(r#"{"a":1,"b":[2,3]}"#, 2, members);
    takes("[[1],[2,3]]", 5, vec![vec![raw("1")], vec![raw("2"), raw("3")]]);
}

/// They take no memory.
#[test]
fn c3_what_is_not_kept_is_not_counted() {
    let text = format!("[{}0]", "[[]],".repeat(1000));
    from_str::<IgnoredAny>(&text, 0).unwrap();
    let object = format!("{{\"unknown\": {text}}}");
    takes(&object, 1, crate::Empty {});
}

#[test]
fn c22_an_error_repeats_no_long_string() {
    #[track_caller]
    fn error<T: for<'a> Deserialize<'a>>(text: &str) -> String {
        match from_str::<T>(text, 9) {
            Err(Failure::Json(error)) => error.to_string(),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it fits"),
        }
    }
    let long = format!("\"{}\"", "\u{7f}".repeat(LONG));
    assert_eq!(error::<u8>(&long), "invalid type: string, expected u8 at line 1 column 1048578");
    let many = format!("[{long}]");
    assert_eq!(
        error::<Vec<u8>>(&many),
        "invalid type: string, expected u8 at line 1 column 1048579"
    );
    let escapes = format!("\"{}\"", "\\\"\\\\".repeat(LONG));
    assert!(error::<bool>(&escapes).len() < 100);
    let text = error::<Choice>(&long);
    let expected = "unknown variant ``, expected one of `Unit`, `Newtype`, `Tuple`, `Struct`";
    assert!(text.starts_with(expected), "{text}");
    let text = error::<NonZeroU8>("0");
    assert!(text.starts_with("invalid value: integer `0`, expected a nonzero u8"), "{text}");

    /// Its error says everything.
    #[derive(Debug)]
    struct Talkative;

    impl<'de> Deserialize<'de> for Talkative {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Any;
            impl Visitor<'_> for Any {
                type Value = Talkative;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("anything")
                }

                fn visit_str<E: Error>(self, text: &str) -> Result<Talkative, E> {
                    Err(E::custom(format_args!("not {text:?}")))
                }
            }
            deserializer.deserialize_str(Any)
        }
    }
    assert!(error::<Talkative>(&long).len() < 300);
}
