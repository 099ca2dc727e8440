//! Texts from outside, made fit for a terminal.

/// A character that moves nothing on a terminal but one column to the right.
pub(crate) fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        control if control.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

/// What is said, whatever words from outside are in it: its lines stay, and nothing else that a terminal obeys.
pub(crate) fn lines(text: &str) -> String {
    text.chars().map(|character| if character == '\n' { '\n' } else { printable(character) }).collect()
}

/// The same as one line.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_obeys() {
        assert_eq!(lines("a\x1b[2J\r\tb\nc\u{9b}d\x07ü"), "a\u{fffd}[2J\u{fffd} b\nc\u{fffd}d\u{fffd}ü");
        assert_eq!(line("a\nb"), "a\u{fffd}b");
    }
}
