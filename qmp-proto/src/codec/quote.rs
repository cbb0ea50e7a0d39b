//! Where a JSON string's text ends: at a quote, and before that at each escape.
//!
//! Most strings are short, so eight bytes are looked at at a time; memchr, which takes longer to
//! begin, gets those that are not.

use memchr::memchr2;

/// What is behind the string that `text` begins inside of, if the string is simple: at most 31
/// bytes, no escapes, and so much behind it that it can be read by the word.
#[inline(always)]
pub(crate) fn behind_simple_string(mut text: &[u8]) -> Option<&[u8]> {
    for _ in 0..4 {
        let found = first_in_word(text.first_chunk()?);
        if let Some(at) = found {
            return (text[at] == b'"').then_some(&text[at + 1..]);
        }
        text = &text[8..];
    }
    None
}

/// What is left of the text from its closing quote on, or, near its end, from an escape on, or
/// nothing.
#[inline(always)]
pub(crate) fn text_end(mut text: &[u8]) -> &[u8] {
    while let Some(word) = text.first_chunk() {
        text = match first_in_word(word) {
            Some(at) => &text[at..],
            None => long_text_end(&text[8..]),
        };
        match text {
            [b'\\', _, behind @ ..] => text = behind,
            _ => return text,
        }
    }
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    &text[end.unwrap_or(text.len())..]
}

/// From the first quote or backslash on.
#[inline(never)]
fn long_text_end(text: &[u8]) -> &[u8] {
    &text[memchr2(b'"', b'\\', text).unwrap_or(text.len())..]
}

/// Where the first quote or backslash is.
#[inline(always)]
fn first_in_word(bytes: &[u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    // Sets the highest bit of the first byte that is zero, and of none before it.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let word = u64::from_le_bytes(*bytes);
    let quotes = zeros(word ^ (ONES * b'"' as u64));
    let backslashes = zeros(word ^ (ONES * b'\\' as u64));
    let found = (quotes | backslashes) & HIGHEST;
    (found != 0).then_some(found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// Every byte at every place, among bytes that differ from a quote or a backslash in one bit.
    #[test]
    fn the_first_quote_or_backslash_in_a_word_is_found() {
        let others = [b' ', 0, 0xFF, b'"' ^ 1, b'\\' ^ 1, b'"' ^ 0x80, b'\\' ^ 0x80];
        for other in others {
            for (byte, at) in (0..=255).flat_map(|byte| (0..8).map(move |at| (byte, at))) {
                for last in [other, b'"', b'\\'] {
                    let mut word = [other; 8];
                    word[7] = last;
                    word[at] = byte;
                    let expected = word.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                    assert_eq!(first_in_word(&word), expected, "{word:?}");
                }
            }
        }
    }

    #[test]
    fn a_text_ends_at_its_quote_whatever_its_length_and_whatever_is_behind() {
        for length in 0..80 {
            for behind in 0..20 {
                let mut text = vec![b'a'; length];
                text.push(b'"');
                text.resize(length + 1 + behind, b'\\');
                assert_eq!(text_end(&text).len(), 1 + behind);
                let by_words = length / 8 < 4 && text.len() >= (length / 8 + 1) * 8;
                let expected = by_words.then_some(&text[length + 1..]);
                assert_eq!(behind_simple_string(&text), expected, "{length} {behind}");
            }
        }
    }

    /// All texts of a few letters: at the end of a text by the byte, before that by the word.
    #[test]
    fn a_text_ends_where_a_reader_byte_by_byte_ends_it() {
        for number in 0..3u32.pow(10) {
            let text: Vec<u8> =
                (0..10).map(|at| b"a\"\\"[number as usize / 3usize.pow(at) % 3]).collect();
            assert_eq!(end(&text), end_naively(&text), "{}", text.escape_ascii());
        }
    }

    fn end(text: &[u8]) -> Option<usize> {
        match text_end(text) {
            [] | [b'\\'] => None,
            [b'\\', _, behind @ ..] => end(behind).map(|at| at + text.len() - behind.len()),
            quote => Some(text.len() - quote.len()),
        }
    }

    fn end_naively(text: &[u8]) -> Option<usize> {
        let mut escaped = false;
        text.iter().position(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        })
    }
}
