//! A real server.

use crate::builder;
use procref::ready::Ready;
use procref::{ServiceCommand, ServiceState};
use procref_tests::sandbox::{self, Sandbox};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

#[test]
fn a_redis_is_started_shared_and_stopped() {
    let sandbox = Sandbox::new();
    let redis = ServiceCommand::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--appendonly", "no"])
        .env(sandbox::MARK, sandbox.mark())
        .port("port")
        .ready(Ready::tcp("{port}"));
    let service = builder(&sandbox, "redis").command(redis).build().expect("it can be described");
    let handle = service.acquire().expect("redis starts (Debian: apt-get install redis-server)");
    let mut connection = TcpStream::connect(("127.0.0.1", handle.info().port())).expect("it listens");
    connection.write_all(b"PING\r\n").expect("it reads");
    let mut answer = [0; 7];
    connection.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"+PONG\r\n");
    assert_eq!(handle.info().get("port"), Some(handle.info().port().to_string().as_str()));
    let process = sandbox::hold(handle.info().pid().expect("it is a process"));
    let again = service.acquire().expect("it runs");
    assert_eq!(again.info(), handle.info());
    handle.release().expect("others hold it");
    assert!(!sandbox::has_ended(&process));
    again.release().expect("it is stopped");
    assert!(sandbox::has_ended(&process), "the release of the last one waits for its end");
    assert_eq!(service.status().expect("it is known").state, ServiceState::Stopped);
}
