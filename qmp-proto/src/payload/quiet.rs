//! An error of decoding that repeats no value.

use alloc::format;
use alloc::string::{String, ToString};
use core::error;
use core::fmt::{self, Display, Write};

use serde::de::{Error, Expected, Unexpected};

use crate::payload::printable::cut;

/// Of a text that is not serde's own, so much is kept.
const MOST: usize = 256;

/// What serde says of a value that does not fit, without the value, in serde's own form.
#[derive(Debug)]
pub(crate) struct Quiet(String);

impl Error for Quiet {
    fn custom<T: Display>(message: T) -> Self {
        let mut start = Start(String::new());
        // It fails where it has enough.
        let _ = write!(start, "{message}");
        Self(start.0)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("invalid type: {}, expected {expected}", kind(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("invalid value: {}, expected {expected}", kind(found)))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("unknown variant ``, expected one of `{}`", expected.join("`, `")))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("unknown field ``, expected one of `{}`", expected.join("`, `")))
    }
}

fn kind(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(_) => "string".to_string(),
        Unexpected::Other(_) => "a value".to_string(),
        short => short.to_string(),
    }
}

/// Takes the beginning of what is written, and no more.
struct Start(String);

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = cut(text, MOST - self.0.len());
        self.0.push_str(kept);
        if kept.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Quiet {}
