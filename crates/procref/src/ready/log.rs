//! A service's log: the line to wait for, and the last ones to show.

use super::{Miss, Report, plain};
use crate::sys;
use crate::sys::files::{Identity, is_full, open_to_read, read_at};
use crate::sys::probe::{self, Changes, Woken};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much of the log's end is read to show lines.
const SHOWN_BYTES: u64 = 8 << 10;
/// How much is read before there is another look at the clock and the service.
const MOST_AT_ONCE: u64 = 1 << 20;
const CHUNK: usize = 64 << 10;
/// How many files of the log's name are followed at a time: whoever moved one away may write to it for a while.
const MOST_FILES: usize = 4;
/// Changes are told. But not those of a file that is mapped, or that another host writes.
const ANOTHER_LOOK: Duration = Duration::from_secs(1);

/// A log file, and where it ended before the service was started. The file is held open, so that it is still found
/// when the service has moved it away.
#[derive(Debug)]
pub(crate) struct LogMark {
    path: PathBuf,
    file: Option<(File, Identity)>,
    end: u64,
}

impl LogMark {
    /// To be called before the service is started. The file need not exist yet.
    pub(crate) fn before_start(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        match open(&path) {
            Ok((file, identity, metadata)) => Self { path, file: Some((file, identity)), end: metadata.len() },
            // If this is for good, the one who reads it will say so.
            Err(_) => Self { path, file: None, end: 0 },
        }
    }

    fn never(&self, error: &io::Error) -> Miss {
        Miss::Never(format!("the log file {}: {}", self.path.display(), plain(error)))
    }

    /// Where the service's own part begins in this file, which has the log's name now.
    fn begin(&self, identity: Identity, metadata: &Metadata) -> u64 {
        let same = self.file.as_ref().is_some_and(|(_, file)| *file == identity);
        if same && self.end <= metadata.len() { self.end } else { 0 }
    }
}

/// Opens a log. Whatever else has its name, nothing waits and nothing is set off.
fn open(path: &Path) -> io::Result<(File, Identity, Metadata)> {
    let not_a_file = || io::Error::other("it is not a regular file");
    if !path.metadata()?.is_file() {
        return Err(not_a_file());
    }
    let file = open_to_read(path)?;
    let metadata = file.metadata()?;
    let identity = Identity::of(&file)?;
    if metadata.is_file() { Ok((file, identity, metadata)) } else { Err(not_a_file()) }
}

/// The last lines that the service has written, fit for a terminal: at most so many, and at most eight KiB.
pub(crate) fn last_lines(mark: &LogMark, most: usize) -> Vec<String> {
    let Ok((file, identity, metadata)) = open(&mark.path) else { return Vec::new() };
    let begin = mark.begin(identity, &metadata);
    let from = begin.max(metadata.len().saturating_sub(SHOWN_BYTES));
    let mut bytes = vec![0; SHOWN_BYTES as usize];
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match read_at(&file, rest, from + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let bytes = bytes.get(..read).unwrap_or_default();
    // The first line may have lost its beginning.
    let whole = bytes.iter().position(|&byte| byte == b'\n').filter(|_| from > begin).map_or(0, |end| end + 1);
    match bytes.get(whole..) {
        Some(rest) if !rest.is_empty() => lines(rest, most),
        _ => lines(bytes, most),
    }
}

/// The last lines that are not empty, fit for a terminal.
pub(super) fn lines(bytes: &[u8], most: usize) -> Vec<String> {
    let mut visible = Vec::new();
    Plain::default().push(bytes, &mut visible);
    let text = String::from_utf8_lossy(&visible);
    let shown = |line: &str| line.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>();
    let mut lines: Vec<_> =
        text.lines().rev().map(|line| shown(line.trim_end())).filter(|line| !line.is_empty()).take(most).collect();
    lines.reverse();
    lines
}

/// Takes escape sequences and other control characters out of a text that comes in pieces. A line ends with CR, too.
#[derive(Clone, Copy, Debug, Default)]
enum Plain {
    #[default]
    Text,
    Escape,
    /// ESC [ … letter
    Control,
    /// ESC ] … BEL, or ESC ] … ESC \
    Command,
    CommandEscape,
}

impl Plain {
    fn push(&mut self, bytes: &[u8], visible: &mut Vec<u8>) {
        for &byte in bytes {
            *self = match (*self, byte) {
                // No sequence goes beyond its line.
                (_, b'\n' | b'\r') => {
                    visible.push(b'\n');
                    Self::Text
                }
                (Self::Command, 0x07) => Self::Text,
                (Self::Command, 0x1b) => Self::CommandEscape,
                (Self::CommandEscape, b'\\') => Self::Text,
                (Self::Command | Self::CommandEscape, _) => Self::Command,
                (_, 0x1b) => Self::Escape,
                (Self::Text, b'\t' | b' '..=0x7e | 0x80..) => {
                    visible.push(byte);
                    Self::Text
                }
                (Self::Escape, b'[') => Self::Control,
                (Self::Escape, b']' | b'P' | b'X' | b'^' | b'_') => Self::Command,
                (Self::Escape, b' '..=b'/') => Self::Escape,
                (Self::Control, b' '..=b'?') => Self::Control,
                _ => Self::Text,
            };
        }
    }
}

/// One file, as far as it has been read.
#[derive(Debug)]
struct Followed {
    file: File,
    identity: Identity,
    position: u64,
    plain: Plain,
    /// The end of what was read: as much as may be the beginning of the text.
    end: Vec<u8>,
}

impl Followed {
    /// Reads on, and says whether the text was there; `None` if there is more to read.
    fn read_on(&mut self, text: &[u8]) -> io::Result<Option<bool>> {
        if self.file.metadata()?.len() < self.position {
            // It was cut off.
            (self.position, self.plain) = (0, Plain::Text);
            self.end.clear();
        }
        let mut buffer = vec![0; CHUNK];
        let mut left = MOST_AT_ONCE;
        while left > 0 {
            let read = match read_at(&self.file, &mut buffer, self.position) {
                Ok(0) => return Ok(Some(false)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.position += read as u64;
            left = left.saturating_sub(read as u64);
            self.plain.push(buffer.get(..read).unwrap_or_default(), &mut self.end);
            if self.end.windows(text.len()).any(|part| part == text) {
                return Ok(Some(true));
            }
            self.end.drain(..self.end.len().saturating_sub(text.len() - 1));
        }
        Ok(None)
    }
}

/// The log, whatever files it is in.
struct Follow<'a> {
    mark: &'a LogMark,
    text: &'a [u8],
    files: Vec<Followed>,
    /// `None` where the system has none to spare: then there are looks at intervals.
    changes: Option<Changes>,
}

impl<'a> Follow<'a> {
    fn new(mark: &'a LogMark, text: &'a str, changes: Option<Changes>) -> io::Result<Self> {
        let mut follow = Self { mark, text: text.as_bytes(), files: Vec::new(), changes };
        if let Some((file, identity)) = &mark.file {
            follow.add(file.try_clone()?, *identity, mark.end);
        }
        Ok(follow)
    }

    /// Reads on in all files, and says whether the text was there; `None` if there is more to read.
    fn look(&mut self) -> io::Result<Option<bool>> {
        if let Some(changes) = &self.changes {
            changes.forget();
        }
        self.find_file()?;
        let mut more = false;
        for file in &mut self.files {
            match file.read_on(self.text)? {
                Some(true) => return Ok(Some(true)),
                Some(false) => {}
                None => more = true,
            }
        }
        Ok((!more).then_some(false))
    }

    /// Which file has the log's name now?
    fn find_file(&mut self) -> io::Result<()> {
        let named = match Identity::at(&self.mark.path) {
            Ok(identity) => identity,
            // Not yet, or not at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Not every system opens what is no file; then that is the reason.
            Err(error) => return Err(open(&self.mark.path).err().unwrap_or(error)),
        };
        if self.files.iter().any(|file| file.identity == named) {
            return Ok(());
        }
        let (file, identity, metadata) = match open(&self.mark.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        };
        let position = self.mark.begin(identity, &metadata);
        self.add(file, identity, position);
        Ok(())
    }

    fn add(&mut self, file: File, identity: Identity, position: u64) {
        if self.changes.as_ref().is_some_and(|changes| changes.add(&file).is_err()) {
            self.changes = None;
        }
        if self.files.len() == MOST_FILES {
            self.files.remove(0);
        }
        self.files.push(Followed { file, identity, position, plain: Plain::Text, end: Vec::new() });
    }
}

/// Waits for the text in the log.
pub(super) fn wait(
    text: &str,
    mark: &LogMark,
    process: &sys::Process,
    deadline: Instant,
    report: &mut Report<'_>,
) -> Result<(), Miss> {
    let path = mark.path.display();
    let folder = match mark.path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    folder.metadata().map_err(|error| mark.never(&error))?;
    let changes = Changes::in_folder(folder).ok();
    report.saw(format!("no line with \"{text}\" in {path}"));
    let follow = Follow::new(mark, text, changes).map_err(|error| mark.never(&error))?;
    wait_with(follow, process, deadline).inspect_err(|miss| {
        if matches!(miss, Miss::Slow) {
            report.saw(format!("no line with \"{text}\" in {path}, which {}", in_words(&mark.path, folder)));
        }
    })
}

/// What is known of a log in which the line did not come. A service that cannot write says so nowhere.
fn in_words(log: &Path, folder: &Path) -> String {
    let what = match log.metadata() {
        Ok(metadata) => format!("has {} bytes", metadata.len()),
        Err(error) => format!("cannot be looked at ({})", plain(&error)),
    };
    if is_full(folder) { format!("{what}, on a file system that is full") } else { what }
}

fn wait_with(mut follow: Follow<'_>, process: &sys::Process, deadline: Instant) -> Result<(), Miss> {
    let mut pause = super::FIRST_PAUSE;
    loop {
        let looked = follow.look().map_err(|error| follow.mark.never(&error))?;
        if looked == Some(true) {
            return Ok(());
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(Miss::Slow);
        }
        let (rest, sources) = match (looked, &follow.changes) {
            (None, _) => (Duration::ZERO, None),
            (_, Some(changes)) => (ANOTHER_LOOK, Some(changes.source())),
            (_, None) => (pause, None),
        };
        if follow.changes.is_none() {
            pause = super::LONGEST_PAUSE.min(pause * 2);
        }
        if probe::wait(process, sources.as_slice(), deadline.min(now + rest)).map_err(Miss::system)? == Woken::Ended {
            return Err(Miss::Ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::tests::{Folder, Service, append, far};

    fn follow<'a>(mark: &'a LogMark, text: &'a str) -> Follow<'a> {
        Follow::new(mark, text, None).expect("it can be read")
    }

    #[test]
    fn a_line_that_comes_in_pieces_and_does_not_end() {
        let folder = Folder::new();
        let path = folder.path("log");
        let mark = LogMark::before_start(&path);
        let mut follow = follow(&mark, "ready now");
        let look = |follow: &mut Follow<'_>| follow.look().expect("it can be read");
        assert_eq!(look(&mut follow), Some(false), "there is no file");
        let line = "x\x1b[1;3mre\x1b]0;title\x07ady\x1b(B no";
        for piece in 0..line.len() {
            append(&path, &line[piece..=piece]);
            assert_eq!(look(&mut follow), Some(false), "{piece}");
        }
        append(&path, "w");
        assert_eq!(look(&mut follow), Some(true));
    }

    #[test]
    fn a_line_break_ends_the_text() {
        let folder = Folder::new();
        let path = folder.path("log");
        let mark = LogMark::before_start(&path);
        append(&path, "ready\n now ready\r now");
        assert_eq!(follow(&mark, "ready now").look().expect("it can be read"), Some(false));
    }

    #[test]
    fn only_what_the_service_writes_counts() {
        let folder = Folder::new();
        let path = folder.path("log");
        append(&path, "ready\n");
        let mark = LogMark::before_start(&path);
        let mut follow = follow(&mark, "ready");
        assert_eq!(follow.look().expect("it can be read"), Some(false));
        assert!(last_lines(&mark, 10).is_empty());
        append(&path, "ready\n");
        assert_eq!(follow.look().expect("it can be read"), Some(true));
        assert_eq!(last_lines(&mark, 10), ["ready"]);
    }

    #[test]
    fn a_log_that_is_cut_off_is_read_from_its_beginning() {
        let folder = Folder::new();
        let path = folder.path("log");
        append(&path, "some old lines\n");
        let mark = LogMark::before_start(&path);
        let mut follow = follow(&mark, "ready");
        append(&path, "starting, rea");
        assert_eq!(follow.look().expect("it can be read"), Some(false));
        std::fs::write(&path, "dy").expect("it can be written");
        assert_eq!(follow.look().expect("it can be read"), Some(false), "not a line of one file");
        append(&path, ": ready");
        assert_eq!(follow.look().expect("it can be read"), Some(true));
        assert_eq!(last_lines(&mark, 10), ["dy: ready"]);
    }

    #[test]
    fn a_log_that_is_moved_away_is_read_in_both_places() {
        let folder = Folder::new();
        let path = folder.path("log");
        let mark = LogMark::before_start(&path);
        append(&path, "starting\n");
        let mut old = follow(&mark, "ready");
        let mut new = follow(&mark, "ready");
        for follow in [&mut old, &mut new] {
            assert_eq!(follow.look().expect("it can be read"), Some(false));
        }
        std::fs::rename(&path, folder.path("log.1")).expect("it can be moved");
        append(&folder.path("log.1"), "rea");
        for follow in [&mut old, &mut new] {
            assert_eq!(follow.look().expect("it can be read"), Some(false));
        }
        append(&path, "begun anew\n");
        assert_eq!(new.look().expect("it can be read"), Some(false));
        append(&folder.path("log.1"), "dy");
        assert_eq!(old.look().expect("it can be read"), Some(true));
        append(&path, "ready");
        assert_eq!(new.look().expect("it can be read"), Some(true));
    }

    #[test]
    fn a_log_that_is_moved_away_before_the_first_look_is_read_too() {
        let folder = Folder::new();
        let path = folder.path("log");
        append(&path, "old\n");
        let mark = LogMark::before_start(&path);
        std::fs::rename(&path, folder.path("log.1")).expect("it can be moved");
        append(&path, "begun anew\n");
        append(&folder.path("log.1"), "ready");
        assert_eq!(follow(&mark, "ready").look().expect("it can be read"), Some(true));
        assert_eq!(last_lines(&mark, 10), ["begun anew"]);
    }

    #[test]
    fn a_log_of_any_size_is_read_in_parts() {
        let folder = Folder::new();
        let path = folder.path("log");
        let mark = LogMark::before_start(&path);
        append(&path, &"not yet\n".repeat(200_000));
        append(&path, "ready");
        let mut follow = follow(&mark, "ready");
        assert_eq!(follow.look().expect("it can be read"), None);
        assert_eq!(follow.look().expect("it can be read"), Some(true));
    }

    #[test]
    fn without_a_watch_there_are_looks() {
        let folder = Folder::new();
        let path = folder.path("log");
        let mark = LogMark::before_start(&path);
        let service = Service::sleeping();
        std::thread::scope(|scope| {
            scope.spawn(|| append(&path, "ready"));
            wait_with(follow(&mark, "ready"), &service.process, far()).expect("it is ready");
        });
    }

    #[test]
    fn the_last_lines_are_fit_for_a_terminal() {
        assert_eq!(lines(b"", 3), [""; 0]);
        assert_eq!(lines(b"\n \n\r\n", 3), [""; 0]);
        assert_eq!(lines(b"a\nb\n\nc\r\nd", 3), ["b", "c", "d"]);
        let coloured = b"\x1b[31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07\x07\x08 \xff\xc2\x9b1m\t!\x1b[31\nx";
        assert_eq!(lines(coloured, 3), ["red link \u{fffd}1m\t!", "x"]);
        assert_eq!(lines(b"50 %\r100 %\n", 3), ["50 %", "100 %"]);
    }

    #[test]
    fn the_end_of_a_long_log_begins_with_a_whole_line() {
        let folder = Folder::new();
        let path = folder.path("log");
        let mark = LogMark::before_start(&path);
        assert!(last_lines(&mark, 10).is_empty(), "there is no file");
        append(&path, &format!("{}\nsecond\n", "x".repeat(3 * SHOWN_BYTES as usize)));
        assert_eq!(last_lines(&mark, 10), ["second"]);
        append(&path, &"y".repeat(2 * SHOWN_BYTES as usize));
        assert_eq!(last_lines(&mark, 10), ["y".repeat(SHOWN_BYTES as usize)]);
    }
}
