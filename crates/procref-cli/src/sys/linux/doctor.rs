//! What `procref doctor` checks on Linux.

use super::logind;
use crate::commands::doctor::{Finding, may_write, undo};
use crate::folders::Folders;
use rustix::process::{PidfdFlags, geteuid, getpid, pidfd_open};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub(crate) fn checks(folders: &Folders) -> Vec<Finding> {
    let mut findings = vec![limits(), undo(), pidfd(), ipc_namespace(), pid_namespace()];
    findings.extend(logind::check(Path::new("/"), geteuid().as_raw()));
    findings.push(runtime_folder(folders));
    findings
}

/// What one service takes: a set of this size, and arrays of this length.
const SEMAPHORES: u64 = procref::protocol::set::SEMAPHORES as u64;
const OPERATIONS: u64 = 40;

fn limits() -> Finding {
    let read = |path| fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"));
    match (read("/proc/sys/kernel/sem"), read("/proc/sysvipc/sem")) {
        (Ok(limits), Ok(sets)) => judge_limits(&limits, &sets),
        (Err(what), _) | (_, Err(what)) => {
            let help = "procref needs System V semaphores (CONFIG_SYSVIPC) and /proc";
            Finding::wrong("semaphores", what, help)
        }
    }
}

fn judge_limits(limits: &str, sets: &str) -> Finding {
    const CHECK: &str = "semaphores";
    let numbers: Vec<u64> = limits.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [per_set, semaphores, operations, most_sets] = numbers[..] else {
        return Finding::wrong(CHECK, format!("cannot understand /proc/sys/kernel/sem: {limits:?}"), "report this");
    };
    let sizes = sets.lines().skip(1).filter_map(|set| set.split_whitespace().nth(3)?.parse::<u64>().ok());
    let (used_sets, used) = sizes.fold((0, 0), |(sets, sum), size| (sets + 1, sum + size));
    let found = format!(
        "{used_sets} of {most_sets} sets and {used} of {semaphores} semaphores are in use; a set may have {per_set}, a call \
         {operations} operations"
    );
    let raise = |what: &str| {
        format!("raise {what} in /proc/sys/kernel/sem, for instance: sysctl kernel.sem=\"32000 1024000000 500 32000\"")
    };
    let fit = (most_sets.saturating_sub(used_sets)).min(semaphores.saturating_sub(used) / SEMAPHORES);
    if per_set < SEMAPHORES {
        Finding::wrong(CHECK, found, raise(&format!("SEMMSL, the first number, to {SEMAPHORES} or more")))
    } else if operations < OPERATIONS {
        Finding::wrong(CHECK, found, raise(&format!("SEMOPM, the third number, to {OPERATIONS} or more")))
    } else if fit == 0 {
        let help =
            raise("SEMMNI and SEMMNS, the fourth and the second number") + ", or remove what nobody uses (ipcs -s)";
        Finding::wrong(CHECK, format!("{found}: there is no room for another service"), help)
    } else if fit < 16 {
        let help = raise("SEMMNI and SEMMNS, the fourth and the second number");
        Finding::warning(CHECK, format!("{found}: there is room for {fit} more services"), help)
    } else {
        Finding::ok(CHECK, found)
    }
}

fn pidfd() -> Finding {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Finding::ok("pidfd", "processes can be held"),
        Err(error) => {
            let help = "procref needs Linux 5.4 or later, and a sandbox that allows pidfd_open";
            Finding::wrong("pidfd", format!("cannot hold a process: {}", io::Error::from(error)), help)
        }
    }
}

fn ipc_namespace() -> Finding {
    const CHECK: &str = "IPC namespace";
    let number = |process: &str| fs::metadata(format!("/proc/{process}/ns/ipc")).map(|file| file.ino());
    match (number("self"), number("1")) {
        (Err(error), _) => Finding::warning(CHECK, format!("cannot tell which it is: {error}"), "procref needs /proc"),
        (Ok(own), Ok(first)) if own != first => Finding::ok(
            CHECK,
            format!("{own}, which is not that of process 1 ({first}): services are shared within it"),
        ),
        (Ok(own), _) => Finding::ok(CHECK, format!("{own}: services are shared within it")),
    }
}

fn pid_namespace() -> Finding {
    const CHECK: &str = "PID namespace";
    let own = std::process::id();
    let of_proc = fs::read_link("/proc/self").ok().and_then(|link| link.to_str()?.parse::<u32>().ok());
    if of_proc != Some(own) {
        let found = format!("/proc says that this is process {}, and it is {own}", of_proc.unwrap_or_default());
        return Finding::wrong(CHECK, found, "mount a /proc of this PID namespace (unshare --mount-proc)");
    }
    match fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) => Finding::ok(CHECK, format!("{}, and /proc is of it", namespace.ino())),
        Err(error) => Finding::warning(CHECK, format!("cannot tell which it is: {error}"), "procref needs /proc"),
    }
}

fn runtime_folder(folders: &Folders) -> Finding {
    const CHECK: &str = "runtime folder";
    let (path, user) = (folders.hints(), geteuid().as_raw());
    let shown = path.display();
    match fs::symlink_metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => {
            Finding::wrong(CHECK, format!("{shown} is not a folder"), "move it away: procref makes its own")
        }
        Ok(metadata) if metadata.uid() != user => {
            let found = format!("{shown} belongs to another user ({})", metadata.uid());
            Finding::wrong(CHECK, found, "have it removed: what clients are told would be another user's")
        }
        Ok(metadata) if metadata.mode() & 0o022 != 0 => {
            let found = format!("others may write to {shown}");
            Finding::wrong(CHECK, found, format!("chmod 700 {shown}"))
        }
        Ok(_) => may_write(CHECK, &path, "it is in use"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            may_write(CHECK, &path, "it is made when it is needed")
        }
        Err(error) => Finding::wrong(CHECK, format!("cannot look at {shown}: {error}"), "procref cannot write there"),
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::commands::doctor::Verdict;

    fn sets(count: usize, size: usize) -> String {
        let set = format!("0 1 600 {size} 0 0 0 0 0 0\n");
        format!("key semid perms nsems uid gid cuid cgid otime ctime\n{}", set.repeat(count))
    }

    #[test]
    fn limits_are_compared_with_what_is_in_use() {
        let judged = |limits: &str, count| judge_limits(limits, &sets(count, 56));
        assert_eq!(judged("32000\t1024000000\t500\t32000\n", 3).result, Verdict::Ok);
        assert!(judged("32000 1024000000 500 32000", 3).found.starts_with("3 of 32000 sets and 168 of 1024000000"));
        // Old systems' numbers suffice.
        assert_eq!(judged("250 32000 100 128", 3).result, Verdict::Ok);
        let cases = [
            ("55 32000 100 128", 0, Verdict::Wrong, "SEMMSL"),
            ("250 32000 39 128", 0, Verdict::Wrong, "SEMOPM"),
            ("250 32000 100 128", 128, Verdict::Wrong, "SEMMNI"),
            ("250 32000 100 128", 120, Verdict::Warning, "SEMMNI"),
            ("250 100 100 128", 1, Verdict::Wrong, "SEMMNS"),
            ("", 0, Verdict::Wrong, "report"),
        ];
        for (limits, count, result, help) in cases {
            let finding = judged(limits, count);
            assert_eq!(finding.result, result, "{finding:?}");
            assert!(finding.help.as_ref().is_some_and(|said| said.contains(help)), "{finding:?}");
        }
    }
}
