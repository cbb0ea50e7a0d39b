//! Clients at work in turns, so that what else the machine does befalls all of them alike.

use std::io;

use crate::clients::Client;
use crate::results::Row;
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

    /// A row for each client: its median time in units of so many nanoseconds, and the median of what
    /// it took beside `limit` in the same round.
    pub fn rows<'a>(
        &self,
        row: &'a str,
        (unit, nanoseconds): (&'a str, f64),
        limit: fn(Client) -> Client,
    ) -> Vec<Row<'a>> {
        let rows = self.clients.iter().zip(&self.times).map(|(client, times)| {
            let result = Row::new(row, *client, median(times.clone()) / nanoseconds, unit);
            match self.ratio(*client, limit(*client)) {
                Some(ratio) => result.beside(limit(*client), ratio),
                None => result,
            }
        });
        rows.collect()
    }

    fn ratio(&self, client: Client, limit: Client) -> Option<f64> {
        let at = |of| self.clients.iter().position(|client| *client == of);
        let rounds = self.times.get(at(client)?)?.iter().zip(self.times.get(at(limit)?)?);
        (client != limit).then(|| median(rounds.map(|(time, limit)| time / limit).collect()))
    }

    /// The median time of the only client there is.
    pub fn time(&self) -> Option<f64> {
        self.times.first().map(|times| median(times.clone()))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
