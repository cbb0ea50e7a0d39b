use super::*;
use alloc::format;
use alloc::string::ToString;

#[track_caller]
fn assert_redacted(json: &str, expected: &str) {
    assert_eq!(Redaction::default().apply(json), expected);
}

#[test]
fn c21_values_are_replaced_whole() {
    assert_redacted(r#"{"password":"a","b":1}"#, r#"{"password":"(redacted)","b":1}"#);
    assert_redacted(r#"{ "key" : [{"x": "]"}, 1] }"#, r#"{ "key" : "(redacted)" }"#);
    assert_redacted(r#"{"secret":-1.5e3}"#, r#"{"secret":"(redacted)"}"#);
    assert_redacted(r#"{"secret":null,"a":"secret"}"#, r#"{"secret":"(redacted)","a":"secret"}"#);
    assert_redacted(r#"{"keys":"\"\\"}"#, r#"{"keys":"(redacted)"}"#);
    assert_redacted(
        r#"[{"key":{"key":1}},{"key":2}]"#,
        r#"[{"key":"(redacted)"},{"key":"(redacted)"}]"#,
    );
}

#[test]
fn c21_names_are_read_as_json() {
    assert_redacted(r#"{"p\u0061ssword":1}"#, r#"{"p\u0061ssword":"(redacted)"}"#);
    assert_redacted(r#"{"Password":1,"password2":2}"#, r#"{"Password":1,"password2":2}"#);
    // What name that is cannot be told.
    assert_redacted(r#"{"\ud800":1}"#, r#"{"\ud800":"(redacted)"}"#);
}

#[test]
fn c21_some_are_secrets_as_strings_alone() {
    let event = r#"{"event":"X","data":{"id":"a"}}"#;
    assert_redacted(event, event);
    let reply = r#"{"return":{"value":[1]},"id":1}"#;
    assert_redacted(reply, reply);
    assert_redacted(r#"{"return": "a"}"#, r#"{"return": "(redacted)"}"#);
    assert_redacted(r#"{"data": "a"}"#, r#"{"data": "(redacted)"}"#);
}

#[test]
fn c21_what_is_no_json_is_replaced() {
    for text in ["", "hunter2", r#"{"a": "hunter2"#, r#"{"a": 'hunter2'}"#, "{} hunter2"] {
        assert_redacted(text, "\"(redacted)\"");
    }
    let bytes = |bytes: &[u8]| Redaction::default().apply_to_bytes(bytes.to_owned());
    assert_eq!(bytes(b"\xff\xff\r\n"), b"\xff\xff\r\n");
    assert_eq!(bytes(b"\xff1"), b"(redacted)");
}

#[test]
fn c21_the_list_can_be_changed() {
    let json = r#"{"serial":1,"key":2,"data":"3"}"#;
    let redaction = Redaction::default().also("serial").except("key").except("data");
    assert_eq!(redaction.apply(json), r#"{"serial":"(redacted)","key":2,"data":"3"}"#);
    let redaction = Redaction::default().also("data".to_string());
    assert_eq!(redaction.apply(r#"{"data":{}}"#), r#"{"data":"(redacted)"}"#);
}

/// On a test's stack of 2 MiB, and in linear time: quadratic would take hours.
#[test]
fn c21_depth_takes_no_stack_and_length_no_time() {
    let (open, close) = ("{\"data\":[".repeat(200_000), "]}".repeat(200_000));
    let nested = |inner: &str| format!("{open}{inner}{close}");
    assert_redacted(&nested(r#"{"key":1}"#), &nested(r#"{"key":"(redacted)"}"#));
    assert_redacted(&format!(r#"{{"key":{}}}"#, nested("1")), r#"{"key":"(redacted)"}"#);
}
