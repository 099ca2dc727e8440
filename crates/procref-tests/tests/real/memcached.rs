use super::*;
use procref::ready::Ready;

#[test]
fn it_is_given_the_time_that_it_takes_to_stop() {
    let sandbox = Sandbox::new();
    let command = server_of_nobody(&sandbox, "memcached")
        .args(["-l", "127.0.0.1", "-p", "{port}", "-U", "0", "-v"])
        .port("port")
        .ready(Ready::tcp("{port}"));
    let service = builder(&sandbox, "cache").command(command).stop_ladder(ladder(StopSignal::Terminate));
    let handle = service.build().expect("it can be described").acquire().expect("it starts");
    assert!(ask(handle.info().port(), "version\r\n", "\n").starts_with("VERSION "));
    let (log, _) = stop(handle);
    assert!(log.contains("Exiting normally"), "{log}");
}
