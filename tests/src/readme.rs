//! The code blocks of a Markdown text. The build script uses this too, so it needs only std.

/// A block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The last heading before it.
    pub heading: String,
    /// The fence's first word, up to a comma: `rust`, `sh`.
    pub language: String,
    /// Its lines.
    pub text: String,
}

/// All blocks, in their order.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let (mut blocks, mut heading, mut open) = (Vec::new(), "", None);
    for line in markdown.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(information), None) => {
                let language = information.split(',').next().unwrap_or_default().to_owned();
                open = Some(Block { heading: heading.to_owned(), language, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => heading = line.strip_prefix("## ").unwrap_or(heading),
        }
    }
    blocks
}
