//! Enumerations whose values are strings, and that grow with the server.

use core::fmt;

use serde::de::{Error, Visitor};

/// Declares one: a value for each string that is known, and `Other` for the rest.
///
/// serde's own way, an untagged variant, has every value buffered first, and takes ten times the code.
macro_rules! open_enum {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $($(#[$about_value:meta])* $value:ident = $text:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$about_value])* $value,)+
            /// One that is not known here, as it came.
            Other(alloc::string::String),
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(match self {
                    $(Self::$value => $text,)+
                    Self::Other(text) => text,
                })
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::payload::open_enum::Known(|text| match text {
                    $($text => Self::$value,)+
                    other => Self::Other(other.into()),
                }))
            }
        }
    };
}

pub(crate) use open_enum;

/// Reads a string, and finds the value that it stands for.
pub(crate) struct Known<T>(pub(crate) fn(&str) -> T);

impl<T> Visitor<'_> for Known<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }
}
