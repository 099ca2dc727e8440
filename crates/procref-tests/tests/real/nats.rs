use super::*;
use procref::ready::Ready;

#[test]
fn an_exit_status_of_1_is_no_error() {
    let sandbox = Sandbox::new();
    let command = server(&sandbox, "nats-server")
        .args(["--addr", "127.0.0.1", "--port", "{port}"])
        .port("port")
        .ready(Ready::tcp("{port}"));
    let service = builder(&sandbox, "nats").command(command).stop_ladder(ladder(StopSignal::Terminate));
    let service = service.build().expect("it can be described");
    // More than once: an end of this kind leaves nothing to be recovered.
    for generation in 1..=2 {
        let handle = service.acquire().expect("it starts");
        assert!(ask(handle.info().port(), "PING\r\n", "PONG").starts_with("INFO "));
        let (log, _) = stop(handle);
        assert_eq!(log.matches("Server Exiting").count(), generation, "{log}");
    }
}
