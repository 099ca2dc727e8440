//! `procref doctor`: is this a place where procref works, and is anything left that should not be?

mod checks;

pub(crate) use checks::{may_write, undo};

use crate::cli::Outcome;
use crate::folders::Folders;
use crate::{exit, json, out, text};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::fmt::Write;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) result: Verdict,
    /// What there is.
    pub(crate) found: String,
    /// What to do, if anything is to be done.
    pub(crate) help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Ok,
    Warning,
    Wrong,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, result: Verdict::Ok, found: found.into(), help: None }
    }

    pub(crate) fn warning(check: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { check, result: Verdict::Warning, found: found.into(), help: Some(help.into()) }
    }

    pub(crate) fn wrong(check: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { check, result: Verdict::Wrong, found: found.into(), help: Some(help.into()) }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    /// Whether nothing is wrong.
    ok: bool,
    checks: Vec<Finding>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let checks = checks::all(&Folders::here()?);
    let ok = checks.iter().all(|finding| finding.result != Verdict::Wrong);
    if args.json {
        out::write(&json::line(&Report { ok, checks })?)?;
    } else {
        out::write(&checks.iter().map(shown).collect::<String>())?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { exit::BROKEN.into() })
}

fn shown(finding: &Finding) -> String {
    let (word, colour) = match finding.result {
        Verdict::Ok => ("ok", AnsiColor::Green),
        Verdict::Warning => ("warning", AnsiColor::Yellow),
        Verdict::Wrong => ("wrong", AnsiColor::Red),
    };
    let style = Style::new().fg_color(Some(colour.into()));
    let mut shown = format!("{style}{word:8}{style:#} {:16} {}\n", finding.check, text::line(&finding.found));
    if let Some(help) = &finding.help {
        let _ = writeln!(shown, "{:25} = {}", "", text::line(help));
    }
    shown
}
