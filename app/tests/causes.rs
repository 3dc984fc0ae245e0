//! Why segments are retransmitted, as their senders say, and what the counts make of it.

mod support;

use probe_common::{
    Cause, SegmentClass, SegmentKind, SegmentRecord, SenderState, TcpFlags, Transmission, Volume,
};
use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert_eq, proptest};
use support::{Connection, MS, S, START, Watched, ends, v4};
use tcptop_core::{Counts, Event, FlowVolumes, Query, Retransmit, RetransmitCauses, SnapshotRequest, Span};

const FIRST: Volume = Volume { segments: 10, bytes: 10_000, ..Volume::NONE };

fn connection(port: u16) -> Connection {
    Connection::to(v4(10, 0, 0, 2, 443), port)
}

/// What a sender says whose timer has run out so many times.
fn timeout(timeouts: u32) -> Transmission {
    let sender = SenderState { snd_nxt: 10, snd_una: 0, timeouts, lost: 1, congestion: 4 };
    Transmission::of(0, &sender)
}

fn said(cause: Cause) -> Transmission {
    let sender = SenderState { snd_nxt: 10, snd_una: 0, timeouts: 0, lost: 1, congestion: 0 };
    match cause {
        Cause::Timeout => timeout(1),
        Cause::SlowStart => Transmission::of(1, &SenderState { congestion: 4, ..sender }),
        Cause::Fast => Transmission::of(1, &sender),
        Cause::TailLossProbe => Transmission::of(1, &SenderState { lost: 0, ..sender }),
    }
}

/// The record of a retransmit of this host's data.
fn resent(
    connection: &Connection,
    time_ns: u64,
    sent: Volume,
    said: Transmission,
    dsacks: u32,
) -> SegmentRecord {
    SegmentRecord {
        kind: SegmentKind::Retransmit,
        flags: TcpFlags::ACK,
        payload_len: 1_000,
        class: SegmentClass::retransmit(0),
        volumes: [sent, Volume::NONE],
        said,
        dsacks: said.is_known().then_some(dsacks),
        ..connection.ack(time_ns)
    }
}

fn established(watched: &mut Watched, connection: &Connection, time_ns: u64) {
    watched.see([
        connection.syn(time_ns),
        connection.syn_ack(time_ns + MS),
        SegmentRecord { volumes: [Volume::NONE; 2], ..connection.ack(time_ns + MS) },
    ]);
}

fn retransmits(watched: &Watched) -> Vec<&Retransmit> {
    let reported = watched.events.iter().filter_map(|event| match event {
        Event::Retransmit(retransmit) => Some(retransmit),
        Event::Handshake(_) | Event::Correction(..) | Event::Close(_) | Event::KernelRetransmit(_) => None,
    });
    reported.collect()
}

fn by_cause(causes: &RetransmitCauses) -> ([u64; 4], u64, u64) {
    (Cause::ALL.map(|cause| causes.of(cause)), causes.unknown(), causes.spurious())
}

fn total(watched: &mut Watched, span: Span, now_ns: u64) -> Counts {
    watched.snapshot(span, now_ns).total.counts
}

#[test]
fn each_cause_is_counted_for_its_flow_its_peer_and_all() {
    let (mut watched, connection) = (Watched::new(), connection(40_000));
    established(&mut watched, &connection, START);
    let steps = [
        (Volume { retransmits: 1, fast: 1, ..FIRST }, said(Cause::Fast)),
        (Volume { segments: 11, retransmits: 2, fast: 1, timeouts: 1, ..FIRST }, timeout(2)),
        (
            Volume { segments: 15, retransmits: 5, fast: 1, timeouts: 1, slow_starts: 3, ..FIRST },
            said(Cause::SlowStart),
        ),
        (
            Volume { segments: 16, retransmits: 6, fast: 1, timeouts: 1, slow_starts: 3, probes: 1, ..FIRST },
            said(Cause::TailLossProbe),
        ),
        (
            Volume { segments: 17, retransmits: 7, fast: 1, timeouts: 1, slow_starts: 3, probes: 1, ..FIRST },
            Transmission::UNKNOWN,
        ),
    ];
    for (number, (sent, said)) in (1..).zip(steps) {
        watched.see([resent(&connection, START + number * 10 * MS, sent, said, 0)]);
    }
    let now_ns = START + S;
    let want = ([1, 3, 1, 1], 1, 0);
    let flow = watched.flows(now_ns).remove(0);
    assert_eq!(by_cause(&flow.retransmit_causes()), want);
    let snapshot = watched.snapshot(Span::Window, now_ns);
    assert_eq!(by_cause(&snapshot.total.counts.retransmit_causes()), want);
    assert_eq!(by_cause(&snapshot.rows[0].figures.counts.retransmit_causes()), want);
    assert_eq!(snapshot.total.counts.retransmit_causes().main(), Some(Cause::SlowStart));
    let reported = retransmits(&watched).into_iter().map(|one| (one.cause, one.timeouts));
    assert_eq!(
        reported.collect::<Vec<_>>(),
        [
            (Some(Cause::Fast), None),
            (Some(Cause::Timeout), Some(2)),
            (Some(Cause::SlowStart), None),
            (Some(Cause::TailLossProbe), None),
            (None, None)
        ]
    );
    let mut passes = |filter: &str| {
        let query = Query { filter: filter.parse().expect("it is valid"), ..Query::default() };
        let request = SnapshotRequest { query, rows: 10, flows: 10, ..SnapshotRequest::totals(Span::Window) };
        let snapshot = watched.engine.snapshot(watched.reader, &request, now_ns);
        let (rows, flows) = (snapshot.matching, snapshot.flows.expect("asked for").rows.len());
        assert_eq!(rows, flows, "the peer and its only flow: {filter}");
        rows > 0
    };
    assert!(passes("cause:timeout") && passes("cause:spurious,unknown") && passes("cause:tail-loss-probe"));
    assert!(!passes("cause:spurious") && !passes("!cause:fast"));
}

#[test]
fn a_syn_is_sent_again_by_the_timer() {
    let (mut watched, connection) = (Watched::new(), connection(40_000));
    watched.see([SegmentRecord { said: Transmission::FIRST, ..connection.syn(START) }]);
    for times in 1..=3_u32 {
        let time_ns = START + u64::from(times) * S;
        watched.see([SegmentRecord { said: timeout(times), ..connection.syn(time_ns) }]);
    }
    // The peer's own SYN-ACKs say nothing.
    watched.see([connection.syn_ack(START + 4 * S), connection.syn_ack(START + 5 * S)]);
    let want = ([3, 0, 0, 0], 1, 0);
    assert_eq!(by_cause(&watched.flows(START + 5 * S)[0].retransmit_causes()), want);
    assert_eq!(by_cause(&total(&mut watched, Span::SinceStart, START + 5 * S).retransmit_causes()), want);
    let timeouts: Vec<_> = retransmits(&watched).into_iter().map(|one| one.timeouts).collect();
    assert_eq!(timeouts, [Some(1), Some(2), Some(3), None]);
}

/// What the other end has twice was needless, and no sign of loss; but what arrives twice may have been doubled on its way.
#[test]
fn what_arrived_twice_was_spurious() {
    let (mut watched, connection) = (Watched::new(), connection(40_000));
    established(&mut watched, &connection, START);
    let sent = |retransmits| Volume { retransmits, fast: retransmits, ..FIRST };
    let counts = |watched: &mut Watched| {
        let counts = total(watched, Span::SinceStart, START + S);
        (counts.retransmit_causes().spurious(), counts.lost(), counts.arrived())
    };
    watched.see([resent(&connection, START + 10 * MS, sent(1), said(Cause::Fast), 0)]);
    assert_eq!(counts(&mut watched), (0, 1, 0));
    watched.see([resent(&connection, START + 20 * MS, sent(2), said(Cause::Fast), 1)]);
    assert_eq!(counts(&mut watched), (1, 1, 1));
    let fin = SegmentRecord {
        said: Transmission::FIRST,
        dsacks: Some(7),
        volumes: [sent(2), Volume::NONE],
        ..connection.fin_of_opener(START + 30 * MS)
    };
    watched.see([fin]);
    assert_eq!(counts(&mut watched), (2, 0, 2));
    assert_eq!(watched.flows(START + S)[0].retransmit_causes().spurious(), 2);
}

/// Of a connection from before the start nobody knows what of it was before.
#[test]
fn of_mid_stream_connections_only_what_is_new_is_spurious() {
    let (mut watched, connection) = (Watched::new(), connection(40_000));
    let sent = |retransmits| Volume { retransmits, fast: retransmits, ..FIRST };
    for (number, dsacks) in [(1_u32, 40), (2, 41), (3, 41), (4, 42)] {
        let time_ns = START + u64::from(number) * 10 * MS;
        watched.see([resent(&connection, time_ns, sent(number), said(Cause::Fast), dsacks)]);
    }
    assert_eq!(watched.flows(START + S)[0].retransmit_causes().spurious(), 1);
}

/// A connection's next retransmit: after how long, of which cause, how many segments; and whether the flow states are read
/// before its record is, as in a live run.
fn step() -> impl Strategy<Value = (u64, usize, u32, bool)> {
    (1..4_000_u64, 0..Cause::COUNT, 1..4_u32, proptest::bool::weighted(0.2))
}

proptest! {
    /// Every cause is known here, so none may be unknown in any window: each part leaves it together with its whole.
    #[test]
    fn a_retransmit_and_its_cause_are_in_the_same_windows(steps in vec(step(), 1..60)) {
        let (mut watched, connection) = (Watched::new(), connection(40_000));
        established(&mut watched, &connection, START);
        let (mut now_ns, mut sent, mut all) = (START + 10 * MS, FIRST, [0_u64; Cause::COUNT]);
        for (gap_ms, cause, segments, is_swept) in steps {
            now_ns += gap_ms * MS;
            sent.segments += u64::from(segments);
            sent.bytes += u64::from(segments);
            sent.retransmits += segments;
            all[cause] += u64::from(segments);
            let few = u16::try_from(segments).expect("few");
            match Cause::ALL[cause] {
                Cause::Timeout => sent.timeouts += few,
                Cause::SlowStart => sent.slow_starts += segments,
                Cause::Fast => sent.fast += segments,
                Cause::TailLossProbe => sent.probes += few,
            }
            if is_swept {
                let ends = ends(connection.opener, connection.responder);
                let swept = FlowVolumes { ends, volumes: [sent, Volume::NONE], learned: None };
                watched.sent(swept, now_ns - gap_ms * MS);
            }
            watched.see([resent(&connection, now_ns, sent, said(Cause::ALL[cause]), 0)]);
            for span in [Span::Window, Span::SinceStart] {
                let snapshot = watched.snapshot(span, now_ns);
                let counts = snapshot.rows.iter().map(|row| &row.figures.counts).chain([&snapshot.total.counts]);
                for counts in counts {
                    let causes = counts.retransmit_causes();
                    let known: u64 = Cause::ALL.into_iter().map(|cause| causes.of(cause)).sum();
                    prop_assert_eq!((known, causes.unknown()), (counts.retransmits(), 0));
                }
            }
        }
        let causes = total(&mut watched, Span::SinceStart, now_ns).retransmit_causes();
        prop_assert_eq!(Cause::ALL.map(|cause| causes.of(cause)), all);
    }
}
