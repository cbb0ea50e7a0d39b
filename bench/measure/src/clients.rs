//! Who is measured.

use std::path::PathBuf;

use crate::place::{beside, root};

/// A client, or a loop that stands for one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Client {
    /// As the report calls it: `ours …`, `limit …` or `peer …`.
    pub what: &'static str,
    /// Its name for its program; none for Python's, which has a program of its own.
    pub name: &'static str,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    Here,
    Peers,
    Python,
}

const fn here(what: &'static str, name: &'static str) -> Client {
    Client { what, name, family: Family::Here }
}

const fn peer(what: &'static str, name: &'static str) -> Client {
    Client { what, name, family: Family::Peers }
}

pub const STD: Client = here("limit std", "std");
pub const STD_TYPED: Client = here("limit std, typed", "std-typed");
/// With commands as long as ours: a QEMU reads them byte by byte.
pub const STD_LONG_IDS: Client = here("limit std, ids of 16 digits", "std-long-ids");
pub const SMOL_BARE: Client = here("limit smol", "smol-bare");
pub const SMOL_BARE_OUTSIDE: Client = here("limit smol, outside", "smol-bare-outside");
pub const ASYNC_STD_BARE: Client = here("limit async-std", "async-std-bare");

pub const BLOCKING: Client = here("ours blocking", "blocking");
/// Its commands are submitted: a callback gets the reply.
pub const SUBMITTED: Client = here("ours blocking, submitted", "blocking-submitted");
pub const SMOL: Client = here("ours smol", "smol");
/// In `block_on`, and not in a task: the driver runs in another thread.
pub const SMOL_OUTSIDE: Client = here("ours smol, outside", "smol-outside");
pub const ASYNC_STD: Client = here("ours async-std", "async-std");

pub const QAPI_SYNC: Client = peer("peer qapi sync", "qapi-sync");
pub const QAPI_TOKIO: Client = peer("peer qapi tokio", "qapi-tokio");
pub const QMP_TOKIO: Client = peer("peer qmp tokio", "qmp-tokio");
pub const PYTHON: Client =
    Client { what: "peer qemu.qmp (Python)", name: "python", family: Family::Python };

impl Client {
    /// What to run as a worker; with what it allocates counted, if that is asked for.
    pub fn program(&self, counted: bool) -> Vec<PathBuf> {
        let counted = if counted { "-counted" } else { "" };
        match self.family {
            Family::Here => vec![beside(&format!("clients{counted}")), self.name.into()],
            Family::Peers => vec![beside(&format!("peers{counted}")), self.name.into()],
            Family::Python => vec![
                root().join("target/python-client/bin/python"),
                root().join("bench/peers/python/worker.py"),
            ],
        }
    }

    /// The loop over sockets of the same kind, run in the same way; for a peer that over std's.
    pub fn limit(&self) -> Self {
        match self.name {
            "smol" | "smol-bare" => SMOL_BARE,
            "smol-outside" | "smol-bare-outside" => SMOL_BARE_OUTSIDE,
            "async-std" | "async-std-bare" => ASYNC_STD_BARE,
            _ => STD,
        }
    }

    /// How much slower it is, about: what takes Python seconds is done less often.
    pub fn share(&self, count: usize) -> usize {
        match self.family {
            Family::Python => (count / 10).max(1),
            _ => count,
        }
    }
}
