//! A terminal's screen, with the sequences that line editing uses.

/// The rows of a terminal that does not scroll.
#[derive(Debug)]
pub struct Screen {
    rows: Vec<String>,
    width: usize,
    row: usize,
    column: usize,
}

impl Screen {
    /// An empty one, with the cursor in its first place.
    pub fn new(width: usize) -> Self {
        Self { rows: vec![String::new()], width, row: 0, column: 0 }
    }

    /// Shows the output of a program.
    pub fn write(&mut self, text: &str) {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '\r' => self.column = 0,
                '\n' => self.go(self.row + 1, self.column.min(self.width - 1)),
                '\u{1b}' => {
                    // A sequence begins with a bracket and ends with a letter.
                    let length = rest.as_str().find(|c: char| c.is_ascii_alphabetic());
                    let (sequence, behind) = rest.as_str().split_at(length.map_or(0, |at| at + 1));
                    self.act(sequence.trim_start_matches('['));
                    rest = behind.chars();
                }
                c => self.put(c),
            }
        }
    }

    /// The rows down to the last that is not empty, without spaces at their ends.
    pub fn rows(&self) -> Vec<&str> {
        let rows: Vec<_> = self.rows.iter().map(|row| row.trim_end()).collect();
        let last = rows.iter().rposition(|row| !row.is_empty()).map_or(0, |at| at + 1);
        rows[..last].to_vec()
    }

    /// Row and column of the cursor.
    pub fn cursor(&self) -> (usize, usize) {
        (self.row, self.column)
    }

    fn put(&mut self, c: char) {
        // After the last column, the next character begins a row.
        if self.column == self.width {
            self.go(self.row + 1, 0);
        }
        let row = &mut self.rows[self.row];
        let mut characters: Vec<char> = row.chars().collect();
        characters.resize(characters.len().max(self.column + 1), ' ');
        characters[self.column] = c;
        *row = characters.into_iter().collect();
        self.column += 1;
    }

    fn go(&mut self, row: usize, column: usize) {
        (self.row, self.column) = (row, column);
        self.rows.resize(self.rows.len().max(row + 1), String::new());
    }

    fn act(&mut self, sequence: &str) {
        let (parameter, last) = sequence.split_at(sequence.len() - 1);
        let count = || parameter.parse::<usize>().unwrap_or(1);
        match last {
            "A" => self.go(self.row.saturating_sub(count()), self.column),
            "B" => self.go(self.row + count(), self.column),
            "C" => self.go(self.row, (self.column + count()).min(self.width - 1)),
            "J" => {
                self.rows.truncate(self.row + 1);
                let row = &mut self.rows[self.row];
                *row = row.chars().take(self.column).collect();
            }
            // Modes that change nothing on the screen.
            "h" | "l" => {}
            _ => panic!("the sequence {sequence:?}"),
        }
    }
}
