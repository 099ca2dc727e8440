//! systemd-logind removes a user's semaphores when the user's last session ends, unless it is told not to
//! (logind.conf(5), `RemoveIPC=`).

use crate::commands::doctor::Finding;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

const CHECK: &str = "RemoveIPC";

/// Where logind.conf and its drop-ins are, the strongest first.
const FOLDERS: [&str; 4] = ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"];

/// `None` where no logind runs. `root` is `/`, but for tests.
pub(super) fn check(root: &Path, user: u32) -> Option<Finding> {
    if !root.join("run/systemd/users").is_dir() {
        return None;
    }
    if user <= system_users(root) {
        return Some(Finding::ok(CHECK, "logind leaves the semaphores of system users alone"));
    }
    if !removes(root) {
        return Some(Finding::ok(CHECK, "logind leaves semaphores alone (RemoveIPC=no)"));
    }
    let name = name(root, user);
    if name.as_ref().is_some_and(|name| root.join("var/lib/systemd/linger").join(name).exists()) {
        return Some(Finding::ok(CHECK, "logind leaves this user's semaphores alone (enable-linger)"));
    }
    let name = name.unwrap_or_else(|| user.to_string());
    Some(Finding::warning(
        CHECK,
        "when your last session ends, logind removes your semaphores (RemoveIPC=yes): services stop when their present \
         clients have gone, and nobody new can join them meanwhile",
        format!(
            "only matters for what runs on without a session: `loginctl enable-linger {name}`, or RemoveIPC=no in \
             /etc/systemd/logind.conf"
        ),
    ))
}

/// The last assignment counts: logind.conf first, then the drop-ins by their names, wherever they are. logind's own
/// default is yes.
fn removes(root: &Path) -> bool {
    let main = FOLDERS.iter().find_map(|folder| fs::read_to_string(root.join(folder).join("logind.conf")).ok());
    let mut drop_ins: BTreeMap<OsString, String> = BTreeMap::new();
    for folder in FOLDERS.iter().rev() {
        let entries = fs::read_dir(root.join(folder).join("logind.conf.d")).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "conf")) {
            // One of the same name in a stronger folder replaces it, also by being empty.
            drop_ins.insert(entry.file_name(), fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
    let texts = main.iter().chain(drop_ins.values());
    texts.filter_map(|text| assigned(text)).next_back().unwrap_or(true)
}

fn assigned(text: &str) -> Option<bool> {
    let mut in_login = false;
    let mut value = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_login = line == "[Login]";
        } else if let Some(("RemoveIPC", word)) = line.split_once('=').map(|(key, word)| (key.trim(), word.trim()))
            && in_login
        {
            value = match word.to_lowercase().as_str() {
                "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
                "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
                _ => value,
            };
        }
    }
    value
}

/// The greatest number of a system user.
fn system_users(root: &Path) -> u32 {
    let text = fs::read_to_string(root.join("etc/login.defs")).unwrap_or_default();
    let mut entries = text.lines().filter_map(|line| line.trim().strip_prefix("SYS_UID_MAX"));
    entries.find_map(|rest| rest.trim().parse().ok()).unwrap_or(999)
}

fn name(root: &Path, user: u32) -> Option<String> {
    let text = fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
    let mut users = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    users
        .find(|fields| fields.get(2).is_some_and(|number| number.parse() == Ok(user)))?
        .first()
        .map(|n| (*n).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;
    use procref_tests::Sandbox;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        fs::write(path, text).expect("it can be written");
    }

    fn result(root: &Path, user: u32) -> Option<Verdict> {
        check(root, user).map(|finding| finding.result)
    }

    #[test]
    fn what_logind_is_told() {
        let sandbox = Sandbox::new();
        let root = &sandbox.folder().join("root");
        assert_eq!(check(root, 1000), None, "no logind runs");
        fs::create_dir_all(root.join("run/systemd/users")).expect("it can be made");
        assert_eq!(result(root, 1000), Some(Verdict::Warning), "yes is the default");
        assert_eq!(result(root, 999), Some(Verdict::Ok), "a system user");
        write(root, "etc/login.defs", "# SYS_UID_MAX 5\nSYS_UID_MAX\t\t1000\n");
        assert_eq!(result(root, 1000), Some(Verdict::Ok), "a system user");
        assert_eq!(result(root, 1001), Some(Verdict::Warning));

        let login = |value: &str| format!("[Other]\nRemoveIPC=no\n[Login]\n#RemoveIPC=no\nRemoveIPC = {value}\n");
        write(root, "usr/lib/systemd/logind.conf", &login("no"));
        assert_eq!(result(root, 1001), Some(Verdict::Ok));
        write(root, "etc/systemd/logind.conf", &login("yes"));
        assert_eq!(result(root, 1001), Some(Verdict::Warning), "/etc is stronger");
        write(root, "usr/lib/systemd/logind.conf.d/50.conf", &login("no"));
        assert_eq!(result(root, 1001), Some(Verdict::Ok), "a drop-in is stronger");
        write(root, "run/systemd/logind.conf.d/60.conf", &login("yes"));
        assert_eq!(result(root, 1001), Some(Verdict::Warning), "the last one counts");
        write(root, "etc/systemd/logind.conf.d/60.conf", "");
        assert_eq!(result(root, 1001), Some(Verdict::Ok), "one of the same name is replaced");
        write(root, "etc/systemd/logind.conf.d/70.conf", &login("yes"));
        write(root, "etc/passwd", "root:x:0:0::/root:/bin/sh\nanna:x:1001:1001::/home/anna:/bin/sh\n");
        let help = check(root, 1001).and_then(|finding| finding.help).expect("there is something to do");
        assert!(help.contains("enable-linger anna"), "{help}");
        write(root, "var/lib/systemd/linger/anna", "");
        assert_eq!(result(root, 1001), Some(Verdict::Ok), "the user lingers");
    }
}
