//! The clients, as processes that the demo starts, orders about and kills.

use super::client;
use super::wire::{Line, News};
use super::{Broken, PATIENCE, Shared};
use crate::sys::demo::{apart, this_program};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, PipeWriter, Write};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Debug)]
pub(super) struct Stage {
    shared: Shared,
    clients: BTreeMap<usize, Child>,
    born: usize,
    /// What all clients write to: one pipe, so that their lines come in the order in which they were written.
    pipe: PipeWriter,
    lines: Receiver<io::Result<String>>,
}

impl Stage {
    pub(super) fn new(shared: &Shared) -> io::Result<Self> {
        let (reads, pipe) = io::pipe()?;
        let (sends, lines) = channel();
        // A thread, to be able to wait with a limit; it ends with the process.
        std::thread::spawn(move || BufReader::new(reads).lines().try_for_each(|line| sends.send(line)));
        Ok(Self { shared: shared.clone(), clients: BTreeMap::new(), born: 0, pipe, lines })
    }

    /// A new client, which holds nothing yet.
    pub(super) fn enter(&mut self) -> Result<usize> {
        let number = self.born + 1;
        let mut command = this_program(client::Args::of(number, &self.shared))?;
        let child = apart(&mut command).stdin(Stdio::piped()).stdout(self.pipe.try_clone()?).spawn()?;
        self.born = number;
        self.clients.insert(number, child);
        self.expect(number, &News::Ready)?;
        Ok(number)
    }

    /// Who is there.
    pub(super) fn present(&self) -> Vec<usize> {
        self.clients.keys().copied().collect()
    }

    /// How many clients there have been.
    pub(super) fn born(&self) -> usize {
        self.born
    }

    pub(super) fn order(&mut self, client: usize, order: &str) -> Result<()> {
        let stdin = self.clients.get_mut(&client).and_then(|child| child.stdin.as_mut());
        let stdin = stdin.ok_or_else(|| Broken(format!("client {client} has gone")))?;
        Ok(writeln!(stdin, "{order}").map_err(|error| Broken(format!("client {client} does not listen: {error}")))?)
    }

    /// What a client says next, whichever.
    pub(super) fn listen(&self) -> Result<Line> {
        let line = self.lines.recv_timeout(PATIENCE);
        let line = line.map_err(|_| Broken(format!("no client said anything for {} s", PATIENCE.as_secs())))?;
        let line: Line = line?.parse()?;
        match line.news {
            News::Failed(why) => Err(format!("client {}: {why}", line.client).into()),
            _ => Ok(line),
        }
    }

    fn expect(&self, client: usize, news: &News) -> Result<()> {
        let line = self.listen()?;
        if line.client == client && line.news == *news {
            return Ok(());
        }
        Err(Broken(format!("client {client} should have been {news:?}, and there came {line:?}")).into())
    }

    /// A client talks to the service: who answered, and the how-manieth visit that was.
    pub(super) fn talk(&mut self, client: usize) -> Result<(u32, u32)> {
        self.order(client, "talk")?;
        match self.listen()? {
            Line { client: from, news: News::Talked { pid, visits } } if from == client => Ok((pid, visits)),
            line => Err(Broken(format!("client {client} should have talked, and there came {line:?}")).into()),
        }
    }

    /// A client lets go and ends.
    pub(super) fn leave(&mut self, client: usize) -> Result<()> {
        self.order(client, "release")?;
        self.expect(client, &News::Released)?;
        let Some(mut child) = self.clients.remove(&client) else { return Ok(()) };
        drop(child.stdin.take());
        ended(client, child.wait()?)
    }

    /// By force. When this returns, the process has ended, and the kernel has taken back its reference.
    pub(super) fn kill(&mut self, client: usize) -> io::Result<()> {
        let Some(mut child) = self.clients.remove(&client) else { return Ok(()) };
        child.kill()?;
        child.wait().map(drop)
    }
}

fn ended(client: usize, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Broken(format!("client {client} should have ended well, and did not: {status}")).into())
}

impl Drop for Stage {
    /// Only where something has failed is anybody left.
    fn drop(&mut self) {
        for child in self.clients.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
