//! The names of this session's kernel objects.

#![expect(unsafe_code, reason = "system calls")]

use super::object::owned;
use std::io;
use std::os::windows::io::AsRawHandle;
use std::ptr;
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{NtOpenDirectoryObject, NtQueryDirectoryObject};
use windows_sys::Win32::Foundation::{HANDLE, UNICODE_STRING};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;

/// The names of all objects in this session's own namespace, which `Local\` stands for.
pub(super) fn names() -> io::Result<Vec<String>> {
    let mut session = 0;
    // SAFETY: the kernel writes one number.
    if unsafe { ProcessIdToSessionId(std::process::id(), &raw mut session) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let own = format!("\\Sessions\\{session}\\BaseNamedObjects");
    // Services have none but the common one.
    match list(&own) {
        Err(_) if session == 0 => list("\\BaseNamedObjects"),
        result => result,
    }
}

/// What the kernel tells of an entry.
#[repr(C)]
struct Entry {
    name: UNICODE_STRING,
    kind: UNICODE_STRING,
}

fn list(path: &str) -> io::Result<Vec<String>> {
    const DIRECTORY_QUERY: u32 = 1;
    let mut wide: Vec<u16> = path.encode_utf16().collect();
    let name = UNICODE_STRING {
        Length: (wide.len() * 2) as u16,
        MaximumLength: (wide.len() * 2) as u16,
        Buffer: wide.as_mut_ptr(),
    };
    let attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: ptr::null_mut(),
        ObjectName: &raw const name,
        Attributes: 0,
        SecurityDescriptor: ptr::null(),
        SecurityQualityOfService: ptr::null(),
    };
    let mut handle: HANDLE = ptr::null_mut();
    // SAFETY: all that it points to outlives the call.
    let status = unsafe { NtOpenDirectoryObject(&raw mut handle, DIRECTORY_QUERY, &raw const attributes) };
    if status < 0 {
        return Err(io::Error::other(format!("NtOpenDirectoryObject says {status:#010x}")));
    }
    let directory = owned(handle)?;
    let (mut names, mut context, mut restart) = (Vec::new(), 0_u32, true);
    // One entry and its two texts, each of 64 KiB at the most.
    let mut buffer = vec![0_u64; 17 << 10];
    loop {
        let mut length = 0;
        // SAFETY: the kernel writes no more than the buffer's size.
        let status = unsafe {
            NtQueryDirectoryObject(
                directory.as_raw_handle(),
                buffer.as_mut_ptr().cast(),
                (buffer.len() * size_of::<u64>()) as u32,
                true,
                restart,
                &raw mut context,
                &raw mut length,
            )
        };
        restart = false;
        // STATUS_NO_MORE_ENTRIES, which is no error, and all that are.
        if status != 0 {
            return Ok(names);
        }
        // SAFETY: the buffer, which is aligned for it, begins with an entry that the kernel has filled.
        let entry = unsafe { &*buffer.as_ptr().cast::<Entry>() };
        // SAFETY: the text lies in the buffer, behind the entry.
        let text = unsafe { std::slice::from_raw_parts(entry.name.Buffer, usize::from(entry.name.Length) / 2) };
        names.push(String::from_utf16_lossy(text));
    }
}
