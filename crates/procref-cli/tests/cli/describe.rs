//! `procref init`, `completions` and `man`: what is written for people and shells.

use crate::kit::Project;
use std::collections::BTreeSet;
use std::fs;

fn kinds(project: &Project) -> Vec<String> {
    let said = project.output(["init"]).assert_ok();
    said.out.lines().map(str::to_owned).collect()
}

#[test]
fn init_lists_what_it_knows_and_all_of_it_is_understood() {
    let project = Project::new("");
    let kinds = kinds(&project);
    assert!(kinds.len() >= 8 && kinds.contains(&"postgres".to_owned()), "{kinds:?}");
    for kind in &kinds {
        let folder = project.sandbox.folder().join(kind);
        fs::create_dir(&folder).expect("it can be made");
        let output = project.procref(["init", kind]).current_dir(&folder).output().expect("it runs");
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert_eq!(output.stderr, b"procref: wrote procref.toml\n");
        let written = fs::read_to_string(folder.join("procref.toml")).expect("it is written");
        assert_eq!(project.output(["init", kind, "--stdout"]).assert_ok().out, written);
        let name = written.lines().find_map(|line| line.strip_prefix("[services.")?.strip_suffix(']'));
        let status = project.procref(["status", name.expect("it declares one")]).current_dir(&folder).output();
        assert!(status.expect("it runs").status.success(), "{written}");
    }
}

#[test]
fn init_replaces_nothing_unless_it_is_told_to() {
    let project = Project::new("# mine\n");
    let file = project.folder.join("procref.toml");
    project.output(["init", "redis"]).assert_failed(
        125,
        "procref: there is a procref.toml here already; --force replaces it, --stdout only shows the new one",
    );
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "# mine\n");
    project.output(["init", "redis", "--force"]).assert_ok();
    assert!(fs::read_to_string(&file).expect("it is there").contains("[services.redis]"));
    let files: Vec<_> = fs::read_dir(&project.folder).expect("it is there").collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let said = project.output(["init", "oracle"]);
    assert!(said.code == Some(125) && said.err.contains("postgres"), "{said:?}");
}

#[test]
fn shells_are_told_of_every_subcommand() {
    let project = Project::new("");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = project.output(["completions", shell]).assert_ok();
        for subcommand in SUBCOMMANDS {
            assert!(said.out.contains(subcommand), "{shell} {subcommand}");
        }
        assert!(said.err.is_empty());
    }
    assert_eq!(project.output(["completions", "csh"]).code, Some(125));
}

const SUBCOMMANDS: [&str; 13] =
    ["with", "run", "status", "hold", "stop", "logs", "wait", "gc", "doctor", "demo", "init", "completions", "man"];

#[test]
fn there_is_a_manual_page_for_each() {
    let project = Project::new("");
    let said = project.output(["man"]).assert_ok();
    assert!(said.out.contains(".TH procref 1"), "{said:?}");
    let folder = project.folder.join("pages");
    assert_eq!(project.output(["man", "pages"]).assert_ok().out, "");
    let pages: BTreeSet<String> = fs::read_dir(&folder)
        .expect("it was made")
        .map(|page| page.expect("it is readable").file_name().into_string().expect("it is text"))
        .collect();
    let expected = SUBCOMMANDS.iter().map(|name| format!("procref-{name}.1")).chain(["procref.1".to_owned()]).collect();
    assert_eq!(pages, expected);
}

#[test]
fn the_reference_has_every_subcommand_option_and_variable() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let reference = fs::read_to_string(path).expect("the reference is there");
    let project = Project::new("");
    for name in SUBCOMMANDS {
        assert!(reference.contains(&format!("\n## `procref {name}")), "{name} has no heading");
        let help = project.output([name, "--help"]).assert_ok().out;
        let words =
            help.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '(' | ')' | '`' | '.' | ';'));
        for option in words.filter(|word| word.starts_with("--") && word.len() > 2 && *word != "--help") {
            let option = option.split('=').next().unwrap_or(option);
            assert!(reference.contains(option), "{name} {option}");
        }
    }
    for variable in [
        "PROCREF_RUN_ID",
        "NEXTEST_RUN_ID",
        "PYTEST_XDIST_TESTRUNUID",
        "PROCREF_RUNTIME_DIR",
        "PROCREF_PORT",
        "XDG_STATE_HOME",
        "XDG_CONFIG_HOME",
        "NO_COLOR",
    ] {
        assert!(reference.contains(variable), "{variable}");
    }
}
