//! Framing alone: where objects end, and nothing about what is in them. Nothing is kept, and brackets
//! are not matched.

use crate::Reader;

/// Counts brackets outside strings.
#[derive(Default)]
pub struct Framing {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

/// What a byte means outside strings.
static STRUCTURE: [u8; 256] = {
    let mut classes = [0; 256];
    classes[b'"' as usize] = 1;
    classes[b'{' as usize] = 2;
    classes[b'[' as usize] = 2;
    classes[b'}' as usize] = 3;
    classes[b']' as usize] = 3;
    classes
};

impl Reader for Framing {
    fn read(&mut self, piece: &[u8]) -> usize {
        let mut messages = 0;
        let mut bytes = piece.iter();
        loop {
            if self.in_string {
                if self.escaped && bytes.next().is_none() {
                    return messages;
                }
                self.escaped = false;
                match bytes.find(|byte| matches!(byte, b'"' | b'\\')) {
                    Some(b'"') => self.in_string = false,
                    Some(_) => self.escaped = true,
                    None => return messages,
                }
                continue;
            }
            match bytes.find(|byte| STRUCTURE[usize::from(**byte)] != 0) {
                Some(b'"') => self.in_string = true,
                Some(b'{' | b'[') => self.depth += 1,
                Some(_) => {
                    self.depth -= 1;
                    messages += usize::from(self.depth == 0);
                }
                None => return messages,
            }
        }
    }
}
