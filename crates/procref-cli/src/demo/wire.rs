//! What clients tell the demo: one line each, short enough that the kernel writes it into the shared pipe as a whole.

use std::fmt;
use std::str::FromStr;

/// A line: who, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) client: usize,
    pub(super) news: News,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It waits for orders.
    Ready,
    /// Its `on_first_acquire` was called.
    Starts,
    /// It holds the service, which says that it is process `pid` and listens on `port`.
    Holds { pid: u32, port: u16 },
    /// It has talked to the service: who answered, and the how-manieth visit that was.
    Talked { pid: u32, visits: u32 },
    /// It has let go.
    Released,
    /// It could not do what it was ordered to.
    Failed(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.client)?;
        match &self.news {
            News::Ready => f.write_str("ready"),
            News::Starts => f.write_str("starts"),
            News::Holds { pid, port } => write!(f, "holds {pid} {port}"),
            News::Talked { pid, visits } => write!(f, "talked {pid} {visits}"),
            News::Released => f.write_str("released"),
            // PIPE_BUF is 4096 bytes.
            News::Failed(why) => {
                write!(f, "failed {}", why.chars().take(800).collect::<String>().replace(['\n', '\r'], " "))
            }
        }
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let strange = || format!("a client said {line:?}");
        let (client, rest) = line.split_once(' ').ok_or_else(strange)?;
        let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut numbers = rest.split(' ').map(|word| word.parse::<u32>().map_err(|_| strange()));
        let mut number = || numbers.next().unwrap_or_else(|| Err(strange()));
        let news = match verb {
            "ready" => News::Ready,
            "starts" => News::Starts,
            "holds" => News::Holds { pid: number()?, port: number()?.try_into().map_err(|_| strange())? },
            "talked" => News::Talked { pid: number()?, visits: number()? },
            "released" => News::Released,
            "failed" => News::Failed(rest.to_owned()),
            _ => return Err(strange()),
        };
        Ok(Self { client: client.parse().map_err(|_| strange())?, news })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [
            News::Ready,
            News::Starts,
            News::Holds { pid: 4711, port: 65535 },
            News::Talked { pid: 4711, visits: 3 },
            News::Released,
            News::Failed("service \"x\": no way".into()),
        ];
        for news in all {
            let line = Line { client: 3, news };
            assert_eq!(line.to_string().parse(), Ok(line));
        }
        let long = Line { client: 3, news: News::Failed("ä\n".repeat(10_000)) };
        assert!(long.to_string().len() < 4096 && !long.to_string().contains('\n'));
        for strange in ["", "3", "x ready", "3 holds 1", "3 holds 1 65536", "3 sings"] {
            assert!(strange.parse::<Line>().is_err(), "{strange}");
        }
    }
}
