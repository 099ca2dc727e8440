//! The named objects that the kernel has of services.

use super::is_wine;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr;
use std::time::{Duration, Instant};
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{NtOpenDirectoryObject, NtQueryDirectoryObject};
use windows_sys::Win32::Foundation::{HANDLE, UNICODE_STRING};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;

/// What follows `procref-` and a number in the name of an object, if it is of a service whose name begins so.
fn of_service<'a>(object: &'a str, prefix: &str) -> Option<&'a str> {
    let (_, name) = object.strip_prefix("procref-")?.split_once('-')?;
    name.starts_with(prefix).then_some(name)
}

/// The names of services that begin so and whose records are there.
#[must_use]
pub fn objects(prefix: &str) -> Vec<String> {
    let of = |name: &String| Some(of_service(name, prefix)?.strip_suffix(".record")?.to_owned());
    names().iter().filter_map(of).collect()
}

/// Waits until no object is there whose service's name begins so. They go with the processes that have them.
#[must_use]
pub fn objects_that_stay(prefix: &str, time: Duration) -> Vec<String> {
    let deadline = Instant::now() + time;
    loop {
        let mut names = names();
        // Under Wine a job's name stays for as long as anybody has a handle on a process that was in it.
        names.retain(|name| of_service(name, prefix).is_some_and(|name| !is_wine() || !name.ends_with(".job")));
        if names.is_empty() || Instant::now() >= deadline {
            return names;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Objects go with the processes that have them.
pub fn remove_objects(_: &str) {}

/// Where a service is found: its name.
#[derive(Debug)]
pub struct Place(String);

impl Place {
    /// The place of a service that is there.
    ///
    /// # Panics
    ///
    /// It is not.
    #[must_use]
    pub fn of(name: &str) -> Self {
        assert!(objects(name).iter().any(|other| other == name), "its record is there");
        Self(name.to_owned())
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        objects(&self.0).is_empty()
    }
}

/// Whether one of these services is somebody's.
#[must_use]
pub fn in_use(prefix: &str) -> bool {
    !objects(prefix).is_empty()
}

/// What the kernel tells of an entry.
#[repr(C)]
struct Entry {
    name: UNICODE_STRING,
    kind: UNICODE_STRING,
}

/// The names of this session's objects.
#[expect(unsafe_code, reason = "the standard library does not list objects")]
fn names() -> Vec<String> {
    let mut session = 0;
    // SAFETY: the kernel writes one number.
    unsafe { ProcessIdToSessionId(std::process::id(), &raw mut session) };
    let folder = folder(&format!("\\Sessions\\{session}\\BaseNamedObjects"));
    let Some(folder) = folder.or_else(|| self::folder("\\BaseNamedObjects")) else { return Vec::new() };
    let (mut names, mut context, mut restart) = (Vec::new(), 0_u32, true);
    // One entry and its two texts, each of 64 KiB at the most.
    let mut buffer = vec![0_u64; 17 << 10];
    loop {
        let mut length = 0;
        // SAFETY: the kernel writes no more than the buffer's size.
        let status = unsafe {
            NtQueryDirectoryObject(
                folder.as_raw_handle(),
                buffer.as_mut_ptr().cast(),
                size_of_val(&*buffer) as u32,
                true,
                restart,
                &raw mut context,
                &raw mut length,
            )
        };
        restart = false;
        if status != 0 {
            return names;
        }
        // SAFETY: the buffer, which is aligned for it, begins with an entry that the kernel has filled.
        let entry = unsafe { &*buffer.as_ptr().cast::<Entry>() };
        // SAFETY: the text lies in the buffer, behind the entry.
        let text = unsafe { std::slice::from_raw_parts(entry.name.Buffer, usize::from(entry.name.Length) / 2) };
        names.push(String::from_utf16_lossy(text));
    }
}

#[expect(unsafe_code, reason = "the standard library does not list objects")]
fn folder(path: &str) -> Option<OwnedHandle> {
    const DIRECTORY_QUERY: u32 = 1;
    let mut wide: Vec<u16> = path.encode_utf16().collect();
    let bytes = size_of_val(&*wide) as u16;
    let name = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: wide.as_mut_ptr() };
    let attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        ObjectName: &raw const name,
        ..OBJECT_ATTRIBUTES::default()
    };
    let mut handle: HANDLE = ptr::null_mut();
    // SAFETY: all that it points to outlives the call.
    let status = unsafe { NtOpenDirectoryObject(&raw mut handle, DIRECTORY_QUERY, &raw const attributes) };
    // SAFETY: it has just been opened, and belongs to nobody else.
    (status >= 0).then(|| unsafe { OwnedHandle::from_raw_handle(handle) })
}
