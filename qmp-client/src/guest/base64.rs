//! Base64, in which a guest agent takes and gives bytes.

use std::{error, fmt};

use base64::DecodeError;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

/// The alphabet with `+` and `/`; written with padding, read with it or without.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes as base64.
///
/// ```
/// use qmp_client::guest::base64;
///
/// assert_eq!(base64::encode("hello"), "aGVsbG8=");
/// assert_eq!(base64::decode("aGVsbG8=")?, b"hello");
/// assert_eq!(base64::decode("aGV?").unwrap_err().to_string(), "no base64 at byte 3");
/// # Ok::<(), base64::NotBase64>(())
/// ```
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    ENGINE.encode(bytes)
}

/// The bytes that a base64 text stands for.
///
/// # Errors
///
/// [`NotBase64`] says where the text is none.
pub fn decode(text: &str) -> Result<Vec<u8>, NotBase64> {
    ENGINE.decode(text).map_err(|error| match error {
        DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol(offset, _) => {
            NotBase64 { offset }
        }
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => {
            NotBase64 { offset: text.len() }
        }
    })
}

/// A text that is no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotBase64 {
    /// Where, in bytes from its beginning.
    pub offset: usize,
}

impl fmt::Display for NotBase64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no base64 at byte {}", self.offset)
    }
}

impl error::Error for NotBase64 {}
