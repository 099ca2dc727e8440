use super::*;
use procref::ready::Ready;

/// Erlang's port mapper, which every node starts and nobody stops: in a session of its own, without its parent.
#[test]
fn a_daemon_that_the_service_has_started_goes_with_it() {
    let sandbox = Sandbox::new();
    let text = "\"$EPMD\" -daemon -address 127.0.0.1 -port {port} && exec sleep 1000";
    let command = server(&sandbox, "sh")
        .args(["-ec", text])
        .env("EPMD", program("epmd"))
        .port("port")
        .ready(Ready::tcp("{port}"));
    let service = builder(&sandbox, "node").command(command).build().expect("it can be described");
    for guardian_is_killed in [false, true] {
        let handle = service.acquire().expect("it starts");
        let daemon = sandbox.processes().into_iter().find(|process| process.title.contains("epmd -daemon"));
        let daemon = daemon.expect("it was started");
        let first = service.status().expect("it is known").guardian.expect("it is guarded");
        assert!(children(pid(&handle)).is_empty(), "it has left its parent");
        if guardian_is_killed {
            kill(first);
            while service.status().expect("it is known").guardian.is_none_or(|next| next == first) {
                std::thread::yield_now();
            }
        }
        assert!(!sandbox::has_ended(&daemon.pidfd));
        stop(handle);
        assert!(sandbox::has_ended(&daemon.pidfd), "{daemon:?}");
    }
}
