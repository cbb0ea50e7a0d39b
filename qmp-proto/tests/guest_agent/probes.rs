//! An agent that is silent while it has a command, and repeated questions.

use std::time::Duration;

use qmp_proto::{CommandId, Instant, Phase, Request};

use super::support::agent::{Agent, Ids};
use super::support::peer::{Peer, Told};
use super::{agents, questions, ready, ready_with_ids, returned, take};

fn at(seconds: u64) -> Instant {
    Instant::after(Duration::from_secs(seconds))
}

/// A client and an agent, and the time.
struct Scene {
    peer: Peer,
    agent: Agent,
    now: u64,
}

impl Scene {
    fn new(ids: Ids) -> Self {
        let mut scene = Self { peer: Peer::new(agents()), agent: Agent::new(ids), now: 0 };
        while scene.peer.connection.phase() == Phase::Syncing {
            scene.exchange();
        }
        assert_eq!(scene.peer.told(), [Told::Ready]);
        scene
    }

    /// All bytes arrive.
    fn exchange(&mut self) {
        self.agent.feed(&take(&mut self.peer));
        self.peer.feed(self.agent.take(usize::MAX));
    }

    fn execute(&mut self, request: Request<(), super::support::peer::Descriptor>) -> CommandId {
        let id = self.peer.connection.execute(request, None).unwrap();
        self.exchange();
        assert!(self.agent.running().is_some());
        id
    }

    /// Nothing is received for so many seconds, and what is due is done.
    fn wait(&mut self, seconds: u64) {
        let until = self.now + seconds;
        while let Some(next) = self.peer.connection.poll_timeout(at(self.now)) {
            if next > at(until) {
                break;
            }
            self.now = next.since_origin().as_secs();
            self.peer.connection.handle_timeout(next);
            self.agent.feed(&take(&mut self.peer));
        }
        self.now = until;
    }
}

const ALL: [Ids; 3] = [Ids::Echoed, Ids::Ignored, Ids::Refused];

#[test]
fn c23_a_restarted_agent_ends_the_command_in_flight_as_unanswered() {
    for ids in ALL {
        for kept in [0, 1, 20, usize::MAX] {
            let mut scene = Scene::new(ids);
            let id = scene.execute(Request::new("guest-file-read"));
            // It is killed in the middle of its reply.
            scene.agent.succeed("\"half a string\"");
            let part = match kept {
                usize::MAX => 0,
                kept => kept,
            };
            let half = scene.agent.take(part);
            scene.peer.feed(half);
            scene.agent.restart();
            assert_eq!(scene.peer.told(), []);
            scene.wait(4);
            scene.exchange();
            assert_eq!(scene.peer.told(), [], "it is not probed yet");
            scene.wait(5);
            scene.exchange();
            assert_eq!(scene.peer.told(), [Told::Unanswered(id)], "{ids:?} {kept}");
            // The next command has its own reply.
            while scene.peer.connection.phase() != Phase::Ready {
                scene.wait(1);
                scene.exchange();
            }
            let next = scene.execute(Request::new("guest-ping"));
            scene.agent.succeed("17");
            scene.exchange();
            assert_eq!(scene.peer.told(), [returned(next, "17")], "{ids:?} {kept}");
        }
    }
}

/// An agent that was stopped for a minute answers the command, and then all probes.
#[test]
fn c23_a_slow_agent_is_not_taken_for_a_restarted_one() {
    for ids in ALL {
        for pieces in [1, 7, usize::MAX] {
            let mut scene = Scene::new(ids);
            let id = scene.execute(Request::new("guest-info"));
            let next = scene.peer.connection.execute(Request::new("guest-ping"), None).unwrap();
            scene.wait(60);
            assert_eq!(scene.peer.told(), []);
            scene.agent.succeed("7");
            loop {
                let answers = scene.agent.take(pieces);
                if answers.is_empty() {
                    break;
                }
                scene.peer.feed(answers);
            }
            assert_eq!(scene.peer.told(), [returned(id, "7")], "{ids:?} {pieces}");
            scene.exchange();
            assert!(scene.agent.running().is_some(), "{ids:?} {pieces}");
            scene.agent.succeed("8");
            scene.exchange();
            assert_eq!(scene.peer.told(), [returned(next, "8")]);
        }
    }
}

/// Bytes of a long reply are signs of life.
#[test]
fn c23_an_agent_that_sends_is_not_probed() {
    let mut scene = Scene::new(Ids::Echoed);
    let id = scene.execute(Request::new("guest-info"));
    scene.agent.succeed(&format!("\"{}\"", "x".repeat(100)));
    for _ in 0..20 {
        scene.wait(4);
        let piece = scene.agent.take(5);
        scene.peer.feed(piece);
        assert!(take(&mut scene.peer).is_empty());
    }
    scene.exchange();
    assert_eq!(scene.peer.told(), [returned(id, &format!("\"{}\"", "x".repeat(100)))]);
}

#[test]
fn c23_no_reply_ends_well_if_the_probe_is_answered() {
    for ids in ALL {
        let mut scene = Scene::new(ids);
        let id = scene.execute(Request::new("guest-shutdown").no_reply());
        scene.agent.stay_silent();
        scene.wait(5);
        scene.exchange();
        assert_eq!(scene.peer.told(), [returned(id, "\"restarted\"")], "{ids:?}");
    }
}

#[test]
fn c23_without_a_limit_no_agent_is_probed() {
    let mut config = agents();
    config.probe_after = None;
    let mut peer = Peer::new(config);
    let number = super::sync(&mut peer);
    peer.feed(super::echo(number));
    peer.execute("guest-ping");
    take(&mut peer);
    assert_eq!(peer.connection.poll_timeout(at(0)), None);
}

/// A timer that begins in `handle_input` counts from the next `poll_timeout`.
#[test]
fn c24_silence_counts_from_the_next_poll() {
    let mut peer = ready_with_ids();
    peer.execute("guest-ping");
    take(&mut peer);
    assert_eq!(peer.connection.poll_timeout(at(10)), Some(at(15)));
    assert_eq!(peer.connection.poll_timeout(at(12)), Some(at(15)));
    peer.feed(" ");
    assert_eq!(peer.connection.poll_timeout(at(13)), Some(at(18)));
    peer.connection.handle_timeout(at(17));
    assert!(take(&mut peer).is_empty());
    peer.connection.handle_timeout(at(18));
    assert_eq!(questions(&take(&mut peer)).len(), 1);
    assert_eq!(peer.connection.poll_timeout(at(18)), Some(at(23)));
}

/// It is repeated only while a command waits, or a caller who waits for the session.
#[test]
fn c23_a_question_is_repeated_while_its_session_is_wanted() {
    let mut peer = Peer::new(agents());
    take(&mut peer);
    assert_eq!(peer.connection.poll_timeout(at(0)), None);
    peer.connection.set_session_wanted(true);
    assert_eq!(peer.connection.poll_timeout(at(0)), Some(at(1)));
    peer.connection.handle_timeout(at(1));
    assert_eq!(questions(&take(&mut peer)).len(), 2, "with an id and without one");
    assert_eq!(peer.connection.poll_timeout(at(1)), Some(at(2)));
    peer.connection.set_session_wanted(false);
    peer.connection.handle_timeout(at(2));
    assert!(take(&mut peer).is_empty());
    assert_eq!(peer.connection.poll_timeout(at(2)), None);
    let id = peer.execute("guest-ping");
    assert_eq!(peer.connection.poll_timeout(at(2)), Some(at(3)));
    assert_eq!(peer.withdraw(id), Some(None));
    assert_eq!(peer.connection.poll_timeout(at(2)), None);
}

/// A command that times out while its agent is probed begins a new session.
#[test]
fn c23_a_deadline_ends_a_probe() {
    let mut peer = ready();
    let request = Request::new("guest-info");
    let id = peer.connection.execute(request, Some(at(7))).unwrap();
    take(&mut peer);
    assert_eq!(peer.connection.poll_timeout(at(0)), Some(at(5)));
    peer.connection.handle_timeout(at(5));
    let [(probe, _)] = questions(&take(&mut peer))[..] else { panic!("one question") };
    peer.connection.handle_timeout(at(7));
    assert_eq!(peer.told(), [Told::TimedOut(id, true)]);
    let [(session, _)] = questions(&take(&mut peer))[..] else { panic!("one question") };
    peer.feed("{\"return\": {}}\n");
    peer.feed(super::answer(probe));
    assert_eq!(peer.connection.phase(), Phase::Syncing);
    peer.feed(super::answer(session));
    assert_eq!(peer.connection.phase(), Phase::Ready);
    assert_eq!(peer.told(), []);
}
