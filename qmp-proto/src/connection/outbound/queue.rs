//! Queued commands: accepted, encoded, and not committed yet.

use alloc::collections::VecDeque;
use core::fmt;

use crate::codec::encode::Prepared;
use crate::connection::timers::Instant;

/// How many commands there is room for when none is queued.
const KEPT: usize = 64;

/// Commands in the order in which they were accepted.
pub(crate) struct Queue<F> {
    /// In the order of their ids. The first one is never withdrawn.
    places: VecDeque<Place<F>>,
    /// The withdrawn ones among them. Once they are the majority, they are removed, so withdrawing takes
    /// constant time on average.
    withdrawn: usize,
    bytes: usize,
}

pub(crate) struct Queued<F> {
    pub(crate) id: u64,
    pub(crate) command: Prepared<F>,
    pub(crate) deadline: Option<Instant>,
}

enum Place<F> {
    Taken(Queued<F>),
    /// The command with this id was withdrawn.
    Withdrawn(u64),
}

impl<F> Place<F> {
    fn id(&self) -> u64 {
        match self {
            Self::Taken(queued) => queued.id,
            Self::Withdrawn(id) => *id,
        }
    }

    fn queued(self) -> Option<Queued<F>> {
        match self {
            Self::Taken(queued) => Some(queued),
            Self::Withdrawn(_) => None,
        }
    }

    fn is_withdrawn(&self) -> bool {
        matches!(self, Self::Withdrawn(_))
    }
}

impl<F> Queue<F> {
    pub(crate) fn new() -> Self {
        Self { places: VecDeque::new(), withdrawn: 0, bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.withdrawn
    }

    /// The length of all texts.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn front(&self) -> Option<&Prepared<F>> {
        match self.places.front()? {
            Place::Taken(queued) => Some(&queued.command),
            Place::Withdrawn(_) => None,
        }
    }

    pub(crate) fn push(&mut self, queued: Queued<F>) {
        self.bytes += queued.command.text.len();
        self.places.push_back(Place::Taken(queued));
    }

    /// Removes the first command.
    pub(crate) fn pop(&mut self) -> Option<Queued<F>> {
        let queued = self.places.pop_front()?.queued()?;
        self.bytes -= queued.command.text.len();
        self.drop_withdrawn();
        if self.places.is_empty() {
            self.places.shrink_to(KEPT);
        }
        Some(queued)
    }

    /// Removes a command wherever it stands.
    pub(crate) fn withdraw(&mut self, id: u64) -> Option<Queued<F>> {
        let index = self.places.binary_search_by_key(&id, Place::id).ok()?;
        let place = self.places.get_mut(index).filter(|place| !place.is_withdrawn())?;
        let queued = core::mem::replace(place, Place::Withdrawn(id)).queued()?;
        self.bytes -= queued.command.text.len();
        self.withdrawn += 1;
        self.drop_withdrawn();
        Some(queued)
    }

    fn drop_withdrawn(&mut self) {
        while self.places.front().is_some_and(Place::is_withdrawn) {
            self.places.pop_front();
            self.withdrawn -= 1;
        }
        if self.withdrawn > self.places.len() / 2 {
            self.places.retain(|place| !place.is_withdrawn());
            self.withdrawn = 0;
        }
    }

    /// Removes all commands.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = Queued<F>> + use<F> {
        core::mem::replace(self, Self::new()).places.into_iter().filter_map(Place::queued)
    }
}

/// Counts only: arguments may hold secrets.
impl<F> fmt::Debug for Queue<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} commands, {} bytes)", self.len(), self.bytes)
    }
}
