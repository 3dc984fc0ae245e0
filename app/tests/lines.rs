//! Text lines, JSON objects and reports, from a fixed list of records.

mod support;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use probe_common::counter::{Counter, Counters};
use probe_common::{RecordKind, SegmentKind, SegmentRecord, TcpFlags, Unparsed};
use support::{Connection, INTERFACE, MS, S, Watched, v4, v6};
use tcptop::clock::Anchor;
use tcptop::output::json::Json;
use tcptop::output::line_writer::Lines;
use tcptop::output::report::Report;
use tcptop::output::summary::Summary;
use tcptop::output::target::{ReportFormat, Witness};
use tcptop::output::text::Text;
use tcptop::output::{Output, RenderContext};
use tcptop_core::Query;
use tcptop_core::{Input, ReaderConfig};

const START: u64 = 100 * S;
const END: u64 = START + 65 * S;

/// One of each outcome.
fn watched() -> Watched {
    let at = |ms: u64| START + ms * MS;
    let fast = Connection::to(v4(10, 20, 1, 10, 8080), 40_001);
    let served = Connection::from(v6("2001:db8::9", 51_000), 443);
    let refused = Connection::to(v4(10, 20, 4, 2, 6379), 40_002);
    let silent = Connection::to(v4(10, 20, 9, 7, 443), 40_003);
    let lossy = Connection::to(v4(10, 20, 5, 5, 9000), 40_004);
    let half = Connection::from(v4(198, 51, 100, 7, 6_000), 80);
    let before = Connection::to(v4(10, 20, 7, 7, 22), 40_005);
    let late = Connection::to(v4(10, 20, 1, 10, 8080), 40_006);
    let mut watched = Watched::with(&support::config(65_536), START);
    watched
        .see([fast.syn(at(0)), fast.syn_ack(at(0) + 912_345), fast.ack(at(0) + 920_000)])
        .see([served.syn(at(10)), served.syn_ack(at(10) + 48_000), served.ack(at(35))])
        .see([refused.syn(at(50)), refused.rst_of_responder(at(50) + 398_000)])
        // These get no answer.
        .see([refused.rst_of_responder(at(51)); 8])
        .see([silent.syn(at(60)), silent.syn(at(1_060)), silent.syn(at(3_060))])
        .see([lossy.syn(at(70)), lossy.syn(at(1_070)), lossy.syn_ack(at(1_072)), lossy.ack(at(1_072))])
        .see([half.syn(at(80)), half.syn_ack(at(80) + 40_000)])
        .see([fast.fin_of_opener(at(500)), fast.fin_of_responder(at(501))])
        .see([served.rst_of_responder(at(600))])
        .see([before.fin_of_responder(at(700)), before.fin_of_opener(at(701))])
        .expire(END - 500 * MS)
        .see([late.syn(END - 400 * MS)])
        .expire(END)
        .finish(END);
    watched
}

fn context() -> RenderContext {
    let wall = "2026-01-02T14:02:31Z".parse::<Timestamp>().expect("a time");
    let interfaces = BTreeMap::from([(INTERFACE, "enp0s1".to_owned())]);
    RenderContext {
        interfaces,
        source: "tcx",
        not_known: Vec::new(),
        host: Some("web-3".to_owned()),
        run: "0123456789abcdef".to_owned(),
        anchor: Anchor::new(START, wall),
        zone: TimeZone::UTC,
    }
}

/// What an output writes of all this.
fn written(mut output: impl Output) -> String {
    let (mut watched, context, mut lines) = (watched(), context(), Lines::default());
    if output.takes_events() {
        watched.events.iter().for_each(|event| output.event(event, &context, &mut lines));
    }
    let mut counters = Counters::default();
    counters.0[Counter::Missed(RecordKind::Segment(SegmentKind::Syn)).cell().expect("counted")] = 3;
    counters.0[Counter::Unparsed(Unparsed::Fragment).cell().expect("counted")] = 2;
    watched.handle(Input::Counters { counters: &counters, now_ns: END });
    if let Some(request) = output.closing_request(&Query::default()) {
        let reader = watched.engine.add_reader(ReaderConfig::default());
        output.close(&watched.engine.snapshot(reader, &request, END), &context, &mut lines);
    }
    String::from_utf8(lines.as_bytes().to_vec()).expect("text")
}

fn report(format: ReportFormat) -> Report {
    Report { format, command: "tcptop enp0s1 --report".to_owned() }
}

#[test]
fn text_lines() {
    insta::assert_snapshot!(written(Text { retransmits: None }));
}

#[test]
fn text_lines_with_retransmits() {
    insta::assert_snapshot!(written(Text { retransmits: Some(Witness::Wire) }));
}

#[test]
fn json_objects() {
    insta::assert_snapshot!(written(Json));
}

#[test]
fn summary_like_that_of_ping() {
    insta::assert_snapshot!(written(Summary));
}

#[test]
fn report_to_paste() {
    insta::assert_snapshot!(written(report(ReportFormat::Text)));
}

#[test]
fn report_in_markdown() {
    insta::assert_snapshot!(written(report(ReportFormat::Markdown)));
}

#[test]
fn report_in_json() {
    insta::assert_snapshot!(written(report(ReportFormat::Json)));
}

/// What is at two interfaces, such as those that `tcpdump -i any` names, is told apart.
#[test]
fn a_report_names_interfaces_where_they_differ_and_challenged_attempts() {
    let at = |ms: u64| START + ms * MS;
    let table = |connections: &[Connection], interfaces: &[u32], challenge: Option<Connection>| {
        let mut watched = Watched::with(&support::config(100), START);
        watched.handle(Input::Interfaces(&BTreeMap::from([(INTERFACE, "eth0".into()), (9, "veth1".into())])));
        for (connection, interface) in connections.iter().zip(interfaces) {
            let records = [connection.syn(at(0)), connection.syn_ack(at(1)), connection.ack(at(2))];
            watched.see(records.map(|record| SegmentRecord { interface: *interface, ..record }));
        }
        if let Some(connection) = challenge {
            // An ACK with the numbers of another connection.
            let mut ack = connection.fin_of_responder(at(11));
            (ack.kind, ack.flags, ack.ack) = (SegmentKind::Ack, TcpFlags::ACK, 7);
            watched.see([connection.syn(at(10)), ack]).expire(at(20_000));
        }
        let request = report(ReportFormat::Text).closing_request(&Query::default()).expect("a snapshot");
        let snapshot = watched.engine.snapshot(watched.reader, &request, END);
        let names = BTreeMap::from([(INTERFACE, "eth0".to_owned()), (9, "veth1".to_owned())]);
        let context = RenderContext::new(names, "test", Anchor::new(0, Timestamp::UNIX_EPOCH));
        report(ReportFormat::Text).text(&snapshot, &context)
    };
    let server = Connection::to(v4(10, 0, 0, 2, 443), 40_000);
    let two = table(&[server, server], &[INTERFACE, 9], None);
    assert!(two.contains("PEER          IFACE  DIR"), "{two}");
    assert!(two.contains("10.0.0.2:443  eth0   out") && two.contains("10.0.0.2:443  veth1  out"), "{two}");
    let one = table(&[server, Connection::to(v4(10, 0, 0, 3, 443), 40_001)], &[9, 9], None);
    assert!(!one.contains("IFACE") && !one.contains("CHALLENGED"), "{one}");
    let challenged = table(&[server], &[INTERFACE], Some(Connection::to(v4(10, 0, 0, 3, 443), 40_001)));
    let row = challenged.lines().find(|line| line.contains("10.0.0.3:443  out")).expect("a row");
    let titles = challenged.lines().find(|line| line.contains("CHALLENGED")).expect("a column");
    let end = titles.find("CHALLENGED").expect("it has it") + "CHALLENGED".len();
    assert_eq!(&row[end - 3..end], "  1", "{challenged}");
}
