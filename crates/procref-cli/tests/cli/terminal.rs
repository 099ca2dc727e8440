//! What somebody at a terminal sees, and Ctrl-C as a terminal sends it.

use crate::kit::{Project, SIMPLE, SLOW};
use crate::sys::{Terminal, ended_by_ctrl_c};

#[test]
fn who_waits_is_told_for_how_long() {
    let project = Project::new(SLOW);
    let mut terminal = Terminal::start(&project.procref(["with", "@db", "--", "true"]));
    let _starts = project.gate.meet();
    terminal.wait_for(&project.text("waiting for @db: start-up 1 s …"));
    terminal.wait_for("2 s …");
    terminal.press_ctrl_c();
    let (status, screen) = terminal.end();
    assert!(ended_by_ctrl_c(status), "{status} {screen:?}");
    project.assert_nothing_left_of(&["@db"]);
}

#[test]
fn a_hold_says_what_it_holds_until_ctrl_c() {
    let project = Project::new(SIMPLE);
    let mut terminal = Terminal::start(&project.procref(["hold", "@db"]));
    terminal.wait_for(&project.text("procref: holds @db, pid "));
    terminal.press_ctrl_c();
    let (status, screen) = terminal.end();
    assert!(status.success(), "{status} {screen:?}");
    assert!(project.sandbox.objects().is_empty(), "it has waited for the stop");
    project.sandbox.assert_nothing_left();
}

procref_tests::linux_only! { "the bytes that make a terminal show it":
    #[test]
    fn what_was_told_goes_away() {
        let project = Project::new(SLOW);
        let mut terminal = Terminal::start(&project.procref(["with", "@db", "--", "echo", "it is there"]));
        let starts = project.gate.meet();
        terminal.wait_for("start-up 1 s …");
        starts.let_go();
        let (status, screen) = terminal.end();
        assert!(status.success());
        assert!(screen.ends_with("\r\x1b[Kit is there\r\n"), "{screen:?}");
        project.sandbox.assert_nothing_left();
    }

    #[test]
    fn a_live_table_is_redrawn_until_ctrl_c() {
        let project = Project::new(SIMPLE);
        let mut terminal = Terminal::start(&project.procref(["status", "--watch", "@db"]));
        terminal.wait_for("stopped");
        let mut client = project.procref(["with", "@db", "--", "cat"]);
        let mut client = crate::kit::Running::start(client.stdin(std::process::Stdio::piped()));
        client.echo("it is cat by now");
        terminal.wait_for(" up ");
        terminal.press_ctrl_c();
        let (status, screen) = terminal.end();
        assert!(ended_by_ctrl_c(status), "{status}");
        assert!(screen.starts_with("\x1b[HNAME") && screen.contains("\x1b[K\r\n"), "{screen:?}");
        drop(client.0.stdin.take());
        client.end(&project).assert_ok();
        project.sandbox.assert_nothing_left();
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        let project = Project::new("");
        let (_, coloured) = Terminal::start(&project.procref(["doctor"])).end();
        assert!(coloured.contains("\x1b[32mok"), "{coloured:?}");
        let (_, plain) = Terminal::start(project.procref(["doctor"]).env("NO_COLOR", "1")).end();
        assert!(plain.contains("ok ") && !plain.contains('\x1b'), "{plain:?}");
    }
}
