//! Files in a folder of this user's: what does not fit into a set. They are only hints.
//!
//! `NAME.info` says which instance runs or who starts one, in which set, and has its metadata; `NAME.failed` has the cause
//! of the last failed start; `NAME.run` is the folder of a declared service's run. Whoever reads one compares it with the
//! set: a file that is missing, cut off, swapped or written by somebody else is as good as none. `NAME` ends with the session's
//! number, for each session has its own kernel objects, and with a mark of the name.

#![expect(unsafe_code, reason = "system calls")]

use super::files::patiently;
use super::object::{self, Locked, owned, wide};
use super::process::{Process, wait_for_any};
use super::{current_pid, folder};
use crate::name::ServiceName;
use crate::protocol::set::{Instance, Record};
pub(crate) use crate::sys::claims::*;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, AsRawHandle, IntoRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::time::Duration;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_NOTIFY_CHANGE_DIR_NAME, FILE_NOTIFY_CHANGE_FILE_NAME,
    FindCloseChangeNotification, FindFirstChangeNotificationW, FindNextChangeNotification,
};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;

/// The files of one service.
#[derive(Clone, Debug)]
pub(crate) struct Hints {
    folder: PathBuf,
    stem: String,
}

/// Where files go unless the program says otherwise.
pub(crate) fn default_folder() -> PathBuf {
    folder::state_home().unwrap_or_else(|_| std::env::temp_dir()).join("procref").join("run")
}

impl Hints {
    pub(crate) fn new(folder: &Path, name: &ServiceName) -> Self {
        let mut session = 0;
        // SAFETY: the kernel writes one number, or none.
        unsafe { ProcessIdToSessionId(current_pid(), &raw mut session) };
        // Names differ by case, and files do not.
        let mark = crate::name::fingerprint(name.as_str().as_bytes());
        Self { folder: folder.to_owned(), stem: format!("{name}@{session}-{mark:08x}") }
    }

    /// The folder and the names' common part.
    pub(crate) fn location(&self) -> (&Path, &str) {
        (&self.folder, &self.stem)
    }

    /// Those of this folder and common part.
    pub(super) const fn at(folder: PathBuf, stem: String) -> Self {
        Self { folder, stem }
    }

    /// Another file of this service, beside the hints.
    pub(crate) fn beside(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.stem))
    }

    /// Makes the folder where it is missing; those above it, too, if nobody has named another one.
    pub(crate) fn prepare_folder(&self) -> io::Result<()> {
        if self.folder == default_folder() {
            return folder::make_private(&self.folder);
        }
        // One that was removed is there for as long as somebody watches it.
        match patiently(|| std::fs::create_dir(&self.folder)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => folder::check(&self.folder),
        }
    }

    /// A file appears whole or not at all. The lock keeps other writers away.
    fn write(&self, kind: &str, parts: &[&[u8]]) -> io::Result<()> {
        let (new, path) = (self.beside("new"), self.beside(kind));
        loop {
            self.prepare_folder()?;
            let written = patiently(|| File::create(&new))
                .and_then(|mut file| parts.iter().try_for_each(|part| file.write_all(part)));
            match written.and_then(|()| patiently(|| std::fs::rename(&new, &path))) {
                // The last user of another service has just removed the empty folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let _ = std::fs::remove_file(&new);
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    fn read(&self, kind: &str) -> Option<Vec<u8>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(self.beside(kind)).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > MOST_BYTES as u64 {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// For as long as this is kept, nobody else begins a start by these files.
    fn lock(&self) -> io::Result<Locked> {
        object::lock(&format!("Local\\procref-hints-{:08x}-{}", object::user_mark(), self.stem))
    }

    /// Writes that this process starts the service; or says who lives already, in another set. Of two that do this at
    /// once, because a set was removed between them, one is told of the other.
    ///
    /// When the last client was killed, the kernel ends the service, which is still ending for a moment: it is waited for.
    pub(crate) fn write_starter(&self, set: i32, ended: impl FnOnce(u32, u64)) -> io::Result<Option<Live>> {
        let pid = current_pid();
        let start = Process::open(pid)?.map_or(0, |process| process.start());
        let _lock = self.lock()?;
        let other = self.claim().filter(|claim| claim.set != set);
        let live = other.as_ref().and_then(live);
        if live.is_none() {
            if let Some(Claim { instance: Instance::Process { pid, start }, starter: false, .. }) = other {
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

    fn claim(&self) -> Option<Claim> {
        Some(Claim::split(&self.read("info")?)?.0)
    }

    /// The process that the file names, if it lives.
    pub(crate) fn live(&self) -> Option<Live> {
        live(&self.claim()?)
    }

    /// That process itself.
    pub(crate) fn live_process(&self) -> Option<Process> {
        self.claim()?.process()
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
        if self.claim().is_some_and(|claim| claim.set == set) {
            self.remove();
        }
    }

    /// Removes the files if nothing that they name lives and `unused` says that nobody uses them. Says whether there were
    /// any. Nobody begins a start meanwhile.
    pub(crate) fn remove_stale(&self, unused: impl FnOnce() -> bool) -> io::Result<bool> {
        if !self.folder.is_dir() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        let removed = self.live().is_none() && unused() && self.remove_files();
        if removed {
            let _ = std::fs::remove_dir(&self.folder);
        }
        Ok(removed)
    }

    /// Watches for files of this service that come and go, from now on. Where the folder is missing, for it.
    pub(crate) fn watch(&self) -> io::Result<Watch> {
        let what = FILE_NOTIFY_CHANGE_FILE_NAME | FILE_NOTIFY_CHANGE_DIR_NAME;
        loop {
            let there = self.folder.ancestors().find(|folder| folder.is_dir()).ok_or(io::ErrorKind::NotFound)?;
            let path = wide(there);
            // SAFETY: a path that ends with a zero.
            let changes = owned(unsafe { FindFirstChangeNotificationW(path.as_ptr(), 0, what) });
            // What had come before the folder around it was watched has not been seen.
            if changes.is_err() || there == self.folder || !self.folder.is_dir() {
                return Ok(Watch { changes: Some(changes?) });
            }
        }
    }

    /// Removes the files, and the folder if nothing else is in it.
    pub(crate) fn remove(&self) {
        self.remove_files();
        let _ = std::fs::remove_dir(&self.folder);
    }

    fn remove_files(&self) -> bool {
        let files = ["info", "failed", "new"].map(|kind| patiently(|| std::fs::remove_file(self.beside(kind))).is_ok());
        let run = patiently(|| std::fs::remove_dir_all(self.beside("run"))).is_ok();
        run || files.contains(&true)
    }
}

/// Who lives of those that this names. One that the kernel ends, because nobody holds it any more, may take a moment.
fn live(claim: &Claim) -> Option<Live> {
    const ENDING: u64 = 2000;
    match claim.live()? {
        starter @ Live::Starter(_) => Some(starter),
        service @ Live::Service(_) => {
            let ended = claim.process().is_none_or(|process| process.wait(Some(ENDING)).unwrap_or(false));
            (!ended).then_some(service)
        }
    }
}

/// Says when files come and go.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: Option<OwnedHandle>,
}

impl Watch {
    /// Waits, no longer than that, for something that may matter: a file has come or gone, or `process` has ended.
    /// `Ok(false)`: the time was up.
    pub(crate) fn wait(&self, process: Option<&Process>, milliseconds: Option<u64>) -> io::Result<bool> {
        let Some(changes) = &self.changes else { return Err(io::ErrorKind::Other.into()) };
        let objects: Vec<_> = std::iter::once(changes.as_handle()).chain(process.map(AsHandle::as_handle)).collect();
        let woken = wait_for_any(&objects, milliseconds.map(Duration::from_millis))?;
        if woken == Some(0) {
            // SAFETY: a handle of a change notification.
            unsafe { FindNextChangeNotification(changes.as_raw_handle()) };
        }
        Ok(woken.is_some())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(changes) = self.changes.take() {
            // SAFETY: it is closed by its own function, and by nothing else.
            unsafe { FindCloseChangeNotification(changes.into_raw_handle()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hints in a folder of this test's own, which is not there yet.
    fn hints(what: &str) -> Hints {
        Hints::at(std::env::temp_dir().join(format!("procref-hints-{}-{what}", current_pid())), "db@1".into())
    }

    /// Has somebody read a file, who does not share it, while this is done.
    fn while_kept<T: Send>(file: &Path, act: impl FnOnce() -> T + Send) -> T {
        let kept = OpenOptions::new().read(true).share_mode(0).open(file).expect("it is there");
        std::thread::scope(|scope| {
            let acts = scope.spawn(act);
            // Long enough for one that gives up at once.
            std::thread::sleep(Duration::from_millis(50));
            drop(kept);
            acts.join().expect("no panic")
        })
    }

    #[test]
    fn who_scans_a_file_for_a_moment_keeps_nobody_from_writing_and_removing_it() {
        let hints = hints("scanned");
        hints.write_failure(1, 1, "no").expect("it can be written");
        let file = hints.beside("failed");
        while_kept(&file, || hints.write_failure(1, 2, "no, again")).expect("it can be written");
        assert_eq!(hints.read_failure(1, 2).as_deref(), Some("no, again"));
        while_kept(&file, || hints.remove());
        assert!(!hints.folder.exists());
    }

    #[test]
    fn what_somebody_keeps_is_an_error_in_the_end() {
        let hints = hints("kept");
        hints.write_failure(1, 1, "no").expect("it can be written");
        let kept = OpenOptions::new().read(true).share_mode(0).open(hints.beside("failed")).expect("it is there");
        hints.write_failure(1, 2, "no, again").expect_err("somebody keeps it");
        drop(kept);
        assert_eq!(hints.read_failure(1, 1).as_deref(), Some("no"));
        assert!(!hints.beside("new").exists());
        hints.remove();
        assert!(!hints.folder.exists());
    }

    #[test]
    fn stale_files_are_removed_with_the_folder_if_that_is_empty_then() {
        let hints = hints("stale");
        hints.write_failure(1, 1, "no").expect("it can be written");
        let other = hints.folder.join("other");
        std::fs::write(&other, "").expect("it can be written");
        assert!(!hints.remove_stale(|| false).expect("it can be locked"), "it is in use");
        assert!(hints.remove_stale(|| true).expect("it can be locked"));
        assert!(!hints.remove_stale(|| true).expect("it can be locked"), "there are none left");
        assert!(other.exists() && hints.read_failure(1, 1).is_none());
        std::fs::remove_file(&other).expect("it is there");
        hints.write_failure(1, 1, "no").expect("it can be written");
        assert!(hints.remove_stale(|| true).expect("it can be locked"));
        assert!(!hints.folder.exists());
    }
}
