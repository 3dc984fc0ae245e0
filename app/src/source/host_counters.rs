//! What the kernel counts for the network namespace that tcptop runs in, as `nstat` and `conntrack -S` show it.

use std::fs;

use tcptop_core::{Conntrack, HostCounter, HostCounters};

/// Of the namespace of this thread, which `/proc/net` is not.
const NET: &str = "/proc/thread-self/net";
const CONNTRACK: &str = "/proc/sys/net/netfilter/nf_conntrack";

/// Reads all of them. What the kernel does not have is not known.
#[must_use]
pub fn read() -> HostCounters {
    let file = |name: &str| fs::read_to_string(format!("{NET}/{name}")).unwrap_or_default();
    let number = |suffix: &str| {
        let text = fs::read_to_string(format!("{CONNTRACK}_{suffix}")).ok()?;
        text.trim().parse().ok()
    };
    let mut counters = parse([&file("snmp"), &file("netstat")], &file("stat/nf_conntrack"));
    counters.conntrack = number("count").zip(number("max")).map(|(entries, max)| Conntrack { entries, max });
    counters
}

fn parse(groups: [&str; 2], conntrack: &str) -> HostCounters {
    let mut counters = HostCounters::default();
    for counter in HostCounter::ALL {
        let (group, name) = counter.kernel_name();
        let count = groups.iter().find_map(|text| in_group(text, group, name));
        if let Some(count) =
            count.or_else(|| (group == "nf_conntrack").then(|| of_processors(conntrack, name))?)
        {
            counters.set(counter, count);
        }
    }
    counters
}

/// A count in a file with two lines for each group: `Tcp: ActiveOpens RetransSegs` and `Tcp: 12 3`.
fn in_group(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(": "));
    let (names, values) = lines.next().zip(lines.next())?;
    let column = names.split(' ').position(|known| known == name)?;
    values.split(' ').nth(column)?.parse().ok()
}

/// The sum of a column of a table with one line for each processor, in hexadecimal.
fn of_processors(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines.next()?.split_whitespace().position(|known| known == name)?;
    let counts = lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(column)?, 16).ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "Ip: Forwarding DefaultTTL\nIp: 1 64\n\
        Tcp: MaxConn ActiveOpens RetransSegs\nTcp: -1 37 13\nUdp: InDatagrams\nUdp: 5\n";
    const NETSTAT: &str =
        "TcpExt: SyncookiesSent ListenOverflows TCPTimeouts\nTcpExt: 4 0 18446744073709551615\n";
    const CONNTRACK: &str = "entries  clashres insert_failed drop\n\
        00000010  00000000 0000000a 00000001\n00000010  00000000 00000006 00000000\n";

    #[test]
    fn counts_are_found_by_group_and_name() {
        let counters = parse([SNMP, NETSTAT], CONNTRACK);
        let of = |counter| counters.of(counter);
        assert_eq!(of(HostCounter::RetransSegs), Some(13));
        assert_eq!(of(HostCounter::CookiesSent), Some(4));
        assert_eq!(of(HostCounter::ListenOverflows), Some(0));
        assert_eq!(of(HostCounter::Timeouts), Some(u64::MAX));
        assert_eq!(of(HostCounter::ConntrackInsertFailed), Some(16), "of both processors");
        assert_eq!(of(HostCounter::ConntrackDrops), Some(1));
        let unknown = [HostCounter::ConntrackEarlyDrops, HostCounter::LossProbes, HostCounter::ListenDrops];
        assert_eq!(unknown.map(of), [None; 3], "never 0");
    }

    #[test]
    fn what_is_cut_or_damaged_is_not_known() {
        for len in 0..SNMP.len() {
            let count = parse([&SNMP[..len], ""], "").of(HostCounter::RetransSegs);
            assert!([None, Some(1), Some(13)].contains(&count), "{count:?}");
        }
        let damaged = ["Tcp: RetransSegs\nTcp: many\n", "TcpExt: ListenDrops\n"];
        assert_eq!(parse(damaged, "drop\nxyz\n"), HostCounters::default());
        assert_eq!(parse(["", ""], ""), HostCounters::default());
    }

    #[test]
    fn this_kernel_counts_retransmits() {
        let counters = read();
        for counter in [HostCounter::RetransSegs, HostCounter::SynRetrans, HostCounter::ListenOverflows] {
            assert!(counters.of(counter).is_some(), "{counter:?}");
        }
    }
}
