//! Lines for people: one per decided handshake, one per connection that was aborted, and one per retransmitted segment where
//! they are wanted.

use super::format::{
    self, UNKNOWN, counted, duration, full_queue, icmp_error, local_failure, maybe_duration, peer,
    strange_ttl, stuck,
};
use super::kernel_retransmits::{self, Resent};
use super::line_writer::Lines;
use super::target::Witness;
use super::{Output, RenderContext};
use tcptop_core::{Event, Flow, Leg, Outcome, Party, Retransmit, Role};
use tcptop_core::{Query, Snapshot, SnapshotRequest};

/// The output of these lines.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// By which witness all retransmitted segments have lines. One that shows that large segments do not get through always has.
    pub retransmits: Option<Witness>,
}

impl Output for Text {
    fn takes_events(&self) -> bool {
        true
    }

    fn event(&mut self, event: &Event, context: &RenderContext, lines: &mut Lines) {
        match event {
            Event::Handshake(flow) => lines.push_text(&handshake(flow, None, context)),
            Event::Correction(flow, told) => lines.push_text(&handshake(flow, Some(*told), context)),
            Event::Retransmit(resent)
                if resent.is_stuck || matches!(self.retransmits, Some(Witness::Wire | Witness::Both)) =>
            {
                lines.push_text(&retransmit(resent, context));
            }
            Event::KernelRetransmit(sent) if self.retransmits == Some(Witness::Kernel) => {
                lines.push_text(&kernel_retransmits::line(&Resent::of(sent), context));
            }
            Event::Close(flow) => self.close_lines(flow, context, lines),
            Event::Retransmit(_) | Event::KernelRetransmit(_) => {}
        }
    }

    fn closing_request(&self, _: &Query) -> Option<SnapshotRequest> {
        None
    }

    fn close(&mut self, _: &Snapshot, _: &RenderContext, _: &mut Lines) {}
}

impl Text {
    fn close_lines(self, flow: &Flow, context: &RenderContext, lines: &mut Lines) {
        if flow.is_aborted() {
            lines.push_text(&aborted(flow, context));
        }
        let both = flow.retransmit_witnesses().filter(|both| both.differ());
        if let Some(both) = both.filter(|_| self.retransmits == Some(Witness::Both)) {
            lines.push_text(&kernel_retransmits::difference(flow, both, context));
        }
    }
}

/// A handshake: when, with whom, its outcome, the one that it `corrects` (which its own line said before), and its times.
///
/// `2026-01-02T14:02:31.123+01:00 client 10.20.3.14:5432 established rtt 210ms setup 1.21s tries 2 port 40123 eth0`
#[must_use]
pub fn handshake(flow: &Flow, corrects: Option<Outcome>, context: &RenderContext) -> String {
    let mut line = begin(flow, flow.changed_ns(), flow.outcome().name(), context);
    if let Some(told) = corrects {
        line.push_str(&format!(" (corrects {})", told.name()));
    }
    if let Some(error) = flow.icmp_error().filter(|_| flow.outcome() == Outcome::Unreachable) {
        line.push_str(&format!(" {}", icmp_error(error)));
    }
    if let Some(queue) = flow.accept_queue() {
        line.push_str(&format!(" {}", full_queue(&queue)));
    }
    if let Some(failure) = flow.failure() {
        line.push_str(&format!(" {}", local_failure(failure)));
    }
    line.push_str(&reset(flow));
    let latency = latency(flow);
    if !latency.is_empty() {
        line.push_str(&format!(" {latency}"));
    }
    if flow.tries() != Some(1) && flow.failure().is_none() {
        let tries = flow.tries().map_or_else(|| UNKNOWN.to_owned(), |tries| tries.to_string());
        line.push_str(&format!(" tries {tries}"));
    }
    line + &end(flow, context)
}

/// An aborted connection: when, with whom, and how long after its first SYN.
///
/// `2026-01-02T14:02:31.123+01:00 client 10.20.3.14:5432 aborted after 2.30ms port 40123 eth0`
#[must_use]
pub fn aborted(flow: &Flow, context: &RenderContext) -> String {
    let line = begin(flow, flow.changed_ns(), "aborted", context);
    let after = flow.lifetime_ns().map(|ns| format!(" after {}", duration(ns))).unwrap_or_default();
    line + &after + &reset(flow) + &end(flow, context)
}

/// Why it was reset, where that is known: ` (closed with unread data)`, ` (TTL 61, not 52: a middlebox?)`.
fn reset(flow: &Flow) -> String {
    let said = flow.reset().and_then(|reset| reset.reason).map(|reason| reason.name().to_owned());
    let why = said.or_else(|| flow.strange_reset_ttl().map(strange_ttl));
    why.map(|why| format!(" ({why})")).unwrap_or_default()
}

/// A retransmitted segment: when, with whom, what it is, who sent it, how long after the one before, and why: the second
/// timeout in a row is `timeout 2`.
///
/// `2026-01-02T14:02:31.123+01:00 client 10.20.3.14:5432 retransmit syn sent after 1.00s by timeout port 40123 eth0`
#[must_use]
pub fn retransmit(resent: &Retransmit, context: &RenderContext) -> String {
    let mut line = begin(&resent.flow, resent.time_ns, "retransmit", context);
    let way = match resent.by {
        Party::Local => "sent",
        Party::Remote => "received",
    };
    line.push_str(&format!(" {} {way}", resent.kind.name()));
    if let Some(after_ns) = resent.after_ns {
        line.push_str(&format!(" after {}", duration(after_ns)));
    }
    if let Some(cause) = resent.cause {
        let times = resent.timeouts.filter(|&timeouts| timeouts > 1);
        let times = times.map(|times| format!(" {times}")).unwrap_or_default();
        line.push_str(&format!(" by {}{times}", cause.name()));
    }
    if let Some(no_loss) = resent.no_loss {
        line.push_str(&format!(" ({})", no_loss.name()));
    }
    if resent.len > 0 {
        line.push_str(&format!(" {}", counted(resent.len.into(), "byte")));
    }
    if resent.segments > 1 {
        line.push_str(&format!(" in {} segments", resent.segments));
    }
    if let Some(bytes) = resent.flow.stuck_bytes().filter(|_| resent.is_stuck) {
        line.push_str(&format!(" {}", stuck(bytes)));
    }
    line + &end(&resent.flow, context)
}

fn begin(flow: &Flow, time_ns: u64, what: &str, context: &RenderContext) -> String {
    let role = flow.role().map_or(UNKNOWN, Role::name);
    format!("{} {role:<6} {:<24} {what:<11}", context.timestamp(time_ns), peer(&flow.peer()))
}

fn end(flow: &Flow, context: &RenderContext) -> String {
    let carrier = flow.encapsulation().name().map(|name| format!(" in {name}")).unwrap_or_default();
    let owners = flow.processes().map(|process| format!(" {}", format::process(process)));
    let owners: String = owners.collect();
    format!(
        " port {} {}{carrier}{owners}",
        format::port(flow.port()),
        context.interface_name(flow.interface())
    )
}

fn latency(flow: &Flow) -> String {
    if let Some(refusal) = flow.refusal().or_else(|| flow.unreachable_after()) {
        return format!("after {}", leg(refusal));
    }
    let turnaround = flow.turnaround().map(|turnaround| format!("turnaround {}", leg(turnaround)));
    if flow.rtt().is_none() && flow.setup_ns().is_none() {
        return turnaround.unwrap_or_default();
    }
    let rtt = flow.rtt().map_or_else(|| UNKNOWN.to_owned(), leg);
    let text = format!("rtt {rtt:<6} setup {:<6}", maybe_duration(flow.setup_ns()));
    [Some(text), turnaround].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A leg: `210ms`, or its bounds: `2.10ms..1.00s`.
#[must_use]
pub fn leg(leg: Leg) -> String {
    match leg {
        Leg::Exact(ns) => duration(ns),
        Leg::Between { min_ns, max_ns } => format!("{}..{}", duration(min_ns), duration(max_ns)),
    }
}
