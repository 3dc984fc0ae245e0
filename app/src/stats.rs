//! `tcptop stats`: the variables of RFC 4898 for each socket, from the kernel's list of sockets. It needs no privileges.

mod listening;
mod text;

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use tcptop_core::{EstatsTable, Facts, Filter, Flow, Role, SocketState};
use tokio::time::sleep;

use crate::cli::StatsArgs;
use crate::clock::{Anchor, monotonic_ns};
use crate::error::Error;
use crate::output::format::new_run;
use crate::output::json;
use crate::session;
use crate::source::sock_diag::{ALL_STATES, SockDiag};
use crate::stop::Stop;
use listening::{Listening, Seen};

/// Writes the variables once, or again and again, until told to stop.
///
/// # Errors
/// When the kernel does not list its sockets, a term of the filter does not apply to sockets, or the output cannot be written.
pub fn run(arguments: &StatsArgs) -> Result<(), Error> {
    let filter = arguments.filter.clone().unwrap_or_default();
    if let Some(term) = filter.terms_not_of_sockets().next() {
        return Err(Error::Usage(format!(
            "`{term}` needs what only segments or processes tell: stats has sockets only"
        )));
    }
    let mut stats = Stats {
        arguments,
        filter,
        sock_diag: SockDiag::default(),
        seen: Seen::default(),
        anchor: Anchor::now(),
        host: arguments.host.clone().or_else(crate::live::host),
        run: new_run(),
        output: BufWriter::new(io::stdout()),
    };
    match session::event_loop()?.block_on(stats.write()) {
        // Whoever reads has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Failure::Output(source)) => Err(Error::Output { target: "standard output".to_owned(), source }),
        Err(Failure::Other(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

enum Failure {
    Output(io::Error),
    Other(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

struct Stats<'a> {
    arguments: &'a StatsArgs,
    filter: Filter,
    sock_diag: SockDiag,
    seen: Seen,
    anchor: Anchor,
    host: Option<String>,
    run: String,
    output: BufWriter<io::Stdout>,
}

impl Stats<'_> {
    async fn write(&mut self) -> Result<(), Failure> {
        let mut stop = Stop::new().map_err(Failure::Other)?;
        stop.within(self.arguments.duration);
        if self.arguments.json {
            json::stats::write_variables(&self.arguments.tables, &mut self.output)?;
        }
        loop {
            self.list()?;
            self.output.flush()?;
            let Some(interval) = self.interval() else { return Ok(()) };
            tokio::select! {
                () = sleep(interval) => {}
                () = stop.wanted() => return Ok(()),
            }
        }
    }

    /// How long to wait; `None` for once.
    fn interval(&self) -> Option<Duration> {
        let StatsArgs { interval, duration, .. } = self.arguments;
        interval.or(duration.map(|_| Duration::from_secs(1)))
    }

    /// Lists all sockets and writes what passes the filter: connections as they come, then listeners.
    fn list(&mut self) -> Result<(), Failure> {
        let Self { arguments, filter, sock_diag, seen, anchor, host, run, output } = self;
        let now_ns = monotonic_ns();
        let mut listening = Listening::default();
        let listed = sock_diag.dump(SocketState::Listen.bit(), |sockets| listening.note(sockets));
        listed.map_err(not_listed)?;
        let mut written = Ok(());
        let mut write = |facts: &Facts<'_>, role| {
            if written.is_ok() && filter.matches_socket(&Flow::of_socket(facts.socket, role, now_ns), now_ns)
            {
                let at = json::stats::At { wall: anchor.wall(now_ns), host: host.as_deref(), run };
                written = if arguments.json {
                    json::stats::write(facts, at, &arguments.tables, output)
                } else {
                    text::write(facts, &arguments.tables, output)
                };
            }
        };
        let listed = sock_diag.dump(ALL_STATES & !SocketState::Listen.bit(), |sockets| {
            for socket in sockets {
                let is_active = !listening.accept(socket);
                let facts = Facts { is_active: Some(is_active), ..Facts::of(socket) };
                let facts = Facts { extremes: seen.note(socket), ..facts };
                write(&facts, if is_active { Role::Client } else { Role::Server });
            }
        });
        listed.map_err(not_listed)?;
        seen.complete();
        for (socket, accepted) in listening.iter() {
            write(&Facts { accepted, ..Facts::of(socket) }, Role::Server);
        }
        Ok(written?)
    }
}

fn not_listed(source: io::Error) -> Failure {
    Failure::Other(Error::System { what: "list the sockets (sock_diag)", source })
}

/// The tables of these names, with commas between.
///
/// # Errors
/// The name that is none, and those that are.
pub fn tables(text: &str) -> Result<Vec<EstatsTable>, String> {
    let find = |name: &str| {
        let known = EstatsTable::ALL.into_iter().find(|table| table.name().eq_ignore_ascii_case(name.trim()));
        let names = || EstatsTable::ALL.map(|table| table.name().to_lowercase()).join(", ");
        known.ok_or_else(|| {
            format!("there is no table `{}`; there are: {}", name.trim().escape_debug(), names())
        })
    };
    text.split(',').map(find).collect()
}
