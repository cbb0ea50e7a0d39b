//! What is refused and what is not. QEMU 7.2 was asked about each of these texts, and about the
//! limits: it answers what is refused here without an id, and the rest with it.

use alloc::string::String;
use alloc::{format, vec};

use super::*;
use JsonFault::{DuplicateMember, LoneSurrogate, Noncharacter, Number};

/// A command with these arguments, as far as it is checked: all but its id.
fn command(arguments: &str) -> String {
    format!("{{\"execute\":\"query-name\",\"arguments\":{arguments}")
}

fn verdict(arguments: &str) -> Result<(), Refusal> {
    check(command(arguments).as_bytes())
}

#[track_caller]
fn assert_accepted(arguments: &str) {
    assert_eq!(verdict(arguments), Ok(()), "{arguments}");
}

/// `offset` counts from the start of the arguments.
#[track_caller]
fn assert_fault(arguments: &str, fault: impl FnOnce(usize) -> JsonFault, offset: usize) {
    let offset = command("").len() + offset;
    assert_eq!(verdict(arguments), Err(Refusal::InvalidJson(fault(offset))), "{arguments}");
}

fn duplicate(offset: usize) -> JsonFault {
    DuplicateMember { offset }
}

#[test]
fn c6_repeated_members_are_refused() {
    assert_fault(r#"{"a":1,"a":2}"#, duplicate, 12);
    assert_fault(r#"{"a":1,"\u0061":2}"#, duplicate, 17);
    assert_fault(r#"{"a/b":1,"a\/b":2}"#, duplicate, 17);
    assert_fault(r#"{"":1,"":2}"#, duplicate, 10);
    assert_fault(r#"{"\u0000":1,"\u0000":2}"#, duplicate, 22);
    assert_fault("{\"\u{1f600}\":1,\"\\ud83d\\ude00\":2}", duplicate, 26);
    assert_fault(r#"{"x":{"a":1,"b":2,"a":3}}"#, duplicate, 23);
    assert_fault(r#"{"x":[0,{"a":1,"a":2}]}"#, duplicate, 20);
    assert_fault(r#"{"a":{"b":1},"c":[{"a":1}],"a":2}"#, duplicate, 32);
    assert_fault(" { \"a\" : 1 ,\r\n\"b\" : 2, \"a\" : 3 } ", duplicate, 31);
    let many: String = (0..5000).map(|n| format!("\"{n}\":0,")).collect();
    assert_accepted(&format!("{{{many}\"x\":0}}"));
    let repeated = format!("{{{many}\"2500\":0}}");
    assert_fault(&repeated, duplicate, repeated.len() - 1);
}

#[test]
fn c6_what_only_looks_repeated_is_accepted() {
    assert_accepted(r#"{"a":1,"A":2}"#);
    assert_accepted(r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#);
    assert_accepted(r#"{"x":[{"a":1},{"a":1}]}"#);
    assert_accepted(r#"{"a":"b","b":"a","c":"c"}"#);
    assert_accepted(r#"{"x":["a","a",["a","a"]]}"#);
    assert_accepted(r#"{"\u0000":1,"":2}"#);
    assert_accepted(r#"{"a\u0000b":1,"a\u0000c":1,"a":3}"#);
    assert_accepted(r#"{"a":1,"\\u0061":2,"\"a":3}"#);
    // The names of the command's own members are not the arguments'.
    assert_accepted(r#"{"execute":1,"arguments":2,"id":3}"#);
}

#[test]
fn c6_halves_of_surrogate_pairs_are_refused() {
    let lone = |offset| LoneSurrogate { offset };
    for (text, at) in [
        (r"\ud800", 0),
        (r"\udbff", 0),
        (r"\udc00", 0),
        (r"\uDFFF", 0),
        (r"\ud800\ud800", 0),
        (r"\udc00\ud800", 0),
        (r"\ud800\u0041", 0),
        (r"\ud800ab", 0),
        (r"\ud800\n", 0),
        (r"\ud800\\udc00", 0),
        (r"ok \ud83d\ude00\ude00", 15),
        (r"\\\ud800", 2),
    ] {
        assert_fault(&format!(r#"{{"x":"{text}"}}"#), lone, 6 + at);
        assert_fault(&format!(r#"{{"{text}":1}}"#), lone, 2 + at);
    }
    for text in [r"\ud83d\ude00", r"\uD83D\uDE00", r"\ud800\udc00", r"\udbff\udffd", r"\\ud800"] {
        assert_accepted(&format!(r#"{{"x":"{text}","{text}":"{text}"}}"#));
    }
    for text in ["\u{d7ff}", "\u{e000}", r"\ud7ff", r"\ue000"] {
        assert_accepted(&format!(r#"{{"x":"{text}"}}"#));
    }
}

#[test]
fn c6_noncharacters_are_refused_however_they_are_written() {
    let non = |offset| Noncharacter { offset };
    let in_planes = (0..=16).flat_map(|plane| [plane << 16 | 0xFFFE, plane << 16 | 0xFFFF]);
    for code_point in in_planes.chain(0xFDD0..=0xFDEF) {
        let character = char::from_u32(code_point).unwrap();
        assert_fault(&format!("{{\"x\":\"é{character}\"}}"), non, 8);
        let mut units = [0; 2];
        let escaped: String = character
            .encode_utf16(&mut units)
            .iter()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect();
        assert_fault(&format!("{{\"x\":\"{escaped}\"}}"), non, 6);
        assert_fault(&format!("{{\"{escaped}\":1}}"), non, 2);
        let upper = escaped.to_uppercase().replace("\\U", "\\u");
        assert_fault(&format!("{{\"x\":[\"{upper}\"]}}"), non, 7);
    }
    for code_point in [0xFDCF, 0xFDF0, 0xFEFF, 0xFFFD, 0x10000, 0x1FFFD, 0x10_0000, 0x10_FFFD] {
        let character = char::from_u32(code_point).unwrap();
        assert_accepted(&format!("{{\"x\":\"{character}\",\"{character}\":1}}"));
    }
    assert_accepted(r#"{"x":"\\uffff"}"#);
    assert_accepted(r#"{"x":"\ufdcf\ufdf0\uFFFD"}"#);
}

#[test]
fn c6_other_remarkable_json_is_accepted() {
    for arguments in [
        "{}",
        r#"{"x":"\u0000"}"#,
        r#"{"x":"\"\\\/\b\f\n\r\t\u001f"}"#,
        "{\"x\":\"\u{7f}\u{80}\u{9f}\u{2028}\"}",
        r#"{"x":[-0,0,-0.0,1e400,-1e400,1E5,1e+5,1e-400,18446744073709551616]}"#,
        r#"{"x":[true,false,null,[],{},[[]],{"y":{}}]}"#,
        " {\r\n\t \"x\" : [ 1 , 2 ] }\n",
    ] {
        assert_accepted(arguments);
    }
}

/// QEMU's lexer ends a number behind a zero that it begins with, unless a point follows.
#[test]
fn c6_an_exponent_behind_a_lone_zero_is_refused() {
    let number = |offset| Number { offset };
    for text in ["0e1", "-0e1", "0E5", "-0E5", "0e-1", "0e+1", "-0E-0", "0e0", "0e400"] {
        let end = text.len();
        assert_fault(&format!(r#"{{"x":{text}}}"#), number, 5 + end);
        assert_fault(&format!(r#"{{"x":[1,{text},2]}}"#), number, 8 + end);
        assert_fault(&format!(r#"{{"x": {text} , "y":0}}"#), number, 6 + end);
        assert_fault(&format!("{{\"x\":\n{text}\n}}"), number, 6 + end);
        // In a text it is a text.
        assert_accepted(&format!(r#"{{"x":"{text}","{text}":[]}}"#));
    }
    for text in [
        "0", "-0", "0.5", "-0.5", "0.0", "0.0e1", "-0.0E-1", "0.0e+1", "1e5", "1E5", "10e1",
        "100E-1", "-10e1", "20e0", "1e0", "1.0e0", "1.50e10",
    ] {
        assert_accepted(&format!(r#"{{"x":{text}}}"#));
        assert_accepted(&format!(r#"{{"x":[{text} ,{text}], "y": {text} }}"#));
    }
}

#[test]
fn c6_the_1025th_level_is_refused_the_commands_own_included() {
    for (open, close) in [("[", "]"), ("{\"y\":", "}")] {
        // The command and its arguments are two levels.
        let nested = |levels: usize| {
            format!("{{\"x\":{}1{}}}", open.repeat(levels - 2), close.repeat(levels - 2))
        };
        assert_accepted(&nested(1024));
        assert_eq!(verdict(&nested(1025)), Err(Refusal::TooDeep));
    }
    // Wide is not deep.
    assert_accepted(&format!("{{\"x\":[{}[]]}}", "[[]],".repeat(3000)));
}

/// A command with so many tokens, and what follows them on the wire.
fn of_tokens(total: usize) -> String {
    // {"execute":"query-name","arguments":{"x":[1,1,…]},"id":7}
    let items = (total - 17) / 2 + 1;
    assert_eq!(17 + 2 * items - 1, total, "an odd number of items and commas");
    command(&format!("{{\"x\":[{}]}}", vec!["1"; items].join(",")))
}

#[test]
fn c6_more_than_2_mi_tokens_are_refused() {
    assert_eq!(check(of_tokens((2 << 20) + 2).as_bytes()), Err(Refusal::TooLarge));
    assert_eq!(check(of_tokens((2 << 20) - 10).as_bytes()), Ok(()));
}

/// QEMU reads 64 MiB less one byte, the id included.
#[test]
fn c6_64_mib_are_refused() {
    let of_size = |size: usize| {
        let id = ",\"id\":4503599627370495}".len();
        command(&format!("{{\"x\":\"{}\"}}", "x".repeat(size - id - command("{\"x\":\"\"}").len())))
    };
    assert_eq!(check(of_size(64 << 20).as_bytes()), Err(Refusal::TooLarge));
    assert_eq!(check(of_size((64 << 20) - 64).as_bytes()), Ok(()));
}
