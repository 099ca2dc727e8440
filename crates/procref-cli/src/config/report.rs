//! What is wrong with a file, and where: file, line and column, the line itself with a mark under it, and what would be
//! right.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How much of a line is shown.
const WIDTH: usize = 120;

/// A file's text, to find lines and columns in.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// Line and column, both from 1; columns are characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }

    /// The bytes of a span, as they are written in the file.
    pub(super) fn written(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(super) fn problem(&self, span: Range<usize>, what: impl Into<String>, help: impl Into<String>) -> Problem {
        let (line, column) = self.position(span.start);
        let text = self.text.split('\n').nth(line - 1).unwrap_or_default();
        let text: Vec<char> = text.trim_end_matches('\r').chars().map(printable).collect();
        let marked = self.text.get(self.text.floor_char_boundary(span.start)..span.end).unwrap_or_default();
        let marked = marked.lines().next().unwrap_or_default().chars().count();
        // A line that is too long is shown from a little before the mark.
        let skipped = if text.len() <= WIDTH { 0 } else { (column - 1).saturating_sub(WIDTH / 3) };
        let shown = || text.iter().skip(skipped).take(WIDTH);
        let room = shown().count() + skipped;
        let marked = marked.min((room + 1).saturating_sub(column)).max(1);
        let ellipsis = |there: bool| if there { "…" } else { "" };
        let (before, after) = (ellipsis(skipped > 0), ellipsis(room < text.len()));
        let excerpt = Excerpt {
            line,
            column,
            text: format!("{before}{}{after}", shown().collect::<String>()),
            mark: format!("{}{}", " ".repeat(before.chars().count() + column - 1 - skipped), "^".repeat(marked)),
        };
        let (what, help) = (what.into(), help.into());
        Problem {
            file: self.path.clone(),
            at: Some(Box::new(excerpt)),
            what,
            help: Some(help).filter(|help| !help.is_empty()),
        }
    }
}

/// A character that moves nothing on a terminal but one column to the right.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        control if control.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    file: PathBuf,
    /// `None` where the file could not be read at all.
    at: Option<Box<Excerpt>>,
    what: String,
    help: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    line: usize,
    column: usize,
    text: String,
    mark: String,
}

impl Problem {
    /// About a file as a whole.
    pub(super) fn of_file(file: &Path, what: impl Into<String>, help: impl Into<String>) -> Self {
        let help = Some(help.into()).filter(|help| !help.is_empty());
        Self { file: file.to_owned(), at: None, what: what.into(), help }
    }

    fn order(&self) -> (usize, usize) {
        self.at.as_ref().map_or((0, 0), |at| (at.line, at.column))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, what, help } = self;
        let file = file.display();
        let gutter = match at {
            Some(at) => {
                let Excerpt { line, column, text, mark } = &**at;
                let number = line.to_string();
                let gutter = " ".repeat(number.len());
                let space = if text.is_empty() { "" } else { " " };
                write!(f, "{file}:{line}:{column}: {what}\n {number} |{space}{text}\n {gutter} | {mark}")?;
                gutter
            }
            None => {
                write!(f, "{file}: {what}")?;
                String::new()
            }
        };
        help.as_ref().map_or(Ok(()), |help| write!(f, "\n {gutter} = {help}"))
    }
}

/// All that is wrong with the files: at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// `value`, unless there are problems. They come in the order of `files`.
    pub(super) fn or<T>(mut problems: Vec<Problem>, files: &[PathBuf], value: T) -> Result<T, Self> {
        if problems.is_empty() {
            return Ok(value);
        }
        let rank = |problem: &Problem| files.iter().position(|file| *file == problem.file);
        problems.sort_by_key(|problem| (rank(problem), problem.order()));
        problems.dedup();
        Err(Self(problems))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n\n" })?;
        }
        if self.0.len() > 1 { write!(f, "\n\n{} errors", self.0.len()) } else { Ok(()) }
    }
}

impl Error for Problems {}
