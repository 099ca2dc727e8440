use super::*;
use procref::ready::Ready;
use std::io::{BufRead as _, BufReader};

/// A cluster of its own in the sandbox, and the server for it.
fn postgres(sandbox: &Sandbox) -> ServiceCommand {
    let folder = folder_of_nobody(sandbox, "postgres");
    let made = command_of_nobody(sandbox, "initdb")
        .args(["-A", "trust", "-U", "postgres", "-N", "-D"])
        .arg(&folder)
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let ready = Ready::exec(program("pg_isready"), ["-q", "-h", "127.0.0.1", "-p", "{port}"]);
    server_of_nobody(sandbox, "postgres")
        .args(["-D", text(&folder), "-k", text(&folder), "-p", "{port}"])
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
        .port("port")
        .ready(ready)
}

/// A client in the middle of a transaction.
fn client_in_a_transaction(sandbox: &Sandbox, port: u16) -> std::process::Child {
    let mut client = sandbox
        .command(program("psql"))
        .args(["-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-U", "postgres", "-p"])
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let asked = b"BEGIN; CREATE TABLE kept(); SELECT 'in it';\n";
    client.stdin.as_mut().expect("a pipe").write_all(asked).expect("it reads");
    let mut said = String::new();
    BufReader::new(client.stdout.as_mut().expect("a pipe")).read_line(&mut said).expect("it answers");
    assert_eq!(said, "in it\n");
    client
}

#[test]
fn it_stops_while_a_client_is_in_a_transaction() {
    let sandbox = Sandbox::new();
    let command = postgres(&sandbox);
    // SIGTERM waits for the client, and the next rung ends it; SIGINT does not wait.
    let impatient = StopLadder::new(StopSignal::Terminate, Duration::from_millis(300));
    for (ladder, orderly) in [(impatient, false), (ladder(StopSignal::Interrupt), true)] {
        let service = builder(&sandbox, "db").command(command.clone()).stop_ladder(ladder);
        let handle = service.build().expect("it can be described").acquire().expect("it starts");
        let before = log_of(&handle).len();
        let mut client = client_in_a_transaction(&sandbox, handle.info().port());
        let (log, time) = stop(handle);
        assert_eq!(log[before..].contains("database system is shut down"), orderly, "{log}");
        assert!(time < Duration::from_secs(20), "{time:?}");
        drop(client.stdin.take());
        client.wait().expect("it notices");
    }
}

#[test]
fn a_killed_postmaster_leaves_no_child() {
    let sandbox = Sandbox::new();
    let service = builder(&sandbox, "db").command(postgres(&sandbox)).stop_ladder(ladder(StopSignal::Interrupt));
    let service = service.build().expect("it can be described");
    let mut handle = service.acquire().expect("it starts");
    for again in [true, false] {
        let port = handle.info().port();
        let mut client = client_in_a_transaction(&sandbox, port);
        let family = children(pid(&handle));
        assert!(family.len() >= 5, "{family:?}");
        // They end by themselves when they notice that it has gone, and this one cannot notice. It has a session of its
        // own, and where its environment was is its title.
        rustix::process::pidfd_send_signal(&family[0], rustix::process::Signal::STOP).expect("it lives");
        kill(pid(&handle));
        handle = if again {
            // It recovers from what the killed one has left in its folder.
            let next = service.acquire().expect("it is started anew");
            drop(handle);
            assert_eq!(log_of(&next).matches("database system was not properly shut down").count(), 1);
            next
        } else {
            handle.release().expect("the rest is ended");
            service.acquire().expect("it is started anew")
        };
        for process in family {
            assert!(sandbox::has_ended(&process), "{process:?}");
        }
        drop(client.stdin.take());
        client.wait().expect("it notices");
    }
    stop(handle);
}
