//! A real service: Redis.

use crate::{World, await_end, both, kill_all};
use procref_tests::sandbox::{has_ended, hold};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

const PROGRAM: &str = "/usr/bin/redis-server";

both! {
    fn ten_processes_share_a_redis_server(mut world) {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing. On Debian: apt-get install redis-server");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let folder = world.sandbox.folder().display().to_string();
        let (number, none) = (port.to_string(), String::new());
        let arguments = [
            PROGRAM, "--port", &number, "--bind", "127.0.0.1", "--dir", &folder, "--appendonly", "no", "--save", &none,
        ];
        world.config.service = arguments.map(str::to_owned).into();
        world.config.port = port;

        let mut some = world.group(4);
        let mut others = world.group(5);
        let mut last = world.actor();
        let redis = some[0].acquire();
        let held = hold(redis.pid);
        for actor in some.iter_mut().chain(&mut others).chain([&mut last]) {
            assert_eq!(actor.acquire(), redis);
            assert_eq!(actor.ask(&format!("ping {port}")).as_deref(), Ok("+PONG"));
        }
        assert_eq!(world.status().clients, 10);

        kill_all(some);
        for actor in &mut others {
            assert_eq!(actor.ask(&format!("ping {port}")).as_deref(), Ok("+PONG"));
        }
        kill_all(others);
        assert!(!has_ended(&held));
        assert_eq!(last.ask(&format!("ping {port}")).as_deref(), Ok("+PONG"));
        last.kill();
        await_end(&held);
        TcpStream::connect(("127.0.0.1", port)).expect_err("nobody listens");
    }

    fn redis_is_stopped_by_the_last_who_releases(mut world) {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing. On Debian: apt-get install redis-server");
        // No port at all: two tests that ask for a free one may be told the same.
        let folder = world.sandbox.folder().display().to_string();
        let arguments = [PROGRAM, "--port", "0", "--unixsocket", "redis.socket", "--dir", &folder, "--save", ""];
        world.config.service = arguments.map(str::to_owned).into();
        let [mut first, mut last] = world.actors();
        let redis = hold(first.acquire().pid);
        last.acquire();
        assert_eq!(first.ask("release").as_deref(), Ok(""));
        assert!(!has_ended(&redis));
        assert_eq!(last.ask("release").as_deref(), Ok(""));
        assert!(has_ended(&redis));
    }
}
