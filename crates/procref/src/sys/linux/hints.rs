//! Files in a private folder: what does not fit into a set. They are only hints.
//!
//! `NAME@IPC.info` says which instance runs, or who starts one and what has come of that so far, in which set, and has its metadata; `NAME@IPC.failed` has the cause of
//! the last failed start; `NAME@IPC.run` is the folder of a declared service's run. Whoever reads one compares it with the set: a file that is missing, cut off, swapped or
//! written by somebody else is as good as none. `IPC` is the number of the IPC namespace, for two of them that share
//! a file system have two sets.

use super::pid::current_pid;
use super::process::{Process, any_readable, effective_uid};
use crate::name::ServiceName;
use crate::protocol::set::{Instance, Record};
use crate::sys::claims::MOST_BYTES;
pub(crate) use crate::sys::claims::{Claim, Live, MOST_DETAILS, checksum, decode, encode};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::inotify::{self, WatchFlags};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The files of one service.
#[derive(Clone, Debug)]
pub(crate) struct Hints {
    folder: PathBuf,
    stem: String,
}

/// Where files go unless the program says otherwise. It does not depend on the environment, so that all processes of
/// a user find the same folder: the user's runtime folder where there is one, else one in /tmp.
pub(crate) fn default_folder() -> PathBuf {
    let user = effective_uid();
    let runtime = PathBuf::from(format!("/run/user/{user}"));
    match rustix::fs::lstat(&runtime) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && stat.st_uid == user => {
            runtime.join("procref")
        }
        _ => PathBuf::from(format!("/tmp/procref-{user}")),
    }
}

impl Hints {
    pub(crate) fn new(folder: &Path, name: &ServiceName) -> Self {
        let namespace = rustix::fs::stat("/proc/self/ns/ipc").map_or(0, |stat| stat.st_ino);
        Self { folder: folder.to_owned(), stem: format!("{name}@{namespace}") }
    }

    /// The folder and the names' common part.
    pub(crate) fn location(&self) -> (&Path, &str) {
        (&self.folder, &self.stem)
    }

    /// Another file of this service, beside the hints.
    pub(crate) fn beside(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.stem))
    }

    /// Makes the folder where it is missing.
    pub(crate) fn prepare_folder(&self) -> io::Result<()> {
        self.make_folder().map(drop)
    }

    /// Opens the folder. It must be a folder, this user's, and nobody else's to write.
    fn open_folder(&self) -> io::Result<OwnedFd> {
        match open_private(&self.folder)? {
            Some(folder) => Ok(folder),
            None => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("the folder {} belongs to another user or is writable for others", self.folder.display()),
            )),
        }
    }

    fn make_folder(&self) -> io::Result<OwnedFd> {
        loop {
            match rustix::fs::mkdir(&self.folder, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            match self.open_folder() {
                // The last user of another service has just removed the empty folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => return result,
            }
        }
    }

    /// A file appears whole or not at all. The lock keeps other writers away.
    fn write(&self, kind: &str, parts: &[&[u8]]) -> io::Result<()> {
        let (file, path) = (format!("{}.{kind}", self.stem), format!("{}.new", self.stem));
        loop {
            let folder = self.make_folder()?;
            match rustix::fs::unlinkat(&folder, &path, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let new = match rustix::fs::openat(&folder, &path, flags, Mode::RUSR | Mode::WUSR) {
                Ok(new) => new,
                // The folder was removed after it was opened.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let mut new = std::fs::File::from(new);
            let written = parts.iter().try_for_each(|part| io::Write::write_all(&mut new, part));
            let result = written.and_then(|()| Ok(rustix::fs::renameat(&folder, &path, &folder, &file)?));
            if result.is_err() {
                let _ = rustix::fs::unlinkat(&folder, &path, AtFlags::empty());
            }
            return result;
        }
    }

    fn read(&self, kind: &str) -> Option<Vec<u8>> {
        let folder = self.open_folder().ok()?;
        let (file, size) = open_ours(&folder, format!("{}.{kind}", self.stem))?;
        if size > MOST_BYTES as i64 {
            return None;
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(std::fs::File::from(file), MOST_BYTES as u64), &mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes that this process starts the service; or says who lives already, in another set. Of two that do this at
    /// once, because a set was removed between them, one is told of the other. `ended` is called, before it is forgotten,
    /// for a service of another set that has ended.
    pub(crate) fn write_starter(&self, set: i32, ended: impl FnOnce(u32, u64)) -> io::Result<Option<Live>> {
        let pid = current_pid();
        let start = Process::open(pid)?.map_or(0, |process| process.start());
        // Released when the descriptor is closed, by whatever.
        let folder = self.make_folder()?;
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
        let other = self.claims().filter(|claims| claims.set() != set);
        let live = other.as_ref().and_then(Claims::live);
        if live.is_none() {
            let last = other.map(|claims| claims.last());
            if let Some(Claim { instance: Instance::Process { pid, start }, starter: false, .. }) = last {
                ended(pid, start);
            }
            self.write("info", &[Claim::of_starter(set, pid, start).line().as_bytes()])?;
        }
        Ok(live)
    }

    /// Writes which instance runs and its metadata.
    pub(crate) fn write_info(&self, set: i32, record: &Record, details: &[u8]) -> io::Result<()> {
        self.write("info", &[Claim::of_record(set, record).line().as_bytes(), details])
    }

    /// The details of the instance that this set records; `None` if the file is not about that.
    pub(crate) fn read_details(&self, set: i32, record: &Record) -> Option<Vec<u8>> {
        let bytes = self.read("info")?;
        let (claim, details) = Claim::split(&bytes)?;
        (claim == Claim::of_record(set, record) && checksum(details) == record.details).then(|| details.to_vec())
    }

    fn claims(&self) -> Option<Claims> {
        Claims::parse(&self.read("info")?)
    }

    /// The process that the file names, if it lives.
    pub(crate) fn live(&self) -> Option<Live> {
        self.claims()?.live()
    }

    /// That process itself.
    pub(crate) fn live_process(&self) -> Option<Process> {
        self.claims()?.process()
    }

    /// Writes why the start failed that makes the set count `failures` failed starts.
    pub(crate) fn write_failure(&self, set: i32, failures: u16, cause: &str) -> io::Result<()> {
        let cause = cause.get(..cause.floor_char_boundary(MOST_DETAILS)).unwrap_or(cause);
        self.write("failed", &[Claim::of_failure(set, failures).line().as_bytes(), cause.as_bytes()])
    }

    /// Why the start failed that made the set count `failures` failed starts.
    pub(crate) fn read_failure(&self, set: i32, failures: u16) -> Option<String> {
        let bytes = self.read("failed")?;
        let (claim, cause) = Claim::split(&bytes)?;
        (claim == Claim::of_failure(set, failures)).then(|| String::from_utf8_lossy(cause).into_owned())
    }

    /// Removes the files if they are about the instance in this set.
    pub(crate) fn remove_about(&self, set: i32) {
        if self.claims().is_some_and(|claims| claims.set() == set) {
            self.remove();
        }
    }

    /// Removes the files if nothing that they name lives and `unused` says that nobody uses them. Says whether there were
    /// any. Nobody begins a start meanwhile.
    pub(crate) fn remove_stale(&self, unused: impl FnOnce() -> bool) -> io::Result<bool> {
        let folder = match self.open_folder() {
            Ok(folder) => folder,
            // Whatever is there is not ours.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
        let removed = self.live().is_none() && unused() && unlink_all(&folder, self.stem.as_bytes());
        if removed {
            let _ = rustix::fs::rmdir(&self.folder);
        }
        Ok(removed)
    }

    /// Watches for files of this service that come and go, from now on. Where the folder is missing, for it.
    pub(crate) fn watch(&self) -> io::Result<Watch> {
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let flags = flags | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        loop {
            let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let (mut folder, mut missing) = (self.folder.as_path(), None);
            loop {
                match (inotify::add_watch(&inotify, folder, flags), folder.parent()) {
                    (Ok(_), _) => break,
                    (Err(Errno::NOENT), Some(parent)) => missing = Some(std::mem::replace(&mut folder, parent)),
                    (Err(errno), _) => return Err(errno.into()),
                }
            }
            let Some(missing) = missing else { return Ok(Watch { inotify, name: self.stem.clone().into_bytes() }) };
            // What had come before the folder around it was watched has not been seen.
            if matches!(rustix::fs::lstat(missing), Err(Errno::NOENT)) {
                let name = missing.file_name().map_or(Vec::new(), |name| name.as_bytes().to_vec());
                return Ok(Watch { inotify, name });
            }
        }
    }

    /// Removes the files, and the folder if nothing else is in it.
    pub(crate) fn remove(&self) {
        if let Ok(folder) = self.open_folder() {
            unlink_all(&folder, self.stem.as_bytes());
            let _ = rustix::fs::rmdir(&self.folder);
        }
    }
}

/// How the files' names end.
const KINDS: [&CStr; 3] = [c".info", c".failed", c".new"];

/// Removes the files as [`Hints::remove`] does, for the guardian: nothing here allocates. `path` holds the folder, a slash and the
/// names' common part.
///
/// `gone`: the guardian's set, if that was removed. Another one may be in use by now, with files of the same names. They stay: who
/// begins a start writes that down under the folder's lock.
pub(super) fn remove_raw(path: &[u8], folder: usize, gone: Option<i32>) {
    let mut buffer = [0_u8; BUFFER];
    let Some((path, stem)) = split(&mut buffer, path, folder) else { return };
    let Ok(Some(opened)) = open_private(path) else { return };
    if let Some(set) = gone {
        let _ = retry_on_intr(|| rustix::fs::flock(&opened, rustix::fs::FlockOperation::LockExclusive));
        if claims_in(&opened, stem).is_some_and(|claims| claims.set() != set && claims.live().is_some()) {
            return;
        }
    }
    unlink_all(&opened, stem);
    let _ = rustix::fs::rmdir(path);
}

/// Removes the files whose names begin so, and the folder of the service's run; says whether there were any. Nothing here allocates.
fn unlink_all(folder: &OwnedFd, stem: &[u8]) -> bool {
    let mut buffer = [0_u8; BUFFER];
    let mut removed = false;
    for kind in KINDS {
        if let Some(name) = concat(&mut buffer, stem, kind.to_bytes()) {
            removed |= rustix::fs::unlinkat(folder, name, AtFlags::empty()).is_ok();
        }
    }
    if let Some(name) = concat(&mut buffer, stem, b".run") {
        removed |= super::folder::remove(folder, name).is_ok_and(|was_there| was_there);
    }
    removed
}

/// Says when files come and go.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: OwnedFd,
    /// How the names begin that matter.
    name: Vec<u8>,
}

impl Watch {
    /// Waits, no longer than that, for something that matters: a file has come or gone, or `process` has ended. `Ok(false)`:
    /// that was not it.
    pub(crate) fn wait(&self, process: Option<&Process>, milliseconds: Option<u64>) -> io::Result<bool> {
        let ours = PollFd::new(&self.inotify, PollFlags::IN);
        let theirs =
            process.map_or_else(|| ours.clone(), |process| PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN));
        any_readable(&mut [ours, theirs], milliseconds)?;
        if process.is_some_and(Process::has_ended) {
            return Ok(true);
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut matters = false;
        loop {
            match reader.next() {
                // The folder itself has gone, or there was too much to tell.
                Ok(event) => {
                    let named = event.file_name().map(CStr::to_bytes);
                    matters |= named.is_none_or(|name| name.starts_with(&self.name));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(matters),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// What the info file claims, for the guardian: nothing here allocates.
pub(super) fn claim_raw(path: &[u8], folder: usize) -> Option<Claim> {
    let mut buffer = [0_u8; BUFFER];
    let (path, stem) = split(&mut buffer, path, folder)?;
    Some(claims_in(&open_private(path).ok()??, stem)?.last())
}

fn claims_in(folder: &OwnedFd, stem: &[u8]) -> Option<Claims> {
    let mut buffer = [0_u8; BUFFER];
    Claims::read(&open_ours(folder, concat(&mut buffer, stem, b".info")?)?.0)
}

/// Notes in the file of who starts the service which process that is, before it becomes the service: a set that is removed and
/// a starter that is killed then must not let a second one begin. For the guardian's child: nothing here allocates.
///
/// `false`: somebody has begun already, in another set. A file that is not there, or cannot be written, keeps nobody from
/// anything.
pub(super) fn note_begun_raw(path: &[u8], folder: usize, set: i32, (pid, start): (u32, u64)) -> bool {
    let note = || {
        let (mut path_buffer, mut name_buffer) = ([0_u8; BUFFER], [0_u8; BUFFER]);
        let (path, stem) = split(&mut path_buffer, path, folder)?;
        let folder = open_private(path).ok()??;
        // Whoever begins in another set does so before this, and is seen, or after it, and sees this.
        retry_on_intr(|| rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)).ok()?;
        let (file, _) = open_ours_to(&folder, concat(&mut name_buffer, stem, b".info")?, OFlags::RDWR)?;
        let claims = Claims::read(&file)?;
        if claims.set() != set {
            return claims.live().map(|_| false);
        }
        if claims.first.starter {
            let line = line_of_process(set, pid, start);
            let end = claims.first_len as u64;
            if rustix::io::pwrite(&file, &line, end) == Ok(line.len()) {
                let _ = rustix::fs::ftruncate(&file, end + line.len() as u64);
            }
        }
        Some(true)
    };
    note().unwrap_or(true)
}

/// Opens a file to read, if it is a regular one of this user's, and says how long it is. Whatever else has its name,
/// nothing waits and nothing is set off.
fn open_ours(folder: &OwnedFd, name: impl rustix::path::Arg) -> Option<(OwnedFd, i64)> {
    open_ours_to(folder, name, OFlags::RDONLY)
}

fn open_ours_to(folder: &OwnedFd, name: impl rustix::path::Arg, access: OFlags) -> Option<(OwnedFd, i64)> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let ours = stat.st_uid == effective_uid() && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    ours.then_some((file, stat.st_size))
}

/// Opens a folder; `None` if it is another user's, or others may write into it.
fn open_private(path: impl rustix::path::Arg) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&folder)?;
    Ok((stat.st_uid == effective_uid() && stat.st_mode & 0o022 == 0).then_some(folder))
}

const BUFFER: usize = super::guardian::MOST_PATH + 16;

/// The folder, and the files' common part.
fn split<'a, 'b>(buffer: &'a mut [u8], path: &'b [u8], folder: usize) -> Option<(&'a CStr, &'b [u8])> {
    Some((concat(buffer, path.get(..folder)?, &[])?, path.get(folder + 1..)?))
}

fn concat<'a>(buffer: &'a mut [u8], first: &[u8], second: &[u8]) -> Option<&'a CStr> {
    buffer.get_mut(..first.len())?.copy_from_slice(first);
    buffer.get_mut(first.len()..first.len() + second.len())?.copy_from_slice(second);
    *buffer.get_mut(first.len() + second.len())? = 0;
    CStr::from_bytes_until_nul(buffer).ok()
}

/// What the info file says in its first lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claims {
    first: Claim,
    /// How long the first line is.
    first_len: usize,
    /// What the one who starts the service has begun.
    begun: Option<Claim>,
}

impl Claims {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = bytes.split(|&byte| byte == b'\n');
        let line = lines.next()?;
        let first = Claim::parse(line)?;
        let second = lines.next().filter(|_| first.starter).and_then(Claim::parse);
        let begun = second.filter(|claim| claim.set == first.set && !claim.starter);
        Some(Self { first, first_len: line.len() + 1, begun })
    }

    /// Nothing here allocates.
    fn read(file: &OwnedFd) -> Option<Self> {
        let mut lines = [0_u8; 256];
        let len = retry_on_intr(|| rustix::io::read(file, &mut lines)).ok()?;
        Self::parse(lines.get(..len)?)
    }

    const fn set(&self) -> i32 {
        self.first.set
    }

    /// What is known of the service itself, as far as that has come.
    fn last(&self) -> Claim {
        self.begun.unwrap_or(self.first)
    }

    fn live(&self) -> Option<Live> {
        self.first.live().or_else(|| self.begun?.live())
    }

    /// The process that lives of those that it names.
    fn process(&self) -> Option<Process> {
        self.first.process().or_else(|| self.begun?.process())
    }
}

/// A line about an instance that is not published yet. Nothing here allocates.
fn line_of_process(set: i32, pid: u32, start: u64) -> [u8; 56] {
    let mut line = *b"procref-1 0000000000 1 0000000000 0000000000000000000 0\n";
    let mut fill = |range: std::ops::Range<usize>, mut number: u64| {
        for digit in line.get_mut(range).unwrap_or(&mut []).iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    };
    fill(10..20, set as u64);
    fill(23..33, pid.into());
    fill(34..53, start);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_starter_has_begun() {
        let begun = Claim { set: 3, instance: Instance::Process { pid: 70, start: 80 }, generation: 0, starter: false };
        let line = line_of_process(3, 70, 80);
        assert_eq!(Claim::parse(line.strip_suffix(b"\n").expect("it is a line")), Some(begun));
        let of = |first: &[u8], second: &[u8]| Claims::parse(&[first, second].concat()).map(|claims| claims.begun);
        assert_eq!(of(b"procref-1 3 3 4 5 0\n", &line), Some(Some(begun)));
        assert_eq!(of(b"procref-1 3 3 4 5 0\n", &line[..40]), Some(None), "cut off");
        assert_eq!(of(b"procref-1 3 3 4 5 0\n", b""), Some(None));
        assert_eq!(of(b"procref-1 2 3 4 5 0\n", &line), Some(None), "of another set");
        assert_eq!(of(b"procref-1 3 1 4 5 6\n", &line), Some(None), "these are details");
        let most = line_of_process(i32::MAX, u32::MAX, 9_999_999_999_999_999_999);
        let most = Claim::parse(most.strip_suffix(b"\n").expect("it is a line")).expect("it can be read");
        let instance = Instance::Process { pid: u32::MAX, start: 9_999_999_999_999_999_999 };
        assert_eq!((most.set, most.instance), (i32::MAX, instance));
    }
}
