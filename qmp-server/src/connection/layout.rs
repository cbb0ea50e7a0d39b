//! How a server writes JSON: in ASCII only, and either in one line with a space after `:` and `,`,
//! or over many lines.

use alloc::format;
use alloc::vec::Vec;

use super::number;

/// Appends a message of these members, whose values are valid JSON, and ends the line.
pub(super) fn write(out: &mut Vec<u8>, members: &[(&str, &str)], pretty: bool) {
    let mut writer = Writer { out, pretty, by_value: false, depth: 0, line_due: false };
    writer.byte(b'{');
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            writer.byte(b',');
        }
        writer.value(&format!("\"{name}\":"));
        let is_id = *name == "id";
        // The client makes up the id: nested deep enough, its indentation would be all of memory.
        (writer.pretty, writer.by_value) = (pretty && !is_id, is_id);
        writer.value(value);
        (writer.pretty, writer.by_value) = (pretty, false);
    }
    writer.byte(b'}');
    out.extend_from_slice(b"\r\n");
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    pretty: bool,
    /// Numbers are written as QEMU echoes them, not as they came.
    by_value: bool,
    depth: usize,
    /// The next member or element begins a line.
    line_due: bool,
}

impl Writer<'_> {
    fn value(&mut self, json: &str) {
        let mut rest = json;
        while let Some(first) = rest.bytes().next() {
            let length = match first {
                b'"' => string_length(rest),
                b'-' | b'0'..=b'9' if self.by_value => number::length(rest),
                _ => 1,
            };
            let (token, behind) = rest.split_at(length);
            match first {
                b'"' => self.string(token),
                b'-' | b'0'..=b'9' if self.by_value => self.number(token),
                byte => self.byte(byte),
            }
            rest = behind;
        }
    }

    fn string(&mut self, token: &str) {
        self.begin_line_if_due();
        push_ascii(self.out, token);
    }

    fn number(&mut self, token: &str) {
        self.begin_line_if_due();
        number::push(self.out, token);
    }

    /// One byte outside strings.
    fn byte(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.line_due = true;
            }
            _ => {}
        }
        self.begin_line_if_due();
        self.out.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.line_due = true;
            }
            b',' if self.pretty => self.line_due = true,
            b',' | b':' => self.out.push(b' '),
            _ => {}
        }
    }

    fn begin_line_if_due(&mut self) {
        if self.line_due && self.pretty {
            self.out.extend_from_slice(b"\r\n");
            self.out.resize(self.out.len() + 4 * self.depth, b' ');
        }
        self.line_due = false;
    }
}

/// How long the string is that `json` begins with, its quotes included.
fn string_length(json: &str) -> usize {
    let mut escaped = true; // the quote that opens it
    let end = json.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    end.map_or(json.len(), |at| at + 1)
}

/// Writes other characters than ASCII as UTF-16 escapes, and the digits of all escapes in upper case.
fn push_ascii(out: &mut Vec<u8>, string: &str) {
    let (mut escaped, mut digits_due) = (false, 0_usize);
    for character in string.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() && byte != 0x7F => {
                out.push(if digits_due > 0 { byte.to_ascii_uppercase() } else { byte });
                let begins = escaped && byte == b'u';
                digits_due = if begins { 4 } else { digits_due.saturating_sub(1) };
                escaped = byte == b'\\' && !escaped;
            }
            _ => push_utf16(out, character),
        }
    }
}

fn push_utf16(out: &mut Vec<u8>, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(b"\\u");
        let digit = |shift: u32| b"0123456789ABCDEF"[usize::from(*unit >> shift & 15)];
        out.extend([12, 8, 4, 0].map(digit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn written(members: &[(&str, &str)], pretty: bool) -> String {
        let mut out = Vec::new();
        write(&mut out, members, pretty);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn one_line_is_spaced_as_qemu_does() {
        let value = "{\"a\" :[1,-2.5e3,\r\n\"x,: \\\"\\\\\"],\"b\":null}";
        let expected = r#"{"return": {"a": [1, -2.5e3, "x,: \"\\"], "b": null}, "id": 1}"#;
        assert_eq!(written(&[("return", value), ("id", "1")], false), [expected, "\r\n"].concat());
    }

    #[test]
    fn what_is_not_ascii_is_escaped() {
        let expected = "{\"return\": \"B\\u00FCcher \\uD83C\\uDF89 \\u007F\"}\r\n";
        assert_eq!(written(&[("return", "\"Bücher 🎉 \u{7f}\"")], false), expected);
    }

    #[test]
    fn escapes_are_in_upper_case() {
        let value = r#""\u001f \\u001f \\\u00e9 \u00ab\u00cd""#;
        let expected = r#"{"return": "\u001F \\u001f \\\u00E9 \u00AB\u00CD"}"#;
        assert_eq!(written(&[("return", value)], false), [expected, "\r\n"].concat());
    }

    #[test]
    fn numbers_of_an_id_are_written_by_value() {
        let value = "[-0,1.0,{\"1e3\":1e3}]";
        let expected =
            "{\"return\": [-0, 1.0, {\"1e3\": 1e3}], \"id\": [0, 1, {\"1e3\": 1000}]}\r\n";
        assert_eq!(written(&[("return", value), ("id", value)], false), expected);
    }

    #[test]
    fn pretty_breaks_empty_objects_too() {
        let expected = [
            "{",
            "    \"return\": {",
            "        \"a\": [",
            "            1,",
            "            2",
            "        ],",
            "        \"b\": {",
            "        }",
            "    }",
            "}",
            "",
        ];
        let written = written(&[("return", r#"{"a":[1,2],"b":{}}"#)], true);
        assert_eq!(written, expected.join("\r\n"));
    }

    /// A client's id of 2 MB would otherwise become gigabytes.
    #[test]
    fn c3_an_id_is_not_indented() {
        let id = ["[".repeat(1000), "0,".repeat(1000), "0".into(), "]".repeat(1000)].concat();
        let written = written(&[("return", "{}"), ("id", &id)], true);
        assert!(written.len() < 2 * id.len(), "{}", written.len());
    }
}
