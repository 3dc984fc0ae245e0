//! Each guard of the comparison must be able to fail.

use super::compare::{Ledger, View, compare};
use super::ours::{Close, Flow, Leg, Run, Summary};
use super::reason::Reason;
use super::tshark::{ACK, Capture, FIN, Frame, RST, SYN, Stream};

const MS: u64 = 1_000_000;

/// A packet from the client or the server, `at` milliseconds after the first, and its TSval and TSecr.
fn frame(from_client: bool, at: u64, flags: u16, timestamps: Option<(u32, u32)>) -> Frame {
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
    }
}

/// The capture of one stream, for which tshark gives these two figures.
fn capture(mut frames: Vec<Frame>, initial_rtt_ms: Option<u64>, completeness: u8) -> Capture {
    for (frame, number) in frames.iter_mut().zip(1..) {
        frame.number = number;
        frame.initial_rtt_ns = initial_rtt_ms.map(|ms| ms * MS);
        frame.completeness = completeness;
    }
    let (packets, end_ns) = (frames.len() as u64, frames.last().unwrap().time_ns);
    Capture { streams: vec![Stream { frames }], packets, end_ns, longest: 66 }
}

/// Opened, answered after 10 ms, acknowledged 1 ms later, closed by both.
fn plain() -> Capture {
    let frames = vec![
        frame(true, 0, SYN, None),
        frame(false, 10, SYN | ACK, None),
        frame(true, 11, ACK, None),
        frame(true, 20, FIN | ACK, None),
        frame(false, 30, FIN | ACK, None),
    ];
    capture(frames, Some(11), 23)
}

fn plain_run() -> Run {
    let (local, remote) = ("10.9.0.1:40000".parse().unwrap(), "10.9.0.11:80".parse().unwrap());
    let close = Close {
        outcome: "closed".to_owned(),
        time_ns: 1_030 * MS,
        lifetime_ns: Some(30 * MS),
        closer: local,
    };
    let flow = Flow {
        role: "observer".to_owned(),
        local,
        remote,
        outcome: "established".to_owned(),
        told_ns: 1_011 * MS,
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
    Run { flows: vec![flow], summary: Summary { handshakes: 1, established: 1, ..Summary::default() } }
}

/// The plain run with a change to its only flow.
fn run_with(change: impl FnOnce(&mut Flow)) -> Run {
    let mut run = plain_run();
    change(&mut run.flows[0]);
    run
}

fn disagreements(ledger: &Ledger) -> usize {
    assert_eq!(ledger.figures, ledger.agreed + differing(ledger) + ledger.disagreements.len() as u64);
    ledger.disagreements.len()
}

fn differing(ledger: &Ledger) -> u64 {
    ledger.differing.values().sum()
}

/// Compares, and expects differences by these reasons and nothing else.
#[track_caller]
fn assert_differs(capture: &Capture, run: &Run, reasons: &[Reason]) {
    let ledger = compare(capture, run, View::Observer);
    assert_eq!(ledger.disagreements, Vec::<String>::new());
    assert_eq!(ledger.differing.keys().copied().collect::<Vec<_>>(), reasons);
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
        |flow| flow.told_ns += 1,
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
        |flow| flow.outcome = "half-open".to_owned(),
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

/// SYNs after 0 and 1,000 ms; the answer names one of them, or none.
fn two_syns(echo: Option<u32>) -> Capture {
    let frames = vec![
        frame(true, 0, SYN, Some((7, 0))),
        frame(true, 1_000, SYN, Some((8, 0))),
        frame(false, 1_010, SYN | ACK, echo.map(|echo| (1, echo))),
        frame(true, 1_011, ACK, Some((9, 1))),
    ];
    capture(frames, Some(11), 7)
}

fn two_syns_run(server_leg: Leg) -> Run {
    let mut run = run_with(|flow| {
        flow.tries = Some(2);
        flow.told_ns = 2_011 * MS;
        flow.server_leg = Some(server_leg);
        flow.rtt_ns = server_leg.exact().map(|ns| ns + MS);
        flow.ambiguous = server_leg.exact().is_none();
        flow.setup_ns = Some(1_011 * MS);
        flow.close = None;
    });
    run.summary.repeated_syns = 1;
    run
}

#[test]
fn a_repeated_syn_excuses_its_own_bounds_only() {
    let bounds = two_syns_run(Leg::Between(10 * MS, 1_010 * MS));
    assert_differs(&two_syns(None), &bounds, &[Reason::RepeatedSyn]);
    assert_differs(&two_syns(Some(7)), &bounds, &[Reason::RepeatedSyn]);
    for wrong in
        [Leg::Between(10 * MS + 1, 1_010 * MS), Leg::Between(10 * MS, 1_009 * MS), Leg::Exact(10 * MS)]
    {
        let ledger = compare(&two_syns(None), &two_syns_run(wrong), View::Observer);
        assert!(disagreements(&ledger) > 0, "{wrong:?}");
    }
    // Where the echo names the last one, there is nothing to excuse.
    assert_differs(&two_syns(Some(8)), &two_syns_run(Leg::Exact(10 * MS)), &[]);
    assert!(disagreements(&compare(&two_syns(Some(8)), &bounds, View::Observer)) > 0);
}

#[test]
fn a_repeated_syn_ack_excuses_the_wait_only() {
    let two_answers = |rtt_ms| {
        let frames = vec![
            frame(true, 0, SYN, Some((7, 0))),
            frame(false, 10, SYN | ACK, Some((1, 7))),
            frame(false, 1_010, SYN | ACK, Some((2, 7))),
            frame(true, 1_011, ACK, Some((9, 2))),
        ];
        capture(frames, Some(rtt_ms), 7)
    };
    let mut run = run_with(|flow| {
        flow.told_ns = 2_011 * MS;
        flow.setup_ns = Some(1_011 * MS);
        flow.close = None;
    });
    run.summary.repeated_syns = 1;
    assert_differs(&two_answers(1_011), &run, &[Reason::RepeatedSynAck]);
    assert_eq!(disagreements(&compare(&two_answers(1_010), &run, View::Observer)), 1);
}

#[test]
fn a_refusal_is_timed_apart() {
    let frames = vec![frame(true, 0, SYN, None), frame(false, 10, RST | ACK, None)];
    let refused = capture(frames.clone(), Some(10), 37);
    let mut run = run_with(|flow| {
        flow.outcome = "refused".to_owned();
        flow.told_ns = 1_010 * MS;
        flow.refusal = Some(Leg::Exact(10 * MS));
        (flow.server_leg, flow.client_leg, flow.rtt_ns) = (None, None, None);
        (flow.setup_ns, flow.close) = (None, None);
    });
    run.summary = Summary { handshakes: 1, refused: 1, ..Summary::default() };
    assert_differs(&refused, &run, &[Reason::RstIsNoAck]);

    run.flows[0].refusal = Some(Leg::Exact(10 * MS - 1));
    assert_eq!(disagreements(&compare(&refused, &run, View::Observer)), 1);
    run.flows[0].refusal = Some(Leg::Exact(10 * MS));
    let another = capture(frames, Some(9), 37);
    assert_eq!(disagreements(&compare(&another, &run, View::Observer)), 1);
}

#[test]
fn a_fin_completes_without_a_time() {
    let mut frames = plain().streams.remove(0).frames;
    frames.remove(2);
    let unseen = capture(frames, Some(20), 23);
    let run = run_with(|flow| {
        flow.told_ns = 1_020 * MS;
        (flow.client_leg, flow.rtt_ns, flow.setup_ns) = (None, None, None);
    });
    assert_differs(&unseen, &run, &[Reason::FinCompletes]);
    assert!(disagreements(&compare(&plain(), &run, View::Observer)) > 0, "the ACK was seen");
}

#[test]
fn a_syn_after_the_outcome_is_no_try() {
    let mut frames = plain().streams.remove(0).frames;
    frames.insert(3, frame(true, 12, SYN, None));
    let late = capture(frames, Some(11), 23);
    let mut run = plain_run();
    run.summary.repeated_syns = 1;
    assert_differs(&late, &run, &[Reason::LateSyn]);
    run.flows[0].tries = Some(3);
    assert_eq!(disagreements(&compare(&late, &run, View::Observer)), 1);
}

#[test]
fn a_flow_may_be_missing_only_when_all_of_it_is_cut() {
    let mut frames = plain().streams.remove(0).frames;
    frames.iter_mut().for_each(|frame| frame.captured = 60);
    let summary = Summary { truncated: 5, lost: 5, ..Summary::default() };
    let run = Run { flows: Vec::new(), summary };
    assert_differs(&capture(frames.clone(), Some(11), 23), &run, &[Reason::CutHeaders]);
    frames[1].captured = 66;
    let summary = Summary { truncated: 4, lost: 4, ..Summary::default() };
    let ledger = compare(&capture(frames, Some(11), 23), &Run { flows: Vec::new(), summary }, View::Observer);
    assert_eq!(disagreements(&ledger), 1);
}
