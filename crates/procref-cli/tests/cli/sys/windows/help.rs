//! What is said to people is in this system's words.

use crate::kit::Project;

#[test]
fn help_promises_nothing_of_other_systems() {
    let project = Project::new("");
    for subcommand in ["with", "run", "hold", "stop", "demo"] {
        let said = project.output([subcommand, "--help"]).assert_ok();
        for strange in ["SIGKILL", "SIGTERM", "as a shell", "unix:", "notify", "this process's place"] {
            assert!(!said.out.contains(strange), "{subcommand}: {strange}: {}", said.out);
        }
    }
    assert!(!project.output(["--help"]).assert_ok().out.contains("SIGKILL"));
}

#[test]
fn paths_are_shown_as_they_are_written_here() {
    let project = Project::new("");
    let service = ["--name", "@db", "--service", r"bin\no-such.exe"];
    let mut command = project.procref(["run"].iter().chain(&service).chain(&["--", "PART"]));
    let said = command.output().expect("procref can be run");
    let error = String::from_utf8_lossy(&said.stderr);
    let path = project.folder.join("bin").join("no-such.exe");
    assert!(error.contains(&format!("cannot start \"{}\": ", path.display())), "{error}");
    project.sandbox.assert_nothing_left();
}
