//! Text of others, which may not tell a terminal what to do.

use std::borrow::Cow;

/// The text without what a terminal would obey, and without what would show it in another order: names and messages are
/// written by others. Lines stay lines.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(is_harmful) { text.replace(is_harmful, " ").into() } else { text.into() }
}

fn is_harmful(character: char) -> bool {
    match character {
        '\n' => false,
        // Marks and embeddings of the bidirectional algorithm (UAX #9), and two more ends of lines.
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\nd\re"), "a [2Jb c\nd e");
        assert_eq!(printable("user\u{202e}txt.exe"), "user txt.exe");
        assert!(matches!(printable("grüß dich, שלום"), Cow::Borrowed(_)));
    }
}
