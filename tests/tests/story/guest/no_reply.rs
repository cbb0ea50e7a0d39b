//! Commands whose success has no reply. Never the real ones: this machine is the real agent's guest.

use std::time::Duration;

use qmp_tests::scripted::{PATIENCE, Peer, Script, pair};

use super::super::qmp::guest_commands::{GuestShutdown, GuestShutdownMode};
use super::super::qmp::{Client, CloseReason, Error, NoReply, Request};
use super::super::runtime::tell;
use super::{agents, is_in_step, serve_echoes, synchronise};

const SHORT: Duration = Duration::from_millis(50);
const REBOOT: GuestShutdown = GuestShutdown { mode: Some(GuestShutdownMode::Reboot) };

async fn with(script: impl FnOnce(&mut Peer) + Send + 'static) -> (Client, Script) {
    let (socket, script) = pair(|peer| {
        synchronise(peer);
        script(peer);
    });
    (wait!(agents().from_stream(socket)).unwrap(), script)
}

#[test]
fn c23_the_end_of_the_stream_is_a_shutdowns_success() {
    tell(async {
        let (client, script) = with(|peer| {
            let shutdown = peer.expect("guest-shutdown");
            assert_eq!(shutdown.arguments, serde_json::json!({"mode": "reboot"}));
        })
        .await;
        assert_eq!(wait!(client.execute(&REBOOT)), Ok(NoReply::Closed));
        assert!(matches!(wait!(client.closed()), CloseReason::Eof { .. }));
        script.join();
    });
}

#[test]
fn c23_silence_up_to_the_deadline_is_one_too_and_the_session_goes_on() {
    tell(async {
        let (client, script) = with(|peer| {
            peer.expect("guest-shutdown");
            synchronise(peer);
            peer.expect("guest-suspend-ram");
            // It wakes up.
            synchronise(peer);
            serve_echoes(peer);
        })
        .await;
        let hasty = client.with_timeout(SHORT);
        assert_eq!(wait!(hasty.execute(&REBOOT)), Ok(NoReply::Deadline));
        // Up to where a new session has begun.
        assert_eq!(wait!(client.wait_idle(PATIENCE)), Ok(()));
        let suspend = Request::new("guest-suspend-ram").no_reply();
        let raw = wait!(hasty.execute_request(suspend)).unwrap();
        assert_eq!(raw.parse(), Ok(NoReply::Deadline));
        is_in_step(&client).await;
        drop((client, hasty));
        script.join();
    });
}

#[test]
fn c23_an_answer_to_a_shutdown_is_what_it_says() {
    tell(async {
        let (client, script) = with(|peer| {
            let refused = peer.expect("guest-shutdown");
            peer.fail(&refused, "CommandNotFound", "disabled");
            synchronise(peer);
            let accepted = peer.expect("guest-shutdown");
            peer.reply(&accepted, "{}");
            peer.expect_eof();
        })
        .await;
        let refused = wait!(client.execute(&REBOOT)).unwrap_err();
        assert!(matches!(refused, Error::Command(_)), "{refused}");
        assert_eq!(wait!(client.execute(&REBOOT)), Ok(NoReply::Returned));
        drop(client);
        script.join();
    });
}
