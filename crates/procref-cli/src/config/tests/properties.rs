//! Whatever stands in a file: it is understood, or what is wrong is said with its place.

use super::*;
use clap::ValueEnum;
use proptest::prelude::*;

/// Pieces of what may stand in a procref.toml, right and wrong.
const PIECES: &[&str] = &[
    "[services.db]\n",
    "[services.\"\"]\n",
    "[services]\n",
    "[[services]]\n",
    "services",
    ".",
    "command = [\"a\"]\n",
    "command",
    "prepare",
    "ports",
    "ready",
    "stop",
    "linger",
    "env",
    "service_env",
    "dir",
    "log",
    "needs",
    "scope",
    " = ",
    "=",
    "[",
    "]",
    "{ ",
    " }",
    ", ",
    "\n",
    "\"",
    "'''\n",
    "\"\"\"",
    "\"{port}\"",
    "\"{x}\"",
    "\"{\"",
    "\"}}\"",
    "tcp = \"{port}\"",
    "http = \"http://\"",
    "notify = true",
    "timeout",
    "\"30s\"",
    "\"1h99999999999999999999m\"",
    "5432",
    "-0x1",
    "1.5",
    "true",
    "1979-05-27",
    "# comment ü\n",
    "\\u0000",
    "\t",
    "\r\n",
    "\r",
    "\u{feff}",
    "\0",
    "\u{1b}",
    "ä",
    "needs = [\"db\", \"b\"]\n",
    "[services.b]\n",
    "{ port = 70000 }",
    "\"SIGKILL\"",
    "signal",
    "grace",
];

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A file that was right once.
fn broken() -> impl Strategy<Value = String> {
    let kinds = Known::value_variants();
    let texts: Vec<&str> = kinds.iter().map(|kind| template(*kind)).chain([EXAMPLE]).collect();
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, prop::sample::select(PIECES)), 1..4);
    (prop::sample::select(texts), cuts).prop_map(|(text, cuts)| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, length, piece) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        text.into_iter().collect()
    })
}

fn is_understood_or_well_explained(text: &str) -> Result<(), TestCaseError> {
    for place in [Place::Project, Place::User] {
        let Err(problems) = parse(place, text) else { continue };
        let said = problems.to_string();
        for problem in said.split("\n\n").filter(|problem| !problem.ends_with(" errors")) {
            let head: Vec<&str> = problem.splitn(4, ':').collect();
            let [file, line, column, _] = head[..] else { return Err(TestCaseError::fail(said)) };
            prop_assert_eq!(file, "procref.toml");
            let (line, column): (usize, usize) = (line.parse().unwrap_or(0), column.parse().unwrap_or(0));
            prop_assert!((1..=text.split('\n').count()).contains(&line) && column > 0, "{}", said);
            prop_assert!(problem.contains('^'), "{}", said);
        }
        prop_assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{:?}", said);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn anything_is_understood_or_well_explained(text in prop_oneof![pieces(), broken()]) {
        is_understood_or_well_explained(&text)?;
    }

    #[test]
    fn lengths_of_time_are_read_as_they_are_written(milliseconds in 0..366 * 86_400_000_u64, text in pieces()) {
        let length = Duration::from_millis(milliseconds);
        prop_assert_eq!(duration::parse(&duration::written(length)), Ok(length));
        if let Ok(length) = duration::parse(&text) {
            prop_assert_eq!(duration::parse(&duration::written(length)), Ok(length));
        }
    }

    #[test]
    fn addresses_never_panic(text in pieces()) {
        let _ = address::http_url(&text);
        if let Ok((host, port)) = address::tcp_address(&text) {
            prop_assert!(!host.is_empty() && port > 0);
        }
        let _ = Template::parse(&text, Allowed::AnyPort).map(|template| template.placeholders().cloned().collect::<Vec<Placeholder>>());
    }
}
