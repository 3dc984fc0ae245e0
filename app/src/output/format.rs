//! How figures, times and addresses are written for people, in every output and on the screen.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv6Addr;

use jiff::Zoned;
use jiff::tz::TimeZone;
use probe_common::{Endpoint, Family};

use crate::clock::Anchor;
use tcptop_core::{
    AcceptQueue, Estimate, IcmpError, LocalFailure, PathMtu, PeerKey, Process, Processes, RetransmitCause,
    RetransmitCauses, RowKey, RowOwner, ShownEndpoint,
};

/// A port, or that there was none: of a connect that failed before it got one.
#[must_use]
pub fn port(port: u16) -> String {
    if port == 0 { UNKNOWN.to_owned() } else { port.to_string() }
}

/// An unknown value.
pub const UNKNOWN: &str = "-";

/// What the figures do not have: names, and the wall clock.
#[derive(Clone, Debug)]
pub struct RenderContext {
    /// The names of the watched interfaces, by index. They are escaped.
    pub interfaces: BTreeMap<u32, String>,
    /// Where packets come from: `tcx` or `clsact`, or `replay`.
    pub source: &'static str,
    /// The name of this host, escaped; none in a replay, whose packets may be those of another one.
    pub host: Option<String>,
    /// The number of this run: 16 hexadecimal digits that no other run has.
    pub run: String,
    /// What the kernel does not let be known although it is wanted: sentences.
    pub not_known: Vec<String>,
    /// Converts the monotonic into the wall clock.
    pub anchor: Anchor,
    /// The time zone for people.
    pub zone: TimeZone,
}

/// The source of a replay.
pub const REPLAY: &str = "replay";

/// The most interfaces that are named one after the other: a capture can have 65,536.
const INTERFACES: usize = 16;

impl RenderContext {
    /// A context in the time zone of this machine, without the name of a host.
    #[must_use]
    pub fn new(interfaces: BTreeMap<u32, String>, source: &'static str, anchor: Anchor) -> Self {
        let (host, not_known) = (None, Vec::new());
        Self { interfaces, source, host, run: new_run(), not_known, anchor, zone: TimeZone::system() }
    }

    /// Whether this host is the one whose packets are seen.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.source != REPLAY
    }

    /// The name of an interface; `#5` for the index 5 if it is not watched.
    #[must_use]
    pub fn interface(&self, index: u32) -> String {
        self.interface_name(index).into_owned()
    }

    /// The same, borrowed if it is known.
    #[must_use]
    pub fn interface_name(&self, index: u32) -> Cow<'_, str> {
        match self.interfaces.get(&index) {
            Some(name) => name.into(),
            // A connect that failed before any SYN passed one.
            None if index == 0 => UNKNOWN.into(),
            None => format!("#{index}").into(),
        }
    }

    /// The names of all interfaces, with spaces between; of very many the first, and how many more there are.
    #[must_use]
    pub fn all_interfaces(&self) -> String {
        let mut names: Vec<&str> = self.interfaces.values().map(String::as_str).take(INTERFACES).collect();
        let more = self.interfaces.len().saturating_sub(INTERFACES);
        let more = format!("and {more} more");
        if self.interfaces.len() > INTERFACES {
            names.push(&more);
        }
        names.join(" ")
    }

    /// Local date and time with the offset from UTC, in one word (RFC 3339): `2026-01-02T14:02:31.123+00:00`.
    #[must_use]
    pub fn timestamp(&self, monotonic_ns: u64) -> String {
        let time = self.local(monotonic_ns);
        let (second, offset) = (time.strftime("%Y-%m-%dT%H:%M:%S"), time.strftime("%:z"));
        format!("{second}.{:03}{offset}", time.millisecond())
    }

    /// Local date and time with the offset from UTC: `2026-01-02 14:02:31 +00:00`.
    #[must_use]
    pub fn date_time(&self, monotonic_ns: u64) -> String {
        self.local(monotonic_ns).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    /// The same to the millisecond, to be found in a log or a capture: `2026-01-02 14:02:31.123 +00:00`.
    #[must_use]
    pub fn exact_time(&self, monotonic_ns: u64) -> String {
        let time = self.local(monotonic_ns);
        let (second, offset) = (time.strftime("%Y-%m-%d %H:%M:%S"), time.strftime("%:z"));
        format!("{second}.{:03} {offset}", time.millisecond())
    }

    /// Local time of day: `14:02:31`.
    #[must_use]
    pub fn clock_time(&self, monotonic_ns: u64) -> String {
        self.local(monotonic_ns).strftime("%H:%M:%S").to_string()
    }

    /// Local time of day, with the date unless it is that of `now_ns`.
    #[must_use]
    pub fn since(&self, monotonic_ns: u64, now_ns: u64) -> String {
        let time = self.local(monotonic_ns);
        let is_today = time.date() == self.local(now_ns).date();
        time.strftime(if is_today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
    }

    fn local(&self, monotonic_ns: u64) -> Zoned {
        self.anchor.wall(monotonic_ns).to_zoned(self.zone.clone())
    }
}

/// A number for a run, of the system's random numbers.
#[must_use]
pub fn new_run() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// A share as a percentage without its sign: `0.8`, `12.5`, `100`; `-` where there is none.
#[must_use]
pub fn percent(share: Option<f64>) -> String {
    match share.map(|share| share * 100.0) {
        None => UNKNOWN.to_owned(),
        Some(percent) if percent >= 99.95 => "100".to_owned(),
        Some(percent) => format!("{percent:.1}"),
    }
}

/// Three digits and a unit: `9.87µs`, `412ms`, `1.50s`. From 1,000 s on whole seconds.
#[must_use]
pub fn duration(ns: u64) -> String {
    let (unit_ns, unit) = match ns {
        0..1_000 => return format!("{ns}ns"),
        1_000..999_500 => (1_000, "µs"),
        999_500..999_500_000 => (1_000_000, "ms"),
        999_500_000.. => (1_000_000_000, "s"),
    };
    format!("{}{unit}", three_digits(ns, unit_ns))
}

/// `ns` in units, with three significant digits as long as there is a fraction.
fn three_digits(ns: u64, unit_ns: u64) -> String {
    let rounded = |parts: u64| {
        let part_ns = unit_ns / parts;
        ns.saturating_add(part_ns / 2) / part_ns
    };
    match (rounded(100), rounded(10)) {
        (hundredths @ ..1_000, _) => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        (_, tenths @ ..1_000) => format!("{}.{}", tenths / 10, tenths % 10),
        _ => format!("{}", rounded(1)),
    }
}

/// The same, or `-`.
#[must_use]
pub fn maybe_duration(ns: Option<u64>) -> String {
    ns.map_or_else(|| UNKNOWN.to_owned(), duration)
}

/// A span of time in its two largest units: `48s`, `2m41s`, `1h02m`, `3d04h`.
#[must_use]
pub fn age(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        86_400.. => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// Running time like a clock: `04:12`, `1:04:12`.
#[must_use]
pub fn clock(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    let (hours, minutes, seconds) = (s / 3_600, s / 60 % 60, s % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// Events per second, in 5 columns at the most: `395`, `18.2`, `0.31`, `0`.
#[must_use]
pub fn rate(per_s: f64) -> String {
    match per_s {
        ..=0.0 => "0".to_owned(),
        ..9.995 => format!("{per_s:.2}"),
        ..99.95 => format!("{per_s:.1}"),
        ..99_999.5 => format!("{per_s:.0}"),
        _ =>
        {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is positive, and a cast saturates"
            )]
            count(per_s as u64)
        }
    }
}

/// `1 record`, `2 records`.
#[must_use]
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How many, in 5 columns at the most: `99999`, `100k`, `1.23M`.
#[must_use]
pub fn count(number: u64) -> String {
    if number < 100_000 { number.to_string() } else { scaled(number, "") }
}

/// Digits in groups: `61,204`, and of an estimate the first two or three: `about 61,000`.
#[must_use]
pub fn estimate(estimate: Estimate) -> String {
    let Estimate { number, is_exact } = estimate;
    let step = 10_u64.pow(number.checked_ilog10().unwrap_or(0).saturating_sub(2));
    let number = if is_exact { number } else { number / step * step };
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<&str> = groups.filter_map(|group| core::str::from_utf8(group).ok()).collect();
    format!("{}{}", if is_exact { "" } else { "about " }, groups.join(","))
}

/// About how many, in 4 columns at the most: `9999`, `12k`, `1.2M`.
#[must_use]
pub fn brief(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    let (mut tenths, mut prefix) = (number / 100, "k");
    for larger in ["M", "G", "T", "P", "E"] {
        if tenths >= 10_000 {
            (tenths, prefix) = (tenths / 1_000, larger);
        }
    }
    if tenths < 100 {
        format!("{}.{}{prefix}", tenths / 10, tenths % 10)
    } else {
        format!("{}{prefix}", tenths / 10)
    }
}

/// The same of a rate: `0.31`, `18.2`, `395`, `12k`.
#[must_use]
pub fn brief_rate(per_s: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is large, and a cast saturates"
    )]
    if per_s < 9_999.5 { rate(per_s) } else { brief(per_s as u64) }
}

/// Bytes, in 6 columns at the most: `999B`, `1.50kB`, `12.3MB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    if number < 1_000 { format!("{number}B") } else { scaled(number, "B") }
}

/// Three digits, and the prefix that makes them as large as `number`.
fn scaled(number: u64, unit: &str) -> String {
    let prefixes =
        ["k", "M", "G", "T", "P", "E"].into_iter().zip(1..).map(|(name, n)| (name, 1_000_u64.pow(n)));
    // From here on three digits would be rounded to four.
    let fits = |one: u64| one.checked_mul(1_000).is_none_or(|next| number < next - one / 2);
    let mut fitting = prefixes.filter(|(_, one)| fits(*one));
    let (prefix, one) = fitting.next().expect("the largest fits, as the next one is beyond 64 bits");
    format!("{}{prefix}{unit}", three_digits(number, one))
}

/// An address and a port: `10.20.3.14:5432`, `[2001:db8::8d]:443`.
#[must_use]
pub fn endpoint(endpoint: &Endpoint) -> String {
    ShownEndpoint(endpoint).to_string()
}

/// A peer: `10.20.3.14:5432` where this host connects to it, `10.20.3.14→:443` where it connects to port
/// 443 of this host.
#[must_use]
pub fn peer(key: &PeerKey) -> String {
    key.to_string()
}

/// An ICMP error: `prohibited by 10.0.0.1 (ICMP 3/13)`, `host unreachable at 10.0.0.1 (ICMP 3/1)`.
#[must_use]
pub fn icmp_error(error: &IcmpError) -> String {
    let IcmpError { reason, family, icmp_type, code, sender, .. } = error;
    let preposition = if reason.is_policy() { "by" } else { "at" };
    let protocol = match family {
        Family::V4 => "ICMP",
        Family::V6 => "ICMPv6",
    };
    format!("{} {preposition} {} ({protocol} {icmp_type}/{code})", reason.name(), address(*sender))
}

/// The queue of this host's listener, where it is full: `own queue full (129 of 128)`.
#[must_use]
pub fn full_queue(queue: &AcceptQueue) -> String {
    format!("own queue full ({queue})")
}

/// How large packets may be: `1400 bytes, by 10.0.0.1 (ICMP)`.
#[must_use]
pub fn path_mtu(path_mtu: &PathMtu) -> String {
    let PathMtu { mtu, router } = path_mtu;
    let size = mtu.map_or_else(|| "not stated".to_owned(), |mtu| counted(mtu.into(), "byte"));
    format!("{size}, by {} (ICMP)", address(*router))
}

/// What it means that segments with so many bytes of payload are stuck.
#[must_use]
pub fn stuck(bytes: u32) -> String {
    format!("full-size segments ({bytes} bytes of payload) do not get through: path MTU?")
}

/// The same of so many connections.
#[must_use]
pub fn stuck_in(connections: u64) -> String {
    format!("full-size segments do not get through in {}: path MTU?", counted(connections, "connection"))
}

/// An address: `10.0.0.1`, `2001:db8::1`.
#[must_use]
pub fn address(address: [u8; 16]) -> String {
    Ipv6Addr::from(address).to_canonical().to_string()
}

/// The name of a row, whose connections belong to these processes: a peer, or what a group of peers has in common.
#[must_use]
pub fn row(key: &RowKey, processes: Option<&Processes>, context: &RenderContext) -> String {
    let process = || processes.and_then(|processes| processes.iter().next());
    match key {
        RowKey::Process { owner: RowOwner::One(_), .. } => {
            process().map_or_else(|| key.to_string(), Process::shown_name)
        }
        RowKey::Container { owner: RowOwner::One(_), .. } => {
            let name =
                process().map(|process| process.workload.as_ref().and_then(|all| all.shown_container()));
            name.map_or_else(|| key.to_string(), |name| name.unwrap_or_else(|| "no container".to_owned()))
        }
        RowKey::Interface(index) => context.interface(*index),
        RowKey::Peer(_)
        | RowKey::Host { .. }
        | RowKey::Service { .. }
        | RowKey::Subnet { .. }
        | RowKey::Role { .. }
        | RowKey::Process { .. }
        | RowKey::Container { .. } => key.to_string(),
    }
}

/// A process: `curl[1234]`, as in the system's log; `~` before a name that is only that of a thread.
#[must_use]
pub fn process(process: &Process) -> String {
    format!("{}[{}]", process.shown_name(), process.pid)
}

/// Several processes in a few letters: the name of the latest, and how many more there are.
#[must_use]
pub fn processes(processes: &Processes) -> String {
    let Some(latest) = processes.iter().next() else { return UNKNOWN.to_owned() };
    let (name, more) = (latest.shown_name(), processes.iter().len() - 1);
    match (more, processes.has_more()) {
        (0, _) => name,
        (more, false) => format!("{name} +{more}"),
        (more, true) => format!("{name} +{more}.."),
    }
}

/// The container of the latest process that runs in one.
#[must_use]
pub fn container(processes: &Processes) -> String {
    let mut containers =
        processes.iter().filter_map(|process| process.workload.as_deref()?.shown_container());
    containers.next().unwrap_or_else(|| UNKNOWN.to_owned())
}

/// Retransmits by cause, where any is known: `2 timeout, 4 fast, 1 unknown; 1 spurious`.
#[must_use]
pub fn causes(causes: &RetransmitCauses) -> Option<String> {
    causes.main()?;
    let known = RetransmitCause::ALL.map(|cause| (causes.of(cause), cause.name()));
    let all = known.into_iter().chain([(causes.unknown(), "unknown")]);
    let named: Vec<String> =
        all.filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    let spurious = match causes.spurious() {
        0 => String::new(),
        spurious => format!("; {spurious} spurious"),
    };
    Some(named.join(", ") + &spurious)
}

/// A connect that failed on this host: `no route (errno 101)`.
#[must_use]
pub fn local_failure(failure: LocalFailure) -> String {
    let LocalFailure { cause, errno } = failure;
    errno.map_or_else(|| cause.name().to_owned(), |errno| format!("{} (errno {errno})", cause.name()))
}

/// The time to live of a RST that is not the one of the other segments of its sender: `TTL 61, not 52: a middlebox?`.
#[must_use]
pub fn strange_ttl([ttl, usual]: [u8; 2]) -> String {
    format!("TTL {ttl}, not {usual}: a middlebox?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use probe_common::segment::mapped;

    #[test]
    fn times_are_local_and_say_their_offset() {
        let wall = "2026-07-01T22:30:00.0456Z".parse::<Timestamp>().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let anchor = Anchor::new(1_000, wall);
        let context = RenderContext { zone, ..RenderContext::new(BTreeMap::new(), "tcx", anchor) };
        assert_eq!(context.timestamp(1_000), "2026-07-02T00:30:00.045+02:00");
        assert_eq!(context.exact_time(1_000), "2026-07-02 00:30:00.045 +02:00");
        assert_eq!(context.date_time(1_000), "2026-07-02 00:30:00 +02:00");
        assert_eq!(context.clock_time(1_000), "00:30:00");
        let hour_ns = 3_600_000_000_000;
        assert_eq!(context.since(1_000, 1_000 + hour_ns), "00:30:00");
        assert_eq!(context.since(1_000, 1_000 + 24 * hour_ns), "2026-07-02 00:30:00");
    }

    #[test]
    fn durations_have_three_digits() {
        let shown = [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.00µs"),
            (9_994, "9.99µs"),
            (9_996, "10.0µs"),
            (99_960, "100µs"),
            (999_499, "999µs"),
            (999_500, "1.00ms"),
            (412_000_000, "412ms"),
            (999_600_000, "1.00s"),
            (1_500_000_000, "1.50s"),
            (63_000_000_000, "63.0s"),
            (127_400_000_000, "127s"),
        ];
        for (ns, text) in shown {
            assert_eq!(duration(ns), text, "{ns} ns");
        }
    }

    #[test]
    fn ages_have_two_units() {
        let second = 1_000_000_000;
        assert_eq!(age(48 * second), "48s");
        assert_eq!(age(161 * second), "2m41s");
        assert_eq!(age(3_720 * second), "1h02m");
        assert_eq!(age(90_000 * second), "1d01h");
        assert_eq!(clock(252 * second), "04:12");
        assert_eq!(clock(3_852 * second), "1:04:12");
    }

    #[test]
    fn rates_keep_their_width() {
        let shown = [0.0, 0.312, 9.999, 18.24, 394.6, 99_999.4, 123_456.0].map(rate);
        assert_eq!(shown, ["0", "0.31", "10.0", "18.2", "395", "99999", "123k"]);
    }

    #[test]
    fn estimates_are_rounded_and_exact_numbers_are_not() {
        let shown = [(0, true), (4_095, true), (61_204, false), (1_234_567, false), (999, false)];
        let shown = shown.map(|(number, is_exact)| estimate(Estimate { number, is_exact }));
        assert_eq!(shown, ["0", "4,095", "about 61,200", "about 1,230,000", "about 999"]);
    }

    #[test]
    fn counts_keep_their_width() {
        let shown = [0, 99_999, 100_000, 999_499, 999_500, 1_234_567, 45_600_000, u64::MAX].map(count);
        assert_eq!(shown, ["0", "99999", "100k", "999k", "1.00M", "1.23M", "45.6M", "18.4E"]);
        let shown = [0, 999, 1_000, 12_345, 999_499, 1_500_000_000].map(bytes);
        assert_eq!(shown, ["0B", "999B", "1.00kB", "12.3kB", "999kB", "1.50GB"]);
    }

    #[test]
    fn brief_figures_keep_their_width() {
        let shown =
            [0, 9_999, 10_000, 12_999, 999_999, 1_000_000, 1_990_000, 45_600_000, u64::MAX].map(brief);
        assert_eq!(shown, ["0", "9999", "10k", "12k", "999k", "1.0M", "1.9M", "45M", "18E"]);
        let shown = [0.0, 0.312, 18.24, 9_999.4, 9_999.6, 123_456.0].map(brief_rate);
        assert_eq!(shown, ["0", "0.31", "18.2", "9999", "9999", "123k"]);
        let widest = (0..20).flat_map(|n| [10_u64.pow(n), 10_u64.pow(n).saturating_mul(10) - 1]).map(brief);
        assert!(widest.clone().all(|text| text.len() <= 4), "{:?}", widest.collect::<Vec<_>>());
    }

    #[test]
    fn endpoints_are_written_as_people_know_them() {
        assert_eq!(endpoint(&Endpoint { address: mapped([10, 0, 0, 1]), port: 80 }), "10.0.0.1:80");
        let v6 = "2001:db8::8d".parse::<Ipv6Addr>().unwrap().octets();
        assert_eq!(endpoint(&Endpoint { address: v6, port: 443 }), "[2001:db8::8d]:443");
    }
}
