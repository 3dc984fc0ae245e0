//! Hard case `host-counters`: what the kernel counts for the whole host, on the screen while it grows, and at the end of a run.

mod support;

use support::stage::{NOW, Stage, context, trouble};
use support::{Connection, MS, S, START, Watched, v4};
use tcptop::output::host::{cross_check, troubles};
use tcptop_core::{Conntrack, HostCounter, HostCounters, Input, Snapshot, SnapshotRequest, Span};

fn counters(counts: &[(HostCounter, u64)]) -> HostCounters {
    let mut counters = HostCounters::default();
    counts.iter().for_each(|&(counter, count)| counters.set(counter, count));
    counters
}

fn tell(watched: &mut Watched, counters: &HostCounters, unwatched: &[&str], now_ns: u64) {
    let unwatched: Vec<String> = unwatched.iter().map(|&name| name.to_owned()).collect();
    watched.engine.handle(Input::Host { counters, unwatched: &unwatched, now_ns });
}

fn overflows(count: u64) -> HostCounters {
    counters(&[(HostCounter::ListenOverflows, count), (HostCounter::ListenDrops, count)])
}

fn snapshot(watched: &mut Watched) -> Snapshot {
    let request = SnapshotRequest::totals(Span::SinceStart);
    watched.engine.snapshot(watched.reader, &request, NOW)
}

fn third_line(stage: &Stage) -> String {
    stage.frame().lines().nth(2).unwrap_or_default().to_owned()
}

#[test]
fn the_screen_has_a_line_for_the_host_while_something_is_wrong() {
    let mut watched = trouble();
    tell(&mut watched, &overflows(5), &[], START);
    let mut stage = Stage::new(watched).sized(80, 24);
    let without = third_line(&stage);
    assert!(without.contains("PEER"), "nothing is wrong: {without}");
    tell(&mut stage.watched, &overflows(17), &[], NOW - S);
    stage.refresh();
    assert_eq!(third_line(&stage), "this host: 12 accept queue overflows (last 14:02:30)");
    stage.now_ns += 60 * S;
    stage.refresh();
    assert_eq!(third_line(&stage), without, "that was before the window");
    let full = Conntrack { entries: 998, max: 1_000 };
    let mut counters = overflows(17);
    counters.conntrack = Some(full);
    tell(&mut stage.watched, &counters, &[], NOW);
    stage.refresh();
    assert_eq!(third_line(&stage), "this host: conntrack table 998 of 1000");
}

#[test]
fn a_reset_restarts_the_counters_of_the_host() {
    let mut watched = Watched::new();
    tell(&mut watched, &overflows(5), &[], START);
    tell(&mut watched, &overflows(6), &[], START + S);
    let said = |watched: &mut Watched| {
        let snapshot = snapshot(watched);
        troubles(&snapshot.host.expect("it is told"), &context())
    };
    assert!(said(&mut watched).is_some());
    watched.engine.reset(watched.reader, NOW);
    assert_eq!(said(&mut watched), None);
}

/// Two SYNs are sent again by this host, and one by a peer.
fn retransmitted() -> Watched {
    let mut watched = Watched::new();
    let silent = Connection::to(v4(10, 20, 9, 7, 443), 40_001);
    let from = Connection::from(v4(10, 20, 9, 8, 50_000), 80);
    tell(&mut watched, &kernel(100, 10), &["lo"], START);
    watched.see([silent.syn(START), silent.syn(START + S), silent.syn(START + 3 * S)]).see([
        from.syn(START),
        from.syn(START + S),
        from.syn_ack(START + S + MS),
        from.ack(START + S + 2 * MS),
    ]);
    watched
}

fn kernel(all: u64, syns: u64) -> HostCounters {
    counters(&[(HostCounter::RetransSegs, all), (HostCounter::SynRetrans, syns)])
}

fn checked(all: u64, syns: u64, unwatched: &[&str]) -> String {
    let mut watched = retransmitted();
    tell(&mut watched, &kernel(all, syns), unwatched, NOW);
    cross_check(&snapshot(&mut watched)).expect("both are known")
}

#[test]
fn the_kernels_count_of_retransmits_is_held_against_those_that_were_seen() {
    let tail = "what did not leave this host, or was first sent before the start, counts for the kernel only";
    let begin = "kernel: this host retransmitted";
    assert_eq!(checked(102, 12, &["lo"]), format!("{begin} 2 (2 SYN and SYN-ACK), as was seen"));
    assert_eq!(
        checked(105, 13, &["lo", "eth1"]),
        format!(
            "{begin} 5 (3 SYN and SYN-ACK); seen: 2 (2 SYN and SYN-ACK): other interfaces are not watched: lo eth1; {tail}"
        )
    );
    assert_eq!(
        checked(103, 12, &[]),
        format!("{begin} 3 (2 SYN and SYN-ACK); seen: 2 (2 SYN and SYN-ACK): {tail}")
    );
    let more = checked(101, 12, &["lo"]);
    assert!(
        more.contains("more is seen of other network namespaces") && !more.contains("not watched"),
        "{more}"
    );
}

#[test]
fn without_the_kernels_word_nothing_is_compared() {
    let mut watched = Watched::new();
    assert_eq!(cross_check(&snapshot(&mut watched)), None, "a replay");
    tell(&mut watched, &HostCounters::default(), &[], START);
    let snapshot = snapshot(&mut watched);
    assert_eq!(cross_check(&snapshot), None);
    let host = snapshot.host.expect("it is told");
    assert_eq!((host.of(HostCounter::ListenOverflows), host.troubles().count()), (None, 0));
}
