//! The runtime folder among links, modes, owners and FIFOs.

use crate::folder::{assert_lost, assert_unusable, info_file, with_metadata};
use crate::kit::Bed;
use crate::sets::is_root;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

#[tokio::test]
async fn that_is_a_symlink() {
    let bed = Bed::new();
    for target in ["target", "nowhere"] {
        let (folder, target) = (bed.sandbox.folder().join("link"), bed.sandbox.folder().join(target));
        if target.ends_with("target") {
            fs::create_dir(&target).expect("it can be made");
        }
        symlink(&target, &folder).expect("it can be made");
        assert_unusable(&bed, &folder).await;
        assert!(fs::symlink_metadata(&folder).expect("it is there").is_symlink());
        fs::remove_file(&folder).expect("it can be removed");
    }
}

fn existing(bed: &Bed, mode: u32) -> PathBuf {
    let folder = bed.sandbox.folder().join("existing");
    fs::create_dir(&folder).expect("it can be made");
    fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("it is ours");
    folder
}

/// What is refused is not touched: neither written into, nor removed because it is empty.
#[tokio::test]
async fn that_others_may_write_into() {
    let bed = Bed::new();
    let folder = existing(&bed, 0o777);
    assert_unusable(&bed, &folder).await;
    let stat = fs::metadata(&folder).expect("it is there still");
    assert_eq!(stat.mode() & 0o7777, 0o777);
}

#[tokio::test]
async fn that_belongs_to_somebody_else() {
    if !is_root() {
        println!("not tested: only root can give a folder away");
        return;
    }
    let bed = Bed::new();
    let folder = existing(&bed, 0o700);
    chown(&folder, Some(65534), Some(65534)).expect("root may");
    assert_unusable(&bed, &folder).await;
    assert_eq!(fs::metadata(&folder).expect("it is there still").uid(), 65534);
}

#[tokio::test]
async fn that_is_read_only() {
    if is_root() {
        println!("not tested: root writes everywhere");
        return;
    }
    let bed = Bed::new();
    let folder = existing(&bed, 0o700);
    // An empty one would be removed with the first service, and made again for the second.
    fs::write(folder.join("other"), "mine").expect("it can be written");
    fs::set_permissions(&folder, Permissions::from_mode(0o500)).expect("it is ours");
    assert_unusable(&bed, &folder).await;
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("it is ours");
}

/// Nobody blocks on what somebody has put in the place of a file.
#[tokio::test]
async fn a_fifo_in_the_place_of_a_file() {
    let bed = Bed::new();
    let service = with_metadata(&bed).build().expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    let file = info_file(&bed);
    fs::remove_file(&file).expect("it can be removed");
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    assert_lost(&service, handle.info().pid(), "a FIFO");
    drop(handle);
    bed.assert_balanced(1);
}

/// Who reads a hint follows no link.
#[tokio::test]
async fn a_symlink_in_the_place_of_a_file() {
    let bed = Bed::new();
    let service = with_metadata(&bed).build().expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    let file = info_file(&bed);
    let elsewhere = bed.sandbox.folder().join("elsewhere");
    fs::rename(&file, &elsewhere).expect("it can be moved");
    symlink(&elsewhere, &file).expect("it can be made");
    assert_lost(&service, handle.info().pid(), "a symlink");
    drop(handle);
    bed.assert_balanced(1);
}
