//! `procref status`: which services there are, and who is with them.

use crate::cli::Outcome;
use crate::json::{self, Report, Service};
use crate::out;
use crate::services::{Declared, Named, ScopeOption, Services};
use crate::sys;
use crate::text;
use procref::observe;
use std::fmt::Write;
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How often it is looked whether something has changed. The kernel tells nobody who only looks on.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these services: as they are called in procref.toml, or by their full names. Without any, all that run.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    scope: ScopeOption,
    /// Print one JSON document, or with --watch one for each change, each on its line.
    #[arg(long)]
    json: bool,
    /// Go on, and show what changes.
    #[arg(long)]
    watch: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let services = Services::here(args.scope)?;
    let redraws = args.watch && !args.json && stdout().is_terminal();
    let mut last = None;
    loop {
        let report = look(args, &services)?;
        let lasting = Report { services: report.services.iter().map(Service::lasting).collect() };
        if redraws {
            // From the top, and away with what is left below.
            out::write(&format!("\x1b[H{}\x1b[J", table(&report, services.project()).replace('\n', "\x1b[K\n")))?;
        } else if last.as_ref() != Some(&lasting) {
            let shown = if args.json { json::line(&report)? } else { table(&report, services.project()) };
            out::write(&shown)?;
        }
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        last = Some(lasting);
        sys::pause(INTERVAL)?;
    }
}

fn look(args: &Args, services: &Services) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let found = if args.names.is_empty() {
        let all = observe::all()?.into_iter().map(|observed| services.folders().look_at(observed));
        all.map(|observed| declared(Service::look(&observed), services.declared_as(observed.name()).as_ref())).collect()
    } else {
        let look = |name: &String| {
            let Named { declared: known, observed } = services.named(name)?;
            Ok(declared(Service::look(&observed), known.as_ref()))
        };
        args.names.iter().map(look).collect::<Result<_, Box<dyn std::error::Error + Send + Sync>>>()?
    };
    Ok(Report { services: found })
}

/// What its declaration says of a service that does not say so itself.
fn declared(service: Service, declared: Option<&Declared<'_>>) -> Service {
    let Some(Declared { config, identity }) = declared else { return service };
    let linger = u64::try_from(config.linger.as_millis()).unwrap_or(u64::MAX);
    Service {
        name: identity.name.clone(),
        scope: Some(identity.scope.as_str().to_owned()),
        folder: identity.folder.as_ref().map(|folder| folder.to_string_lossy().into_owned()),
        linger_ms: service.linger_ms.or(Some(linger)),
        ..service
    }
}

const HEADINGS: [&str; 9] = ["NAME", "STATE", "CLIENTS", "WAITING", "PID", "GUARDIAN", "PORTS", "UPTIME", "LINGER"];

fn table(report: &Report, project: Option<&Path>) -> String {
    if report.services.is_empty() {
        return "no service runs\n".to_owned();
    }
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(report.services.iter().map(|service| cells(service, project)));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut table = String::new();
    let details = std::iter::once(None).chain(report.services.iter().map(Some));
    for (row, service) in rows.iter().zip(details) {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(table, "{}", cells.join("  ").trim_end());
        let Some(service) = service else { continue };
        if let Some(who) = who(service) {
            let how = if service.waiting == Some(0) { "held" } else { "held or awaited" };
            let _ = writeln!(table, "  {how} by {who}");
        }
        if let Some(error) = &service.error {
            let _ = writeln!(table, "  {}", text::line(error));
        }
    }
    table
}

fn cells(service: &Service, project: Option<&Path>) -> [String; HEADINGS.len()] {
    let elsewhere = service.folder.as_deref().filter(|folder| project != Some(Path::new(folder)));
    let name = match elsewhere {
        Some(folder) => text::line(&format!("{} ({folder})", service.name)),
        None => text::line(&service.name),
    };
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    let ports: Vec<_> = service.ports.iter().map(|(name, number)| format!("{}={number}", text::line(name))).collect();
    let ports = match (ports.is_empty(), service.port) {
        (true, Some(port)) => port.to_string(),
        (true, None) => "-".to_owned(),
        (false, _) => ports.join(" "),
    };
    let linger = match (service.linger_left_ms, service.linger_ms) {
        (Some(left), _) => format!("{} left", span(left)),
        (None, Some(linger)) if linger > 0 => span(linger),
        _ => "-".to_owned(),
    };
    [
        name,
        service.state.clone(),
        number(service.clients),
        number(service.waiting),
        number(service.pid),
        number(service.guardian),
        ports,
        service.uptime_ms.map_or("-".to_owned(), span),
        linger,
    ]
}

/// Who is known to hold it. The kernel counts, and does not say whom.
pub(super) fn who(service: &Service) -> Option<String> {
    let clients = service.clients.filter(|clients| *clients > 0)?;
    let known: Vec<_> =
        service.known_clients.iter().map(|client| format!("{} ({})", client.pid, text::line(&client.name))).collect();
    let more = usize::try_from(clients).unwrap_or(usize::MAX).saturating_sub(known.len());
    Some(match (known.is_empty(), more) {
        (true, _) => format!("{clients} that cannot be seen from here"),
        (false, 0) => known.join(", "),
        (false, more) => format!("{}, and {more} that cannot be seen from here", known.join(", ")),
    })
}

/// A length of time for people: its two greatest units.
fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_short() {
        let cases = [
            (999, "999 ms"),
            (1000, "1 s"),
            (60_000, "1 m 0 s"),
            (3_600_000, "1 h 0 m"),
            (86_400_000, "1 d 0 h"),
            (90_061_000, "1 d 1 h"),
        ];
        for (milliseconds, shown) in cases {
            assert_eq!(span(milliseconds), shown);
        }
    }
}
