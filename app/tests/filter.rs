//! Filters: parsing and writing, error messages with their place, and what they match.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use support::{Connection, INTERFACE, MS, S, Watched, v4, v6};
use tcptop_core::{Engine, Filter, Input, Query, ReaderConfig, Snapshot, SnapshotRequest, Span, Verdict};

const START: u64 = 1_000 * S;
const NOW: u64 = START + 8 * S;

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

#[test]
fn filters_are_written_as_they_are_read() {
    for (text, written) in [
        ("", ""),
        ("  web   DB1 ", "web db1"),
        ("peer:10.0.0.0/8 port:443 p99>50ms !role:server", "peer:10.0.0.0/8 port:443 p99>50ms !role:server"),
        (
            "peer:10.1.2.3:443,[2001:db8::1]:80,2001:db8::/32",
            "peer:10.1.2.3:443,[2001:db8::1]:80,2001:db8::/32",
        ),
        ("port:80,8000-8099 lport:1024-65535", "port:80,8000-8099 lport:1024-65535"),
        ("p50>=1.5ms max<2s age=90m", "p50>=1500us max<2s age=90m"),
        ("new>0.5 retr>=1 unanswered>3", "new>0.5/s retr>=1% unanswered>3"),
        ("outcome:refused,half-open verdict:nR", "outcome:refused,half-open verdict:N,R"),
        (r#"proc:nginx,"Web Content" PID=7,08"#, r#"proc:nginx,"web content" pid:7,8"#),
        ("container:web !unit:ssh.service", "container:web !unit:ssh.service"),
        (r#"iface:"my if",eth0 "a b" "q\"x\\""#, r#"iface:"my if",eth0 "a b" "q\"x\\""#),
        (
            "10.0.0.1:80 [2001:db8::1]:443 fe80::1 dead:beef::1",
            r#""10.0.0.1:80" "[2001:db8::1]:443" "fe80::1" "dead:beef::1""#,
        ),
    ] {
        let read = filter(text);
        assert_eq!(read.to_string(), written);
        assert_eq!(filter(written), read, "{written}");
    }
}

/// Invalid filters, the place of the error, and a word of what was expected there.
#[test]
fn an_invalid_filter_says_where() {
    for (text, wrong, expected) in [
        ("port:443 p99>50", "50", "with its unit"),
        ("port:99999", "99999", "0 to 65535"),
        ("port:90-80", "90-80", "0 to 65535"),
        ("port:80,,81", "", "0 to 65535"),
        ("peer:web", "web", "10.0.0.0/8"),
        ("peer:10.0.0.0/33", "10.0.0.0/33", "10.0.0.0/8"),
        ("peer:[::1]443", "[::1]443", "10.0.0.0/8"),
        ("a hots:x", "hots", "a key (peer, port"),
        ("proc:", "", "a name"),
        ("unit:a,,b", "", "a name"),
        ("pid:nginx", "nginx", "the number of a process"),
        ("pid:1-9", "1-9", "the number of a process"),
        ("role:servr", "servr", "client, server, local, forwarded, observer"),
        ("outcome:lost", "lost", "unanswered"),
        ("verdict:", "", "N, F, U, R, A, S, W, L"),
        ("verdict:NX", "NX", "N, F, U, R, A, S, W, L"),
        ("iface:", "", "interface"),
        ("speed>3", "speed", "a figure (p50"),
        ("p99>", "", "with its unit"),
        ("retr>x%", "x%", "a share"),
        ("new>fast", "fast", "a rate"),
        ("tries>-1", "-1", "a number"),
        ("web !", "", "a term behind the !"),
        (r#"ok "not closed"#, r#""not closed"#, "a closing quote"),
        (r#"a"b"c"#, r#"a"b"c"#, "quotes around all of it"),
        (r#"ü port:x"#, "x", "0 to 65535"),
    ] {
        let error = text.parse::<Filter>().expect_err(text);
        assert_eq!(&text[error.at.clone()], wrong, "{text}: {error:?}");
        assert!(error.expected.contains(expected), "{text}: {error}");
    }
}

#[test]
fn an_invalid_filter_is_shown_with_a_mark() {
    let text = "ü port:443 p99>50";
    let shown = text.parse::<Filter>().unwrap_err().shown_in(text);
    assert_eq!(shown, "ü port:443 p99>50\n               ^^\nexpected a time with its unit, such as 50ms");
    let missing = "p99>".parse::<Filter>().unwrap_err().shown_in("p99>");
    assert!(missing.starts_with("p99>\n    ^\n"), "{missing}");
}

/// Forms with only one possible meaning are accepted, and written as they are documented.
#[test]
fn forms_that_are_unambiguous_are_accepted() {
    for (text, written) in [
        ("p99 > 50ms", "p99>50ms"),
        ("p99> 50ms port:80", "p99>50ms port:80"),
        ("web p99 >=50ms", "web p99>=50ms"),
        ("!p99 < 1m30s", "!p99<90s"),
        ("port: 443 web", "port:443 web"),
        ("iface: \"my if\"", "iface:\"my if\""),
        ("port=443 role = server", "port:443 role:server"),
        ("port==443 tries==3", "port:443 tries=3"),
        ("P99>50ms Port:443 OUTCOME:Refused", "p99>50ms port:443 outcome:refused"),
        ("outcome:half_open", "outcome:half-open"),
        ("setup-p99 > 1s slow_setup !aborted", "setup_p99>1s verdict:W !verdict:A"),
        ("verdict:slow,N", "verdict:S,N"),
        ("refused !server slow", "outcome:refused !role:server verdict:S"),
        ("10.0.0.0/8 !2001:db8::/32", "peer:10.0.0.0/8 !peer:2001:db8::/32"),
        ("\"p99\" \"and\" \"refused\" \"host\"", "\"p99\" \"and\" \"refused\" \"host\""),
    ] {
        let read = filter(text);
        assert_eq!(read.to_string(), written, "{text}");
        assert_eq!(filter(written), read, "{written}");
    }
}

/// A word that could be meant as a term is an error that names the nearest valid term, not a word that matches nothing.
#[test]
fn an_invalid_term_names_the_nearest_valid_one() {
    for (text, wrong, nearest) in [
        // Keys and figures of other tools.
        ("loss>1%", "loss", "retr>1%"),
        ("lost>0", "lost", "retr>0"),
        ("dport:443", "dport", "port:443"),
        ("!sport:40000", "sport", "!lport:40000"),
        ("interface:eth0", "interface", "iface:eth0"),
        ("state=refused", "state", "outcome=refused"),
        ("latency > 5ms", "latency", "rtt> 5ms"),
        ("UNANS>3", "UNANS", "unanswered>3"),
        ("SETUP99>1s", "SETUP99", "setup_p99>1s"),
        ("aborts>0", "aborts", "aborted>0"),
        ("RETR%>1", "RETR%", "retr>1"),
        ("host:10.0.0.1:80", "host", "peer:10.0.0.1:80"),
        ("loss>a", "loss", "retr>1%"),
        // Misspelt.
        ("prot:80", "prot", "port:80"),
        ("outcme:reset", "outcme", "outcome:reset"),
        ("role:servr", "servr", "role:server"),
        ("p95>5ms", "p95", "p90>5ms"),
        // The wrong sign, or none.
        ("p99:50ms", "p99", "p99>50ms"),
        ("tries:3", "tries", "tries=3"),
        ("p99", "p99", "p99>50ms"),
        ("p99 50ms", "p99", "p99>50ms"),
        ("tcp port 443", "port", "port:443"),
        ("local 10.0.0.1", "local", "local:10.0.0.1"),
        ("host 10.0.0.1", "host", "peer:10.0.0.1"),
        ("p99=>5ms", ">5ms", "p99>=5ms"),
        ("p99≥5ms", "p99≥5ms", "p99>=5ms"),
        ("rtt~5ms", "rtt~5ms", "rtt>5ms"),
        // Negation.
        ("port!=443", "port!", "!port:443"),
        ("tries!=3", "tries!", "!tries=3"),
        ("-role:server", "-role", "!role:server"),
        ("not port:80", "not", "!port:80"),
        // All of several, one of several.
        ("a && b", "&&", "a b"),
        ("port:80&&web", "80&&web", "port:80 web"),
        ("port:80 AND web", "AND", "port:80 web"),
        ("port:80 || port:443", "||", "port:80,443"),
        ("port:80||port:443", "80||port:443", "port:80,443"),
        ("port:80 or port:443", "or", "port:80,443"),
        ("outcome:refused|reset", "refused|reset", "outcome:refused,reset"),
        ("p99>5ms,p50>1ms", "5ms,p50>1ms", "p99>5ms p50>1ms"),
        ("80,443", "80,443", "port:80,443"),
        ("(port:80)", "(port", "port:80"),
        ("10.20.*", "10.20.*", "10.20."),
    ] {
        let error = text.parse::<Filter>().expect_err(text);
        assert_eq!(&text[error.at.clone()], wrong, "{text}: {error:?}");
        assert_eq!(error.nearest.as_deref(), Some(nearest), "{text}: {error}");
        assert!(error.to_string().contains(&format!("did you mean {nearest}?")), "{error}");
        assert!(nearest.parse::<Filter>().is_ok(), "{nearest}");
    }
}

/// If no valid term is near, the error lists what could stand there.
#[test]
fn an_invalid_term_is_never_a_word() {
    for text in [
        "foo:bar",
        "speed>3",
        "a || b",
        "a or b",
        "web:x",
        "x=5",
        ">50ms",
        "!!x",
        "10.0.0.0/33",
        "web|db",
        "a*b",
    ] {
        let error = text.parse::<Filter>().expect_err(text);
        assert!(!error.expected.is_empty(), "{text}: {error:?}");
    }
    let error = "foo:bar".parse::<Filter>().unwrap_err().to_string();
    assert!(error.contains("peer, port, local, lport, iface, role, outcome, cause, verdict"), "{error}");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let text = "port:\u{1b}[31mx";
    let shown = text.parse::<Filter>().unwrap_err().shown_in(text);
    assert!(shown.starts_with("port:?[31mx\n     ^^^^^^\n"), "{shown:?}");
}

/// A slow peer, one that refuses, one that does not answer, and one that connects to this host.
fn watched() -> Watched {
    let mut watched = Watched::new();
    for n in 0..4 {
        let slow = Connection::to(v4(10, 20, 3, 14, 5432), 40_000 + n);
        let began_ns = START + u64::from(n) * S;
        watched.see([slow.syn(began_ns), slow.syn_ack(began_ns + 210 * MS), slow.ack(began_ns + 211 * MS)]);
    }
    let refused = Connection::to(v4(10, 20, 4, 2, 6379), 41_000);
    watched.see([refused.syn(START), refused.rst_of_responder(START + MS)]);
    let silent = Connection::to(v6("2001:db8::7", 443), 42_000);
    watched.see([silent.syn(START + S), silent.syn(START + 2 * S), silent.syn(START + 4 * S)]);
    let from = Connection::from(v4(192, 168, 1, 9, 50_123), 22);
    watched.see([from.syn(START), from.syn_ack(START + 50_000), from.ack(START + 9 * MS)]);
    watched.expire(NOW);
    watched
}

fn snapshot(text: &str) -> Snapshot {
    let query = Query { filter: filter(text), ..Query::default() };
    let request = SnapshotRequest {
        query,
        rows: 100,
        flows: 100,
        selected_flows: 100,
        ..SnapshotRequest::totals(Span::Window)
    };
    let Watched { mut engine, reader, .. } = watched();
    engine.snapshot(reader, &request, NOW)
}

const SLOW: &str = "10.20.3.14:5432";
const REFUSES: &str = "10.20.4.2:6379";
const SILENT: &str = "[2001:db8::7]:443";
const CLIENT: &str = "192.168.1.9→:22";

#[test]
fn rows_match_by_identity_and_by_figures() {
    for (text, passing) in [
        ("", &[SILENT, REFUSES, SLOW, CLIENT][..]),
        ("peer:10.20.0.0/16", &[REFUSES, SLOW]),
        ("!peer:10.20.0.0/16", &[SILENT, CLIENT]),
        ("peer:10.20.3.14:5432,192.168.0.0/16", &[SLOW, CLIENT]),
        ("peer:10.20.3.14:80", &[]),
        ("port:22", &[CLIENT]),
        ("port:5000-7000", &[REFUSES, SLOW]),
        ("role:server", &[CLIENT]),
        ("!role:server p99>50ms", &[SLOW]),
        ("p50<50ms", &[CLIENT]),
        ("!p50<50ms", &[SILENT, REFUSES, SLOW]),
        ("rtt=210ms", &[SLOW]),
        ("outcome:unanswered", &[SILENT]),
        ("outcome:unanswered,refused", &[SILENT, REFUSES]),
        ("refused>=1", &[REFUSES]),
        ("retr>50%", &[SILENT]),
        ("retransmits=2", &[SILENT]),
        ("new>0.3/s", &[SLOW]),
        ("verdict:RS", &[REFUSES, SLOW]),
        ("!verdict:NRASWL", &[CLIENT]),
        ("age>=8s", &[REFUSES, SLOW, CLIENT]),
        ("2001:db8", &[SILENT]),
        (":443", &[SILENT]),
        ("SERVER", &[CLIENT]),
        ("enp0", &[SILENT, REFUSES, SLOW, CLIENT]),
        ("iface:enp0s1 iface:eth0", &[]),
    ] {
        let snapshot = snapshot(text);
        let rows: Vec<String> = snapshot.rows.iter().map(|row| row.key.to_string()).collect();
        assert_eq!(rows, passing, "{text}");
        assert_eq!((snapshot.matching, snapshot.row_count), (passing.len(), 4), "{text}");
    }
}

#[test]
fn flows_match_by_their_own_values() {
    for (text, passing) in [
        ("", 7),
        ("peer:10.20.3.14", 4),
        ("lport:40000-40001", 2),
        ("!lport:40000-40001", 5),
        ("local:10.0.0.1:40002", 1),
        ("local:10.0.0.1", 7),
        ("lport:22", 1),
        ("p99>50ms", 4),
        ("setup>210ms", 4),
        ("tries>1", 1),
        ("tries=3 outcome:unanswered", 1),
        ("role:server", 1),
        ("role:client outcome:established", 4),
        ("refused=1", 1),
        ("unanswered>0", 1),
        ("retransmits>=2", 1),
        ("verdict:S", 4),
        ("new>1000/s", 7),
        ("age<6s", 1),
        ("established", 5),
        ("50123", 1),
        ("\"192.168.1.9:50123\"", 1),
        ("\"10.0.0.1:41000\"", 1),
    ] {
        let snapshot = snapshot(text);
        let flows = snapshot.flows.expect("asked for");
        assert_eq!((flows.rows.len(), flows.matching), (passing, passing), "{text}");
    }
}

/// Terms that do not apply to rows restrict their flows only, and the screen says so.
#[test]
fn terms_for_flows_do_not_restrict_rows() {
    for text in ["lport:40001", "!lport:40001", "tries>5", "setup<1ms", "local:10.9.9.9", "outcome:pending"] {
        assert_eq!(snapshot(text).rows.len(), 4, "{text}");
        assert_eq!(filter(text).flow_terms().collect::<Vec<_>>(), [text]);
    }
    assert_eq!(filter("port:1 p99>1s outcome:refused").flow_terms().count(), 0);
    let selection = snapshot("peer:10.20.3.14 lport:40001").selection.expect("there is a row");
    assert_eq!((selection.flows.len(), selection.matching, selection.flow_count), (1, 1, 4));
    assert_eq!(selection.row.verdict, Some(Verdict::Slow));
}

/// Pieces of the grammar, so that many of their combinations are valid.
fn bits() -> impl Strategy<Value = String> {
    let bit = prop_oneof![
        prop::sample::select(vec![
            "peer", "port", "lport", "iface", "verdict", "outcome", "role", "p99", "retr", "new", "tries",
            "host", "and", "or", "||", "loss", ":", ":", ":", ">", "<=", "=", "!", " ", " ", " ", "\"", "\\",
            ",", "-", "/", "10.0.0.1", "::1", "[", "]", "443", "8", "50ms", "1.5s", "%", "/s", "refused",
            "server", "NR", "web", "ü",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(bit, 0..12).prop_map(|bits| bits.concat())
}

proptest! {
    #![proptest_config(support::properties(20_000))]

    #[test]
    fn any_input_is_read_or_marked(text in bits()) {
        let (_, error) = Filter::valid_part(&text);
        prop_assert_eq!(error, text.parse::<Filter>().err());
        match text.parse::<Filter>() {
            Ok(read) => {
                let written = read.to_string();
                let again = written.parse::<Filter>();
                prop_assert_eq!(again.as_ref(), Ok(&read), "{:?} is written as {:?}", text, written);
            }
            Err(error) => {
                prop_assert!(text.get(error.at.clone()).is_some(), "{:?} at {:?}", text, error.at);
                prop_assert!(error.shown_in(&text).contains('^'));
                if let Some(nearest) = error.nearest {
                    prop_assert!(nearest.parse::<Filter>().is_ok(), "{:?}: {:?}", text, nearest);
                }
            }
        }
    }
}

/// A filter is matched with the names that the engine knows, and again when it learns others.
#[test]
fn interfaces_get_their_names_while_a_filter_is_in_use() {
    let Watched { mut engine, reader, .. } = watched();
    let query = Query { filter: filter("iface:wg0"), ..Query::default() };
    let request = SnapshotRequest { query, rows: 100, flows: 100, ..SnapshotRequest::totals(Span::Window) };
    let late = engine.add_reader(ReaderConfig { events: Some(filter("iface:wg0")), log: false });
    let matching = |engine: &mut Engine| {
        let snapshot = engine.snapshot(reader, &request, NOW);
        (snapshot.rows.len(), snapshot.flows.expect("asked for").rows.len())
    };
    assert_eq!(matching(&mut engine), (0, 0));
    engine.handle(Input::Interfaces(&BTreeMap::from([(INTERFACE, "wg0".to_owned())])));
    assert_eq!(matching(&mut engine), (4, 7));
    let refused = Connection::to(v4(10, 20, 4, 2, 6379), 43_000);
    engine.handle(Input::Records(&[refused.syn(NOW).into(), refused.rst_of_responder(NOW + MS).into()]));
    assert_eq!(engine.poll_events(late).count(), 1);
    engine.handle(Input::Interfaces(&BTreeMap::from([(INTERFACE, "eth0".to_owned())])));
    assert_eq!(matching(&mut engine), (0, 0));
}
