//! A project's folder with the `procref.toml` of one server, and processes that hold it.

use procref_tests::sandbox::{self, Sandbox};
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Nobody, because PostgreSQL, MariaDB and memcached refuse root.
const NOBODY: u32 = 65534;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    /// The service's name, which only this test has.
    pub(crate) name: String,
    procref: PathBuf,
    project: PathBuf,
}

impl World {
    /// What `procref init` writes for it, but for the name and lingering.
    pub(crate) fn of(kind: &str) -> Self {
        let sandbox = Sandbox::new();
        let project = sandbox.folder().join("project");
        // What cargo has built need not be within nobody's reach. A copy that we had made ourselves would now be open for
        // writing in a child that another test forks, and could not be run (ETXTBSY).
        let procref = sandbox.folder().join("procref");
        let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_procref").as_ref(), procref.as_os_str()]).status();
        assert!(copied.expect("it runs").success());
        for folder in [&project, &sandbox.runtime_dir(), &sandbox.folder().join("home")] {
            fs::create_dir(folder).expect("it can be made");
            if is_root() {
                chown(folder, Some(NOBODY), Some(NOBODY)).expect("root may");
            }
        }
        let mut world = Self { sandbox, name: String::new(), procref, project };
        let output = world.procref().args(["init", kind]).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let file = world.project.join("procref.toml");
        let written = fs::read_to_string(&file).expect("it is written");
        let (_, declared) = written.split_once("[services.").expect("a service");
        let (declared, _) = declared.split_once(']').expect("its name");
        world.name = world.sandbox.name(declared);
        assert!(written.contains("\nlinger = \"30s\"\n"), "{written}");
        let ours = written
            .replace(&format!("[services.{declared}"), &format!("[services.{}", world.name))
            .replace("\nlinger = \"30s\"\n", "\nlinger = \"0s\"\n");
        fs::write(file, ours).expect("it can be written");
        world
    }

    /// `procref` in the project's folder, as somebody who is not root.
    pub(crate) fn procref(&self) -> Command {
        let mut command = if is_root() {
            let mut command = self.sandbox.command("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&self.procref);
            command
        } else {
            self.sandbox.command(&self.procref)
        };
        let home = self.sandbox.folder().join("home");
        // An ordinary user's: procref finds the servers that systems keep out of it.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::env::split_paths(&path).filter(|folder| !folder.ends_with("sbin")));
        command.env("PATH", path.expect("it was one"));
        command.current_dir(&self.project).stdin(Stdio::null()).env("PROCREF_RUNTIME_DIR", self.sandbox.runtime_dir());
        command.env("HOME", &home).env("TMPDIR", &home).env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        command
    }

    /// A process that `procref with` becomes, with the service's variables, until it is killed.
    pub(crate) fn hold(&self) -> Holder {
        let mut command = self.procref();
        command.args(["with", &self.name, "--", "sh", "-c", "env; echo held; exec sleep 1000"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
        let said: Vec<String> = lines.take_while(|line| line != "held").collect();
        let environment: BTreeMap<String, String> =
            said.iter().filter_map(|line| line.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect();
        let holder = Holder { child, environment };
        if holder.environment.is_empty() {
            panic!("it does not hold {}: {}", self.name, holder.into_words());
        }
        holder
    }

    /// What `procref status --json` says of the service.
    pub(crate) fn status(&self) -> Status {
        let output = self.procref().args(["status", "--json", &self.name]).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let service = &report["services"][0];
        let number = |value: &serde_json::Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let clients = service["known_clients"].as_array().into_iter().flatten();
        Status {
            pid: number(&service["pid"]).unwrap_or_else(|| panic!("no process: {report}")),
            count: number(&service["clients"]).unwrap_or_else(|| panic!("no count: {report}")),
            clients: clients.filter_map(|client| number(&client["pid"])).collect(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) pid: u32,
    pub(crate) count: u32,
    /// Who holds it.
    pub(crate) clients: BTreeSet<u32>,
}

/// A process that holds the service.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Holder {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What one of the service's variables says.
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.environment.get(name).unwrap_or_else(|| panic!("there is no {name}: {:?}", self.environment))
    }

    /// The number of a port that is the last part of a variable.
    pub(crate) fn port(&self, name: &str) -> u16 {
        let value = self.variable(name);
        let (_, port) = value.rsplit_once(':').unwrap_or(("", value));
        port.parse().unwrap_or_else(|_| panic!("{name} has no port: {value}"))
    }

    /// A client with the service's variables; what it prints.
    pub(crate) fn client(&self, line: &str) -> String {
        let output = Command::new("sh").args(["-c", line]).envs(&self.environment).stdin(Stdio::null()).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// SIGKILL, and wait for its end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ends");
    }

    /// What it has said of why it does not hold.
    pub(crate) fn into_words(mut self) -> String {
        let mut words = String::new();
        let mut stderr = self.child.stderr.take().expect("a pipe");
        std::io::Read::read_to_string(&mut stderr, &mut words).expect("text");
        self.child.wait().expect("it ends");
        words
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes of a session.
pub(crate) fn session(leader: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("there is /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| session_of(*pid) == Some(leader)).collect()
}

pub(crate) fn session_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(6 - 3)?.parse().ok()
}

pub(crate) fn await_end(process: &OwnedFd) {
    assert!(sandbox::wait_for_end(process, Instant::now() + sandbox::PATIENCE), "{process:?} lives");
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
