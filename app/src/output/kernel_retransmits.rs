//! What the kernel itself says of retransmits, as lines for people.

use std::net::Ipv6Addr;

use nix::errno::Errno;
use probe_common::retransmit::{KernelRetransmit, What};

use super::RenderContext;
use super::format::{self, UNKNOWN, counted, duration};
use tcptop_core::{
    Flow, Owner, Party, RetransmitCause, RetransmitKind, RetransmitWitnesses, Role, SentAgain, Socket,
    SocketState,
};

/// A retransmit, and what is known beside it.
#[derive(Clone, Copy, Debug)]
pub struct Resent<'a> {
    /// What the kernel says.
    pub record: &'a KernelRetransmit,
    /// Who opened the connection: server where somebody listens on the local port, else client.
    pub role: Role,
    /// Whose socket it is.
    pub owner: Option<&'a Owner>,
    /// Whether it is of the network namespace that tcptop runs in.
    pub is_here: bool,
}

/// Counts over a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// When counting began, in nanoseconds of the monotonic clock.
    pub since_ns: u64,
    /// When it ended.
    pub until_ns: u64,
    /// Retransmits.
    pub retransmits: u64,
    /// Segments of them.
    pub segments: u64,
    /// Segments by the number of their cause.
    pub by_cause: [u64; RetransmitCause::COUNT],
    /// Retransmits that could not be sent; `None` where the kernel does not tell of them.
    pub failed: Option<u64>,
    /// Segments of the own network namespace between two readings of the kernel's count of them.
    pub own_segments: u64,
    /// How much that count grew meanwhile.
    pub retrans_segs: Option<u64>,
    /// Segments of other network namespaces.
    pub other_segments: u64,
    /// How many these are.
    pub other_namespaces: u64,
    /// Retransmits that were missed.
    pub missed: u64,
    /// Segments of them.
    pub missed_segments: u64,
    /// Lines that were dropped.
    pub missed_lines: u64,
}

impl<'a> Resent<'a> {
    /// One of a run that watches interfaces, all of whose connections are of its own network namespace.
    #[must_use]
    pub fn of(sent: &'a SentAgain) -> Self {
        let flow = &sent.flow;
        Self {
            record: &sent.record,
            role: flow.role().unwrap_or(Role::Client),
            owner: flow.owner(Party::Local),
            is_here: true,
        }
    }

    /// What was retransmitted.
    #[must_use]
    pub const fn kind(&self) -> RetransmitKind {
        match self.record.what {
            What::Syn => RetransmitKind::Syn,
            What::SynAck => RetransmitKind::SynAck,
            What::Data => RetransmitKind::Data,
            What::Fin => RetransmitKind::Fin,
        }
    }

    /// Whether it is IPv4, also of a socket of IPv6.
    #[must_use]
    pub fn is_v4(&self) -> bool {
        Ipv6Addr::from(self.record.remote.address).to_ipv4_mapped().is_some()
    }

    /// The connection, as filters test it.
    #[must_use]
    pub fn flow(&self) -> Flow {
        let record = self.record;
        let state = SocketState::of(record.state).unwrap_or(SocketState::Close);
        let socket = Socket::new(record.cookie.unwrap_or(0), record.local, record.remote, state);
        let cause = (record.transmission.cause(), record.segments);
        Flow::of_sender(&socket, self.role, self.owner, cause, record.time_ns)
    }
}

/// The name of an error of the kernel: `ENOBUFS`. `None` for no error.
#[must_use]
pub fn error_name(number: u32) -> Option<String> {
    let number = i32::try_from(number).ok().filter(|number| *number != 0)?;
    Some(match Errno::from_raw(number) {
        Errno::UnknownErrno => format!("error {number}"),
        known => format!("{known:?}"),
    })
}

/// A retransmit: when, with whom, what, why, in which state, whose.
///
/// `2026-01-02T14:02:31.123+01:00 client 10.20.3.14:5432 retransmit data by timeout 2 1448 bytes established port 40123 curl[12]`
#[must_use]
pub fn line(resent: &Resent<'_>, context: &RenderContext) -> String {
    let record = resent.record;
    let peer = format::peer(&resent.flow().peer());
    let (time, role) = (context.timestamp(record.time_ns), resent.role.name());
    let mut line = format!("{time} {role:<6} {peer:<24} retransmit  {}", resent.kind().name());
    if let Some(cause) = record.transmission.cause() {
        let times = record.transmission.timeouts().filter(|&timeouts| timeouts > 1);
        let times = times.map(|times| format!(" {times}")).unwrap_or_default();
        line.push_str(&format!(" by {}{times}", cause.name()));
    }
    if let Some(repeats) = record.repeats.filter(|repeats| *repeats > 1) {
        line.push_str(&format!(" {repeats} times"));
    }
    if record.len > 0 {
        line.push_str(&format!(" {}", counted(record.len.into(), "byte")));
    }
    if record.segments > 1 {
        line.push_str(&format!(" in {} segments", record.segments));
    }
    if let Some(error) = record.error.and_then(error_name) {
        line.push_str(&format!(" not sent ({error})"));
    }
    let state = SocketState::of(record.state).map_or(UNKNOWN, SocketState::name);
    line.push_str(&format!(" {state} port {}", record.local.port));
    if !resent.is_here {
        line.push_str(&format!(" netns {}", record.namespace));
    }
    if let Some(owner) = resent.owner {
        let workload = owner.process.workload.as_ref();
        let container = workload.and_then(|workload| workload.shown_container());
        let container = container.map(|container| format!(" ({container})")).unwrap_or_default();
        line.push_str(&format!(" {}{container}", format::process(&owner.process)));
    }
    line
}

/// A connection that has ended and of which the witnesses say something else.
///
/// `2026-01-02T14:02:31.123+01:00 client 10.20.3.14:5432 retransmits differ: 12 on the wire, 13 by the kernel port 40123`
#[must_use]
pub fn difference(flow: &Flow, both: RetransmitWitnesses, context: &RenderContext) -> String {
    let (time, role) = (context.timestamp(flow.changed_ns()), flow.role().map_or(UNKNOWN, Role::name));
    let RetransmitWitnesses { wire, kernel } = both;
    let peer = format::peer(&flow.peer());
    format!(
        "{time} {role:<6} {peer:<24} retransmits differ: {wire} on the wire, {kernel} by the kernel port {}",
        flow.port()
    )
}

/// What was counted, in a few lines.
#[must_use]
pub fn summary(totals: &Totals) -> Vec<String> {
    let spent = duration(totals.until_ns.saturating_sub(totals.since_ns));
    let retransmits = counted(totals.retransmits, "retransmit");
    let mut lines = vec![format!("--- {retransmits} ({}) in {spent}", counted(totals.segments, "segment"))];
    let unknown = totals.segments.saturating_sub(totals.by_cause.iter().sum());
    let causes = RetransmitCause::ALL.map(|cause| (totals.by_cause[cause as usize], cause.name()));
    let causes = causes.into_iter().chain([(unknown, "of no known cause")]).filter(|(count, _)| *count > 0);
    let causes: Vec<String> = causes.map(|(count, name)| format!("{count} {name}")).collect();
    if !causes.is_empty() {
        lines.push(format!("segments by cause: {}", causes.join(", ")));
    }
    let own = counted(totals.own_segments, "segment");
    lines.push(match totals.retrans_segs {
        Some(count) => format!("in this network namespace: {own}; the kernel's RetransSegs grew by {count}"),
        None => format!("in this network namespace: {own}; the kernel's RetransSegs cannot be read"),
    });
    if totals.other_namespaces > 0 {
        let others = counted(totals.other_namespaces, "other network namespace");
        lines.push(format!("in {others}: {}", counted(totals.other_segments, "segment")));
    }
    lines.push(match totals.failed {
        Some(failed) => format!("not sent: {failed}"),
        None => "not sent: this kernel does not tell of those".to_owned(),
    });
    let missed_lines = counted(totals.missed_lines, "line");
    lines.push(format!("missed: {}, {missed_lines}", counted(totals.missed, "retransmit")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_names() {
        assert_eq!(error_name(0), None);
        assert_eq!(error_name(105).as_deref(), Some("ENOBUFS"));
        assert_eq!(error_name(4_000).as_deref(), Some("error 4000"));
        assert_eq!(error_name(u32::MAX), None);
    }

    #[test]
    fn a_summary_holds_the_count_against_that_of_the_kernel() {
        let totals = Totals {
            until_ns: 2_000_000_000,
            retransmits: 5,
            segments: 7,
            by_cause: [4, 0, 2, 0],
            own_segments: 6,
            retrans_segs: Some(6),
            other_segments: 1,
            other_namespaces: 1,
            failed: Some(0),
            ..Totals::default()
        };
        assert_eq!(
            summary(&totals),
            [
                "--- 5 retransmits (7 segments) in 2.00s",
                "segments by cause: 4 timeout, 2 fast, 1 of no known cause",
                "in this network namespace: 6 segments; the kernel's RetransSegs grew by 6",
                "in 1 other network namespace: 1 segment",
                "not sent: 0",
                "missed: 0 retransmits, 0 lines",
            ]
        );
    }
}
