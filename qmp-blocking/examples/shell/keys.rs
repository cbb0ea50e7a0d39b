//! Bytes from a keyboard to keys.

use std::time::Duration;

use crate::keyboard::Keyboard;

/// The time that the rest of a key's bytes may take.
const PATIENCE: Duration = Duration::from_millis(100);
/// The limit on the parameters of a key's sequence.
const LONGEST: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    /// A small letter or a sign, with Ctrl.
    Control(char),
    Alt(char),
    Enter,
    Tab,
    Backspace,
    Delete,
    Escape,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    WordLeft,
    WordRight,
    /// Pasted text follows.
    PasteBegins,
    PasteEnds,
    Unknown,
}

/// Waits for the next key; `None` at the end.
pub(crate) fn next(keyboard: &Keyboard) -> Option<Key> {
    Some(match keyboard.byte()? {
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x08 | 0x7f => Key::Backspace,
        0x1b => escape(keyboard),
        control @ ..=0x1f => Key::Control(char::from(control | 0x40).to_ascii_lowercase()),
        first => character(first, keyboard),
    })
}

fn character(first: u8, keyboard: &Keyboard) -> Key {
    let mut bytes = vec![first];
    let length = match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0.. => 4,
        _ => 1,
    };
    bytes.extend((1..length).map_while(|_| keyboard.byte_within(PATIENCE)));
    match std::str::from_utf8(&bytes).map(|text| text.chars().next()) {
        Ok(Some(c)) if !c.is_control() => Key::Char(c),
        _ => Key::Unknown,
    }
}

fn escape(keyboard: &Keyboard) -> Key {
    match keyboard.byte_within(PATIENCE) {
        None => Key::Escape,
        Some(b'[') => sequence(keyboard),
        Some(b'O') => match keyboard.byte_within(PATIENCE) {
            Some(last) => named("", last),
            None => Key::Unknown,
        },
        Some(0x7f) => Key::Control('w'),
        Some(letter) => Key::Alt(char::from(letter)),
    }
}

fn sequence(keyboard: &Keyboard) -> Key {
    let mut parameters = String::new();
    while let Some(byte) = keyboard.byte_within(PATIENCE) {
        match byte {
            0x20..=0x3f if parameters.len() < LONGEST => parameters.push(char::from(byte)),
            last => return named(&parameters, last),
        }
    }
    Key::Unknown
}

fn named(parameters: &str, last: u8) -> Key {
    match (parameters, last) {
        ("", b'A') => Key::Up,
        ("", b'B') => Key::Down,
        ("", b'C') => Key::Right,
        ("", b'D') => Key::Left,
        ("", b'H') | ("1" | "7", b'~') => Key::Home,
        ("", b'F') | ("4" | "8", b'~') => Key::End,
        ("1;3" | "1;5", b'C') => Key::WordRight,
        ("1;3" | "1;5", b'D') => Key::WordLeft,
        ("3", b'~') => Key::Delete,
        ("200", b'~') => Key::PasteBegins,
        ("201", b'~') => Key::PasteEnds,
        _ => Key::Unknown,
    }
}
