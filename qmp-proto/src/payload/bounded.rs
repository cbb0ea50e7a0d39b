//! Decoding in a bounded amount of memory.
//!
//! A value takes far more memory than its text: `{"":0}` becomes a map with room for eleven members. So
//! the values that are kept are counted, those of arrays and those of objects, at all depths. And where
//! a string does not fit, serde_json would repeat it in the error with its characters escaped, several
//! times: a long one is left out there.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use memchr::memchr;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use crate::payload::decode::string_length;
use crate::payload::quiet::Quiet;

/// A string from this length on is not repeated in an error.
const LONG: usize = 1 << 20;

/// The name by which serde_json's `RawValue` asks for a text.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Why a text was not decoded.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It has more values than it may.
    TooMany(serde_json::Error),
    /// It does not fit, or is not JSON.
    Json(serde_json::Error),
}

/// Decodes a text that has at most so many values.
pub(crate) fn from_str<'a, T: Deserialize<'a>>(text: &'a str, most: usize) -> Result<T, Failure> {
    let (left, exceeded) = (Cell::new(most), Cell::new(false));
    let budget = Budget { left, exceeded, long_string: has_long_string(text.as_bytes()) };
    let outcome = decode(text, &budget);
    outcome.map_err(|error| match budget.exceeded.get() {
        true => Failure::TooMany(error),
        false => Failure::Json(error),
    })
}

#[cfg(not(feature = "deep"))]
fn decode<'a, T: Deserialize<'a>>(text: &'a str, budget: &Budget) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(Counted::<_, false> { inner: &mut json, budget })?;
    json.end()?;
    Ok(value)
}

/// The framer has bounded the depth, so the stack that this may take is bounded too.
#[cfg(feature = "deep")]
fn decode<'a, T: Deserialize<'a>>(text: &'a str, budget: &Budget) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.disable_recursion_limit();
    let inner = serde_stacker::Deserializer::new(&mut json);
    let value = T::deserialize(Counted::<_, false> { inner, budget })?;
    json.end()?;
    Ok(value)
}

/// How many values may come yet.
struct Budget {
    left: Cell<usize>,
    exceeded: Cell<bool>,
    /// There is a string in the text that no error may repeat.
    long_string: bool,
}

fn has_long_string(mut text: &[u8]) -> bool {
    while let Some(start) = memchr(b'"', text).filter(|_| text.len() > LONG) {
        let string = &text[start + 1..];
        let length = string_length(string);
        if length >= LONG {
            return true;
        }
        text = string.get(length + 1..).unwrap_or_default();
    }
    false
}

impl Budget {
    fn spend<E: Error>(&self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.exceeded.set(true);
                Err(E::custom("too many values"))
            }
        }
    }
}

/// A deserializer, visitor or access of serde's that counts the values passing through it. `NAME` marks a
/// member's name, which may be a number in quotes.
struct Counted<'b, T, const NAME: bool = false> {
    inner: T,
    budget: &'b Budget,
}

impl<'b, T, const NAME: bool> Counted<'b, T, NAME> {
    fn around<U>(&self, inner: U) -> Counted<'b, U, NAME> {
        Counted { inner, budget: self.budget }
    }
}

/// `deserialize_any` reads the same JSON. The wrapped visitor then rejects a long string; the error of
/// serde_json would repeat it. Other errors are less exact in such a text.
macro_rules! read_as_any {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let visitor = self.around(visitor);
            match NAME || !self.budget.long_string {
                true => self.inner.$method($($argument,)* visitor),
                false => self.inner.deserialize_any(visitor),
            }
        }
    )*};
}

macro_rules! read_as_itself {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let visitor = self.around(visitor);
            self.inner.$method($($argument,)* visitor)
        }
    )*};
}

type Names = &'static [&'static str];

impl<'de, D: Deserializer<'de>, const NAME: bool> Deserializer<'de> for Counted<'_, D, NAME> {
    type Error = D::Error;

    read_as_any! {
        deserialize_bool() deserialize_unit() deserialize_seq() deserialize_map()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64()
        deserialize_f32() deserialize_f64()
        deserialize_unit_struct(name: &'static str)
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_struct(name: &'static str, fields: Names)
    }

    read_as_itself! {
        deserialize_any() deserialize_i128() deserialize_u128() deserialize_char()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_identifier()
        deserialize_enum(name: &'static str, variants: Names)
    }

    /// serde_json presents a text that stays undecoded as a map with one member. That member is not in the
    /// text, so it does not count.
    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        match name {
            RAW_VALUE => self.inner.deserialize_newtype_struct(name, visitor),
            _ => {
                let visitor = self.around(visitor);
                self.inner.deserialize_newtype_struct(name, visitor)
            }
        }
    }

    /// Nothing of it is kept, so nothing is counted.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! forward_visit {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>, const NAME: bool> Visitor<'de> for Counted<'_, V, NAME> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    forward_visit! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64,
        visit_i128: i128, visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64,
        visit_u128: u128, visit_f32: f32, visit_f64: f64, visit_char: char, visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        match text.len() {
            ..LONG => self.inner.visit_str(text),
            _ => self.inner.visit_str::<Quiet>(text).map_err(E::custom),
        }
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<V::Value, E> {
        match text.len() {
            ..LONG => self.inner.visit_borrowed_str(text),
            _ => self.inner.visit_borrowed_str::<Quiet>(text).map_err(E::custom),
        }
    }

    fn visit_string<E: Error>(self, text: String) -> Result<V::Value, E> {
        match text.len() {
            ..LONG => self.inner.visit_string(text),
            _ => self.inner.visit_string::<Quiet>(text).map_err(E::custom),
        }
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let inner = self.around(inner);
        self.inner.visit_some(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let inner = self.around(inner);
        self.inner.visit_newtype_struct(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.around(access);
        self.inner.visit_seq(access)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.around(access);
        self.inner.visit_map(access)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.around(access);
        self.inner.visit_enum(access)
    }
}

impl<'de, A: SeqAccess<'de>, const NAME: bool> SeqAccess<'de> for Counted<'_, A, NAME> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = Value { seed, budget: self.budget };
        self.inner.next_element_seed(seed)
    }
}

impl<'de, A: MapAccess<'de>, const NAME: bool> MapAccess<'de> for Counted<'_, A, NAME> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = Counted::<_, true> { inner: seed, budget: self.budget };
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = Value { seed, budget: self.budget };
        self.inner.next_value_seed(seed)
    }
}

impl<'de, 'b, A: EnumAccess<'de>, const NAME: bool> EnumAccess<'de> for Counted<'b, A, NAME> {
    type Error = A::Error;
    type Variant = Counted<'b, A::Variant, NAME>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let seed = self.around(seed);
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Counted { inner, budget: self.budget }))
    }
}

impl<'de, A: VariantAccess<'de>, const NAME: bool> VariantAccess<'de> for Counted<'_, A, NAME> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.inner.tuple_variant(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

/// The seed of a value that counts: an element, or a member's value.
struct Value<'b, S> {
    seed: S,
    budget: &'b Budget,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Value<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.budget.spend()?;
        self.seed.deserialize(Counted::<_, false> { inner, budget: self.budget })
    }
}

/// Any other seed: of a member's name, say.
impl<'de, S: DeserializeSeed<'de>, const NAME: bool> DeserializeSeed<'de> for Counted<'_, S, NAME> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let inner = self.around(inner);
        self.inner.deserialize(inner)
    }
}

#[cfg(test)]
mod tests;
