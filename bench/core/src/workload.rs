//! One workload: who reads what, in pieces of which size.

use std::fmt;

use crate::command::{self, Way};
use crate::data::Data;
use crate::limits::{Envelope, Framing, Guess, Spans};
use crate::ours::Ours;
use crate::{Reader, counted};

/// Who reads. `Display` and `parse` are its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Who {
    Ours,
    Guess,
    Spans,
    Envelope,
    Framing,
    #[cfg(feature = "peers")]
    Qapi,
}

/// What is done. `Display` and `parse` are its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The small mix.
    Small,
    /// The reply to query-qmp-schema.
    Schema,
    /// One string of 16 MiB.
    Big,
    /// The small mix, pretty-printed.
    Pretty,
    /// A list of so many bytes.
    List(usize),
    /// A string of so many bytes.
    String(usize),
    /// No stream: commands one after the other.
    Command,
    /// The same, prepared.
    PreparedCommand,
}

/// All of a workload but how often it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Who reads it.
    pub who: Who,
    /// What is read.
    pub what: What,
    /// The size of the pieces in which it comes.
    pub chunk: usize,
}

impl Workload {
    /// Our reading of it, in pieces of 4 KiB.
    pub const fn ours(what: What) -> Self {
        Self { who: Who::Ours, what, chunk: 4096 }
    }

    /// Runs it so many times.
    pub fn run(self, rounds: usize) {
        match self.what {
            What::Command => return command::run(Way::Direct, rounds),
            What::PreparedCommand => return command::run(Way::Prepared, rounds),
            _ => {}
        }
        let data = self.data();
        for _ in 0..rounds {
            let messages = self.read(&data);
            assert_eq!(messages, data.messages, "{self:?}: not as many messages as there are");
        }
    }

    /// Reads it once, in [`counted`]; gives how many messages there were.
    pub fn read(self, data: &Data) -> usize {
        match self.who {
            Who::Ours => self.feed(data, &mut Ours::new(data.replies)),
            Who::Guess => self.feed(data, &mut Guess::default()),
            Who::Spans => self.feed(data, &mut Spans::default()),
            Who::Envelope => self.feed(data, &mut Envelope::default()),
            Who::Framing => self.feed(data, &mut Framing::default()),
            #[cfg(feature = "peers")]
            Who::Qapi => self.feed(data, &mut crate::peer::Qapi::default()),
        }
    }

    fn feed(self, data: &Data, reader: &mut impl Reader) -> usize {
        counted(|| data.bytes.chunks(self.chunk).map(|piece| reader.read(piece)).sum())
    }

    /// What it reads.
    pub fn data(self) -> Data {
        let first = Ours::first_id();
        match self.what {
            What::Small => Data::small(first),
            What::Schema => Data::schema(first),
            What::Big => Data::big(first),
            What::Pretty => Data::pretty(first),
            What::List(size) => Data::list(size, first),
            What::String(size) => Data::string(size, first),
            What::Command | What::PreparedCommand => {
                Data { bytes: Vec::new(), messages: 0, replies: 0 }
            }
        }
    }

    /// The words that [`Self::from_words`] reads.
    pub fn words(self) -> [String; 3] {
        [format!("{:?}", self.who), self.what.to_string(), self.chunk.to_string()]
    }

    /// Reads the words of a command line.
    pub fn from_words([who, what, chunk]: [&str; 3]) -> Option<Self> {
        Some(Self {
            who: Who::from_word(who)?,
            what: What::from_word(what)?,
            chunk: chunk.parse().ok()?,
        })
    }
}

impl Who {
    fn from_word(word: &str) -> Option<Self> {
        let all = [
            Self::Ours,
            Self::Guess,
            Self::Spans,
            Self::Envelope,
            Self::Framing,
            #[cfg(feature = "peers")]
            Self::Qapi,
        ];
        all.into_iter().find(|who| format!("{who:?}") == word)
    }
}

impl What {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word.split_once('=') {
            Some(("list", size)) => Self::List(size.parse().ok()?),
            Some(("string", size)) => Self::String(size.parse().ok()?),
            _ => match word {
                "small" => Self::Small,
                "schema" => Self::Schema,
                "big" => Self::Big,
                "pretty" => Self::Pretty,
                "command" => Self::Command,
                "prepared-command" => Self::PreparedCommand,
                _ => return None,
            },
        })
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small => f.write_str("small"),
            Self::Schema => f.write_str("schema"),
            Self::Big => f.write_str("big"),
            Self::Pretty => f.write_str("pretty"),
            Self::List(size) => write!(f, "list={size}"),
            Self::String(size) => write!(f, "string={size}"),
            Self::Command => f.write_str("command"),
            Self::PreparedCommand => f.write_str("prepared-command"),
        }
    }
}
