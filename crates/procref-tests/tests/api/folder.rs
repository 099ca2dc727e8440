//! The runtime folder: nice to have, and never trusted.

use crate::kit::Bed;
use procref::{Builder, ErrorKind, SharedService};
use procref_tests::sys;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn with_metadata(bed: &Bed) -> Builder {
    let calls = Arc::clone(&bed.calls);
    bed.builder().on_first_acquire(move || {
        let calls = Arc::clone(&calls);
        async move { Ok(calls.start()?.with_metadata("url", "here")) }
    })
}

/// A service without metadata needs no folder; one with metadata says which folder it is.
pub(crate) async fn assert_unusable(bed: &Bed, folder: &Path) {
    let service = bed.builder().runtime_dir(folder).build().expect("it can be described");
    let handle = service.acquire().await.expect("hints are only hints");
    let again = service.acquire().await.expect("it is held");
    assert_eq!(again.info(), handle.info());
    let status = service.status().expect("it is counted");
    assert_eq!(status.info.as_ref(), Some(handle.info()));
    drop(again);
    handle.release().await.expect("it stops");
    bed.assert_balanced(bed.calls.starts());

    let service = with_metadata(bed).runtime_dir(folder).build().expect("it can be described");
    let error = service.acquire().await.expect_err("its metadata cannot be written");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    bed.assert_balanced(bed.calls.starts());
}

#[tokio::test]
async fn without_a_parent() {
    let bed = Bed::new();
    let folder = bed.sandbox.folder().join("missing/run");
    assert_unusable(&bed, &folder).await;
    assert!(!bed.sandbox.folder().join("missing").exists());
}

#[tokio::test]
async fn that_is_a_file() {
    let bed = Bed::new();
    let folder = bed.sandbox.folder().join("file");
    fs::write(&folder, "mine").expect("it can be written");
    assert_unusable(&bed, &folder).await;
    assert_eq!(fs::read_to_string(&folder).expect("it is there"), "mine");
}

#[tokio::test]
async fn that_is_ours_is_private_and_emptied() {
    let bed = Bed::new();
    let folder = bed.sandbox.runtime_dir();
    let service = with_metadata(&bed).build().expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    assert!(sys::is_private(&folder));
    let files: Vec<_> = fs::read_dir(&folder).expect("it can be read").map(|entry| entry.expect("one")).collect();
    assert!(!files.is_empty());
    for file in files {
        assert!(sys::is_private(&file.path()));
        assert!(file.file_name().to_string_lossy().starts_with(&bed.name));
    }
    drop(handle);
    assert!(!folder.exists());
}

/// What lies beside our files is not ours.
#[tokio::test]
async fn files_of_others_stay() {
    let bed = Bed::new();
    let folder = bed.sandbox.folder().join("shared");
    sys::make_private(&folder);
    fs::write(folder.join("other"), "mine").expect("it can be written");
    let service = with_metadata(&bed).runtime_dir(&folder).build().expect("it can be described");
    drop(service.acquire().await.expect("it starts"));
    let names: Vec<_> =
        fs::read_dir(&folder).expect("it is there").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, ["other"]);
}

pub(crate) fn info_file(bed: &Bed) -> PathBuf {
    let entries = fs::read_dir(bed.sandbox.runtime_dir()).expect("it is there");
    let mut paths = entries.map(|entry| entry.expect("one").path());
    paths.find(|path| path.extension().is_some_and(|ending| ending == "info")).expect("the metadata is written")
}

pub(crate) fn assert_lost(service: &SharedService, pid: Option<u32>, what: &str) {
    let info = service.status().expect("it is counted").info.expect("it runs");
    assert!(info.metadata_lost(), "{what}");
    assert_eq!((info.pid(), info.port(), info.metadata().len()), (pid, 4711, 0), "{what}");
}

#[tokio::test]
async fn files_that_are_damaged_lose_metadata_and_nothing_else() {
    let bed = Bed::new();
    let service = with_metadata(&bed).build().expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    let (file, pid) = (info_file(&bed), handle.info().pid());
    let whole = fs::read(&file).expect("it can be read");
    assert_eq!(service.status().expect("it is counted").info.as_ref(), Some(handle.info()));
    for cut in 0..whole.len() {
        fs::write(&file, &whole[..cut]).expect("it can be written");
        assert_lost(&service, pid, &format!("cut at {cut}"));
    }
    for byte in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1;
        fs::write(&file, damaged).expect("it can be written");
        assert_lost(&service, pid, &format!("damaged at {byte}"));
    }
    for garbage in [[whole.as_slice(), b"x"].concat(), vec![0; 1000], vec![b'\n'; 200_000], vec![0xff; 64]] {
        fs::write(&file, garbage).expect("it can be written");
        assert_lost(&service, pid, "garbage");
    }
    fs::remove_file(&file).expect("it can be removed");
    assert_lost(&service, pid, "removed");
    fs::create_dir(&file).expect("it can be made");
    assert_lost(&service, pid, "a folder");
    fs::remove_dir(&file).expect("it can be removed");
    fs::write(&file, &whole).expect("it can be written");
    assert_eq!(service.status().expect("it is counted").info.as_ref(), Some(handle.info()), "whole again");
    drop(handle);
    bed.assert_balanced(1);
}

/// The file of an earlier instance, or of another service, is about that one.
#[tokio::test]
async fn files_that_are_swapped_are_about_something_else() {
    let bed = Bed::new();
    let service = with_metadata(&bed).build().expect("it can be described");
    let first = service.acquire().await.expect("it starts");
    let old = fs::read(info_file(&bed)).expect("it can be read");
    drop(first);
    let second = service.acquire().await.expect("it starts anew");
    fs::write(info_file(&bed), old).expect("it can be written");
    assert_lost(&service, second.info().pid(), "of an earlier instance");
    drop(second);
    bed.assert_balanced(2);
}

/// All of procref's files, folder included: metadata is lost, and nothing else; also no second instance starts.
#[tokio::test]
async fn deleting_everything_starts_nothing_and_leaves_nothing() {
    let bed = Bed::new();
    let service = with_metadata(&bed).build().expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    fs::remove_dir_all(bed.sandbox.runtime_dir()).expect("it can be removed");
    assert_lost(&service, handle.info().pid(), "no folder");
    let again = service.acquire().await.expect("it is held");
    assert_eq!(again.info().pid(), handle.info().pid());
    assert_eq!(service.count().expect("it is counted"), 1);
    drop((handle, again));
    bed.assert_balanced(1);
}
