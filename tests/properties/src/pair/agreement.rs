//! What has to hold between a client and a server that are joined, at any time and at the end.

use qmp_proto::{CloseReason, IoFailure};
use qmp_server::CloseReason as ServerReason;

use super::Kind;
use super::run::{Coverage, Ended, Run};

impl Run {
    /// What holds at any time.
    pub fn after_each_step(&mut self) {
        let limit = match self.client.oob_enabled() {
            true => self.choices.window.unwrap_or(7).min(8),
            false => self.choices.window.unwrap_or(64),
        };
        let in_band = self.begun().filter(|command| command.kind != Kind::OutOfBand).count();
        assert!(in_band <= limit, "{in_band} in flight");
        let calls = self.calls.iter().filter(|(call, _)| !call.out_of_band).count();
        assert!(calls <= self.choices.concurrent, "{calls} calls at once");
        assert!(self.damaged || self.client.strays() == 0, "strays");
        let busy = self.calls.len() > calls;
        assert!(self.calls.len() <= calls + 1, "two out-of-band calls at once");
        // As the client keeps to its window, an out-of-band command never has to wait in the pipe.
        let waiting = self.server.transmit().map_or(0, <[u8]>::len);
        let may_read = self.server.oob_enabled() && !self.damaged;
        if may_read && !busy && waiting < self.choices.max_output {
            let open = self.server.phase() == qmp_server::Phase::Ready;
            assert_eq!(self.server.wants_input(), open, "{in_band} in flight");
        }
    }

    /// Answers all that there is to answer, ends it if nothing has, and checks the ledger.
    pub fn finish(mut self) -> Coverage {
        self.settle();
        while !self.calls.is_empty() {
            self.answer(|calls| calls / 2, true);
            self.settle();
        }
        let undisturbed = !self.half_closed && !self.was_cut;
        if self.client_reason.is_none() && self.server_reason.is_none() && undisturbed {
            // With what was damaged a reply may be lost: who waits for it gives up.
            if self.damaged {
                self.client_aborts();
            } else {
                self.check_quiet();
                self.client_closes();
            }
        }
        self.settle();
        self.check_reasons();
        self.check_ledger();
        self.coverage
    }

    /// Nothing is under way.
    fn check_quiet(&mut self) {
        assert!(self.client.is_idle(), "{:?}", self.client);
        assert!(self.server.wants_input(), "{:?}", self.server);
        assert_eq!(self.events_seen, self.events_sent);
        assert!(self.commands.iter().all(|command| command.ended.is_some()));
        assert!(self.commands.iter().all(|command| {
            command.called != matches!(command.ended, Some(Ended::Withdrawn | Ended::NotSent))
        }));
        self.check_descriptors();
        self.coverage.note("quiet before the end", true);
    }

    /// What each side says of the end fits what was done, and what the other one says.
    fn check_reasons(&mut self) {
        let (client, server) =
            (self.client_reason.clone().unwrap(), self.server_reason.clone().unwrap());
        let quit_sent =
            self.commands.iter().any(|c| c.kind == Kind::Quit && c.ended != Some(Ended::Withdrawn));
        match client {
            CloseReason::Requested => assert!(self.closed || self.aborted),
            CloseReason::Quit => assert!(quit_sent),
            CloseReason::Eof { mid_message } => {
                assert!(self.server_closed || self.half_closed || self.was_cut);
                assert!(!mid_message || self.was_cut || self.damaged, "nothing cut a message off");
                self.coverage.note("a message cut off", mid_message);
            }
            // Of the greeting's first bytes it cannot be told what they are.
            CloseReason::NotQmp(_) => assert!(self.was_cut || self.damaged),
            CloseReason::Violation(_) | CloseReason::NegotiationRefused(_) if self.damaged => {}
            other => panic!("{other:?}"),
        }
        match server {
            ServerReason::Requested => assert!(self.server_closed),
            ServerReason::Eof { mid_message } => {
                let orderly = client == CloseReason::Requested && !self.aborted;
                assert!(!mid_message || !orderly || self.half_closed, "a command cut off");
                let torn = self.half_closed || self.was_cut || self.damaged;
                assert!(orderly || self.aborted || torn);
            }
            ServerReason::Failed(failure) => assert_eq!(failure, IoFailure::Reset),
            other => panic!("{other:?}"),
        }
        self.coverage.note("an end by quit", client == CloseReason::Quit);
    }

    fn check_ledger(&mut self) {
        // Whatever the server wrote has come, unless it was lost or nobody was there any more.
        let all_came = !self.was_cut && !self.aborted && !self.damaged;
        for (token, command) in self.commands.iter().enumerate() {
            let ended = command.ended.unwrap_or_else(|| panic!("{token} has not ended"));
            let unsent = matches!(ended, Ended::NotSent | Ended::Withdrawn);
            assert!(!(unsent && command.called), "{token} is {ended:?}, but was called");
            let unanswered = ended == Ended::Unanswered;
            assert!(!(unanswered && command.answer.is_some() && all_came), "{token}'s answer");
            self.coverage.note("not sent", ended == Ended::NotSent);
            self.coverage.note("withdrawn", ended == Ended::Withdrawn);
            self.coverage.note("cancelled after it was sent", ended == Ended::Discarded);
            self.coverage.note("unanswered", ended == Ended::Unanswered);
            self.coverage.note("an error", ended == Ended::Error);
        }
        let stayed =
            matches!(self.client_reason, Some(CloseReason::Eof { .. } | CloseReason::Quit));
        if stayed && all_came {
            assert_eq!(self.events_seen, self.events_sent);
        }
        assert!(self.client.is_idle() && self.client.transmit().is_none());
        assert!(self.server.transmit().is_none() && !self.server.wants_input());
        self.check_descriptors();
    }

    /// Each was sent, handed back or dropped, and taken or dropped: none is left.
    fn check_descriptors(&self) {
        assert_eq!(*self.client_open.borrow(), [].into());
        assert_eq!(*self.server_open.borrow(), [].into());
    }
}
