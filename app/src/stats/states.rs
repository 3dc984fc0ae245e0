//! `tcptop stats --events=state`: a line for each change of a socket's state.

use std::io;
use std::time::Duration;

use probe_common::Endpoint;
use probe_common::segment::mapped;
use probe_common::sums::RawStateChange;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cli::{Events, StatsArgs};
use crate::clock::{Anchor, monotonic_ns};
use crate::error::Error;
use crate::output::RenderContext;
use crate::output::json::objects::Object;
use crate::output::json::push;
use crate::output::json::states::{self, Change};
use crate::output::line_writer::{LineWriter, Lines, Stopped, WhenFull};
use crate::session;
use crate::source::kernel::SocketEvents;
use crate::stop::Stop;
use tcptop_core::{Filter, Flow, Role, Socket, SocketState};

/// How often the ring is read: the kernel wakes nobody.
const TICK: Duration = Duration::from_millis(50);
/// Changes that are read before anything else is done.
const BATCH: usize = 8_192;
/// The longest time that reading the last ones takes, while more and more come.
const LAST: Duration = Duration::from_secs(1);
/// `AF_INET6`.
const INET6: u32 = 10;

/// Writes changes until told to stop.
///
/// # Errors
/// When the privileges or the kernel are not what is needed, or the output cannot be written.
pub(super) fn run(arguments: &StatsArgs, filter: &Filter) -> Result<(), Error> {
    session::event_loop()?.block_on(async {
        let mut stop = Stop::new()?;
        let events = super::collect(Events::State, arguments)?;
        let writer = LineWriter::new(io::stdout(), WhenFull::Drop)
            .map_err(|source| Error::System { what: "start an output thread", source })?;
        let context = RenderContext::new(std::collections::BTreeMap::new(), "sock_ops", Anchor::now());
        let context = RenderContext { host: crate::live::host(), ..context };
        let (lines, is_json) = (Lines::default(), arguments.json);
        let mut run =
            Run { events, filter, is_json, context, writer, lines, changes: 0, since_ns: monotonic_ns() };
        stop.within(arguments.duration);
        match run.watch(&mut stop).await {
            Ok(()) => run.end().await,
            Err(stopped) => failed(stopped),
        }
    })
}

struct Run<'a> {
    events: SocketEvents,
    filter: &'a Filter,
    is_json: bool,
    context: RenderContext,
    writer: LineWriter,
    lines: Lines,
    changes: u64,
    since_ns: u64,
}

impl Run<'_> {
    async fn watch(&mut self, stop: &mut Stop) -> Result<(), Stopped> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.wanted() => return Ok(()),
            }
            if self.take() == BATCH {
                tick.reset_immediately();
            }
            self.writer.write(&mut self.lines)?;
        }
    }

    fn take(&mut self) -> usize {
        let Self { events, filter, is_json, context, lines, changes, .. } = self;
        events.drain(BATCH, |raw| {
            *changes += 1;
            let Some(change) = typed(raw) else { return };
            if !filter.is_empty() && !filter.matches_socket(&flow(&change), change.time_ns) {
                return;
            }
            if *is_json {
                push(&Object::StateChange(Box::new(states::change(&change, context))), lines);
            } else {
                lines.push_text(&states::line(&change, context));
            }
        })
    }

    async fn end(mut self) -> Result<(), Error> {
        let deadline = Instant::now() + LAST;
        while self.take() == BATCH && Instant::now() < deadline {}
        let totals = states::Totals {
            since_ns: self.since_ns,
            until_ns: monotonic_ns(),
            changes: self.changes,
            missed: self.events.missed()?,
            missed_lines: self.writer.dropped(),
        };
        let mut last = std::mem::take(&mut self.lines);
        if self.is_json {
            push(&Object::StateChanges(states::totals(&totals, &self.context)), &mut last);
        } else {
            last.push_text(&states::summary(&totals));
        }
        self.writer.finish(last).await.or_else(failed)
    }
}

fn failed(stopped: Stopped) -> Result<(), Error> {
    match stopped {
        // Whoever reads has seen enough.
        Stopped::ReaderGone => Ok(()),
        Stopped::Failed(source) => Err(Error::Output { target: "standard output".to_owned(), source }),
    }
}

/// `None` for a state that is not known.
fn typed(raw: &RawStateChange) -> Option<Change> {
    let address = |v6: [u32; 4], v4: u32| {
        if raw.family != INET6 {
            return mapped(v4.to_ne_bytes());
        }
        let mut address = [0; 16];
        address
            .chunks_exact_mut(4)
            .zip(v6)
            .for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_ne_bytes()));
        address
    };
    let [from, to, ..] = raw.states.to_le_bytes();
    let port = |port: u32| u16::try_from(port).unwrap_or(0);
    Some(Change {
        time_ns: raw.time_ns,
        cookie: raw.cookie,
        local: Endpoint { address: address(raw.local_v6, raw.local_v4), port: port(raw.local_port) },
        remote: Endpoint {
            address: address(raw.remote_v6, raw.remote_v4),
            port: port(u32::from_be(raw.remote_port)),
        },
        from: SocketState::of(from)?,
        to: SocketState::of(to)?,
        srtt_us: Some(raw.srtt >> 3).filter(|us| *us != 0),
        retransmits: raw.retransmits,
    })
}

/// The connection, as filters test it: in its new state.
fn flow(change: &Change) -> Flow {
    let socket = Socket::new(change.cookie, change.local, change.remote, change.to);
    let is_server = change.from == SocketState::SynRecv;
    Flow::of_socket(&socket, if is_server { Role::Server } else { Role::Client }, change.time_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_its_ends_in_either_family() {
        let raw = RawStateChange {
            time_ns: 5,
            cookie: 7,
            local_v6: [0x20_u32, 0, 0, 1_u32.to_be()],
            remote_v6: [0x20_u32, 0, 0, 2_u32.to_be()],
            local_v4: u32::from_ne_bytes([10, 0, 0, 1]),
            remote_v4: u32::from_ne_bytes([10, 0, 0, 2]),
            family: 2,
            local_port: 40_000,
            remote_port: 443_u32.to_be(),
            states: 1 | 4 << 8,
            srtt: 80,
            retransmits: 3,
        };
        let change = typed(&raw).expect("known states");
        assert_eq!((change.local.port, change.remote.port), (40_000, 443));
        assert_eq!(change.remote.address, mapped([10, 0, 0, 2]));
        assert_eq!((change.from, change.to), (SocketState::Established, SocketState::FinWait1));
        assert_eq!(change.srtt_us, Some(10));
        let v6 = typed(&RawStateChange { family: INET6, srtt: 0, ..raw }).expect("known states");
        assert_eq!((v6.remote.address[15], v6.srtt_us), (2, None));
        assert!(typed(&RawStateChange { states: 99, ..raw }).is_none());
    }
}
