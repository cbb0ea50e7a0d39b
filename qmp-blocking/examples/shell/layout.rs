//! JSON as people read it: indented, in colours, or in one line. Values stay as they were written.

/// How JSON is shown.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) colour: bool,
    /// What fits into so many characters stays in one line.
    pub(crate) width: usize,
}

/// What is deeper is indented no further: a deep reply would become a thousand times as long.
const DEEPEST: usize = 32;

const KEY: &str = "\x1b[34m";
const STRING: &str = "\x1b[32m";
const WORD: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

impl Layout {
    pub(crate) fn apply(self, json: &str) -> String {
        let line = write(json, false, false);
        match (line.chars().count() > self.width, self.colour) {
            (false, false) => line,
            (indent, colour) => write(json, indent, colour),
        }
    }
}

/// Goes through the tokens, at any depth; what is no JSON comes out as it can.
fn write(json: &str, indent: bool, colour: bool) -> String {
    let mut text = String::with_capacity(json.len());
    let mut depth = 0_usize;
    let mut tokens = Tokens(json).peekable();
    let mut empty = false;
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                depth += 1;
                text += token;
                empty = matches!(tokens.peek(), Some(&("}" | "]")));
                if !empty {
                    new_line(&mut text, depth, indent, "");
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                if !empty {
                    new_line(&mut text, depth, indent, "");
                }
                empty = false;
                text += token;
            }
            "," => {
                text += token;
                new_line(&mut text, depth, indent, " ");
            }
            ":" => text += ": ",
            _ => {
                let is_key = tokens.peek() == Some(&":");
                let painted = match (token.starts_with('"'), is_key) {
                    (_, true) => KEY,
                    (true, false) => STRING,
                    (false, false) => WORD,
                };
                paint(&mut text, token, colour.then_some(painted));
            }
        }
    }
    text
}

fn new_line(text: &mut String, depth: usize, indent: bool, otherwise: &str) {
    match indent {
        true => {
            text.push('\n');
            text.extend(std::iter::repeat_n("    ", depth.min(DEEPEST)));
        }
        false => *text += otherwise,
    }
}

/// Control characters are not for the terminal. No JSON has any in a string.
fn paint(text: &mut String, token: &str, colour: Option<&str>) {
    *text += colour.unwrap_or("");
    text.extend(token.chars().filter(|c| !c.is_control()));
    *text += colour.map_or("", |_| PLAIN);
}

/// The tokens of a JSON text.
pub(crate) struct Tokens<'a>(pub(crate) &'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let length = match text.chars().next()? {
            '"' => crate::value::string_length(text),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            first => {
                let ends = |c: char| c.is_whitespace() || "{}[],:\"".contains(c);
                text.find(ends).unwrap_or(text.len()).max(first.len_utf8())
            }
        };
        let (token, rest) = text.split_at(length);
        self.0 = rest;
        Some(token)
    }
}
