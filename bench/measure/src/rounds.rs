//! Clients at work in turns, so that what else the machine does befalls all of them alike.

use std::io;

use crate::clients::Client;
use crate::rows::left_out;
use crate::worker::Worker;

/// How long each took, in nanoseconds for one time, round by round.
pub struct Rounds {
    clients: Vec<Client>,
    times: Vec<Vec<f64>>,
}

impl Rounds {
    /// Has each do its work `count` times in each round. One round before them warms up, and who fails
    /// in it is left out.
    pub fn run(mut workers: Vec<Worker>, count: usize, rounds: usize) -> io::Result<Self> {
        workers.retain_mut(|worker| {
            let worked = worker.work(worker.client.share(count));
            worked.inspect_err(|error| left_out(worker.client, error)).is_ok()
        });
        let mut times = vec![Vec::new(); workers.len()];
        for _ in 0..rounds {
            for (worker, times) in workers.iter_mut().zip(&mut times) {
                let outcome = worker.work(worker.client.share(count))?;
                times.push(outcome.nanoseconds as f64 / outcome.done.max(1) as f64);
            }
        }
        let clients = workers.iter().map(|worker| worker.client).collect();
        Ok(Self { clients, times })
    }

    /// Who was at work, and the median time of each.
    pub fn medians(&self) -> impl Iterator<Item = (Client, f64)> {
        let medians = self.times.iter().map(|times| median(times.clone()));
        self.clients.iter().copied().zip(medians)
    }

    /// The median of what `client` took beside `limit` in the same round.
    pub fn ratio(&self, client: Client, limit: Client) -> Option<f64> {
        let at = |of| self.clients.iter().position(|client| *client == of);
        self.ratio_at(at(client)?, at(limit)?)
    }

    /// The same, by their places.
    pub fn ratio_at(&self, client: usize, limit: usize) -> Option<f64> {
        let rounds = self.times.get(client)?.iter().zip(self.times.get(limit)?);
        Some(median(rounds.map(|(time, limit)| time / limit).collect()))
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
