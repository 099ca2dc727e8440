//! What is wrong with a file, and where: file, line and column, the line itself with a mark under it, and what would be
//! right.

use crate::text::printable;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How much of a line is shown.
const WIDTH: usize = 120;

/// How much is said about it.
const LONGEST: usize = 400;

/// A file's text, to find lines and columns in.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(path: &Path, text: String) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: path.to_owned(), text, lines }
    }

    /// From 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= offset)
    }

    /// Where a line begins, and what it says.
    fn of_line(&self, line: usize) -> (usize, &str) {
        let begin = self.lines.get(line - 1).copied().unwrap_or_default();
        let end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        (begin, self.text.get(begin..end).unwrap_or_default())
    }

    /// The bytes of a span, as they are written in the file.
    pub(super) fn written(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(super) fn problem(&self, span: Range<usize>, what: impl Into<String>, help: impl Into<String>) -> Problem {
        let line = self.line(span.start);
        let (begin, text) = self.of_line(line);
        let start = self.text.floor_char_boundary(span.start);
        let column = self.text.get(begin..start).unwrap_or_default().chars().count() + 1;
        let text = text.trim_end_matches('\r');
        let marked = self.text.get(start..span.end).unwrap_or_default();
        let marked = marked.lines().next().unwrap_or_default().chars().count();
        // A line that is too long is shown from a little before the mark.
        let skipped = if text.chars().nth(WIDTH).is_none() { 0 } else { (column - 1).saturating_sub(WIDTH / 3) };
        let mut rest = text.chars().skip(skipped).map(printable);
        let shown: String = rest.by_ref().take(WIDTH).collect();
        let more = rest.next().is_some();
        let room = shown.chars().count() + skipped;
        let marked = marked.min((room + 1).saturating_sub(column)).max(1);
        let ellipsis = |there: bool| if there { "…" } else { "" };
        let (before, after) = (ellipsis(skipped > 0), ellipsis(more));
        let excerpt = Excerpt {
            line,
            column,
            text: format!("{before}{shown}{after}"),
            mark: format!("{}{}", " ".repeat(before.chars().count() + column - 1 - skipped), "^".repeat(marked)),
        };
        Problem { at: Some(Box::new(excerpt)), ..Problem::of_file(&self.path, what, help) }
    }
}

/// What is said has words from the file in it, which may be of any length and have any characters.
fn on_a_line(text: &str) -> String {
    let mut characters = text.chars().map(printable);
    let line: String = characters.by_ref().take(LONGEST).collect();
    if characters.next().is_some() { line + "…" } else { line }
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
        let help = Some(on_a_line(&help.into())).filter(|help| !help.is_empty());
        Self { file: file.to_owned(), at: None, what: on_a_line(&what.into()), help }
    }

    fn order(&self) -> (usize, usize) {
        self.at.as_ref().map_or((0, 0), |at| (at.line, at.column))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, what, help } = self;
        let file: String = file.to_string_lossy().chars().map(printable).collect();
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
