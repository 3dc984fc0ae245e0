//! Hard case `reasons-of-resets`: what is said of a RST, and of which.

mod support;

use probe_common::{Record, ResetReason, ResetRecord, SegmentRecord, Volume};
use support::{Connection, MS, S, START, Watched, v4};
use tcptop_core::{Event, Flow, Outcome, Party, Reset, ResetStage, Span, Verdict, Why};

const COOKIE: u64 = 77;
const DATA: Volume = Volume { segments: 1, bytes: 100, ..Volume::NONE };

/// A connection to this host, and one of this host.
fn inbound(port: u16) -> Connection {
    Connection::from(v4(10, 0, 0, 2, port), 80)
}

fn outbound(port: u16) -> Connection {
    Connection::to(v4(10, 0, 0, 2, 443), port)
}

fn established(connection: &Connection) -> [SegmentRecord; 3] {
    [connection.syn(START), connection.syn_ack(START + MS), connection.ack(START + 2 * MS)]
}

fn seen(records: impl IntoIterator<Item = impl Into<Record>>) -> Watched {
    let mut watched = Watched::new();
    watched.see(records);
    watched
}

/// What is said of the only flow.
fn reset(watched: &mut Watched) -> Reset {
    let flows = watched.flows(START + 3 * S);
    let [flow] = &flows[..] else { panic!("{flows:?}") };
    flow.reset().expect("a RST ended it")
}

fn reasons(watched: &Watched) -> Vec<Option<ResetReason>> {
    let reported = watched.events.iter().map(Event::flow).filter_map(Flow::reset);
    reported.map(|reset| reset.reason).collect()
}

/// Why a socket has sent a RST, as the kernel says just afterwards.
fn afterwards(cookie: u64, reason: ResetReason) -> Record {
    Record::Reset(ResetRecord { time_ns: START + 5 * MS, cookie, reason: Some(reason) })
}

#[test]
fn the_stage_is_how_far_the_connection_was() {
    let (server, client) = (inbound(1), outbound(1));
    let data = |rst: SegmentRecord| SegmentRecord { volumes: [Volume::NONE, DATA], ..rst };
    let after =
        |connection: &Connection, more: &[SegmentRecord]| [&established(connection)[..], more].concat();
    let [by_us, by_peer] = [Party::Local, Party::Remote];
    let rst = client.rst_of_responder(START + 3 * MS);
    let fin = [server.fin_of_opener(START + 3 * MS), server.rst_of_responder(START + 4 * MS)];
    let answered = vec![client.syn(START), client.syn_ack(START + MS), rst];
    let refused = vec![server.syn(START), server.rst_of_responder(START + MS)];
    let given_up = vec![client.syn(START), client.rst_of_opener(START + MS)];
    for (records, stage, by, outcome) in [
        (refused, ResetStage::Syn, by_us, Outcome::Refused),
        (given_up, ResetStage::Syn, by_us, Outcome::Unanswered),
        (answered, ResetStage::SynAck, by_peer, Outcome::Reset),
        (after(&client, &[rst]), ResetStage::Connected, by_peer, Outcome::Reset),
        (after(&client, &[data(rst)]), ResetStage::Data, by_peer, Outcome::Reset),
        (after(&server, &fin), ResetStage::Closing, by_us, Outcome::Reset),
        (vec![rst], ResetStage::Unseen, by_peer, Outcome::Reset),
    ] {
        let mut watched = seen(records);
        let reset = reset(&mut watched);
        assert_eq!((reset.stage, reset.by, reset.reason), (stage, by, None));
        assert_eq!(watched.flows(START + S)[0].outcome(), outcome, "{stage:?}");
    }
}

#[test]
fn the_reason_comes_with_the_rst_or_just_behind_it() {
    let connection = inbound(1);
    let with =
        SegmentRecord { reset: Some(ResetReason::NoSocket), ..connection.rst_of_responder(START + 400_000) };
    let watched = seen([connection.syn(START), with]);
    assert_eq!(reasons(&watched), [Some(ResetReason::NoSocket)]);

    let rst = SegmentRecord { cookie: COOKIE, ..connection.rst_of_responder(START + 5 * MS) };
    let ended: Vec<Record> = established(&connection).into_iter().chain([rst]).map(Into::into).collect();
    let behind = afterwards(COOKIE, ResetReason::ClosedUnread);
    let mut together = seen(ended.iter().copied().chain([behind]));
    assert_eq!(reasons(&together), [Some(ResetReason::ClosedUnread)], "also what is reported has it");
    assert_eq!(reset(&mut together).reason, Some(ResetReason::ClosedUnread));
    let mut late = seen(ended.clone());
    late.see([behind]);
    assert_eq!(reasons(&late), [None], "it was not known then");
    assert_eq!(reset(&mut late).reason, Some(ResetReason::ClosedUnread));
    let mut of_another = seen(ended.into_iter().chain([afterwards(COOKIE + 1, ResetReason::ClosedUnread)]));
    assert_eq!(reset(&mut of_another).reason, None);
}

/// A socket's cookie names no flow for ever: the next RST has its own reason.
#[test]
fn a_reason_is_that_of_one_rst_only() {
    let (first, second) = (inbound(1), inbound(2));
    let rst = |connection: &Connection| SegmentRecord {
        cookie: COOKIE,
        ..connection.rst_of_responder(START + 5 * MS)
    };
    let records = established(&first).into_iter().chain(established(&second)).chain([rst(&first)]);
    let records = records.map(Record::from).chain([
        afterwards(COOKIE, ResetReason::KeepaliveTimeout),
        rst(&second).into(),
        afterwards(COOKIE, ResetReason::Aborted),
        afterwards(COOKIE, ResetReason::Memory),
    ]);
    assert_eq!(
        reasons(&seen(records)),
        [Some(ResetReason::KeepaliveTimeout), Some(ResetReason::Aborted)],
        "the third says nothing of them"
    );
}

#[test]
fn only_another_ttl_than_that_of_its_sender_is_strange() {
    let strange = |connection: &Connection, others: Option<u8>, ttl: Option<u8>| {
        let records = established(connection).map(|record| SegmentRecord { ttl: others, ..record });
        let rst = SegmentRecord { ttl, ..connection.rst_of_responder(START + 3 * MS) };
        let mut watched = seen(records.into_iter().chain([rst]));
        watched.flows(START + S)[0].strange_reset_ttl()
    };
    assert_eq!(strange(&outbound(1), Some(52), Some(61)), Some([61, 52]));
    assert_eq!(strange(&outbound(1), Some(52), Some(52)), None);
    assert_eq!(strange(&outbound(1), None, Some(61)), None, "nothing to compare with");
    assert_eq!(strange(&outbound(1), Some(52), None), None);
    assert_eq!(strange(&inbound(1), Some(64), Some(255)), None, "this host's own");
    let client = outbound(2);
    let [syn, rst] = [client.syn(START), client.rst_of_responder(START + MS)];
    let refused = [SegmentRecord { ttl: Some(64), ..syn }, SegmentRecord { ttl: Some(52), ..rst }];
    assert_eq!(seen(refused).flows(START + S)[0].strange_reset_ttl(), None, "the SYN is of the other end");
}

/// What stands in the row is about the connections that make up its verdict, in its window.
#[test]
fn the_reason_of_refused_and_aborted_ones_is_behind_the_verdict() {
    let why = |watched: &mut Watched, now_ns| {
        let snapshot = watched.expire(now_ns).snapshot(Span::Window, now_ns);
        let [row] = &snapshot.rows[..] else { panic!("{:?}", snapshot.rows) };
        (row.verdict, row.why)
    };
    let connection = inbound(1);
    let refuses = |port: u16, reason| {
        let connection = inbound(port);
        [connection.syn(START), SegmentRecord { reset: reason, ..connection.rst_of_responder(START + MS) }]
    };
    let mut refused = seen(refuses(1, Some(ResetReason::NoSocket)));
    assert_eq!(why(&mut refused, START + S), (Some(Verdict::Refused), Some(Why::NothingListens)));
    let mut unknown = seen(refuses(1, None));
    assert_eq!(why(&mut unknown, START + S), (Some(Verdict::Refused), None));
    let rst = SegmentRecord { cookie: COOKIE, ..connection.rst_of_responder(START + 5 * MS) };
    let records = established(&connection).into_iter().chain([rst]).map(Record::from);
    let mut aborted = seen(records.chain([afterwards(COOKIE, ResetReason::ClosedUnread)]));
    let expected = (Some(Verdict::Aborted), Some(Why::Reset(ResetReason::ClosedUnread)));
    assert_eq!(why(&mut aborted, START + S), expected);
    assert_eq!(why(&mut aborted, START + 100 * S).1, None, "it is long ago");
}

/// A reason whose flow was not seen, or is evicted, changes nothing.
#[test]
fn a_reason_without_its_flow_is_nobodys() {
    let mut watched = Watched::with_room(1);
    let [first, second] = [inbound(1), inbound(2)];
    let rst = SegmentRecord { cookie: COOKIE, ..first.rst_of_responder(START + MS) };
    watched.see([afterwards(9, ResetReason::Aborted)]);
    watched.see([first.syn(START), rst, second.syn(START + 2 * MS), second.rst_of_responder(START + 3 * MS)]);
    watched.see([afterwards(COOKIE, ResetReason::NoSocket)]);
    assert_eq!(reset(&mut watched).reason, None);
}
