//! The phases of a connection and every transition between them, in one table.

/// Where a connection stands.
///
#[doc = include_str!("phase.md")]
///
#[doc = include_str!("messages.md")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The greeting is awaited. Events and a previous client's replies may come already.
    Greeting,
    /// The reply to `qmp_capabilities` is awaited. Events may come already, and another greeting.
    Negotiating,
    /// A guest agent's answer to `guest-sync-delimited` is awaited, and all else is dropped.
    Syncing,
    /// A guest agent's session has to begin anew before the next command goes out. All that comes is
    /// dropped.
    OutOfStep,
    /// Commands are sent as the window allows.
    Ready,
    /// `close` was called: replies are awaited, no command is sent any more.
    Closing,
    /// The connection has ended, once and for all.
    Closed,
}

/// What moves a connection from one phase to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// A greeting came.
    Greeted,
    /// The server accepted `qmp_capabilities`.
    Accepted,
    /// The guest agent answered `guest-sync-delimited`.
    Synchronised,
    /// A guest agent's command in flight was given up, or failed, or what came cannot be read, or had begun
    /// to come before the command did: replies may come that are nobody's.
    LostStep,
    /// The guest agent is asked for a new session.
    Asked,
    /// The application asked to close.
    CloseAsked,
    /// The last reply owed came.
    Drained,
    /// End of stream, a failure, or a fault of the peer's.
    Ended,
}

/// Every transition. What is not here changes nothing.
const TRANSITIONS: [(Phase, Trigger, Phase); 18] = {
    use Phase::*;
    use Trigger::*;
    [
        (Greeting, Greeted, Negotiating),
        (Negotiating, Greeted, Negotiating),
        (Negotiating, Accepted, Ready),
        (Syncing, Synchronised, Ready),
        (Ready, LostStep, OutOfStep),
        (OutOfStep, Asked, Syncing),
        (Ready, CloseAsked, Closing),
        (Closing, Drained, Closed),
        (Greeting, CloseAsked, Closed),
        (Negotiating, CloseAsked, Closed),
        (Syncing, CloseAsked, Closed),
        (OutOfStep, CloseAsked, Closed),
        (Greeting, Ended, Closed),
        (Negotiating, Ended, Closed),
        (Syncing, Ended, Closed),
        (OutOfStep, Ended, Closed),
        (Ready, Ended, Closed),
        (Closing, Ended, Closed),
    ]
};

impl Phase {
    /// The phase after `trigger`; `None` where it changes nothing.
    pub(crate) fn after(self, trigger: Trigger) -> Option<Self> {
        TRANSITIONS
            .iter()
            .find(|(from, on, _)| (*from, *on) == (self, trigger))
            .map(|(_, _, to)| *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String, vec::Vec};

    /// The arrows of the diagram: `From --> To : trigger`.
    fn arrows_of_the_diagram() -> Vec<String> {
        let lines = include_str!("phase.md").lines().filter(|line| line.contains("-->"));
        lines.map(|line| line.trim().into()).collect()
    }

    #[test]
    fn the_diagram_in_the_docs_is_the_table() {
        let mut of_table: Vec<String> = TRANSITIONS
            .iter()
            .map(|(from, on, to)| format!("{from:?} --> {to:?} : {on:?}"))
            .collect();
        let mut of_diagram = arrows_of_the_diagram();
        of_table.sort();
        of_diagram.sort();
        assert_eq!(of_diagram, of_table);
    }

    #[test]
    fn a_phase_and_a_trigger_name_at_most_one_transition() {
        for (at, (from, on, _)) in TRANSITIONS.iter().enumerate() {
            let again = TRANSITIONS[at + 1..].iter().any(|(f, o, _)| (f, o) == (from, on));
            assert!(!again, "{from:?} {on:?}");
        }
    }

    #[test]
    fn c17_nothing_leaves_closed() {
        assert!(TRANSITIONS.iter().all(|(from, _, _)| *from != Phase::Closed));
    }
}
