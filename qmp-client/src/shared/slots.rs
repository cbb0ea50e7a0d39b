//! A slot for each reply that somebody waits for.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::task::Waker;

use qmp_proto::{CommandId, Raw};

use crate::error::Error;

pub(super) type Slots = HashMap<CommandId, Slot, BuildHasherDefault<IdHasher>>;

#[derive(Debug)]
pub(super) enum Slot {
    Waiting(Option<Waker>),
    Done(Result<Raw, Error>),
}

/// Ids are numbers that we gave out ourselves, one after the other: nobody can choose them badly.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    /// Spreads them over the high bits too, of which the map has its use. The factor is odd, so no two
    /// come to the same.
    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// For the trait: an id is one number.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((self.0 << 8) ^ u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
