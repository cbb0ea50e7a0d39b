//! C23 and C8: a command that is given up, and the next one's own reply.

use std::time::Duration;

use qmp_tests::agent::Agent;
use rustix::process::Signal;

use super::super::qmp::guest_commands::{GuestGetTime, GuestPing};
use super::super::qmp::{CloseReason, Error, IoFailure, Refusal};
use super::super::runtime::{finish, start, tell};
use super::{connect, echo, is_in_step};

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn c23_a_late_reply_is_never_the_next_commands() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let hasty = client.with_timeout(SHORT);
        for _ in 0..3 {
            agent.signal(Signal::STOP);
            assert_eq!(echo(&hasty, 13).await, Err(Error::TimedOut { sent: true }));
            // This one waits for its turn, and is withdrawn.
            let error = wait!(hasty.execute(&GuestPing)).unwrap_err();
            let Error::AgentBusy { command, held, given_up: true } = error else {
                panic!("{error}")
            };
            assert!(command == "guest-sync-delimited" && held >= SHORT, "{command} {held:?}");
            let waiting = {
                let client = client.clone();
                start(async move { echo(&client, 14).await })
            };
            agent.signal(Signal::CONT);
            assert_eq!(finish(waiting).await, Ok(14));
            is_in_step(&client).await;
            wait!(client.execute(&GuestGetTime)).unwrap();
        }
    });
}

#[test]
fn c23_an_agent_that_dies_leaves_its_command_unanswered() {
    tell(async {
        let Some(mut agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        agent.signal(Signal::STOP);
        let outcome = echo(&client.with_timeout(SHORT), 1).await;
        assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
        let waiting = {
            let client = client.clone();
            start(async move { echo(&client, 2).await })
        };
        agent.kill();
        // The session did not begin anew, so it was never sent.
        let reason = match finish(waiting).await.unwrap_err() {
            Error::NotSent(reason) | Error::Refused(Refusal::Closed(reason)) => reason,
            error => panic!("{error}"),
        };
        let expected =
            matches!(reason, CloseReason::Eof { .. } | CloseReason::Failed(IoFailure::Reset));
        assert!(expected, "{reason}");
        assert_eq!(wait!(client.closed()), reason);
    });
}
