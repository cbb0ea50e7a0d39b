//! What goes out: C8 and C12.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use qmp_proto::commands::Getfd;
use qmp_proto::{Cancelled, CloseReason, Config, IoFailure, JsonFault, Refusal, Request};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use support::peer::{Peer, Told, config, descriptors, event};

#[test]
fn c8_each_command_is_one_line_as_qemu_reads_it() {
    let mut peer = Peer::ready(Config::default());
    let execute = |peer: &mut Peer, request| peer.connection.execute(request, None).unwrap();
    let id = execute(&mut peer, Request::new("stop").arguments(json!({})));
    assert_eq!(
        peer.take_all(),
        format!("{{\"execute\":\"stop\",\"arguments\":{{}},\"id\":{id}}}\n")
    );
    let id = peer.connection.execute(Request::new("a\"b"), None).unwrap();
    assert_eq!(peer.take_all(), format!("{{\"execute\":\"a\\\"b\",\"id\":{id}}}\n"));
    let raw = Request::new("x").raw_arguments(" { \"n\" : 1.50 ,\n\"é\": \"\\u00e9\" } ").unwrap();
    let id = peer.connection.execute(raw, None).unwrap();
    let expected = format!(
        "{{\"execute\":\"x\",\"arguments\":{{ \"n\" : 1.50 ,\n\"é\": \"\\u00e9\" }},\"id\":{id}}}\n"
    );
    assert_eq!(peer.take_all(), expected);
}

#[test]
fn c8_no_arguments_are_sent_where_there_are_none() {
    #[derive(serde::Serialize)]
    struct Unit;
    let mut peer = Peer::ready(Config::default());
    let none: Option<serde_json::Value> = None;
    peer.connection.execute(Request::new("a").arguments(()), None).unwrap();
    peer.connection.execute(Request::new("b").arguments(Unit), None).unwrap();
    peer.connection.execute(Request::new("c").arguments(none), None).unwrap();
    assert!(peer.sent().iter().all(|sent| sent.arguments.is_null()));
    for refused in [json!([1]), json!("text"), json!(1), json!(true)] {
        let refusal = peer.connection.execute(Request::new("d").arguments(refused), None);
        assert_eq!(refusal, Err(Refusal::InvalidJson(JsonFault::NotAnObject)));
    }
    for (text, fault) in [
        ("", JsonFault::Syntax { offset: 0 }),
        ("{\"a\":1", JsonFault::Syntax { offset: 6 }),
        ("{}\n\n x", JsonFault::Syntax { offset: 6 }),
        ("[]", JsonFault::NotAnObject),
        ("null", JsonFault::NotAnObject),
    ] {
        let refusal = Request::<_, ()>::new("e").raw_arguments(text).map(|_| ()).unwrap_err();
        assert_eq!(refusal, Refusal::InvalidJson(fault), "{text}");
    }
    assert_eq!(peer.take_all(), "");
}

#[test]
fn c8_several_commands_share_one_write() {
    let mut peer = Peer::ready(Config::default());
    let ids: Vec<_> = (0..10).map(|_| peer.execute("query-status")).collect();
    let (bytes, _) = peer.take(usize::MAX).unwrap();
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 10);
    assert_eq!(peer.take(usize::MAX), None);
    let sent: Vec<_> = peer.sent().iter().map(|sent| sent.id.to_string()).collect();
    assert_eq!(sent, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
}

/// Byte by byte, with everything else that can happen in between. What comes meanwhile waits.
#[test]
fn c8_what_is_claimed_goes_out_whole() {
    let mut peer = Peer::ready(Config::default());
    let [first, cancelled] = [peer.execute("a"), peer.execute("b")];
    let mut late = None;
    let mut text = String::new();
    for step in 0.. {
        let Some((bytes, _)) = peer.take(1) else {
            break;
        };
        text.push(char::from(bytes[0]));
        match step {
            3 => late = Some(peer.execute("c")),
            5 => assert_eq!(peer.withdraw(cancelled), None),
            7 => peer.feed(event("STOP")),
            9 => peer.answer("\"gone\""),
            11 => drop(peer.connection.execute(Request::new("d").arguments(json!([1])), None)),
            13 => peer.connection.close(),
            _ => {}
        }
    }
    assert_eq!(text, line("a", first) + &line("b", cancelled));
    assert!(peer.told().contains(&Told::NotSent(late.unwrap())));
    peer.answer(first);
    peer.answer(cancelled);
    let returned = Told::Return(first, "{}".to_owned());
    assert_eq!(peer.told(), [returned, Told::Closed(CloseReason::Requested)]);
}

fn line(name: &str, id: impl std::fmt::Display) -> String {
    format!("{{\"execute\":\"{name}\",\"id\":{id}}}\n")
}

#[test]
fn c8_a_count_beyond_what_was_lent_is_all_of_it() {
    let mut peer = Peer::ready(descriptors());
    let (plain, with_fd) = (peer.execute("a"), peer.execute_fd("b", 1));
    let lent = peer.connection.transmit().unwrap().bytes.len();
    assert_eq!(lent, line("a", plain).len());
    peer.connection.advance(lent + 1000);
    assert_eq!(peer.open(), [1], "the descriptor goes with what is lent next");
    assert_eq!(peer.take(usize::MAX), Some((line("b", with_fd).into_bytes(), Some(1))));
    peer.connection.advance(1000);
    assert_eq!(peer.take_all(), "");
}

#[test]
fn c8_what_was_not_claimed_can_be_withdrawn() {
    let mut peer = Peer::ready(config(|config| config.window = Some(1)));
    let ids = ["a", "b", "c", "d", "e"].map(|name| peer.execute(name));
    assert_eq!(peer.take_all(), line("a", ids[0]));
    for withdrawn in [3, 1, 4] {
        assert_eq!(peer.withdraw(ids[withdrawn]), Some(None));
        assert!(matches!(peer.connection.cancel(ids[withdrawn]), Cancelled::Unknown));
    }
    peer.answer(ids[0]);
    assert_eq!(peer.take_all(), line("c", ids[2]));
    peer.answer(ids[2]);
    let told = [ids[0], ids[2]].map(|id| Told::Return(id, "{}".to_owned()));
    assert_eq!(peer.told(), told);
    assert!(peer.connection.is_idle());
}

/// A panic, or an error, in the middle of an argument.
struct Interrupted(bool);

impl Serialize for Interrupted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("half", &[1, 2, 3])?;
        assert!(!self.0, "interrupted on purpose");
        Err(serde::ser::Error::custom("interrupted"))
    }
}

#[test]
fn c8_a_panic_in_a_caller_changes_nothing_on_the_wire() {
    for queued in [false, true] {
        for panics in [false, true] {
            let mut peer = Peer::ready(Config::default());
            let before = queued.then(|| line("before", peer.execute("before")));
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                peer.connection.execute(Request::new("x").arguments(Interrupted(panics)), None)
            }));
            match outcome {
                Ok(refused) => {
                    assert_eq!(refused, Err(Refusal::InvalidJson(JsonFault::NotSerializable)));
                    assert!(!panics);
                }
                Err(_) => assert!(panics),
            }
            let after = line("after", peer.execute("after"));
            assert_eq!(peer.take_all(), before.unwrap_or_default() + &after);
        }
    }
}

#[test]
fn c8_a_prepared_command_is_the_same_on_the_wire() {
    let mut peer = Peer::ready(Config::default());
    for name in ["stop", "quit"] {
        let prepared = Request::new(name).arguments(json!({"a": 1})).prepare().unwrap();
        let id = peer.connection.execute_prepared(prepared, None).unwrap();
        let end = if name == "quit" { "" } else { "\n" };
        let expected =
            format!("{{\"execute\":\"{name}\",\"arguments\":{{\"a\":1}},\"id\":{id}}}{end}");
        assert_eq!(peer.take_all(), expected);
    }
    let twice = Request::<_, ()>::new("x").raw_arguments(r#"{"a":1,"a":2}"#).unwrap().prepare();
    assert!(matches!(twice, Err(Refusal::InvalidJson(JsonFault::DuplicateMember { .. }))));
}

#[test]
fn a_command_is_a_name_or_a_query_or_typed() {
    let mut peer = Peer::ready(Config::default());
    for name in ["status", "query-status"] {
        let id = peer.connection.execute(Request::query(name), None).unwrap();
        assert_eq!(peer.take_all(), line("query-status", id));
    }
    let id = peer.connection.execute(Request::of(&Getfd { fdname: "a" }), None).unwrap();
    let expected =
        format!("{{\"execute\":\"getfd\",\"arguments\":{{\"fdname\":\"a\"}},\"id\":{id}}}\n");
    assert_eq!(peer.take_all(), expected);
    let prepared = |request: Request| request.prepare().unwrap();
    assert!(prepared(Request::new("yank").out_of_band()).is_out_of_band());
    assert!(!prepared(Request::new("yank")).is_out_of_band());
}

#[test]
fn c12_not_a_byte_follows_quit() {
    let mut peer = Peer::ready(Config::default());
    let (before, quit) = (peer.execute("stop"), peer.execute("quit"));
    let behind = peer.execute("cont");
    let expected = line("stop", before) + line("quit", quit).trim_end();
    assert_eq!(peer.take_all(), expected);
    let late = peer.execute("query-status");
    peer.answer(before);
    assert_eq!(peer.take_all(), "");
    peer.answer(quit);
    assert_eq!(peer.take_all(), "", "after its success nothing follows either");
    assert!(!peer.connection.is_idle());
    peer.connection.handle_eof();
    let returned = |id| Told::Return(id, "{}".to_owned());
    let closed = Told::Closed(CloseReason::Quit);
    let told =
        [returned(before), returned(quit), Told::NotSent(behind), Told::NotSent(late), closed];
    assert_eq!(peer.told(), told);
}

#[test]
fn c12_after_quits_error_sending_goes_on() {
    for with_id in [true, false] {
        let mut peer = Peer::ready(Config::default());
        let quit = peer.execute("quit");
        let behind = peer.execute("cont");
        peer.take_all();
        peer.feed(event("SHUTDOWN"));
        if with_id {
            peer.refuse(quit);
        } else {
            peer.feed(support::peer::ERROR_WITHOUT_ID);
        }
        assert_eq!(peer.take_all(), line("cont", behind));
        assert!(matches!(&peer.told()[..], [Told::Event(_), Told::Error(id, _)] if *id == quit));
        // The machine lives, so this end is none that was asked for.
        peer.connection.handle_eof();
        let closed = Told::Closed(CloseReason::Eof { mid_message: false });
        assert_eq!(peer.told(), [Told::Unanswered(behind), closed]);
    }
}

#[test]
fn c12_a_shutdown_before_a_refused_quit_is_not_the_next_ones_success() {
    let mut peer = Peer::ready(Config::default());
    let first = peer.execute("quit");
    peer.take_all();
    peer.feed(event("SHUTDOWN"));
    peer.refuse(first);
    let second = peer.execute("quit");
    peer.take_all();
    peer.connection.handle_eof();
    assert_eq!(peer.told()[2..], [Told::Unanswered(second), Told::Closed(CloseReason::Quit)]);
}

#[test]
fn c12_a_quit_that_is_withdrawn_holds_nothing_back() {
    let mut peer = Peer::ready(Config::default());
    let quit = peer.execute("quit");
    let behind = peer.execute("cont");
    assert_eq!(peer.withdraw(quit), Some(None));
    assert_eq!(peer.take_all(), line("cont", behind));
    peer.connection.handle_eof();
    assert!(peer.told().contains(&Told::Closed(CloseReason::Eof { mid_message: false })));
}

#[test]
fn c12_a_cancelled_quit_is_a_quit() {
    let mut peer = Peer::ready(Config::default());
    let quit = peer.execute("quit");
    let behind = peer.execute("cont");
    peer.take_all();
    assert_eq!(peer.withdraw(quit), None);
    assert_eq!(peer.take_all(), "");
    peer.connection.handle_eof();
    assert_eq!(peer.told(), [Told::NotSent(behind), Told::Closed(CloseReason::Quit)]);
}

#[test]
fn c12_out_of_band_commands_do_not_pass_a_quit_that_is_sent() {
    let mut peer = Peer::ready(support::peer::oob());
    let quit = peer.execute("quit");
    peer.execute_oob("yank");
    assert_eq!(peer.sent_names(), ["yank", "quit"]);
    peer.execute_oob("query-yank");
    assert_eq!(peer.sent_names(), [""; 0]);
    peer.refuse(quit);
    assert_eq!(peer.sent_names(), ["query-yank"]);
}

#[test]
fn c12_the_end_after_quit_is_the_expected_close() {
    for reset in [false, true] {
        for (shutdown, replied) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut peer = Peer::ready(Config::default());
            let (stop, quit) = (peer.execute("stop"), peer.execute("quit"));
            peer.take_all();
            if shutdown {
                peer.feed(event("SHUTDOWN"));
            }
            if replied {
                peer.feed(format!("{{\"return\": {{\"own\": 1}}, \"id\": {quit}}}"));
            }
            match reset {
                true => peer.connection.handle_failure(IoFailure::Reset),
                false => peer.connection.handle_eof(),
            }
            let mut told = peer.told();
            assert_eq!(told.pop(), Some(Told::Closed(CloseReason::Quit)));
            assert!(told.contains(&Told::Unanswered(stop)), "SHUTDOWN stands for quit alone");
            let of_quit = match (shutdown, replied) {
                (_, true) => Told::Return(quit, "{\"own\": 1}".to_owned()),
                (true, false) => Told::Return(quit, "{}".to_owned()),
                (false, false) => Told::Unanswered(quit),
            };
            assert!(told.contains(&of_quit), "{told:?}");
        }
    }
}

#[test]
fn c12_a_shutdown_before_quit_was_sent_is_not_its_success() {
    for sent in [0, 1, usize::MAX] {
        let mut peer = Peer::ready(Config::default());
        let quit = peer.execute("quit");
        let whole = sent == usize::MAX;
        if sent > 0 {
            peer.take(sent);
        } else {
            assert!(peer.connection.transmit().is_some(), "claimed, and nothing taken");
        }
        peer.feed(event("SHUTDOWN"));
        peer.take_all();
        peer.connection.handle_eof();
        let returned = Told::Return(quit, "{}".to_owned());
        assert_eq!(peer.told().contains(&returned), whole, "{sent} bytes sent before");
    }
}

/// What ends the connection then was not the quit.
#[test]
fn c12_the_end_before_quit_was_sent_is_not_its_doing() {
    for sent in [0, 1, 20] {
        for (reset, reason) in [
            (false, CloseReason::Eof { mid_message: false }),
            (true, CloseReason::Failed(IoFailure::Reset)),
        ] {
            let mut peer = Peer::ready(Config::default());
            let quit = peer.execute("quit");
            let lent = peer.connection.transmit().unwrap().bytes.len();
            assert!(lent > sent);
            peer.connection.advance(sent);
            match reset {
                true => peer.connection.handle_failure(IoFailure::Reset),
                false => peer.connection.handle_eof(),
            }
            let ended = if sent == 0 { Told::NotSent(quit) } else { Told::Unanswered(quit) };
            assert_eq!(peer.told(), [ended, Told::Closed(reason)]);
        }
    }
}

#[test]
fn c12_another_failure_after_quit_is_a_failure() {
    let mut peer = Peer::ready(Config::default());
    let quit = peer.execute("quit");
    peer.take_all();
    peer.feed(event("SHUTDOWN"));
    peer.connection.handle_failure(IoFailure::Os(110));
    let closed = Told::Closed(CloseReason::Failed(IoFailure::Os(110)));
    assert_eq!(peer.told()[1..], [Told::Unanswered(quit), closed]);
}
