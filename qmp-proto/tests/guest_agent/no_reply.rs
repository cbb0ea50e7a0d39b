//! Commands that may have no reply.

use qmp_proto::{Cancelled, CloseReason, CommandId, Config, IoFailure, Phase, Request};

use super::support::peer::{Peer, Told};
use super::{ready, returned, take};

fn shutdown(peer: &mut Peer) -> CommandId {
    peer.connection.execute(Request::new("guest-shutdown").no_reply(), None).unwrap()
}

#[test]
fn c23_no_reply_ends_well_with_the_stream() {
    let eof: fn(&mut Peer) = |peer| peer.connection.handle_eof();
    let reset: fn(&mut Peer) = |peer| peer.connection.handle_failure(IoFailure::Reset);
    for (end, reason) in [
        (eof, CloseReason::Eof { mid_message: false }),
        (reset, CloseReason::Failed(IoFailure::Reset)),
    ] {
        let mut peer = ready();
        let id = shutdown(&mut peer);
        take(&mut peer);
        end(&mut peer);
        assert_eq!(peer.told(), [returned(id, "\"closed\""), Told::Closed(reason.clone())]);
        // Of a command that did not go out whole this cannot be said.
        let mut peer = ready();
        let id = shutdown(&mut peer);
        peer.take(10);
        end(&mut peer);
        assert_eq!(peer.told(), [Told::Unanswered(id), Told::Closed(reason)]);
    }
}

/// Half an error is no success.

#[test]
fn c23_no_reply_does_not_end_well_in_the_middle_of_a_message() {
    for mut peer in [ready(), Peer::ready(Config::default())] {
        for reset in [false, true] {
            let id = shutdown(&mut peer);
            take(&mut peer);
            peer.feed("{\"error\": {\"class\": \"GenericError\", \"desc\": \"Guest shutdown fai");
            match reset {
                true => peer.connection.handle_failure(IoFailure::Reset),
                false => peer.connection.handle_eof(),
            }
            assert_eq!(peer.told()[0], Told::Unanswered(id));
            peer = ready();
        }
    }
}

#[test]
fn c23_no_reply_does_not_end_well_by_our_doing_or_a_fault() {
    let mut peer = ready();
    let id = shutdown(&mut peer);
    take(&mut peer);
    peer.connection.abort();
    assert_eq!(peer.told(), [Told::Unanswered(id), Told::Closed(CloseReason::Requested)]);
    let mut peer = ready();
    let id = shutdown(&mut peer);
    take(&mut peer);
    peer.feed("nonsense");
    assert_eq!(peer.told()[0], Told::Unanswered(id));
}

#[test]
fn c23_no_reply_may_have_one_and_an_error_is_an_error() {
    let mut peer = ready();
    let ids = [shutdown(&mut peer), shutdown(&mut peer)];
    take(&mut peer);
    peer.feed("{\"return\": {\"a\": \"secret\"}}\n");
    take(&mut peer);
    peer.feed("{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n");
    let error = Told::Error(ids[1], "disabled".to_owned());
    assert_eq!(peer.told(), [returned(ids[0], "\"returned\""), error]);
}

#[test]
fn c23_no_reply_given_up_says_whether_it_was_sent_whole() {
    for (most, expected) in [(usize::MAX, Cancelled::NoReplyOwed), (10, Cancelled::ReplyDiscarded)]
    {
        let mut peer = ready();
        let id = shutdown(&mut peer);
        peer.take(most);
        assert_eq!(peer.connection.cancel(id), expected);
        assert_eq!(peer.connection.phase(), Phase::Syncing);
    }
    let mut peer = ready();
    let id = shutdown(&mut peer);
    assert_eq!(peer.connection.cancel(id), Cancelled::NeverSent(None));
}

/// The monitor's commands may be so marked too.

#[test]
fn c23_no_reply_is_of_no_dialect() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.connection.execute(Request::new("system_reset").no_reply(), None).unwrap();
    take(&mut peer);
    peer.answer(id);
    let id = [shutdown(&mut peer), shutdown(&mut peer)];
    take(&mut peer);
    assert_eq!(peer.connection.cancel(id[0]), Cancelled::NoReplyOwed);
    peer.connection.handle_eof();
    assert_eq!(peer.told()[1..2], [returned(id[1], "\"closed\"")]);
}
