//! Input beyond a limit, and what versions make of faults.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::tests::{AT_ONCE, items, items_by, only_object, read};
use super::*;

#[test]
fn the_limits_are_told_as_they_are() {
    let says = |fault: Fault, number: usize| fault.to_string().contains(&number.to_string());
    assert!(says(Fault::TooDeep, MAX_NESTING as usize));
    assert!(says(Fault::TooManyTokens, MAX_TOKENS));
    assert!(says(Fault::TooLarge(MAX_BYTES), MAX_BYTES));
}

/// As many brackets as are too many, then what is left of them.
#[test]
fn nesting_is_limited() {
    let nested =
        |levels: usize| ["{'a':", &"[".repeat(levels - 1), &"]".repeat(levels - 1), "}"].concat();
    assert_eq!(only_object(nested(1024)), nested(1024).replace('\'', "\""));
    let faults = items(nested(1025));
    assert_eq!(faults[0], Err(Fault::TooDeep));
    // 1,024 brackets and one brace close what is not open.
    assert_eq!(faults[1..], vec![Err(Fault::Syntax); 1025]);
    // A fault does not end the count.
    let faulty = items(["{", &"[".repeat(1024)].concat());
    assert_eq!(faulty, [Err(Fault::TooDeep)]);
}

#[test]
fn tokens_are_limited() {
    let commas = |tokens: usize| [b"[", &vec![b','; tokens - 2][..], b"]"].concat();
    assert_eq!(read([&commas(2 << 20)[..]]).items, [Err(Fault::Syntax)]);
    let fault = Err(Fault::TooManyTokens);
    assert_eq!(read([&commas((2 << 20) + 1)[..]]).items[0], fault);
    // Six others make the object and the array, one is the last number.
    let list = |numbers: usize| ["{'a':[", &"1,".repeat(numbers), "1]}"].concat();
    let most = (2 << 20) / 2 - 4;
    assert!(read([list(most).as_bytes()]).items[0].is_ok());
    assert_eq!(read([list(most + 1).as_bytes()]).items[0], fault);
}

/// All tokens together stay below the limit.
#[test]
fn bytes_are_limited() {
    let last = |length: usize| {
        let mut message = Message::default();
        let mut take = |kind, text: &str| {
            let token = Token { kind, text: Cow::Borrowed(text.as_bytes()) };
            message.take(&token, Rules::default())
        };
        assert!(take(Kind::OpenObject, "{").is_none());
        assert!(take(Kind::String, "'a'").is_none());
        assert!(take(Kind::Colon, ":").is_none());
        match take(Kind::String, &["\"", &"a".repeat(length - 2), "\""].concat()) {
            Some(Item::Fault(fault)) => Some(fault),
            _ => None,
        }
    };
    assert_eq!(last(MAX_BYTES - 6), None);
    assert_eq!(last(MAX_BYTES - 5), Some(Fault::TooLarge(MAX_BYTES)));
}

/// A token that does not end is given up where it is too long, and what follows is read afresh.
#[test]
fn a_token_is_limited() {
    let endless = [b"'", &vec![b'a'; MAX_BYTES][..], b"b "].concat();
    let expected = [Err(Fault::TooLarge(MAX_BYTES)), Err(Fault::Keyword)];
    assert_eq!(read(endless.chunks((1 << 20) - 1)).items, expected);
}

#[test]
fn since_11_1_a_fault_is_reported_where_it_is_found() {
    use Fault::*;
    let [open, close] = ["[", "]"].map(|bracket| bracket.repeat(1025));
    type Row<'a> = (&'a [&'a str], &'a [Result<&'a str, Fault>]);
    let table: &[Row<'_>] = &[
        (&["{'a' 1", "{}"], &[Err(Syntax)]),
        (&["{'a' 1", "{}}{}"], &[Err(Syntax), Ok("{}")]),
        (&["[1 2", "]", "{}"], &[Err(Syntax), Ok("{}")]),
        (&["[1, nil", "\x01{}"], &[Err(Keyword), Ok("{}")]),
        (&["[#{}"], &[Err(Stray), Ok("{}")]),
        (&["[}]"], &[Err(Syntax), Err(Syntax)]),
        (&["[", "]"], &[Err(NotAnObject)]),
        (&["[{'a':1,'a':1}", ",1", "]{}"], &[Err(RepeatedMember), Ok("{}")]),
        (&[&open], &[Err(TooDeep)]),
        (&[&open, &close, "{}"], &[Err(TooDeep), Ok("{}")]),
        (&[&open, &close[1..], "{}"], &[Err(TooDeep)]),
        (&[&open, &open, &close, &close, "{}"], &[Err(TooDeep), Ok("{}")]),
        (&[&open, "}{}"], &[Err(TooDeep), Ok("{}")]),
        (&[&open, "\x01{}"], &[Err(TooDeep), Ok("{}")]),
    ];
    for (input, expected) in table {
        let expected: Vec<_> = expected.iter().map(|item| item.map(String::from)).collect();
        assert_eq!(items_by(AT_ONCE, input.concat()), expected, "{input:?}");
    }
    for (found, rest) in [("{'a' 1 ", "}"), ("[nil,", "]"), (&*open, "")] {
        assert_eq!(items_by(AT_ONCE, found).len(), 1);
        assert_eq!(items_by(AT_ONCE, [found, rest].concat()).len(), 1);
    }
}

/// A limit of one's own does not take a message apart: it is one fault, and it is passed over whole.
#[test]
fn c3_a_message_beyond_a_limit_of_ones_own_is_passed_over() {
    for at_once in [false, true] {
        let rules = Rules { at_once, max_bytes: 17 };
        let too_large = Err(Fault::TooLarge(17));
        for (input, expected) in [
            ("{ 'a':\t'123456789' }", vec![Ok("{\"a\":\"123456789\"}".into())]),
            ("{'a':'1234567890'}", vec![too_large.clone()]),
            ("{'a':'123456789012345678901234567890", vec![too_large.clone()]),
            ("{'a':[1,2,3,4,5,6,7,8,9,10,{},[]]}{}", vec![too_large.clone(), Ok("{}".into())]),
            ("[[[[[[[[[[[[[[[[[ 1 2 ]]]]]]]]]]]]]]]]]{}", vec![too_large.clone(), Ok("{}".into())]),
            ("12345678901234567890 {}", vec![too_large.clone(), Ok("{}".into())]),
            ("{1234567890123456789.\x01{}", vec![too_large.clone(), Ok("{}".into())]),
            ("{'a':'12345678901234567890\x01{}", vec![too_large, Ok("{}".into())]),
        ] {
            assert_eq!(items_by(rules, input), expected, "{input}");
        }
    }
}

/// What is passed over is not kept, however much it is.
#[test]
fn c3_a_message_beyond_the_limit_is_not_kept() {
    let mut reader = Reader::new(Rules { at_once: false, max_bytes: 100 });
    let mut faults = 0;
    for piece in [b"{'a':'".as_slice()].into_iter().chain([[b'x'; 50].as_slice(); 1000]) {
        let mut piece = piece;
        faults += usize::from(reader.next(&mut piece).is_some());
        assert!(reader.lexer.held() <= 150, "{}", reader.lexer.held());
    }
    assert_eq!((faults, reader.lexer.held()), (1, 0));
    assert!(reader.mid_message());
}
