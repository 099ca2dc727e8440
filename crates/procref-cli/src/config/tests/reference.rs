//! docs/procref.toml.md is right and complete.

use super::*;
use std::fs;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/procref.toml.md");

/// The examples of the reference: what kind, and the text.
fn examples() -> Vec<(String, String)> {
    let text = fs::read_to_string(REFERENCE).expect("the reference is there");
    let blocks = text.split("\n```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.split_once('\n').map(|(kind, text)| (kind.to_owned(), format!("{text}\n"))))
        .collect()
}

#[test]
fn the_references_examples_are_right() {
    let examples = examples();
    assert!(examples.iter().filter(|(kind, _)| kind == "toml").count() > 10);
    for (index, (kind, text)) in examples.iter().enumerate() {
        match kind.as_str() {
            "toml" => {
                assert!(!good(text).is_empty(), "{text}");
            }
            "toml wrong" => {
                let problems = parse(Place::Project, text).expect_err("it is wrong").to_string();
                let (_, shown) = examples.get(index + 1).expect("what procref says follows");
                assert_eq!(format!("procref: {problems}\n"), on_this_system(shown));
            }
            "sh" | "text" => {}
            other => panic!("an example of the kind {other:?}"),
        }
    }
}

#[test]
fn the_reference_has_every_key() {
    let text = fs::read_to_string(REFERENCE).expect("the reference is there");
    for key in read::KEYS {
        assert!(text.contains(&format!("\n### `{key}`")), "{key} has no heading");
    }
    for word in ["tcp", "unix", "http", "exec", "log", "notify", "timeout", "signal", "grace", "command"] {
        assert!(text.contains(&format!("`{word}`")) || text.contains(&format!("{word} = ")), "{word} is not explained");
    }
}
