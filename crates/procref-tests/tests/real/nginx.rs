use super::*;
use procref::ready::Ready;

fn nginx(sandbox: &Sandbox) -> ServiceCommand {
    let folder = folder_of_nobody(sandbox, "nginx");
    // nginx knows its port from a file alone; and in the foreground, or nobody could say whether it runs.
    let script = r#"cat >nginx.conf <<END
daemon off;
worker_processes 2;
pid nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "it is nginx"; }} }}
}}
END
exec "$NGINX" -e stderr -p . -c nginx.conf"#;
    server_of_nobody(sandbox, "sh")
        .args(["-ec", script])
        .env("NGINX", program("nginx"))
        .current_dir(folder)
        .port("port")
        .ready(Ready::http("http://127.0.0.1:{port}/"))
}

/// Whom nobody but the guardian would end: nginx's workers go on serving for ever.
#[test]
fn a_killed_master_leaves_no_worker() {
    let sandbox = Sandbox::new();
    let service = builder(&sandbox, "web").command(nginx(&sandbox)).stop_ladder(ladder(StopSignal::Quit));
    let service = service.build().expect("it can be described");
    let mut handle = service.acquire().expect("it starts");
    for again in [true, false] {
        let port = handle.info().port();
        let workers = children(pid(&handle));
        assert_eq!(workers.len(), 2);
        kill(pid(&handle));
        assert!(get(port, "/").ends_with("it is nginx"), "its workers serve on");
        handle = if again {
            let next = service.acquire().expect("it is started anew");
            drop(handle);
            next
        } else {
            handle.release().expect("the rest is ended");
            service.acquire().expect("it is started anew")
        };
        for worker in workers {
            assert!(sandbox::has_ended(&worker), "{worker:?}");
        }
        assert!(get(handle.info().port(), "/").ends_with("it is nginx"));
    }
    stop(handle);
}
