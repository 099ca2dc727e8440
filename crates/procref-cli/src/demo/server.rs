//! The services that a demonstration can share: both count their visits, which shows that there is only one.

use super::PATIENCE;
use super::wire::News;
use crate::cli::Outcome;
use crate::sys::demo::this_program;
use procref::ServiceInfo;
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// This program's own.
    Own,
    Redis,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Redis => "redis",
        })
    }
}

impl Kind {
    /// What people call it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Own => "a small server of the demonstration's own",
            Self::Redis => "a redis-server",
        }
    }

    /// Fails if there is no such service on this machine.
    pub(super) fn check(self) -> Result<(), String> {
        if self == Self::Own {
            return Ok(());
        }
        let version = Command::new("redis-server").arg("--version").stdin(Stdio::null()).output();
        match version {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("`redis-server --version` failed: {}", output.status)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(concat!(
                "there is no redis-server on the PATH: install it (Debian, Ubuntu: the package redis-server; ",
                "Fedora, Arch, Homebrew: redis), or leave out --redis"
            )
            .into()),
            Err(error) => Err(format!("cannot run redis-server: {error}")),
        }
    }

    /// Starts it; returns when it can be talked to.
    pub(super) fn start(self) -> procref::Result<ServiceInfo> {
        match self {
            Self::Own => start_own(),
            Self::Redis => start_redis(),
        }
    }

    /// Talks to it.
    pub(super) fn visit(self, port: u16) -> io::Result<News> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        match self {
            Self::Own => visit_own(&mut stream),
            Self::Redis => visit_redis(&mut stream),
        }
    }
}

fn strange(answer: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the service answered {answer:?}"))
}

fn line(reads: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match reads.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// Starts a program that says on its standard output when it is ready, and reads that far.
///
/// The pipe is closed then: neither service minds. What it said is the error if it ends before.
fn start_talking(command: &mut Command, ready: fn(&str) -> bool) -> io::Result<(u32, String)> {
    let (reads, writes) = io::pipe()?;
    let mut child = command.stdin(Stdio::null()).stdout(writes.try_clone()?).stderr(writes).spawn()?;
    // The command would keep its ends of the pipe open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (sends, receives) = mpsc::channel();
    std::thread::spawn(move || sends.send(read_until(reads, ready)));
    let late = |_| Err(io::Error::other(format!("the service was not ready after {} s", PATIENCE.as_secs())));
    match receives.recv_timeout(PATIENCE).unwrap_or_else(late) {
        Ok(line) => Ok((child.id(), line)),
        Err(error) => {
            let _ = child.kill();
            child.wait()?;
            Err(error)
        }
    }
}

fn read_until(reads: PipeReader, ready: fn(&str) -> bool) -> io::Result<String> {
    let mut said = String::new();
    for line in BufReader::new(reads).lines() {
        let line = line?;
        if ready(&line) {
            return Ok(line);
        }
        said = [said.as_str(), line.trim()].join(" ");
    }
    Err(io::Error::other(format!("the service ended before it was ready:{said}")))
}

const LISTENS: &str = "listens on ";

fn start_own() -> procref::Result<ServiceInfo> {
    let mut server = this_program(["demo", "server"]).map_err(procref::Error::other)?;
    let (pid, line) = start_talking(&mut server, |line| line.starts_with(LISTENS))?;
    let port = line.trim_start_matches(LISTENS).parse().map_err(procref::Error::other)?;
    Ok(ServiceInfo::new(pid, port))
}

/// The demonstration's own server: answers each line with its process number and the count of lines so far.
pub(crate) fn run() -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    writeln!(io::stdout(), "{LISTENS}{}", listener.local_addr()?.port())?;
    let visits = Arc::new(AtomicU32::new(0));
    loop {
        // A client that was killed has cut its connection: the others are served all the same.
        let Ok((stream, _)) = listener.accept() else { continue };
        let visits = Arc::clone(&visits);
        std::thread::spawn(move || answer(stream, &visits));
    }
}

fn answer(stream: TcpStream, visits: &AtomicU32) -> io::Result<()> {
    let mut reads = BufReader::new(stream.try_clone()?);
    let mut writes = stream;
    loop {
        line(&mut reads)?;
        let visit = visits.fetch_add(1, Ordering::Relaxed) + 1;
        writes.write_all(format!("{} {visit}\n", std::process::id()).as_bytes())?;
    }
}

fn visit_own(stream: &mut TcpStream) -> io::Result<News> {
    stream.write_all(b"hello\n")?;
    let answer = line(&mut BufReader::new(stream))?;
    let numbers = answer.split_once(' ').and_then(|(pid, visits)| Some((pid.parse().ok()?, visits.parse().ok()?)));
    let (pid, visits) = numbers.ok_or_else(|| strange(&answer))?;
    Ok(News::Talked { pid, visits })
}

fn start_redis() -> procref::Result<ServiceInfo> {
    let mut tries = 0;
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--logfile", ""]);
        // It keeps everything in memory, so there is no file to leave.
        command.args(["--save", "", "--appendonly", "no", "--dir", "/"]);
        match start_talking(&mut command, |line| line.contains("Ready to accept connections")) {
            Ok((pid, _)) => return Ok(ServiceInfo::new(pid, port)),
            // Somebody else took the port in between.
            Err(error) if error.to_string().contains("Address already in use") && tries < 10 => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn visit_redis(stream: &mut TcpStream) -> io::Result<News> {
    stream.write_all(b"INCR visits\r\nINFO server\r\n")?;
    let mut reads = BufReader::new(stream);
    let visits = line(&mut reads)?;
    let visits = visits.strip_prefix(':').and_then(|number| number.parse().ok()).ok_or_else(|| strange(&visits))?;
    loop {
        if let Some(pid) = line(&mut reads)?.strip_prefix("process_id:") {
            return Ok(News::Talked { pid: pid.parse().map_err(|_| strange(pid))?, visits });
        }
    }
}
