//! "Did you mean …?"

/// What is written most like `word`, if anything is.
pub(super) fn nearest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // Swapped letters count as one mistake. One in three letters may be wrong.
    let most = (word.chars().count() / 3).clamp(1, 3);
    let near = among.into_iter().map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase()), known));
    near.filter(|(distance, known)| *distance <= most && *distance < known.len()).min_by_key(|near| near.0).map(|n| n.1)
}

/// `a`, `b` and `c`.
pub(super) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["command", "env", "dir", "ports", "needs", "log"];
        let cases = [
            ("comand", Some("command")),
            ("Command", Some("command")),
            ("prots", Some("ports")),
            ("port", Some("ports")),
            ("enc", Some("env")),
            ("x", None),
            ("", None),
            ("directory", None),
            ("ähnlich", None),
        ];
        for (word, near) in cases {
            assert_eq!(nearest(word, keys), near, "{word}");
        }
    }

    #[test]
    fn lists_are_read_aloud() {
        assert_eq!(list([]), "");
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
