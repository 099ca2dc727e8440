//! `procref doctor`.

use crate::kit::{Project, Said};
use crate::sys::{CHECKS, HOMES};
use std::fs;

#[test]
fn a_place_where_procref_works() {
    let project = Project::new("");
    let said = project.output(["doctor"]).assert_ok();
    for check in CHECKS {
        let line = said.out.lines().find(|line| line.contains(*check)).unwrap_or_else(|| panic!("{check}: {said:?}"));
        assert!(line.starts_with("ok ") || line.starts_with("warning "), "{line}");
    }
    assert!(!said.out.contains('\x1b') && said.err.is_empty(), "{said:?}");
    let document = project.output(["doctor", "--json"]).assert_ok().json();
    assert_eq!(document["ok"], true);
    let checks = document["checks"].as_array().expect("it is a list");
    for check in CHECKS {
        let found = checks.iter().find(|found| found["check"] == *check).expect("it was checked");
        let result = found["result"].as_str().expect("it is text");
        assert!(["ok", "warning"].contains(&result), "{found}");
        assert_eq!(found["help"].is_null(), result == "ok", "{found}");
        assert!(found["found"].is_string());
    }
}

fn verdict(said: &Said, check: &str) -> (Option<i32>, String, String) {
    let document = said.json();
    let checks = document["checks"].as_array().expect("it is a list");
    let found = checks.iter().find(|found| found["check"] == check).expect("it was checked");
    assert_eq!(document["ok"], said.code == Some(0));
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (said.code, text("result"), format!("{} = {}", text("found"), text("help")))
}

#[test]
fn what_is_wrong_is_said() {
    let project = Project::new("");
    let runtime = project.sandbox.runtime_dir();
    let look = || verdict(&project.output(["doctor", "--json"]), "runtime folder");
    fs::create_dir(&runtime).expect("it can be made");
    assert_eq!(look().0, Some(0));
    fs::remove_dir(&runtime).expect("it is empty");
    fs::write(&runtime, "").expect("it can be written");
    let (code, result, text) = look();
    assert_eq!((code, result.as_str()), (Some(1), "wrong"));
    assert!(text.contains("is not a folder"), "{text}");
    fs::remove_file(&runtime).expect("it is there");
    // For people, too.
    let output = project
        .procref(["doctor"])
        .env_remove(HOMES[0])
        .env_remove(HOMES[1])
        .env_remove("XDG_STATE_HOME")
        .output()
        .expect("it runs");
    let said = Said::new(&output, &project);
    assert_eq!(said.code, Some(1));
    let lines: Vec<_> = said.out.lines().skip_while(|line| !line.contains("state folder")).take(2).collect();
    let nowhere = format!("there is nowhere to keep what services leave: set {} or XDG_STATE_HOME", HOMES[0]);
    let expected = [
        format!("wrong    state folder     {nowhere}"),
        "                          = services of a procref.toml cannot be started".to_owned(),
    ];
    assert_eq!(lines, expected);
}

procref_tests::linux_only! { "rights as numbers":
    #[test]
    fn a_folder_that_others_may_write_to_is_wrong() {
        let project = Project::new("");
        let runtime = project.sandbox.runtime_dir();
        fs::create_dir(&runtime).expect("it can be made");
        fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("it is ours");
        let (code, result, text) = verdict(&project.output(["doctor", "--json"]), "runtime folder");
        assert_eq!((code, result.as_str()), (Some(1), "wrong"));
        assert!(text.contains("others may write") && text.contains("chmod 700"), "{text}");
    }
}
