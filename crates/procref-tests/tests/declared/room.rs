//! Where there is no room.

use crate::builder;
use crate::surroundings::shell;
use procref::ErrorKind;
use procref::ready::Ready;
use procref_tests::Sandbox;
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

/// Runs `work` in a thread that has file systems of its own, with a small one on the runtime folder. `None`: that may not be
/// done here.
#[expect(unsafe_code, reason = "there is no safe wrapper for unshare")]
fn with_little_room<T: Send>(sandbox: &Sandbox, work: impl FnOnce() -> T + Send) -> Option<T> {
    let folder = sandbox.runtime_dir();
    std::fs::create_dir_all(&folder).expect("it can be made");
    let mounted = || {
        // SAFETY: takes a number, and changes this thread alone.
        let apart = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
        let mount = |arguments: &[&str]| Command::new("mount").args(arguments).status().is_ok_and(|it| it.success());
        let on = folder.to_str().expect("it is text");
        apart && mount(&["--make-rprivate", "/"]) && mount(&["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", on])
    };
    let done = std::thread::scope(|scope| scope.spawn(|| mounted().then(work)).join().expect("no panic"));
    if done.is_none() {
        println!("not tested: it takes a privilege");
    }
    std::fs::remove_dir_all(sandbox.runtime_dir()).expect("it is empty");
    done
}

#[test]
fn a_service_that_cannot_say_that_it_is_ready_is_said_to_have_no_room() {
    let sandbox = Sandbox::new();
    let error = with_little_room(&sandbox, || {
        let mut filling = std::fs::File::create(sandbox.runtime_dir().join("filling")).expect("it can be made");
        while filling.write_all(&[1; 4096]).is_ok() {}
        let command = shell(&sandbox, "echo done; exec sleep 1000").ready(Ready::log("done"));
        let service = builder(&sandbox, "full").start_timeout(Duration::from_secs(1)).command(command);
        service.build().expect("it can be described").acquire().map(drop).expect_err("it does not say that it is ready")
    });
    let Some(error) = error else { return };
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    let text = error.to_string();
    assert!(text.contains(".log, which has 0 bytes, on a file system that is full"), "{text}");
}
