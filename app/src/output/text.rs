//! Lines for people, one per decided handshake.

use super::RenderContext;
use super::format::{UNKNOWN, duration, maybe_duration, peer};
use tcptop_core::table::{FlowReport, Leg, Role};

/// One handshake: when, who, what came of it, how long it took.
///
/// `14:02:31.123 client 10.20.3.14:5432 established rtt 210ms setup 1.21s tries 2 port 40123 eth0`
#[must_use]
pub fn handshake(flow: &FlowReport, context: &RenderContext) -> String {
    let role = flow.role.map_or(UNKNOWN, Role::name);
    let mut line = format!(
        "{} {role:<6} {:<24} {:<11}",
        context.time_of_day(flow.changed_ns),
        peer(&flow.peer),
        flow.outcome.name(),
    );
    let latency = latency(flow);
    if !latency.is_empty() {
        line.push_str(&format!(" {latency}"));
    }
    if flow.tries != Some(1) {
        let tries = flow.tries.map_or_else(|| UNKNOWN.to_owned(), |tries| tries.to_string());
        line.push_str(&format!(" tries {tries}"));
    }
    let port = if flow.role == Some(Role::Server) { flow.remote.port } else { flow.local.port };
    line.push_str(&format!(" port {port} {}", context.interface(flow.interface)));
    if let Some(encapsulation) = flow.encapsulation.name() {
        line.push_str(&format!(" in {encapsulation}"));
    }
    line
}

fn latency(flow: &FlowReport) -> String {
    if let Some(refusal) = flow.refusal {
        return format!("after {}", leg(refusal));
    }
    let turnaround = flow.turnaround().map(|turnaround| format!("turnaround {}", leg(turnaround)));
    if flow.rtt().is_none() && flow.setup_ns.is_none() {
        return turnaround.unwrap_or_default();
    }
    let rtt = flow.rtt().map_or_else(|| UNKNOWN.to_owned(), leg);
    let text = format!("rtt {rtt:<6} setup {:<6}", maybe_duration(flow.setup_ns));
    [Some(text), turnaround].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// One leg: `210ms`, or its bounds: `2.10ms..1.00s`.
#[must_use]
pub fn leg(leg: Leg) -> String {
    match leg {
        Leg::Exact(ns) => duration(ns),
        Leg::Between { min_ns, max_ns } => format!("{}..{}", duration(min_ns), duration(max_ns)),
    }
}
