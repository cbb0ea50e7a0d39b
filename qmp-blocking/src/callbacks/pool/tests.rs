use super::*;

use std::sync::mpsc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(10);

/// Jobs that wait for each other; gives their threads.
fn meet(pool: &Pool, count: usize) -> Vec<thread::ThreadId> {
    let (arrived, arrivals) = mpsc::channel();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    for _ in 0..count {
        let (arrived, gate) = (arrived.clone(), gate.clone());
        pool.execute(Box::new(move || {
            arrived.send(thread::current().id()).unwrap();
            let mut open = gate.0.lock().unwrap();
            while !*open {
                open = gate.1.wait(open).unwrap();
            }
        }));
    }
    let ids = (0..count).map(|_| arrivals.recv_timeout(LONG).expect("as many run at once"));
    let ids = ids.collect();
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    ids
}

#[test]
fn threads_are_started_when_there_is_work_for_them() {
    let pool = Pool::threads(3);
    assert_eq!(lock(&pool.threads.shared.state).started, 0);
    pool.start();
    assert_eq!(lock(&pool.threads.shared.state).started, 1);
    assert_eq!(meet(&pool, 3).len(), 3);
    assert_eq!(lock(&pool.threads.shared.state).started, 3);
}

#[test]
fn there_are_never_more_threads_than_asked_for() {
    for (asked, most) in [(0, 1), (1, 1), (2, 2)] {
        let pool = Pool::threads(asked);
        let (sender, ids) = mpsc::channel();
        for _ in 0..200 {
            let sender = sender.clone();
            pool.execute(Box::new(move || sender.send(thread::current().id()).unwrap()));
        }
        let mut seen: Vec<_> = (0..200).map(|_| ids.recv_timeout(LONG).unwrap()).collect();
        seen.sort_by_key(|id| format!("{id:?}"));
        seen.dedup();
        assert!(seen.len() <= most, "{} threads for {asked}", seen.len());
    }
}

#[test]
fn a_job_that_panics_takes_no_thread_with_it() {
    let pool = Pool::threads(1);
    let before = meet(&pool, 1);
    pool.execute(Box::new(|| panic!("on purpose")));
    assert_eq!(meet(&pool, 1), before);
}

#[test]
fn what_was_queued_is_run_when_the_pool_is_dropped() {
    let pool = Pool::threads(1);
    let (sender, numbers) = mpsc::channel();
    for number in 0..100 {
        let sender = sender.clone();
        pool.execute(Box::new(move || sender.send(number).unwrap()));
    }
    drop((pool, sender));
    assert_eq!(numbers.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
}

/// The last clone may go in a job of its own.
#[test]
fn a_pool_may_be_dropped_by_one_of_its_threads() {
    let pool = Pool::threads(1);
    let (sender, done) = mpsc::channel();
    let (clone, go) = (pool.clone(), mpsc::channel::<()>());
    let wait = go.1;
    pool.execute(Box::new(move || {
        wait.recv().unwrap_err();
        drop(clone);
        sender.send(()).unwrap();
    }));
    drop((pool, go.0));
    done.recv_timeout(LONG).expect("nobody waits for itself");
}

#[test]
fn a_given_pool_may_run_the_job_itself_or_block_or_panic() {
    let inline = Pool::from(|job: Job| job());
    assert_eq!(meet(&inline, 1).len(), 1);

    let (sender, jobs) = mpsc::sync_channel::<Job>(0);
    let blocking = Pool::from(move |job| sender.send(job).unwrap());
    let (told, numbers) = mpsc::channel();
    for number in 0..3 {
        let told = told.clone();
        // Returns, though nobody takes the job yet.
        blocking.execute(Box::new(move || told.send(number).unwrap()));
    }
    for number in 0..3 {
        jobs.recv_timeout(LONG).unwrap()();
        assert_eq!(numbers.recv_timeout(LONG), Ok(number));
    }
    // The function panics from now on, and drops the job.
    drop(jobs);
    let (kept, dropped) = mpsc::channel::<()>();
    blocking.execute(Box::new(move || drop(kept)));
    assert_eq!(dropped.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
}
