//! Tests that each reason excuses its own difference and no other.

use super::compare::{View, compare};
use super::compare_tests::{
    MS, assert_disagreements, capture, disagreements, frame, plain, plain_run, run_with,
};
use super::ours::{Leg, Run, Summary};
use super::reason::Reason;
use super::tshark::{ACK, Capture, Frame, RST, SYN, Stream};

/// Asserts that the comparison finds differences by these reasons and nothing else.
#[track_caller]
fn assert_differs(capture: &Capture, run: &Run, reasons: &[Reason]) {
    let ledger = compare(capture, run, View::Observer);
    assert_eq!(ledger.disagreements, Vec::<String>::new());
    assert_eq!(ledger.differing.keys().copied().collect::<Vec<_>>(), reasons);
}

/// SYNs after 0 and 1,000 ms; the answer echoes one of them, or none.
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
        flow.decided_ns = 2_011 * MS;
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
    assert_differs(&two_syns(None), &bounds, &[Reason::RetransmittedSyn]);
    assert_differs(&two_syns(Some(7)), &bounds, &[Reason::RetransmittedSyn]);
    for wrong in
        [Leg::Between(10 * MS + 1, 1_010 * MS), Leg::Between(10 * MS, 1_009 * MS), Leg::Exact(10 * MS)]
    {
        let ledger = compare(&two_syns(None), &two_syns_run(wrong), View::Observer);
        assert!(disagreements(&ledger) > 0, "{wrong:?}");
    }
    // Both have the same TSval, as copies made on the way have: the echo does not distinguish them.
    let mut copies = two_syns(Some(7));
    copies.streams[0].frames[1].timestamps = Some((7, 0));
    assert_differs(&copies, &bounds, &[Reason::RetransmittedSyn]);
    // If the echo names the last SYN, nothing is excused: leg, RTT and tshark's own figure.
    assert_disagreements(&two_syns(Some(8)), &two_syns_run(Leg::Exact(10 * MS + 1)), 3);
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
        flow.decided_ns = 2_011 * MS;
        flow.setup_ns = Some(1_011 * MS);
        flow.close = None;
    });
    run.summary.repeated_syns = 1;
    assert_differs(&two_answers(1_011), &run, &[Reason::RetransmittedSynAck]);
    assert_disagreements(&two_answers(1_010), &run, 1);
    // A wrong leg does not excuse a wrong sum.
    run.flows[0].client_leg = Some(Leg::Exact(2 * MS));
    assert_disagreements(&two_answers(1_011), &run, 2);
}

#[test]
fn a_refusal_is_timed_apart() {
    let frames = vec![frame(true, 0, SYN, None), frame(false, 10, RST | ACK, None)];
    let refused = capture(frames.clone(), Some(10), 37);
    let mut run = run_with(|flow| {
        flow.outcome = "refused".to_owned();
        flow.decided_ns = 1_010 * MS;
        flow.refusal = Some(Leg::Exact(10 * MS));
        (flow.server_leg, flow.client_leg, flow.rtt_ns) = (None, None, None);
        (flow.setup_ns, flow.close) = (None, None);
    });
    run.summary = Summary { handshakes: 1, refused: 1, ..Summary::default() };
    assert_differs(&refused, &run, &[Reason::RstIsNoAck]);

    run.flows[0].refusal = Some(Leg::Exact(10 * MS - 1));
    assert_disagreements(&refused, &run, 1);
    run.flows[0].refusal = Some(Leg::Exact(10 * MS));
    assert_disagreements(&capture(frames, Some(9), 37), &run, 1);
    // Impossible legs and their sum.
    run.flows[0].server_leg = Some(Leg::Exact(9 * MS));
    run.flows[0].client_leg = Some(Leg::Exact(MS));
    assert_disagreements(&refused, &run, 2);
    run.flows[0].client_leg = Some(Leg::Exact(2 * MS));
    assert_disagreements(&refused, &run, 3);
}

#[test]
fn a_reset_in_the_handshake_has_no_ack_but_in_its_flags() {
    let reset = |from_client, flags, rtt, seen| {
        let frames = vec![
            frame(true, 0, SYN, None),
            frame(false, 10, SYN | ACK, None),
            frame(from_client, 11, flags, None),
        ];
        capture(frames, rtt, seen)
    };
    let mut run = run_with(|flow| {
        flow.outcome = "reset".to_owned();
        (flow.client_leg, flow.rtt_ns, flow.setup_ns, flow.close) = (None, None, None, None);
    });
    run.summary = Summary { handshakes: 1, reset: 1, ..Summary::default() };
    assert_differs(&reset(true, RST, None, 35), &run, &[]);
    assert_disagreements(&reset(true, RST, None, 39), &run, 1);
    assert_differs(&reset(false, RST | ACK, Some(11), 39), &run, &[Reason::RstIsNoAck]);
}

#[test]
fn a_fin_completes_without_a_time() {
    let mut frames = plain().streams.remove(0).frames;
    frames.remove(2);
    let unseen = capture(frames, Some(20), 23);
    let run = run_with(|flow| {
        flow.decided_ns = 1_020 * MS;
        (flow.client_leg, flow.rtt_ns, flow.setup_ns) = (None, None, None);
    });
    assert_differs(&unseen, &run, &[Reason::UnseenAck]);
    assert!(disagreements(&compare(&plain(), &run, View::Observer)) > 0, "the ACK was seen");
    let mut timed = run.clone();
    timed.flows[0].client_leg = Some(Leg::Exact(MS));
    assert_disagreements(&unseen, &timed, 2);

    // That tshark took an ACK of the other end is not a reason by itself.
    let mut frames = plain().streams.remove(0).frames;
    frames[2] = frame(false, 11, ACK, None);
    assert_disagreements(&capture(frames, Some(11), 23), &run, 1);
}

/// The same after an earlier attempt on the same ports, which was given up.
fn after_another((mut capture, mut run): (Capture, Run)) -> (Capture, Run) {
    let first = Frame { seq: 50, completeness: 1, ..frame(true, 0, SYN, None) };
    capture.streams.insert(0, Stream { frames: vec![first] });
    let mut flow = run.flows[0].clone();
    flow.outcome = "unanswered".to_owned();
    (flow.server_leg, flow.client_leg, flow.rtt_ns) = (None, None, None);
    (flow.setup_ns, flow.close) = (None, None);
    run.flows.insert(0, flow);
    run.summary.handshakes += 1;
    run.summary.unanswered += 1;
    (capture, run)
}

#[test]
fn a_segment_of_another_connection_is_stale() {
    let with = |from_client, seq, ack| {
        let mut frames = plain().streams.remove(0).frames;
        frames.insert(1, Frame { seq, ack, ..frame(from_client, 4, ACK, None) });
        (capture(frames, Some(4), 23), plain_run())
    };
    for (from_client, seq, ack) in [(false, 1 << 30, 1 << 31), (true, 1 << 30, 201), (true, 101, 1 << 30)] {
        let (stale, run) = with(from_client, seq, ack);
        assert_disagreements(&stale, &run, 1);
        let (stale, run) = after_another((stale, run));
        assert_differs(&stale, &run, &[Reason::StaleSegment]);
    }
    for (from_client, seq, ack) in [(false, 1 << 30, 101), (true, 101, 201)] {
        let (own, run) = after_another(with(from_client, seq, ack));
        assert_disagreements(&own, &run, 1);
    }
}

#[test]
fn a_stale_rst_leaves_its_flag() {
    let mut open = plain_run();
    open.flows[0].close = None;
    let with = |seq, seen| {
        let mut frames = plain().streams.remove(0).frames;
        frames.truncate(3);
        frames.insert(2, Frame { seq, ..frame(true, 4, RST, None) });
        (capture(frames, Some(11), seen), open.clone())
    };
    let (stale, run) = with(1 << 30, 39);
    assert_disagreements(&stale, &run, 1);
    let (stale, run) = after_another((stale, run));
    assert_differs(&stale, &run, &[Reason::StaleSegment]);
    // Flags that no packet has, and a RST that belongs to the connection.
    let (wrong, run) = after_another(with(1 << 30, 55));
    assert_disagreements(&wrong, &run, 1);
    let (own, run) = after_another(with(101, 39));
    assert!(disagreements(&compare(&own, &run, View::Observer)) > 0);
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
    assert_disagreements(&late, &run, 1);
}

#[test]
fn tshark_may_give_no_time_only_where_headers_are_cut() {
    let mut whole = capture(plain().streams.remove(0).frames, Some(11), 23);
    whole.streams[0].frames.iter_mut().for_each(|frame| frame.initial_rtt_ns = None);
    assert_disagreements(&whole, &plain_run(), 1);
    let mut cut = whole;
    cut.streams[0].frames[0].captured = 60;
    assert_differs(&cut, &plain_run(), &[Reason::TruncatedHeaders]);
    let mut wrong = plain_run();
    wrong.flows[0].client_leg = wrong.flows[0].server_leg;
    assert!(disagreements(&compare(&cut, &wrong, View::Observer)) > 0);
}
