//! Tests that every check of the comparison can fail.

use super::compare::{Ledger, View, compare};
use super::ours::{Close, Flow, Leg, Retransmit, Run, Summary, Volume};
use super::tshark::{ACK, Capture, FIN, Frame, SYN, Stream, Verdict};

pub(super) const MS: u64 = 1_000_000;

/// A packet from the client or the server, `at` milliseconds after the first, and its TSval and TSecr.
pub(super) fn frame(from_client: bool, at: u64, flags: u16, timestamps: Option<(u32, u32)>) -> Frame {
    let ends = ["10.9.0.1:40000", "10.9.0.11:80"].map(|end| end.parse().unwrap());
    let (source, destination) = if from_client { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
    let (isn, other) = if from_client { (100, 200) } else { (200, 100) };
    Frame {
        number: 0,
        time_ns: 1_000 * MS + at * MS,
        len: 66,
        captured: 66,
        source,
        destination,
        stream: 0,
        flags,
        seq: isn + u32::from(flags & SYN == 0),
        ack: if flags & ACK == 0 { 0 } else { other + 1 },
        payload: 0,
        timestamps,
        initial_rtt_ns: None,
        completeness: 0,
        verdict: None,
        has_zero_window: false,
    }
}

/// A capture of one stream, with these two figures by tshark.
pub(super) fn capture(mut frames: Vec<Frame>, initial_rtt_ms: Option<u64>, completeness: u8) -> Capture {
    for (frame, number) in frames.iter_mut().zip(1..) {
        frame.number = number;
        frame.initial_rtt_ns = initial_rtt_ms.map(|ms| ms * MS);
        frame.completeness = completeness;
    }
    let (packets, end_ns) = (frames.len() as u64, frames.last().unwrap().time_ns);
    Capture { streams: vec![Stream { frames }], packets, end_ns, longest: 66 }
}

/// Opened, answered after 10 ms, acknowledged 1 ms later, closed by both.
pub(super) fn plain() -> Capture {
    let frames = vec![
        frame(true, 0, SYN, None),
        frame(false, 10, SYN | ACK, None),
        frame(true, 11, ACK, None),
        frame(true, 20, FIN | ACK, None),
        frame(false, 30, FIN | ACK, None),
    ];
    capture(frames, Some(11), 23)
}

pub(super) fn plain_run() -> Run {
    let (local, remote) = ("10.9.0.1:40000".parse().unwrap(), "10.9.0.11:80".parse().unwrap());
    let close = Close {
        outcome: "closed".to_owned(),
        time_ns: 1_030 * MS,
        lifetime_ns: Some(30 * MS),
        closer: local,
        volumes: Default::default(),
    };
    let flow = Flow {
        role: "observer".to_owned(),
        local,
        remote,
        outcome: "established".to_owned(),
        decided_ns: 1_011 * MS,
        tries: Some(1),
        server_leg: Some(Leg::Exact(10 * MS)),
        client_leg: Some(Leg::Exact(MS)),
        refusal: None,
        rtt_ns: Some(11 * MS),
        turnaround_ns: None,
        setup_ns: Some(11 * MS),
        ambiguous: false,
        close: Some(close),
    };
    Run {
        flows: vec![flow],
        retransmits: Vec::new(),
        summary: Summary { handshakes: 1, established: 1, ..Summary::default() },
    }
}

/// The plain run with a change to its only flow.
pub(super) fn run_with(change: impl FnOnce(&mut Flow)) -> Run {
    let mut run = plain_run();
    change(&mut run.flows[0]);
    run
}

pub(super) fn disagreements(ledger: &Ledger) -> usize {
    assert_eq!(ledger.figures, ledger.agreed + differing(ledger) + ledger.disagreements.len() as u64);
    ledger.disagreements.len()
}

fn differing(ledger: &Ledger) -> u64 {
    ledger.differing.values().sum()
}

/// Asserts that the comparison finds this many disagreements.
#[track_caller]
pub(super) fn assert_disagreements(capture: &Capture, run: &Run, count: usize) {
    let ledger = compare(capture, run, View::Observer);
    assert_eq!(disagreements(&ledger), count, "{:#?}", ledger.disagreements);
}

#[test]
fn two_equal_views_agree() {
    let ledger = compare(&plain(), &plain_run(), View::Observer);
    assert_eq!((disagreements(&ledger), differing(&ledger)), (0, 0), "{ledger:?}");
    assert!(ledger.agreed >= 15, "{ledger:?}");
}

#[test]
fn a_nanosecond_is_seen() {
    let changes: [fn(&mut Flow); 8] = [
        |flow| flow.server_leg = Some(Leg::Exact(10 * MS + 1)),
        |flow| flow.client_leg = Some(Leg::Exact(MS - 1)),
        |flow| flow.rtt_ns = Some(11 * MS + 1),
        |flow| flow.decided_ns += 1,
        |flow| flow.close.as_mut().unwrap().time_ns += 1,
        |flow| flow.setup_ns = Some(11 * MS - 1),
        |flow| flow.close.as_mut().unwrap().lifetime_ns = Some(30 * MS + 1),
        |flow| flow.server_leg = Some(Leg::Between(10 * MS, 10 * MS)),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let ledger = compare(&plain(), &run_with(change), View::Observer);
        assert!(disagreements(&ledger) > 0, "change {place}");
    }
    let another = capture(plain().streams.remove(0).frames, Some(12), 23);
    assert_eq!(disagreements(&compare(&another, &plain_run(), View::Observer)), 1, "tshark's own figure");
}

#[test]
fn what_is_not_known_must_not_be_known_to_tshark() {
    let changes: [fn(&mut Flow); 5] = [
        |flow| flow.server_leg = None,
        |flow| flow.client_leg = None,
        |flow| flow.rtt_ns = None,
        |flow| flow.setup_ns = None,
        |flow| flow.close = None,
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let ledger = compare(&plain(), &run_with(change), View::Observer);
        assert!(disagreements(&ledger) > 0, "change {place}");
    }
}

#[test]
fn words_and_counts_are_compared() {
    let changes: [fn(&mut Flow); 7] = [
        |flow| flow.role = "client".to_owned(),
        |flow| flow.outcome = "half_open".to_owned(),
        |flow| flow.tries = Some(2),
        |flow| flow.ambiguous = true,
        |flow| flow.refusal = Some(Leg::Exact(1)),
        |flow| flow.close.as_mut().unwrap().outcome = "reset".to_owned(),
        |flow| flow.close.as_mut().unwrap().closer = flow.remote,
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let ledger = compare(&plain(), &run_with(change), View::Observer);
        assert!(disagreements(&ledger) > 0, "change {place}");
    }
    let totals: [fn(&mut Summary); 9] = [
        |summary| summary.handshakes = 2,
        |summary| summary.established = 0,
        |summary| summary.refused = 1,
        |summary| summary.repeated_syns = 1,
        |summary| summary.unanswered = 1,
        |summary| summary.half_open = 1,
        |summary| summary.reset = 1,
        |summary| summary.pending = 1,
        |summary| summary.lost = 1,
    ];
    for (place, change) in totals.into_iter().enumerate() {
        let mut run = plain_run();
        change(&mut run.summary);
        assert_eq!(disagreements(&compare(&plain(), &run, View::Observer)), 1, "total {place}");
    }
}

#[test]
fn what_each_end_sent_until_the_end_is_counted() {
    let with =
        |from_client, at_ms, flags, payload| Frame { payload, ..frame(from_client, at_ms, flags, None) };
    let byte = Frame { verdict: Some(Verdict::KeepAlive), ..with(true, 15, ACK, 1) };
    let again = with(true, 18, ACK, 100);
    let late = with(true, 40, ACK, 5);
    let mut frames = plain().streams.remove(0).frames;
    frames.splice(3..3, [with(true, 12, ACK, 100), with(false, 14, ACK, 1), byte, again]);
    frames.splice(7..8, [with(true, 20, FIN | ACK, 10)]);
    frames.push(late);
    let capture = capture(frames, Some(11), 31);
    let retransmit = |frame: &Frame| Retransmit {
        time_ns: frame.time_ns,
        sender: frame.source,
        receiver: frame.destination,
        seq: frame.seq,
        len: frame.payload.into(),
        kind: "data".to_owned(),
        after_ns: None,
    };
    let right = [
        Volume { segments: 3, bytes: 210, retransmits: 1 },
        Volume { segments: 1, bytes: 1, retransmits: 0 },
    ];
    let run = |volumes| {
        let run = run_with(|flow| flow.close.as_mut().unwrap().volumes = volumes);
        Run { retransmits: vec![retransmit(&again), retransmit(&late)], ..run }
    };
    assert_disagreements(&capture, &run(right), 0);
    let changes: [fn(&mut Volume); 3] =
        [|one| one.segments += 1, |one| one.bytes -= 1, |one| one.retransmits += 1];
    for (place, change) in changes.into_iter().enumerate() {
        for end in 0..2 {
            let mut wrong = right;
            change(&mut wrong[end]);
            let ledger = compare(&capture, &run(wrong), View::Observer);
            assert_eq!(disagreements(&ledger), 1, "change {place} of end {end}");
        }
    }
}

/// Outcome and end also have to fit the flags that tshark saw.
#[test]
fn completeness_is_compared() {
    for (seen, count) in [(23, 0), (31, 0), (7, 1), (19, 1), (21, 1), (6, 2)] {
        let flags = capture(plain().streams.remove(0).frames, Some(11), seen);
        assert_disagreements(&flags, &plain_run(), count);
    }
}

#[test]
fn every_flow_has_its_stream() {
    let mut dropped = plain_run();
    dropped.flows.clear();
    assert!(disagreements(&compare(&plain(), &dropped, View::Observer)) > 0);

    let mut invented = plain_run();
    invented.flows.push(invented.flows[0].clone());
    assert!(disagreements(&compare(&plain(), &invented, View::Observer)) > 0);

    let headless = capture(vec![frame(true, 11, ACK, None)], None, 4);
    assert!(disagreements(&compare(&headless, &Run::default(), View::Observer)) > 0);
}

#[test]
fn roles_follow_from_who_opened() {
    let client = |flow: &mut Flow| {
        flow.role = "client".to_owned();
        flow.rtt_ns = Some(10 * MS);
    };
    assert_eq!(disagreements(&compare(&plain(), &run_with(client), View::Host)), 0);
    let turned = |flow: &mut Flow| {
        client(flow);
        flow.role = "server".to_owned();
    };
    assert!(disagreements(&compare(&plain(), &run_with(turned), View::Host)) > 0);
}
