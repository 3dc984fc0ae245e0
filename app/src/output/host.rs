//! What the kernel counts for the whole host, in words: what no single connection shows, and whether its own count of
//! retransmits is the one that was seen.

use super::RenderContext;
use super::format::counted;
use tcptop_core::{Conntrack, CrossCheck, Dropped, Host, Missed, MissedCounts, Snapshot};

/// The most interfaces that are named.
const NAMED: usize = 4;

/// Signs of trouble since counts began: `this host: 12 accept queue overflows (last 14:02:31); conntrack table 990 of 1000`.
#[must_use]
pub fn troubles(host: &Host, context: &RenderContext) -> Option<String> {
    line(host, 0, context)
}

/// The same of what grew since a moment, or is so now: for a screen.
#[must_use]
pub fn recent_troubles(host: &Host, since_ns: u64, context: &RenderContext) -> Option<String> {
    line(host, since_ns, context)
}

fn line(host: &Host, since_ns: u64, context: &RenderContext) -> Option<String> {
    let grown = host.troubles().filter(|(_, _, last_ns)| *last_ns >= since_ns);
    let grown = grown.filter_map(|(counter, count, last_ns)| {
        Some(format!("{} (last {})", counted(count, counter.trouble()?), context.clock_time(last_ns)))
    });
    let full = host.conntrack.filter(Conntrack::is_full);
    let full = full.map(|Conntrack { entries, max }| format!("conntrack table {entries} of {max}"));
    let all: Vec<String> = grown.chain(full).collect();
    (!all.is_empty()).then(|| format!("this host: {}", all.join("; ")))
}

/// What this host itself dropped: `dropped by this host: 38 SYNs to port 443 (NETFILTER_DROP)`, the most frequent first.
#[must_use]
pub fn drops(snapshot: &Snapshot) -> Option<String> {
    let all = snapshot.drops.as_deref().filter(|drops| !drops.is_empty())?;
    let named: Vec<&Dropped> = all.iter().take(NAMED).collect();
    let more: u64 = all.iter().skip(NAMED).map(|dropped| dropped.count).sum();
    let more = if more > 0 { format!(", {more} others") } else { String::new() };
    Some(format!("dropped by this host: {}{more}", listed(&named)))
}

/// `38 SYNs to port 443 (NETFILTER_DROP), 1 segment of port 80 (TCP_OVERWINDOW)`
#[must_use]
pub fn listed(drops: &[&Dropped]) -> String {
    let one = |dropped: &&Dropped| {
        let Dropped { reason, port, is_syn, count } = dropped;
        match port {
            Some(port) if *is_syn => format!("{} to port {port} ({reason})", counted(*count, "SYN")),
            Some(port) => format!("{} of port {port} ({reason})", counted(*count, "segment")),
            None => format!("{} of other ports ({reason})", counted(*count, "segment")),
        }
    };
    drops.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The kernel's count of the retransmits that this host sent, held against those that were seen, over the same time; `None` where
/// the kernel does not say.
#[must_use]
pub fn cross_check(snapshot: &Snapshot) -> Option<String> {
    let host = snapshot.host.as_ref()?;
    let all = host.retransmits?;
    let of = |count: fn(CrossCheck) -> u64| {
        let syns = host.syn_retransmits.map(|syns| format!(" ({} SYN and SYN-ACK)", count(syns)));
        format!("{}{}", count(all), syns.unwrap_or_default())
    };
    let kernel = format!("kernel: this host retransmitted {}", of(|check| check.kernel));
    let is_same = |check: CrossCheck| check.kernel == check.seen;
    if is_same(all) && host.syn_retransmits.is_none_or(is_same) {
        return Some(format!("{kernel}, as was seen"));
    }
    let mut reasons = Vec::new();
    let less = |check: CrossCheck| check.seen < check.kernel;
    if less(all) || host.syn_retransmits.is_some_and(less) {
        reasons.extend(reasons_for_less(host, &snapshot.missed));
    }
    let more = |check: CrossCheck| check.seen > check.kernel;
    if more(all) || host.syn_retransmits.is_some_and(more) {
        reasons.push(
            "more is seen of other network namespaces behind this host's addresses, and of packets that pass several \
             of the interfaces"
                .to_owned(),
        );
    }
    Some(format!("{kernel}; seen: {}: {}", of(|check| check.seen), reasons.join("; ")))
}

/// Why fewer were seen than the kernel counts. The last reason is always possible.
fn reasons_for_less(host: &Host, missed: &MissedCounts) -> Vec<String> {
    let mut reasons = Vec::new();
    if !host.unwatched.is_empty() {
        let (named, others) = host.unwatched.split_at(host.unwatched.len().min(NAMED));
        let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        reasons.push(format!("other interfaces are not watched: {}{others}", named.join(" ")));
    }
    if missed.total() > missed.of_kind(Missed::Line) {
        reasons.push("records, packets or flows were missed".to_owned());
    }
    reasons.push(
        "what did not leave this host, or was first sent before the start, counts for the kernel only"
            .to_owned(),
    );
    reasons
}
