//! `GET` of one page, and of its answer only the status: a client as small as that.

use super::{Attempt, Host, Miss, Target, event, plain};
use crate::sys::probe::{Connection, Woken};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// The most that is read to find the status, with all that may be said before it.
const MOST_HEAD: usize = 16 << 10;
/// The longest status line.
const MOST_LINE: usize = 1024;
/// How long, and how much of, the rest of the answer is awaited, so that the server does not find its connection
/// broken. Nobody wants it.
const REST: (Duration, usize) = (Duration::from_millis(50), 64 << 10);

/// What to ask, and whom.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) target: Target,
    /// As written.
    host: String,
    path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.host, self.path)
    }
}

impl Url {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why| Err(format!("\"{url}\" {why}"));
        let Some((scheme, rest)) = url.split_once("://") else { return wrong("does not begin with http://") };
        if !scheme.eq_ignore_ascii_case("http") {
            return wrong("is not http: (for https:, let a program ask: exec)");
        }
        if url.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return wrong("has characters that must be escaped with %");
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if host.contains('@') {
            return wrong("has a user in it, and nobody can log in");
        }
        let target = match Host::parse(host) {
            Some(host) => Ok(Target { host, port: 80 }),
            None => Target::parse(host),
        };
        // A port alone is no host.
        match target {
            Ok(target) if !host.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self {
                target,
                host: host.into(),
                path: if path.starts_with('/') { path.into() } else { format!("/{path}") },
            }),
            _ => wrong("has no host, or a wrong port"),
        }
    }
}

/// Asks once. Without a wanted status, each one from 200 to 299 will do.
pub(super) fn get(url: &Url, wanted: Option<u16>, attempt: &Attempt<'_>) -> Result<(), Miss> {
    let mut connection = url.target.connect(attempt)?;
    match ask(&mut connection, url, attempt) {
        Ok((status, _)) if wanted.map_or((200..300).contains(&status), |wanted| status == wanted) => Ok(()),
        Ok((_, text)) => Err(Miss::NotYet(format!("HTTP {text} from {url}"))),
        Err(Miss::Slow) => Err(Miss::NotYet(format!("no answer from {url}"))),
        Err(Miss::NotYet(text)) => Err(Miss::NotYet(format!("{url}: {text}"))),
        Err(miss) => Err(miss),
    }
}

/// The status, and the text that it came with.
fn ask(connection: &mut Connection, url: &Url, attempt: &Attempt<'_>) -> Result<(u16, String), Miss> {
    let Url { host, path, .. } = url;
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: procref/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let mut left = request.as_bytes();
    while !left.is_empty() {
        let written = transferred(connection.write(left, attempt.process, attempt.until))?;
        left = left.get(written..).unwrap_or_default();
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = transferred(connection.read(&mut buffer, attempt.process, attempt.until))?;
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        match parse(&answer) {
            Answer::Status(status, text) => {
                take_rest(connection, attempt);
                return Ok((status, text));
            }
            Answer::NotHttp => return Err(Miss::NotYet(format!("not HTTP but {}", excerpt(&answer)))),
            Answer::Partial if answer.is_empty() => return Err(Miss::NotYet("closed without an answer".into())),
            Answer::Partial if read == 0 => {
                return Err(Miss::NotYet(format!("closed after {}", excerpt(&answer))));
            }
            Answer::Partial if answer.len() > MOST_HEAD => {
                return Err(Miss::NotYet(format!("no status in {MOST_HEAD} bytes")));
            }
            Answer::Partial => {}
        }
    }
}

/// How many bytes were read or written.
fn transferred(woken: io::Result<Woken<io::Result<usize>>>) -> Result<usize, Miss> {
    event(woken)?.map_err(|error| Miss::NotYet(plain(&error)))
}

fn take_rest(connection: &mut Connection, attempt: &Attempt<'_>) {
    let (time, most) = REST;
    let until = attempt.until.min(Instant::now() + time);
    let mut buffer = [0; 4096];
    let mut taken = 0;
    while taken < most {
        match transferred(connection.read(&mut buffer, attempt.process, until)) {
            Ok(read @ 1..) => taken += read,
            Ok(0) | Err(_) => return,
        }
        if Instant::now() >= until {
            return;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Status(u16, String),
    /// It may become one.
    Partial,
    NotHttp,
}

/// Finds the final status: what comes before it, with a number below 200, is passed over.
fn parse(mut answer: &[u8]) -> Answer {
    loop {
        let expected = b"HTTP/1.";
        let begin = answer.get(..expected.len().min(answer.len())).unwrap_or_default();
        if !expected.starts_with(begin) {
            return Answer::NotHttp;
        }
        let Some(end) = answer.iter().position(|&byte| byte == b'\n') else {
            return if answer.len() > MOST_LINE { Answer::NotHttp } else { Answer::Partial };
        };
        let (line, rest) = answer.split_at(end);
        // HTTP/1.1 200 OK, or without the text
        let text = String::from_utf8_lossy(line.get(expected.len()..).unwrap_or_default());
        let text = text.get(1..).unwrap_or_default().trim();
        let number = text.split(' ').next().unwrap_or_default();
        match number.parse::<u16>() {
            Ok(status @ 100..=599) if number.len() == 3 => {
                if status >= 200 || status == 101 {
                    return Answer::Status(status, excerpt(text.as_bytes()));
                }
            }
            _ => return Answer::NotHttp,
        }
        let Some(next) = after_blank_line(rest) else { return Answer::Partial };
        answer = next;
    }
}

fn after_blank_line(head: &[u8]) -> Option<&[u8]> {
    let ends = [b"\n\r\n".as_slice(), b"\n\n"];
    (0..head.len()).find_map(|at| {
        let rest = head.get(at..)?;
        ends.iter().find_map(|end| rest.strip_prefix(*end))
    })
}

/// The beginning, as far as it can be shown.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(200)).unwrap_or_default());
    let mut shown = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60) {
        shown.push(c);
    }
    shown.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn urls() {
        let parsed = |url: &str| Url::parse(url).map(|url| (url.target, url.host, url.path));
        let target = |host, port| Target { host, port };
        let four = Host::Address(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(parsed("http://127.0.0.1"), Ok((target(four.clone(), 80), "127.0.0.1".into(), "/".into())));
        assert_eq!(
            parsed("HTTP://127.0.0.1:8080/a/b?c=d#e"),
            Ok((target(four, 8080), "127.0.0.1:8080".into(), "/a/b?c=d".into()))
        );
        assert_eq!(parsed("http://localhost?x"), Ok((target(Host::This, 80), "localhost".into(), "/?x".into())));
        let six = Host::Address(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]));
        assert_eq!(parsed("http://[::1]/"), Ok((target(six.clone(), 80), "[::1]".into(), "/".into())));
        assert_eq!(parsed("http://[::1]:81/"), Ok((target(six, 81), "[::1]:81".into(), "/".into())));
        for wrong in [
            "",
            "localhost",
            "8080",
            "http://",
            "http:///x",
            "http://8080/",
            "http://a b/",
            "http://a:/",
            "http://a:0/",
            "http://a:65536/",
            "http://a:+1/",
            "http://[::1/",
            "http://::1/",
            "http://a/ü",
            "http://a/\r\nX: y",
            "ftp://a/",
            "http://user@a/",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Url::parse("https://a/").is_err_and(|text| text.contains("exec")));
    }

    #[test]
    fn answers_that_come_byte_by_byte() {
        let answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100\n\nHTTP/1.0 204 No Content\r\n";
        for end in 0..answer.len() {
            assert_eq!(parse(&answer[..end]), Answer::Partial, "{end}");
        }
        assert_eq!(parse(answer), Answer::Status(204, "204 No Content".into()));
        assert_eq!(parse(b"HTTP/1.1 200\r\n"), Answer::Status(200, "200".into()));
        assert_eq!(parse(b"HTTP/1.1 101 \x1b[31mSwitch\r\n"), Answer::Status(101, "101  [31mSwitch".into()));
    }

    #[test]
    fn garbage_is_no_answer() {
        for garbage in [
            b"SSH-2.0".as_slice(),
            b"\0",
            b"HTTP/2 200\r\n",
            b"HTTP/1.1 OK\r\n",
            b"HTTP/1.1 99 x\r\n",
            b"HTTP/1.1 +20\n",
            b"HTTP/1.1 2000\n",
            b"HTTP/1.\n",
            b"HTTP/1.\xff\xff 200\n",
        ] {
            assert_eq!(parse(garbage), Answer::NotHttp, "{garbage:?}");
        }
        let mut endless = b"HTTP/1.1 ".to_vec();
        endless.resize(MOST_LINE + 1, b'0');
        assert_eq!(parse(&endless), Answer::NotHttp);
    }
}
