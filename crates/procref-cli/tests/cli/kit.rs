//! A project in a sandbox, and `procref` in it.

use crate::part::{self, Gate};
use crate::sys::holder_name;
use procref::observe::Observed;
use procref_tests::Sandbox;
use procref_tests::sandbox::PATIENCE;
use procref_tests::sys::ASKS;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A service that is up as soon as it has said so, and says when it is asked to stop.
pub(crate) const SIMPLE: &str = r#"
[services.@db]
command = [PART, "listen", "say=up", "asked", "say=stops"]
ready = { log = "up" }
env = { WHO = "{name}" }
"#;

/// One that comes to the project's gate when it is started, and is up when it is let go.
pub(crate) const SLOW: &str = r#"
[services.@db]
command = [PART, "meet=GATE", "say=up", "stay"]
ready = { log = "up" }
"#;

/// One that comes to the project's gate when it is up, and ends when it is let go; the command that stops it does the same.
pub(crate) const GATED: &str = r#"
[services.@db]
command = [PART, "say=up", "meet=GATE", "say=stops"]
ready = { log = "up" }
stop = { command = [PART, "meet=GATE"], grace = "1h" }
"#;

/// A sandbox whose project declares something. `@` in the declaration is the sandbox's mark, so that the sandbox knows the
/// services to be the test's; `PART` is this program in a [part](crate::part), and `GATE` the port of the project's gate.
pub(crate) struct Project {
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: PathBuf,
    pub(crate) port: u32,
    pub(crate) gate: Gate,
}

impl Project {
    pub(crate) fn new(declared: &str) -> Self {
        let sandbox = Sandbox::new();
        let folder = sandbox.folder().join("project");
        let project = Self { sandbox, folder, port: fixed_port(), gate: Gate::new() };
        project.declare(&project.folder, declared);
        project
    }

    /// Declares services in another folder.
    pub(crate) fn declare(&self, folder: &Path, declared: &str) {
        fs::create_dir_all(folder).expect("the folder can be made");
        let [program, part] = part::begin();
        let declared = self.text(declared).replace("PART", &format!("'{program}', '{part}'"));
        fs::write(folder.join("procref.toml"), declared).expect("it can be written");
    }

    /// The text with the mark for `@`, and with numbers of the test's own for `FIXED` and `GATE`.
    pub(crate) fn text(&self, text: &str) -> String {
        let text = text.replace('@', &format!("{}-", self.sandbox.mark())).replace("FIXED", &self.port.to_string());
        text.replace("GATE", &self.gate.port().to_string())
    }

    /// `procref` in the project, knowing nothing of the user who runs the test. The commands `true` and `cat`, and what begins
    /// with `PART`, are this program in a part.
    pub(crate) fn procref<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.sandbox.command(env!("CARGO_BIN_EXE_procref"));
        let own = self.sandbox.folder();
        command.current_dir(&self.folder).stdin(Stdio::null());
        for variable in ["PROCREF_RUN_ID", "NEXTEST_RUN_ID", "PYTEST_XDIST_TESTRUNUID", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        for (variable, folder) in [
            ("HOME", "home"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CONFIG_HOME", "config"),
            ("LOCALAPPDATA", "local"),
            ("APPDATA", "roaming"),
            ("TMPDIR", "tmp"),
            ("PROCREF_RUNTIME_DIR", "run"),
        ] {
            command.env(variable, own.join(folder));
        }
        let mut begins = false;
        for argument in arguments {
            let text = argument.as_ref().to_str();
            match text.filter(|_| begins) {
                Some("PART") => command.args(part::begin()),
                Some("cat") => command.args(part::begin()).arg("cat"),
                Some("true") => command.args(part::begin()).arg("exit=0"),
                _ => match text {
                    Some(text) => command.arg(self.text(text)),
                    None => command.arg(argument.as_ref()),
                },
            };
            begins = text == Some("--");
        }
        command
    }

    pub(crate) fn output<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Said {
        Said::new(&self.procref(arguments).output().expect("procref can be run"), self)
    }

    /// The only service whose full name begins so.
    pub(crate) fn full_name(&self, short: &str) -> String {
        let said = self.output(["status", "--json", short]);
        said.json()["services"][0]["full_name"].as_str().expect("it has a name").to_owned()
    }

    pub(crate) fn observed(&self, short: &str) -> Observed {
        let name = self.full_name(short);
        Observed::new(&name).expect("it is a name").runtime_dir(self.sandbox.runtime_dir())
    }

    /// Waits until the service's status is as wanted.
    pub(crate) fn wait_for(&self, short: &str, wanted: impl Fn(&procref::Status) -> bool) -> procref::Status {
        let observed = self.observed(short);
        wait_until(|| observed.status().ok().filter(&wanted))
    }

    /// Waits until nothing is left after the last clients of these services were killed. Where the kernel itself ends a service
    /// then, its hints stay until somebody looks.
    pub(crate) fn assert_nothing_left_of(&self, killed: &[&str]) {
        if !ASKS {
            self.sandbox.assert_no_process();
            self.output([&["gc"], killed].concat()).assert_ok();
        }
        self.sandbox.assert_nothing_left();
    }

    /// What procref has kept for the service.
    pub(crate) fn kept(&self, short: &str) -> PathBuf {
        self.sandbox.folder().join("state").join("procref").join(self.full_name(short))
    }
}

/// A number for a fixed port: those are locked for the whole machine, and no other test may have the same one. procref itself
/// picks none so low.
fn fixed_port() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    2000 + (std::process::id() * 16 + next) % 8000
}

/// Waits until something is there that no event tells of.
pub(crate) fn wait_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a run of procref has come to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    mark: String,
    folder: PathBuf,
}

impl Said {
    pub(crate) fn new(output: &Output, project: &Project) -> Self {
        // It is called as it was called.
        let plain = |text: String| text.replace("Usage: procref.exe", "Usage: procref");
        let text = |bytes: &[u8]| plain(String::from_utf8(bytes.to_vec()).expect("it is text"));
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
            mark: project.sandbox.mark().to_owned(),
            folder: project.sandbox.folder().to_owned(),
        }
    }

    /// Exit code, standard output and standard error, with placeholders for what differs from run to run.
    pub(crate) fn transcript(&self) -> String {
        let mut transcript = format!("exit {}\n", self.code.map_or("signal".to_owned(), |code| code.to_string()));
        for (mark, text) in [("", &self.out), ("! ", &self.err)] {
            text.lines().for_each(|line| transcript += &format!("{mark}{}\n", self.plain(line)));
        }
        transcript
    }

    fn plain(&self, line: &str) -> String {
        let line = line.replace(&self.folder.display().to_string(), "SANDBOX").replace(&format!("{}-", self.mark), "@");
        let line = line.replace(&format!("({})", holder_name()), "(HOLDER)").replace('\\', "/");
        let words = line.split(' ').filter(|word| !word.is_empty());
        words.map(plain_word).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.out.lines().count(), 1, "one document on one line: {self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Nothing but this has been said.
    pub(crate) fn assert_failed(&self, code: i32, err: &str) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{self:?}");
        let said: Vec<String> = self.err.lines().map(|line| self.plain(line)).collect();
        assert_eq!(said.join("\n"), err, "{}", self.err);
    }

    #[track_caller]
    pub(crate) fn assert_ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// `HASH` for the digits behind a dot that stand for a project or a run, `N` for numbers of two digits and more.
fn plain_word(word: &str) -> String {
    let mut plain = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let hash = rest.strip_prefix('.').and_then(|hash| hash.get(..8));
        let hash = hash.filter(|hash| hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let length = if hash.is_some() {
            plain += ".HASH";
            9
        } else if digits > 1 {
            plain += "N";
            digits
        } else {
            plain.push(first);
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    plain
}

/// What the log of `SIMPLE` says of a start and an orderly stop.
pub(crate) const UP_AND_DOWN: &str = "up\nstops\n";

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("procref can be run"))
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let out = self.0.stdout.as_mut().expect("it is piped");
        let mut byte = [0];
        while out.read(&mut byte).expect("it can be read") > 0 && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8(line).expect("it is text")
    }

    /// Has a `cat` say that: then it is one.
    pub(crate) fn echo(&mut self, text: &str) {
        writeln!(self.0.stdin.as_mut().expect("it is piped"), "{text}").expect("it is read");
        assert_eq!(self.line(), text);
    }

    /// Waits for its end alone.
    pub(crate) fn status(&mut self) -> ExitStatus {
        wait_until(|| self.0.try_wait().expect("it is a child"))
    }

    pub(crate) fn end(mut self, project: &Project) -> Said {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        self.0.stdout.take().expect("it is piped").read_to_end(&mut out).expect("it can be read");
        self.0.stderr.take().expect("it is piped").read_to_end(&mut err).expect("it can be read");
        let status = self.0.wait().expect("it ends");
        Said::new(&Output { status, stdout: out, stderr: err }, project)
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it lives");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only where the test has failed is there anything to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
