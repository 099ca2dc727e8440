use super::*;
use procref::ErrorKind;
use procref::ready::Ready;

/// A member of a cluster with these members.
fn etcd(sandbox: &Sandbox, name: &str, members: &str) -> ServiceCommand {
    let folder = folder_of_nobody(sandbox, name);
    server_of_nobody(sandbox, "etcd")
        .args(["--name", "a", "--data-dir", text(&folder.join("data"))])
        .args(["--listen-client-urls", "http://127.0.0.1:{port}", "--advertise-client-urls", "http://127.0.0.1:{port}"])
        .args(["--listen-peer-urls", "http://127.0.0.1:{peer}"])
        .args(["--initial-advertise-peer-urls", "http://127.0.0.1:{peer}", "--initial-cluster", members])
        .port("port")
        .port("peer")
        .port("other")
}

#[test]
fn it_is_ready_when_it_says_that_it_is_healthy() {
    let sandbox = Sandbox::new();
    let command = etcd(&sandbox, "healthy", "a=http://127.0.0.1:{peer}");
    let service = builder(&sandbox, "kv").command(command.ready(Ready::http("http://127.0.0.1:{port}/health")));
    let handle = service.build().expect("it can be described").acquire().expect("it starts");
    let answer = get(handle.info().port(), "/health");
    assert!(answer.contains(r#""health":"true""#), "{answer}");
    // It ends by the signal that asked it to, and that is no error.
    stop(handle);
}

/// Its port is open long before: here for ever, because the other half of its cluster never comes.
#[test]
fn an_open_port_does_not_make_it_ready() {
    let sandbox = Sandbox::new();
    let half = |name| etcd(&sandbox, name, "a=http://127.0.0.1:{peer},b=http://127.0.0.1:{other}");
    let open = builder(&sandbox, "open").command(half("open").ready(Ready::tcp("{port}")));
    let open = open.build().expect("it can be described").acquire().expect("its port is open");
    let healthy = half("healthy").ready(Ready::http("http://127.0.0.1:{port}/health"));
    let healthy = builder(&sandbox, "healthy").command(healthy).start_timeout(Duration::from_millis(1500));
    let error = healthy.build().expect("it can be described").acquire().expect_err("it is not ready");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    stop(open);
}
