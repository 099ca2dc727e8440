use super::*;
use procref::ready::Ready;

#[test]
fn the_ladder_goes_on_where_it_ignores_a_signal() {
    let sandbox = Sandbox::new();
    let folder = folder_of_nobody(&sandbox, "mariadb");
    let data = format!("--datadir={}", text(&folder.join("data")));
    let made = command_of_nobody(&sandbox, "mariadb-install-db")
        .args(["--no-defaults", &data, "--auth-root-authentication-method=normal", "--skip-test-db"])
        .output()
        .expect("it runs");
    assert!(
        made.status.success(),
        "{}{}",
        String::from_utf8_lossy(&made.stdout),
        String::from_utf8_lossy(&made.stderr)
    );
    let command = server_of_nobody(&sandbox, "mariadbd")
        .args(["--no-defaults", &data, "--bind-address=127.0.0.1", "--port={port}"])
        .arg(format!("--socket={}", text(&folder.join("socket"))))
        .arg(format!("--pid-file={}", text(&folder.join("pid"))))
        .port("port")
        .ready(Ready::log("ready for connections"));
    // It has no use for SIGINT; what comes next is SIGTERM, which it follows, and not yet SIGKILL.
    let ladder = StopLadder::new(StopSignal::Interrupt, Duration::from_millis(300))
        .then(StopSignal::Terminate, sandbox::PATIENCE);
    let service = builder(&sandbox, "db").command(command).stop_ladder(ladder);
    let handle = service.build().expect("it can be described").acquire().expect("it starts");
    assert!(ask(handle.info().port(), "", "MariaDB").contains("MariaDB"));
    let (log, time) = stop(handle);
    assert!(log.contains("Shutdown complete"), "{log}");
    assert!(time >= Duration::from_millis(300), "{time:?}");
}
