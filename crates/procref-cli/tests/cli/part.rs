//! What services and commands of the tests do, on every system: this very program, in another part. It is told so by its
//! arguments, before the tests' own `main` begins.
//!
//! | step | what it does |
//! |---|---|
//! | `say=TEXT` | a line to the standard output; `$NAME` in it is a variable, or nothing |
//! | `add=FILE=TEXT` | a line to the file's end |
//! | `meet=PORT` | comes to a [`Gate`], and waits until it is let go |
//! | `port=PORT` | accepts connections there from now on |
//! | `listen`, `asked` | notes that it is asked to end, instead of ending; waits for that |
//! | `child=STEP;STEP…` | starts a child in such a part, and goes on |
//! | `cat` | says all that it reads |
//! | `exit=STATUS`, `stay` | ends; stays until it is ended |

use crate::kit::wait_until;
use procref_tests::sandbox::PATIENCE;
use procref_tests::sys::{self, Requests};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write, stdin, stdout};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, exit};

/// The argument that makes this program one of these.
const PART: &str = "part";

/// Takes part, and ends, if this process is started for it. Comes before `main`.
pub(crate) fn play() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(PART) {
        let mut requests = None;
        arguments.for_each(|step| take(&step, &mut requests));
        exit(0);
    }
}

/// This program and the argument that makes it one of these.
pub(crate) fn begin() -> [String; 2] {
    let this = std::env::current_exe().expect("it has a path");
    [this.to_str().expect("it is text").to_owned(), PART.to_owned()]
}

fn take(step: &str, requests: &mut Option<Requests>) {
    let (verb, rest) = step.split_once('=').unwrap_or((step, ""));
    match verb {
        "say" => say(&filled_in(rest)),
        "add" => {
            let (file, text) = rest.split_once('=').expect("there is a text");
            sys::append(Path::new(file), format!("{text}\n").as_bytes()).expect("it can be written");
        }
        "meet" => {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, rest.parse().expect("it is a port")));
            // Who is not let go stays where it is.
            if stream.expect("there is a gate").read(&mut [0]).unwrap_or(0) == 0 {
                take("stay", requests);
            }
        }
        "port" => {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, rest.parse().expect("it is a port")));
            let port = port.expect("it is free");
            std::thread::spawn(move || port.incoming().for_each(drop));
        }
        "listen" => *requests = Some(Requests::listen()),
        "asked" => drop(requests.as_ref().expect("it listens").next()),
        "child" => {
            let [program, part] = begin();
            Command::new(program).arg(part).args(rest.split(';')).spawn().map(drop).expect("it can be started");
        }
        "cat" => stdin().lock().lines().for_each(|line| say(&line.expect("it can be read"))),
        "exit" => exit(rest.parse().expect("it is a number")),
        "stay" => loop {
            std::thread::park();
        },
        // What only makes its declaration another one.
        "" => {}
        _ => panic!("unknown: {step}"),
    }
}

fn say(line: &str) {
    let mut out = stdout().lock();
    // Nobody need listen.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn filled_in(text: &str) -> String {
    let mut pieces = text.split('$');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let name = piece.len() - piece.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
        let (name, after) = piece.split_at(name);
        filled += &std::env::var(name).unwrap_or_default();
        filled += after;
    }
    filled
}

/// Where a test waits for others, and they for the test.
pub(crate) struct Gate(TcpListener);

/// Somebody who has come, and waits.
pub(crate) struct Met(TcpStream);

impl Gate {
    pub(crate) fn new() -> Self {
        let listens = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        listens.set_nonblocking(true).expect("it can be set");
        Self(listens)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().expect("it has one").port()
    }

    /// Waits until somebody comes.
    pub(crate) fn meet(&self) -> Met {
        let (stream, _) = wait_until(|| match self.0.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            accepted => Some(accepted.expect("somebody comes")),
        });
        stream.set_nonblocking(false).expect("it can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        Met(stream)
    }
}

impl Met {
    pub(crate) fn let_go(mut self) {
        // It may have ended.
        let _ = self.0.write_all(b"!");
        // Until it has gone, or has closed its end.
        let _ = BufReader::new(self.0).read_until(b'\n', &mut Vec::new());
    }
}
