//! Tests of the comparison of retransmits: every difference is found, and excused only by its own reason.

use super::compare::Ledger;
use super::compare_tests::{MS, capture, disagreements, frame};
use super::ours::{Retransmit, Run};
use super::reason::Reason;
use super::repeats::{Score, compare};
use super::tshark::{ACK, Capture, FIN, Frame, SYN, Verdict};

/// A handshake with a round trip of 10 ms, followed by these frames.
fn after_handshake(rest: &[Frame]) -> Capture {
    let handshake = [frame(true, 0, SYN, None), frame(false, 9, SYN | ACK, None), frame(true, 10, ACK, None)];
    capture([&handshake, rest].concat(), Some(10), 15)
}

/// A segment from the client: `len` bytes, `start` bytes after its SYN.
fn data(at_ms: u64, start: u32, len: u32) -> Frame {
    let pure = frame(true, at_ms, ACK, None);
    Frame { seq: pure.seq.wrapping_add(start), payload: len, ..pure }
}

fn called(verdict: Verdict, frame: Frame) -> Frame {
    Frame { verdict: Some(verdict), ..frame }
}

/// What tcptop reports for a frame that it calls a retransmit.
fn reported(frame: &Frame, kind: &str, after_ms: Option<u64>) -> Retransmit {
    Retransmit {
        time_ns: frame.time_ns,
        sender: frame.source,
        receiver: frame.destination,
        seq: frame.seq,
        len: frame.payload.into(),
        kind: kind.to_owned(),
        after_ns: after_ms.map(|ms| ms * MS),
    }
}

fn compared(capture: &Capture, retransmits: Vec<Retransmit>) -> (Ledger, Score) {
    let mut ledger = Ledger::default();
    let score = compare(&mut ledger, capture, &Run { retransmits, ..Run::default() });
    (ledger, score)
}

/// Returns why only one of the two calls the last frame a retransmit. `ours` is the time after which tcptop reports it.
#[track_caller]
fn why(frames: &[Frame], ours: Option<Option<u64>>) -> Option<Reason> {
    let last = frames.last().unwrap();
    let retransmits = ours.map(|after_ms| reported(last, "data", after_ms));
    let (ledger, score) = compared(&after_handshake(frames), retransmits.into_iter().collect());
    let alone = u64::from(ours.is_some());
    let judged = score.judged > 0 && score.ours_right > 0;
    assert!(
        judged || (score.both, score.ours_alone, score.theirs_alone) == (0, alone, 1 - alone),
        "{score:?}"
    );
    let reasons: Vec<_> = ledger.differing.keys().copied().collect();
    match (&reasons[..], disagreements(&ledger)) {
        ([], 1) => None,
        ([reason], 0) => Some(*reason),
        _ => panic!("{ledger:?}"),
    }
}

#[test]
fn shares_are_of_what_either_tells() {
    let score = Score { both: 90, ours_alone: 10, theirs_alone: 30, ..Score::default() };
    assert_eq!((score.precision(), score.recall()), (0.9, 0.75));
    let mut sum = Score::default();
    assert_eq!((sum.precision(), sum.recall()), (1.0, 1.0));
    sum.add(score);
    sum.add(score);
    assert_eq!(sum, Score { both: 180, ours_alone: 20, theirs_alone: 60, ..Score::default() });
}

#[test]
fn a_copy_is_no_retransmit() {
    let copy = |is_copy| Frame { is_copy, ..called(Verdict::Retransmission, data(21, 0, 100)) };
    let compared = |is_copy, ours: bool| {
        let frames = [data(20, 0, 100), copy(is_copy)];
        let retransmits = ours.then(|| reported(&frames[1], "data", None));
        compared(&after_handshake(&frames), retransmits.into_iter().collect())
    };
    let (ledger, score) = compared(true, false);
    assert_eq!((disagreements(&ledger), ledger.differing.get(&Reason::Copy)), (0, Some(&1)));
    assert_eq!(score, Score::default());
    assert_eq!(disagreements(&compared(false, false).0), 1, "sent twice");
    assert!(compared(true, true).0.differing.is_empty(), "tcptop calls it a retransmit, like tshark");
}

#[test]
fn both_tell_the_same() {
    let again = called(Verdict::Retransmission, data(200, 0, 100));
    let frames = [
        data(20, 0, 100),
        again,
        called(Verdict::KeepAlive, data(300, 99, 0)),
        data(400, 200, 100),
        called(Verdict::OutOfOrder, data(401, 100, 100)),
    ];
    let (ledger, score) = compared(&after_handshake(&frames), vec![reported(&again, "data", None)]);
    assert_eq!(score, Score { both: 1, ours_alone: 0, theirs_alone: 0, ..Score::default() });
    // The figures: that it is a retransmit, its kind and its length. Without a hole there is no time.
    assert_eq!((disagreements(&ledger), ledger.agreed), (0, 5), "{ledger:?}");
}

#[test]
fn each_detail_is_held() {
    let again = called(Verdict::Retransmission, data(200, 0, 100));
    let capture = after_handshake(&[data(20, 0, 100), again]);
    let right = reported(&again, "data", None);
    type Change = fn(&mut Retransmit);
    let changes: [(Change, usize); 7] = [
        (|one| one.kind = "fin".to_owned(), 1),
        (|one| one.len = 99, 1),
        (|one| one.after_ns = Some(1), 1),
        // Another packet than tshark's: one disagreement for each of the two.
        (|one| one.time_ns += 1, 2),
        (|one| one.seq += 1, 2),
        (|one| one.sender.set_port(1), 2),
        (|one| one.receiver.set_port(1), 2),
    ];
    for (change, count) in changes {
        let mut wrong = right.clone();
        change(&mut wrong);
        let (ledger, _) = compared(&capture, vec![wrong.clone()]);
        assert_eq!(disagreements(&ledger), count, "{wrong:?}");
    }
    let (ledger, score) = compared(&capture, vec![right.clone(), right]);
    assert_eq!((disagreements(&ledger), score.both), (1, 1), "one packet is one retransmit");
}

#[test]
fn handshakes_and_fins_say_after_what() {
    let frames = vec![
        frame(true, 0, SYN, None),
        called(Verdict::Retransmission, frame(true, 1_000, SYN, None)),
        frame(false, 1_009, SYN | ACK, None),
        called(Verdict::Retransmission, frame(false, 2_009, SYN | ACK, None)),
        frame(true, 2_010, ACK, None),
        frame(true, 2_020, FIN | ACK, None),
        called(Verdict::Retransmission, frame(true, 2_300, FIN | ACK, None)),
    ];
    let capture = capture(frames.clone(), None, 7);
    let retransmits = |syn_ms, syn_ack_ms, fin_ms| {
        vec![
            reported(&frames[1], "syn", Some(syn_ms)),
            reported(&frames[3], "syn_ack", Some(syn_ack_ms)),
            reported(&frames[6], "fin", fin_ms),
        ]
    };
    let (ledger, score) = compared(&capture, retransmits(1_000, 1_000, None));
    assert_eq!((disagreements(&ledger), score.both), (0, 3), "{ledger:?}");
    let (ledger, _) = compared(&capture, retransmits(1_001, 999, Some(280)));
    assert_eq!(disagreements(&ledger), 3, "{ledger:?}");
}

#[test]
fn what_has_passed_and_comes_soon_is_out_of_order_to_tshark() {
    let second_again = |at_ms| called(Verdict::OutOfOrder, data(at_ms, 100, 100));
    let sent = [data(20, 0, 100), data(21, 100, 100), data(22, 200, 100)];
    let why = |last: Frame, ours| why(&[&sent[..], &[last]].concat(), ours);
    assert_eq!(why(second_again(31), Some(None)), Some(Reason::EarlyRetransmit));
    // More than the first round trip after the newest segment.
    assert_eq!(why(second_again(32), Some(None)), None);
    // Without a verdict of tshark, and with another one.
    assert_eq!(why(data(31, 100, 100), Some(None)), None);
    assert_eq!(why(called(Verdict::KeepAlive, data(31, 100, 100)), Some(None)), None);
    assert_eq!(why(called(Verdict::Fast, data(31, 100, 100)), None), None, "it fills no hole");
}

#[test]
fn a_hole_is_old_or_young() {
    // The hole opens at 21 ms; new data passes at 30 and 35 ms.
    let sent = [data(20, 0, 100), data(21, 200, 100), data(30, 300, 100), data(35, 400, 100)];
    let fill = |verdict, at_ms| called(verdict, data(at_ms, 100, 100));
    let why = |last: Frame, ours| why(&[&sent[..], &[last]].concat(), ours);
    let age = |at_ms: u64| Some(Some(at_ms - 21));
    assert_eq!(why(fill(Verdict::OutOfOrder, 36), age(36)), Some(Reason::OldHole));
    assert_eq!(why(fill(Verdict::OutOfOrder, 45), age(45)), None, "not soon after the newest");
    assert_eq!(why(fill(Verdict::Fast, 36), None), None, "not overtaken");
    assert_eq!(why(fill(Verdict::Retransmission, 36), None), None, "not overtaken");

    let sent = [data(20, 0, 100), data(21, 200, 100), data(22, 300, 100)];
    let why = |last: Frame, ours| self::why(&[&sent[..], &[last]].concat(), ours);
    assert_eq!(why(fill(Verdict::Fast, 30), None), Some(Reason::Overtaken));
    assert_eq!(why(fill(Verdict::Spurious, 30), None), None);
    // Neither the newest nor late: tshark would call it out of order as well.
    assert_eq!(why(fill(Verdict::Retransmission, 30), None), None);
    assert_eq!(why(fill(Verdict::OutOfOrder, 30), age(30)), None, "young and remembered");
}

#[test]
fn what_an_ack_alone_has_overtaken_has_3_ms() {
    let last = |at_ms| called(Verdict::Retransmission, data(at_ms, 100, 100));
    let sent = [data(20, 0, 100), data(30, 200, 0)];
    assert_eq!(why(&[&sent[..], &[last(33)]].concat(), None), Some(Reason::Overtaken));
    assert_eq!(why(&[&sent[..], &[last(34)]].concat(), None), None);
}

#[test]
fn one_byte_is_a_keep_alive_or_data() {
    let byte = |at_ms| called(Verdict::KeepAlive, data(at_ms, 100, 1));
    let shown = [data(20, 0, 100), data(30, 101, 0)];
    assert_eq!(why(&[&shown[..], &[byte(33)]].concat(), Some(Some(3))), Some(Reason::LostByte));
    assert_eq!(why(&[&shown[..], &[byte(32)]].concat(), Some(Some(2))), None, "overtaken");
    let passed = [data(20, 0, 100), data(21, 100, 1)];
    assert_eq!(why(&[&passed[..], &[byte(300)]].concat(), Some(None)), None, "known");
    let two_bytes = called(Verdict::KeepAlive, data(33, 99, 2));
    assert_eq!(why(&[data(20, 0, 99), data(30, 101, 0), two_bytes], Some(Some(3))), None, "no byte");
}

/// A hole that a segment filled which was sent before or after the one that opened it, by its sender's counters.
#[test]
fn the_senders_counters_judge() {
    let stamped = |frame: Frame, value, ip_id| Frame { timestamps: Some((value, 1)), ip_id, ..frame };
    let filled = |verdict, at_ms, [opener, last]: [(u32, u16); 2]| {
        let opener = stamped(data(21, 200, 100), opener.0, opener.1);
        let last = called(verdict, stamped(data(at_ms, 100, 100), last.0, last.1));
        vec![stamped(data(20, 0, 100), 1, 1), opener, data(35, 300, 100), last]
    };
    let age = |at_ms: u64| Some(Some(at_ms - 21));
    let (earlier, later) = ([(9, 9), (8, 20)], [(8, 20), (9, 9)]);
    let of = |verdict, at_ms, counters, ours| why(&filled(verdict, at_ms, counters), ours);
    assert_eq!(of(Verdict::Retransmission, 80, earlier, None), Some(Reason::SentEarlier));
    assert_eq!(of(Verdict::Retransmission, 80, later, None), None);
    assert_eq!(of(Verdict::OutOfOrder, 36, later, age(36)), Some(Reason::SentLater));
    // Equal timestamps: the IP ID decides, unless it is drawn at random.
    assert_eq!(of(Verdict::Retransmission, 80, [(8, 20), (8, 19)], None), Some(Reason::SentEarlier));
    assert_eq!(of(Verdict::Retransmission, 80, [(8, 20), (8, 21)], None), None);
    assert_eq!(of(Verdict::Retransmission, 80, [(8, 20_000), (8, 19)], None), None);
    let capture = after_handshake(&filled(Verdict::Retransmission, 80, earlier));
    let (_, score) = compared(&capture, Vec::new());
    assert_eq!((score.judged, score.right()), (1, [1.0, 0.0]));
}

/// New data has overtaken a retransmit, and opened another hole: it was sent after the one that opened its own.
#[test]
fn each_hole_has_its_own_opener() {
    let stamped = |at_ms, start, value| Frame { timestamps: Some((value, 1)), ..data(at_ms, start, 100) };
    let passed = [stamped(20, 0, 1), stamped(21, 200, 2), stamped(35, 400, 5)];
    let filling = |start, value| called(Verdict::Retransmission, stamped(80, start, value));
    let why = |last: Frame, ours| self::why(&[&passed[..], &[last]].concat(), ours);
    assert_eq!(why(filling(100, 4), None), None, "a retransmit");
    assert_eq!(why(filling(100, 1), None), Some(Reason::SentEarlier), "before its own opener");
    assert_eq!(why(filling(300, 4), None), Some(Reason::SentEarlier));
}

#[test]
fn six_holes_are_remembered() {
    let holes = |count: u32| {
        let mut frames: Vec<_> = (0..=count).map(|at| data(20, at * 200, 100)).collect();
        frames.push(called(Verdict::OutOfOrder, data(21, 100, 100)));
        frames
    };
    assert_eq!(why(&holes(7), Some(Some(1))), Some(Reason::ForgottenHole));
    assert_eq!(why(&holes(6), Some(Some(1))), None);
    // Both call it a retransmit; tcptop knows no time for it.
    for (count, excused) in [(7, true), (6, false)] {
        let mut frames = holes(count);
        let last = frames.last_mut().unwrap();
        *last = called(Verdict::Retransmission, data(100, 100, 100));
        let retransmits = vec![reported(last, "data", None)];
        let (ledger, _) = compared(&after_handshake(&frames), retransmits);
        assert_eq!(ledger.differing.contains_key(&Reason::ForgottenHole), excused, "{ledger:?}");
        assert_eq!(disagreements(&ledger), usize::from(!excused));
    }
}

/// The time is that of waiting for an answer, not a round trip.
#[test]
fn a_repeated_answer_gives_no_round_trip() {
    let with_answers = |answers: &[u64], filled_ms| {
        let last = called(Verdict::Fast, data(filled_ms, 100, 100));
        let mut frames = vec![frame(true, 0, SYN, None)];
        frames.extend(answers.iter().map(|at_ms| frame(false, *at_ms, SYN | ACK, None)));
        frames.extend([frame(true, 1_010, ACK, None), data(1_020, 0, 100), data(1_021, 200, 100), last]);
        let (ledger, _) = compared(&capture(frames, Some(1_010), 7), Vec::new());
        ledger.differing.contains_key(&Reason::Overtaken)
    };
    assert!(with_answers(&[9], 1_900));
    assert!(!with_answers(&[9, 1_009], 1_900));
    assert!(with_answers(&[9, 1_009], 1_024));
}

#[test]
fn numbers_wrap() {
    let near_the_end = |frame: Frame| Frame { seq: frame.seq.wrapping_sub(150), ..frame };
    let last = called(Verdict::OutOfOrder, data(36, 100, 100));
    let mut frames = vec![frame(true, 0, SYN, None), frame(false, 9, SYN | ACK, None)];
    frames.extend([
        frame(true, 10, ACK, None),
        data(20, 0, 100),
        data(21, 200, 100),
        data(35, 300, 100),
        last,
    ]);
    let frames: Vec<_> =
        frames.into_iter().map(|one| if one.source.port() == 80 { one } else { near_the_end(one) }).collect();
    let retransmits = vec![reported(frames.last().unwrap(), "data", Some(15))];
    let mut capture = capture(frames, Some(10), 15);
    capture.streams[0].frames[1].ack = capture.streams[0].frames[0].seq.wrapping_add(1);
    let (ledger, _) = compared(&capture, retransmits);
    assert_eq!((disagreements(&ledger), ledger.differing.get(&Reason::OldHole)), (0, Some(&1)), "{ledger:?}");
}

#[test]
fn a_syn_among_the_data_leads_tshark_astray() {
    let late = data(31, 0, 100);
    let syn = frame(true, 30, SYN, None);
    assert_eq!(why(&[data(20, 0, 100), syn, late], Some(None)), Some(Reason::SynAmongData));
    assert_eq!(why(&[data(20, 0, 100), late], Some(None)), None, "no SYN");
    assert_eq!(why(&[syn, data(30, 0, 100), late], Some(None)), None, "none but before the data");
    let filling = data(31, 100, 100);
    let opening = [data(20, 0, 100), data(25, 200, 100), syn];
    assert_eq!(why(&[&opening[..], &[filling]].concat(), Some(Some(6))), None, "overtaken");
    let later = data(40, 100, 100);
    assert_eq!(why(&[&opening[..], &[later]].concat(), Some(Some(15))), Some(Reason::SynAmongData));
}
