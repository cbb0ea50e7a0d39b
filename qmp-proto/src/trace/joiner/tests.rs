use alloc::string::{String, ToString};

use super::*;
use crate::trace::splitter::tests::{show, streams, without_space};

const MAX: usize = 1 << 20;

fn monitor() -> Joiner {
    Joiner::new(Splitter::new(MAX))
}

fn agent() -> Joiner {
    monitor().resynchronising()
}

/// The lines of a stream, given in chunks of these lengths by turns.
fn lines(mut joiner: Joiner, mut stream: &[u8], lengths: &[usize]) -> Vec<String> {
    let mut lines = Vec::new();
    for length in lengths.iter().cycle() {
        let (mut chunk, rest) = stream.split_at(stream.len().min(*length));
        while let Some(line) = joiner.next(&mut chunk) {
            assert!(joiner.held.is_empty() && joiner.credit <= joiner.allowance);
            lines.push(show(&line));
        }
        assert!(joiner.held.len() < COST);
        stream = rest;
        if rest.is_empty() {
            break;
        }
    }
    lines.extend(joiner.finish().as_ref().map(show));
    assert!(joiner.finish().is_none());
    lines
}

fn whole(joiner: Joiner, stream: &[u8]) -> Vec<String> {
    lines(joiner, stream, &[usize::MAX])
}

fn messages(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.starts_with('{')).count()
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
        let stream = flood.repeat(5_000);
        for new in [monitor, agent, || Joiner::new(Splitter::new(1))] {
            let all = whole(new(), &stream);
            let most = (stream.len() + ALLOWANCE) / COST + 1;
            assert!(all.len() <= most, "{} of {}", all.len(), flood.escape_ascii());
            for length in [1, 7] {
                assert!(lines(new(), &stream, &[length]) == all, "{}", flood.escape_ascii());
            }
        }
    }
}

/// At the end of a flood there may be no credit for a line, so the next message may be bytes.
#[test]
fn c21_messages_are_messages_before_a_flood_and_soon_after_it() {
    let message = b"{\"return\": {}, \"id\": 1}\r\n";
    let stream = [message, &[0xFF; 50_000][..], b"\n", message, message].concat();
    let lines = whole(agent(), &stream);
    let message = message.trim_ascii().escape_ascii().to_string();
    assert!(lines.first() == Some(&message) && lines.last() == Some(&message));
    assert_eq!(lines.concat().matches("\\xff").count(), 50_000);
}

#[test]
fn c21_lines_do_not_depend_on_how_the_bytes_come() {
    for (stream, mut choices) in streams(4_000) {
        let (credit, is_agent) = (choices.below(41), choices.below(2) == 0);
        let new = || Joiner { credit, ..if is_agent { agent() } else { monitor() } };
        let all = whole(new(), &stream);
        let some: [usize; 7] = [(); 7].map(|()| 1 + choices.below(6));
        for lengths in [&[1][..], &some] {
            let text = stream.escape_ascii();
            assert_eq!(lines(new(), &stream, lengths), all, "{credit}, {is_agent}: {text}");
        }
        assert!(all.len() <= (stream.len() + credit) / COST + 1);
        let (mut joiner, mut input, mut bytes) = (new(), &stream[..], Vec::new());
        while let Some(line) = joiner.next(&mut input) {
            bytes.extend_from_slice(line.bytes());
        }
        bytes.extend_from_slice(joiner.finish().as_ref().map_or(b"", Piece::bytes));
        assert_eq!(without_space(&bytes), without_space(&stream));
    }
}

/// The chunk ends between what may be a message and the 0xFF.
#[test]
fn c21_a_session_after_a_flood_is_recorded_as_messages() {
    let replies: String =
        (0..100).map(|id| alloc::format!("{{\"return\": {{}}, \"id\": {id}}}\n")).collect();
    for length in (366..380).chain(4000..4014) {
        let stream =
            [&[0xFF].repeat(length), &b"{\xff{\"return\":1234567}\n"[..], replies.as_bytes()];
        let stream = stream.concat();
        let messages = messages(&lines(agent(), &stream, &[length, 1, usize::MAX]));
        assert!(messages >= 100, "{length}: {messages}");
    }
}

/// After much credit was earned a flood is joined as soon as otherwise.
#[test]
fn c21_ordinary_messages_earn_a_bounded_credit() {
    let replies = b"{\"return\": {}, \"id\": 1234567890123456789}\r\n".repeat(10_000);
    let flood = [0xFF; 50_000];
    let all = whole(agent(), &[&replies, &flood[..]].concat());
    assert!(all.len() - 10_000 <= (flood.len() + ALLOWANCE) / COST + 1, "{}", all.len());
}

/// Parts of a message are not messages, whatever was joined before it.
#[test]
fn c21_a_message_after_short_lines_is_not_cut_into_messages() {
    for line in ["a\n", "ok\n", "\u{1}\n"] {
        for count in [300, 600, 5000] {
            let text = line.repeat(count)
                + "{\"arg\":     \n{\"x\":\"hunter2\"}}\n{\n\"keys\": [\n{\"k\": 1}]}\n";
            let all = whole(monitor(), text.as_bytes());
            assert!(
                !all.iter()
                    .any(|line| line.starts_with("{\\\"x") || line.starts_with("{\\\"k\\\": 1"))
            );
        }
    }
}
