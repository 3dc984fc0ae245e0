//! Whole frames of the screen, from a fixed list of records.

mod support;

use std::sync::Arc;

use probe_common::{SegmentClass, SegmentKind, SegmentRecord, SenderState, Transmission, Volume};
use support::stage::{NOW, Stage, trouble};
use support::{Connection, MS, S, Watched, v4, v6};
use tcptop::tui::model::Model;
use tcptop_core::{Input, OwnerAction, Process, SocketOwner, Workload};

/// A pane, a terminal, a large pane.
const SIZES: [(u16, u16); 3] = [(60, 20), (80, 24), (160, 50)];

/// Compares the frame after these keys with a file, at each size.
fn frames(name: &str, watched: impl Fn() -> Watched, keys: &[&str]) {
    for (width, height) in SIZES {
        let stage = Stage::new(watched()).sized(width, height).keys(keys);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), stage.frame());
    }
}

#[test]
fn first_screen() {
    frames("first_screen", trouble, &[]);
}

#[test]
fn flows_of_the_slow_peer() {
    frames("flow_pane", trouble, &["Down", "Down", "Right", "Down", "Down"]);
}

#[test]
fn all_flows() {
    frames("flows", trouble, &["2"]);
}

#[test]
fn latencies() {
    frames("latency", trouble, &["Down", "Down", "3"]);
}

#[test]
fn events() {
    frames("events", trouble, &["4"]);
}

#[test]
fn details_of_a_row() {
    frames("row_details", trouble, &["Down", "Down", "Enter"]);
}

#[test]
fn details_of_a_flow() {
    frames("flow_details", trouble, &["2", "Down", "Enter"]);
}

#[test]
fn help() {
    frames("help", trouble, &["?"]);
}

#[test]
fn grouped_and_sorted() {
    frames("grouped", trouble, &["b", ">", ">", "I"]);
}

#[test]
fn the_choice_of_an_order() {
    frames("orders", trouble, &["s"]);
}

#[test]
fn a_wrong_filter() {
    frames("wrong_filter", trouble, &["/", "port:8080 p99>5"]);
}

#[test]
fn nothing_yet() {
    frames("nothing_yet", Watched::new, &[]);
}

#[test]
fn nothing_matches() {
    frames("nothing_matches", trouble, &["/", "port:1", "Enter"]);
}

#[test]
fn any_size_is_survived() {
    let keys: [&[&str]; 9] =
        [&[], &["2"], &["3"], &["4"], &["Enter"], &["2", "Enter"], &["?"], &["s"], &["/", "port:x"]];
    for keys in keys {
        let mut stage = Stage::new(trouble()).keys(keys);
        // The smallest, the largest, and both sides of where a part appears.
        for width in [1, 2, 39, 40, 75, 76, 200] {
            for height in [1, 2, 7, 8, 13, 14, 29, 30, 37, 38, 60] {
                stage.model.size = ratatui::layout::Size { width, height };
                stage.frame();
            }
        }
    }
    Stage { model: Model::default(), ..Stage::new(Watched::new()) }.sized(1, 1).frame();
    assert!(Stage::new(trouble()).sized(30, 5).frame().contains("tcptop needs 40x8; q quits"));
}

#[test]
fn missed_records_are_shown_at_every_size() {
    let mut stage = Stage::new(trouble());
    for width in (40..200).step_by(3) {
        stage = stage.sized(width, 8);
        let frame = stage.frame();
        assert!(frame.lines().next().unwrap().contains("missed 0"), "{frame}");
    }
}

/// Labels in the header keep their columns, whatever the figures are.
#[test]
fn figures_do_not_move_their_neighbours() {
    for width in [40, 60, 76, 80, 120, 160] {
        let places = |watched| {
            let frame = Stage::new(watched).sized(width, 20).frame();
            let line = frame.lines().nth(1).unwrap().to_owned();
            ["p50", "p99", "│", "unans", "refused", "retr"].map(|label| line.find(label))
        };
        assert_eq!(places(Watched::new()), places(trouble()), "at {width}");
    }
}

/// One mark shows what the keys apply to, whatever is open.
#[test]
fn there_is_one_focus_mark_at_a_time() {
    let keys: [&[&str]; 9] = [
        &[],
        &["Down", "Down", "Right", "Down"],
        &["2"],
        &["3"],
        &["4"],
        &["s"],
        &["Right", "s"],
        &["4", "Down", "/"],
        &["?"],
    ];
    for keys in keys {
        let frame = Stage::new(trouble()).keys(keys).sized(160, 50).frame();
        assert!(frame.matches('▸').count() <= 1, "{keys:?}\n{frame}");
    }
    let frame = Stage::new(trouble()).keys(&["Right"]).frame();
    assert!(frame.contains("▸ 31002") && frame.contains("N  10.20.9.7:443"), "{frame}");
}

/// Below the facts: why, and what to try. The thresholds are in the help.
#[test]
fn details_of_a_bad_row_end_with_advice() {
    let half_open = || {
        let mut watched = Watched::new();
        for n in 0..4 {
            let from = Connection::from(v4(198, 51, 100, 7, 6_000 + n), 80);
            watched.see([from.syn(NOW - 9 * S), from.syn_ack(NOW - 9 * S + MS)]);
        }
        watched.expire(NOW);
        watched
    };
    let details = |watched, downs: usize| {
        let keys = [vec!["Down"; downs], vec!["Enter"]].concat();
        Stage::new(watched).keys(&keys).sized(200, 40).frame()
    };
    for (watched, downs, why, command) in [
        (trouble(), 0, "neither a SYN-ACK nor a RST, and no ICMP error.", "mtr -T -P 443 10.20.9.7"),
        (trouble(), 1, "A RST answers the SYN after 400µs", "on the peer: ss -ltn 'sport = :6379'"),
        (trouble(), 2, "in all handshakes alike", "mtr -T -P 5432 10.20.3.14"),
        (
            trouble(),
            3,
            "took long to set up; 2 SYN or SYN-ACK retransmits in the same time",
            "mtr -T -P 443 2001:db8::8d",
        ),
        (half_open(), 0, "no ACK came back", "here: ss -ltn 'sport = :80'"),
    ] {
        let frame = details(watched, downs);
        let line = |label: &str| frame.lines().position(|line| line.starts_with(&format!("  {label}: ")));
        let [facts, why_line, try_line] = ["last seen", "why", "try"].map(|label| line(label).expect(label));
        assert!(facts < why_line && why_line < try_line, "{frame}");
        assert!(frame.contains(why) && frame.contains(command), "{frame}");
        assert!(!frame.contains("of the window's"), "no thresholds: {frame}");
    }
    let healthy = details(trouble(), 4);
    assert!(healthy.contains("verdict:      none") && !healthy.contains("why:"), "{healthy}");
}

/// Rows that are free on a tall screen are the peers'.
#[test]
fn a_taller_screen_shows_more_peers() {
    let mut watched = trouble();
    for n in 0..60 {
        let refused = Connection::to(v4(10, 20, 8, n, 80), 33_000);
        watched.see([refused.syn(NOW - 1_000), refused.rst_of_responder(NOW - 999)]);
    }
    let mut stage = Stage::new(watched);
    let mut peers = |height| {
        stage.model.size.height = height;
        stage.frame().lines().skip(3).take_while(|line| !line.starts_with("──")).count()
    };
    let [usual, tall, taller] = [24, 60, 90].map(&mut peers);
    assert!(tall > usual + 7 && taller >= tall + 22, "{usual} {tall} {taller}");
}

/// Shortened in the middle, an error would lose the word that matters.
#[test]
fn errors_of_a_filter_are_not_shortened() {
    for (width, filter) in [(40, "port:80 loss>1%"), (60, "dport:443"), (80, "a || b"), (60, "foo:bar")] {
        let reason = filter.parse::<tcptop_core::Filter>().unwrap_err().to_string();
        let frame = Stage::new(trouble()).keys(&["/", filter, "Enter"]).sized(width, 24).frame();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&frame).contains(&words(&reason)), "{reason}\n{frame}");
        assert!(frame.contains("filter: ") && frame.contains('^'), "{frame}");
    }
}

/// Repeated events of one peer are one row with a count, below the changes of verdicts.
#[test]
fn repeated_events_are_folded() {
    let stage = Stage::new(trouble()).keys(&["4"]);
    let frame = stage.frame();
    let lines: Vec<&str> = frame.lines().skip(4).take_while(|line| !line.is_empty()).collect();
    let packets = lines.iter().position(|line| !line.contains("verdict:")).expect("there are some");
    assert!(packets > 0 && lines[packets..].iter().all(|line| !line.contains("verdict:")), "{frame}");
    let folded = lines.iter().filter(|line| line.contains("10.20.4.2:6379") && !line.contains("verdict:"));
    assert_eq!(folded.clone().count(), 1, "{frame}");
    assert!(folded.clone().all(|line| line.contains("refused ×12") && line.contains("30011")), "{frame}");
    assert!(frame.contains("retransmitted ×2") && frame.contains("events: 21,"), "{frame}");
}

/// The selected row stays selected while more of the same happens.
#[test]
fn a_folded_event_stays_selected_while_it_is_repeated() {
    let mut stage = Stage::new(trouble()).keys(&["4", "End", "Up"]);
    let selected = stage.model.events()[stage.model.selected_event()];
    let refused = Connection::to(v4(10, 20, 4, 2, 6379), 33_000);
    stage.now_ns += S;
    stage.watched.see([refused.syn(stage.now_ns - 2), refused.rst_of_responder(stage.now_ns - 1)]);
    stage.refresh();
    let after = &stage.model.events()[stage.model.selected_event()];
    assert_eq!((after.key, after.count), (selected.key, selected.count + 1));
}

#[test]
fn the_selection_follows_its_row() {
    let mut stage = Stage::new(trouble()).keys(&["Down", "Down", "Down"]);
    let selected = stage.model.rows()[3].key;
    for n in 0..5 {
        let refused = Connection::to(v4(10, 20, 1, n, 80), 33_000);
        stage.watched.see([refused.syn(NOW), refused.rst_of_responder(NOW + 1)]);
    }
    stage.now_ns += 2;
    stage.refresh();
    assert!(stage.model.selected_row() > 3);
    assert_eq!(stage.model.rows()[stage.model.selected_row()].key, selected);
}

#[test]
fn a_held_order_stays_and_newcomers_come_last() {
    let mut stage = Stage::new(trouble()).keys(&["o"]);
    let before: Vec<_> = stage.model.rows().iter().map(|row| row.key).collect();
    let refused = Connection::to(v4(10, 20, 1, 77, 80), 33_000);
    stage.watched.see([refused.syn(NOW), refused.rst_of_responder(NOW + 1)]);
    stage.refresh();
    let after: Vec<_> = stage.model.rows().iter().map(|row| row.key).collect();
    assert_eq!((&after[..before.len()], after.len()), (&before[..], before.len() + 1));
    assert!(stage.frame().contains("HELD"));
    stage.key("o");
    assert_ne!(stage.model.rows()[before.len()].key, after[before.len()]);
}

#[test]
fn a_frozen_screen_does_not_change_and_shows_for_how_long() {
    let mut stage = Stage::new(trouble()).keys(&["Space"]);
    let before = stage.model.snapshot.clone();
    stage.now_ns += 12 * S;
    stage.refresh();
    assert_eq!(stage.model.snapshot, before);
    assert!(stage.frame().contains("FROZEN 12s"));
    // Another row can be selected, but the flows below belong to the previous one.
    stage.key("Down");
    let frame = stage.frame();
    assert!(frame.contains("Not available") && !frame.contains("OUTCOME"), "{frame}");
    stage.key("Up");
    assert!(stage.frame().contains("OUTCOME"));
    stage.key("Space");
    assert_eq!(stage.model.snapshot.as_ref().unwrap().taken_ns, NOW + 12 * S);
}

/// What was not requested when the snapshot was taken is not shown as empty.
#[test]
fn a_view_that_is_opened_while_frozen_says_so() {
    for view in ["2", "4"] {
        let stage = Stage::new(trouble()).keys(&["Space", view]);
        let frame = stage.frame();
        assert!(frame.contains("Not available: another view") && !frame.contains("No events in"), "{frame}");
        let stage = stage.keys(&["Space"]);
        assert!(!stage.frame().contains("Not available"), "{}", stage.frame());
    }
}

#[test]
fn a_reset_restarts_the_counters_and_shows_when() {
    let stage = Stage::new(trouble()).sized(120, 24).keys(&["Ctrl-R"]);
    let frame = stage.frame();
    assert!(frame.contains("since 14:02:31") && frame.contains("counting from now on"), "{frame}");
    assert_eq!(stage.model.snapshot.as_ref().unwrap().total.counts.opened, 0);
}

#[test]
fn the_status_line_disappears_after_five_seconds() {
    let mut stage = Stage::new(trouble()).keys(&["Ctrl-R"]);
    stage.now_ns += 6 * S;
    stage.refresh();
    assert!(!stage.frame().contains("counting from now on"));
}

#[test]
fn host_names_are_shown_on_request() {
    let mut stage = Stage::new(trouble()).keys(&["n"]);
    let address = v4(10, 20, 3, 14, 0).address;
    assert!(stage.model.unresolved().contains(&address));
    stage.model.names.learn(address, Some("db.example".to_owned()));
    assert!(!stage.model.unresolved().contains(&address));
    let frame = stage.frame();
    assert!(frame.contains("S  db.example:5432") && frame.contains("R  10.20.4.2:6379"), "{frame}");
    stage.key("n");
    assert!(stage.frame().contains("S  10.20.3.14:5432") && stage.model.unresolved().is_empty());
}

#[test]
fn the_own_session_is_marked() {
    let mut stage = Stage::new(trouble()).keys(&["2"]);
    let peer = v6("2001:db8:85a3:8d3:1319:8a2e:370:7348", 50_123);
    assert!(!stage.frame().contains('@'));
    stage.model.own_session = Some([v4(10, 0, 0, 1, 22), peer]);
    assert!(stage.frame().contains("@▸ [2001:db8"), "{}", stage.frame());
    stage.key("Enter");
    assert!(stage.frame().contains("the SSH session that tcptop runs in"));
}

#[test]
fn notices_are_shown_in_the_header() {
    let mut stage = Stage::new(trouble());
    stage.model.notice = Some("the interface is gone: wg0".to_owned());
    let frame = stage.frame();
    assert!(frame.lines().next().unwrap().contains("the interface is gone: wg0"), "{frame}");
}

/// Three connections to one peer, by processes of two names, one of them in a container.
fn owned() -> Watched {
    let mut watched = trouble();
    let workload = Workload {
        container: Some("app".to_owned()),
        pod: Some("shop-7d".to_owned()),
        namespace: Some("prod".to_owned()),
        ..Workload::default()
    };
    let contained = Process { workload: Some(Arc::new(workload)), ..Process::default() };
    let processes = [
        Process { pid: 7, name: "resolver".to_owned(), is_thread_name: true, ..Process::default() },
        Process { pid: 8, name: "ssh".to_owned(), ..Process::default() },
        Process { pid: 9, name: "curl".to_owned(), command: Some("curl -s x".to_owned()), ..contained },
    ];
    for (n, process) in (1..).zip(processes) {
        let owner = SocketOwner { cookie: n, action: OwnerAction::Connect, process: Arc::new(process) };
        watched.handle(Input::Owner(&owner));
        let port = 41_000 + u16::try_from(n).expect("few");
        let syn = Connection::to(v4(10, 20, 9, 9, 443), port).syn(NOW - S + n);
        watched.see([SegmentRecord { cookie: n, ..syn }]);
    }
    watched.expire(NOW);
    watched
}

#[test]
fn processes_are_named_in_rows_flows_and_details() {
    let frame = |keys: &[&str], width| Stage::new(owned()).sized(width, 50).keys(keys).frame();
    let line = |frame: &str, begin: &str| {
        let found = frame.lines().find(|line| line.contains(begin));
        found.unwrap_or_else(|| panic!("no {begin}: {frame}")).to_owned()
    };
    let rows = frame(&[], 160);
    assert!(line(&rows, "PROCESS").contains("PEER"), "{rows}");
    assert!(line(&rows, "10.20.9.9:443").contains("curl +2"), "{rows}");
    assert!(frame(&[], 240).contains("shop-7d/app"), "where there is room");
    let flows = frame(&["2"], 160);
    for (port, name) in [("41001", "~resolver"), ("41002", "ssh"), ("41003", "curl")] {
        assert!(line(&flows, port).contains(name), "{flows}");
    }
    let filtered = frame(&["/", "proc:curl", "Enter", "Enter"], 160);
    assert!(
        filtered.contains("curl[9], user 0, container shop-7d/app, namespace prod: curl -s x"),
        "{filtered}"
    );
    assert!(filtered.contains("~resolver[7]") && filtered.contains("ssh[8]"), "{filtered}");
    // Where nobody says whose connections are, there is no column for it.
    let without = Stage::new(trouble()).sized(160, 50).frame();
    assert!(!without.contains("PROCESS") && !without.contains("CONTAINER"), "{without}");
}

/// Retransmits of two causes, one of which was needless.
fn retransmitting() -> Watched {
    let (mut watched, connection) = (trouble(), Connection::to(v4(10, 20, 9, 9, 443), 41_000));
    let sender = SenderState { snd_nxt: 10, snd_una: 0, timeouts: 2, lost: 1, congestion: 4 };
    let sent = Volume { segments: 100, bytes: 100_000, retransmits: 3, timeouts: 1, fast: 2, ..Volume::NONE };
    let resent = SegmentRecord {
        kind: SegmentKind::Retransmit,
        payload_len: 1_000,
        class: SegmentClass::retransmit(0),
        volumes: [sent, Volume::NONE],
        said: Transmission::of(0, &sender),
        dsacks: Some(1),
        ..connection.ack(NOW - S + 9 * MS)
    };
    let begin = [connection.syn(NOW - S), connection.syn_ack(NOW - S + MS), connection.ack(NOW - S + 2 * MS)];
    watched.see(begin).see([resent]).expire(NOW);
    watched
}

#[test]
fn causes_of_retransmits_are_in_rows_flows_and_details() {
    let frame = |keys: &[&str]| Stage::new(retransmitting()).sized(200, 50).keys(keys).frame();
    let line = |frame: &str, begin: &str| {
        let found = frame.lines().find(|line| line.contains(begin));
        found.unwrap_or_else(|| panic!("no {begin}: {frame}")).to_owned()
    };
    let rows = frame(&[]);
    assert!(line(&rows, "PEER").contains("CAUSE") && line(&rows, "10.20.9.9:443").contains("fast"), "{rows}");
    let flows = frame(&["2"]);
    assert!(line(&flows, "41000").contains("fast"), "{flows}");
    let details = frame(&["/", "cause:fast", "Enter", "Enter"]);
    assert!(details.contains("by cause: 1 timeout, 2 fast; 1 spurious"), "{details}");
    let without = Stage::new(trouble()).sized(200, 50).frame();
    assert!(!without.contains("CAUSE"), "{without}");
}
