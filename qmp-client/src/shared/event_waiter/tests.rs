use super::*;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use qmp_proto::{Config, Connection, Request};

use crate::shared::testing::{Wakes, event};

fn watch(matcher: impl Fn(&Event) -> bool + Send + Sync + 'static) -> EventWaiter {
    let mut connection = <Connection>::new(Config::default(), 0);
    EventWaiter::new(connection.execute(Request::new("stop"), None).unwrap(), Box::new(matcher))
}

#[test]
fn c15_it_watches_from_its_beginning_to_the_first_match() {
    let watch = watch(|event| event.name() == "GONE");
    assert!(!watch.is_watching());
    watch.begin();
    assert!(watch.is_watching());
    watch.offer(&event("OTHER"));
    assert!(watch.is_watching());
    watch.offer(&event("GONE"));
    assert!(!watch.is_watching());
}

#[test]
fn c15_the_first_match_stays() {
    let watch = watch(|_| true);
    watch.begin();
    watch.offer(&event("FIRST"));
    watch.offer(&event("SECOND"));
    watch.end(&CloseReason::Requested);
    let Poll::Ready(Ok(found)) = watch.poll(Waker::noop()) else { panic!("there was a match") };
    assert_eq!(found.name(), "FIRST");
}

#[test]
fn c15_a_panic_in_the_matcher_is_its_result_and_it_is_not_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = asked.clone();
    let watch = watch(move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        panic!("a matcher panics, as this test wants it")
    });
    watch.begin();
    watch.offer(&event("ANY"));
    assert!(!watch.is_watching());
    assert_eq!(watch.poll(Waker::noop()), Poll::Ready(Err(Error::MatcherPanicked)));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn c15_who_waits_is_woken_by_a_match_and_by_the_end() {
    for end in [false, true] {
        let watch = watch(|_| true);
        let (wakes, waker) = Wakes::new();
        watch.begin();
        assert!(watch.poll(&waker).is_pending());
        if end {
            watch.end(&CloseReason::Requested);
        } else {
            watch.offer(&event("ANY"));
        }
        assert_eq!(wakes.count(), 1);
        assert!(watch.poll(&waker).is_ready());
    }
}
