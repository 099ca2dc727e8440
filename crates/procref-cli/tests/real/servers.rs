use crate::world::{Holder, World, await_end, session};
use procref_tests::sandbox;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// What every server has to stand: two who hold it share it, what one puts there the other gets, it outlives the first
/// who is killed, and goes with the second.
fn is_shared(kind: &str, put: impl Fn(&Holder), get: impl Fn(&Holder) -> String, what: &str) -> World {
    let world = World::of(kind);
    let first = world.hold();
    let pid = world.status().pid;
    let service = sandbox::hold(pid);
    put(&first);
    let second = world.hold();
    let status = world.status();
    assert_eq!((status.pid, status.count, status.clients), (pid, 2, [first.pid(), second.pid()].into()));
    assert_eq!(get(&second), what);
    let family: Vec<_> = session(pid).into_iter().map(sandbox::hold).collect();

    first.kill();
    assert_eq!(get(&second), what);
    assert!(!sandbox::has_ended(&service));

    second.kill();
    await_end(&service);
    world.sandbox.assert_nothing_left();
    for process in family {
        assert!(sandbox::has_ended(&process), "{process:?}");
    }
    world
}

/// Says something to a server, and reads until the answer has this at its end.
fn ask(port: u16, request: &str, end: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    connection.set_read_timeout(Some(sandbox::PATIENCE)).expect("a time");
    connection.write_all(request.as_bytes()).expect("it reads");
    let (mut answer, mut part) = (String::new(), [0; 4096]);
    while !answer.ends_with(end) {
        let count = connection.read(&mut part).expect("it answers");
        assert_ne!(count, 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    answer
}

fn post(port: u16, path: &str, body: &str) -> String {
    let length = body.len();
    let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    ask(port, &request, "}")
}

#[test]
fn postgres() {
    let psql = |question| format!("psql -X -q -A -t -d \"$DATABASE_URL\" -c \"{question}\"");
    let put = |holder: &Holder| {
        holder.client(&psql("CREATE TABLE kept AS SELECT 'what was put' AS it"));
    };
    let get = |holder: &Holder| holder.client(&psql("SELECT it FROM kept"));
    let world = is_shared("postgres", put, get, "what was put");
    // It is prepared once: the next one has the data of the one before.
    let holder = world.hold();
    assert_eq!(get(&holder), "what was put");
    holder.kill();
}

#[test]
fn redis() {
    let client = |holder: &Holder, words| holder.client(&format!("redis-cli -u \"$REDIS_URL\" {words}"));
    is_shared("redis", |holder| assert_eq!(client(holder, "set a b"), "OK"), |holder| client(holder, "get a"), "b");
}

#[test]
fn nats() {
    let get = |holder: &Holder| {
        let said = ask(
            holder.port("NATS_URL"),
            "CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n",
            "PONG\r\n",
        );
        said.lines().skip_while(|line| !line.starts_with("MSG a 1 2")).nth(1).unwrap_or_default().to_owned()
    };
    is_shared("nats", |_| (), get, "hi");
}

#[test]
fn nginx() {
    let get = |holder: &Holder| ask(holder.port("WEB_URL"), "GET / HTTP/1.0\r\n\r\n", "nginx\n");
    let body = |holder: &Holder| get(holder).lines().last().unwrap_or_default().to_owned();
    is_shared("nginx", |_| (), body, "hello from nginx");
}

#[test]
fn memcached() {
    let put = |holder: &Holder| {
        assert_eq!(ask(holder.port("MEMCACHED_SERVER"), "set a 0 0 2\r\nhi\r\n", "\r\n"), "STORED\r\n");
    };
    let get = |holder: &Holder| ask(holder.port("MEMCACHED_SERVER"), "get a\r\n", "END\r\n");
    is_shared("memcached", put, get, "VALUE a 0 2\r\nhi\r\nEND\r\n");
}

#[test]
fn mariadb() {
    let client = |holder: &Holder, question| {
        holder.client(&format!(
            "mariadb --no-defaults --host=127.0.0.1 --port=\"$DB_PORT\" --user=root -N -e \"{question}\""
        ))
    };
    let put = |holder: &Holder| {
        client(holder, "CREATE DATABASE d; CREATE TABLE d.kept AS SELECT 'what was put' AS it");
    };
    let get = |holder: &Holder| client(holder, "SELECT it FROM d.kept");
    let world = is_shared("mariadb", put, get, "what was put");
    let holder = world.hold();
    assert_eq!(get(&holder), "what was put");
    holder.kill();
}

#[test]
fn etcd() {
    // The key is "a" and the value "hi", in base 64.
    let put = |holder: &Holder| {
        let answer = post(holder.port("ETCDCTL_ENDPOINTS"), "/v3/kv/put", r#"{"key":"YQ==","value":"aGk="}"#);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    let get = |holder: &Holder| {
        let answer = post(holder.port("ETCDCTL_ENDPOINTS"), "/v3/kv/range", r#"{"key":"YQ=="}"#);
        let value = answer.split_once("\"value\":\"").and_then(|(_, rest)| rest.split_once('"'));
        value.unwrap_or_else(|| panic!("{answer}")).0.to_owned()
    };
    is_shared("etcd", put, get, "aGk=");
}

#[test]
fn mosquitto() {
    let put = |holder: &Holder| {
        holder.client("mosquitto_pub -h 127.0.0.1 -p \"$MQTT_PORT\" -t a -r -m hi");
    };
    let get = |holder: &Holder| holder.client("mosquitto_sub -h 127.0.0.1 -p \"$MQTT_PORT\" -t a -C 1 -W 60");
    is_shared("mosquitto", put, get, "hi");
}
