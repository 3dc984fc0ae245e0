//! Whole frames of the screen, from a fixed list of records.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use probe_common::counter::Counters;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use support::{Connection, INTERFACE, MS, S, Watched, v4, v6};
use tcptop::clock::Anchor;
use tcptop::sink::Scene;
use tcptop::sink::tui::Command;
use tcptop::sink::tui::model::{Action, Effect, Model};
use tcptop::sink::tui::view;
use tcptop::snapshot::{Intake, Snapshot};

const START: u64 = 1_000 * S;
const NOW: u64 = START + 252 * S;

/// A healthy peer, a slow one, one that refuses, one that is silent and one that loses SYNs.
fn watched() -> Watched {
    let mut watched = Watched::new();
    let mut port = 20_000;
    let mut open = |watched: &mut Watched, peer, began_ns, rtt_ns: u64, syns: u64| {
        port += 1;
        let connection = Connection { timestamps: Some((port.into(), 5)), ..Connection::to(peer, port) };
        let last_ns = began_ns + (syns - 1) * S;
        watched.see((0..syns).map(|n| connection.syn(began_ns + n * S)));
        watched.see([connection.syn_ack(last_ns + rtt_ns), connection.ack(last_ns + rtt_ns + 9_000)]);
    };
    for n in 0..240 {
        let spread = (n * 37 % 101) * 11_000;
        open(&mut watched, v4(10, 20, 1, 10, 8080), NOW - 9 * S + n * 30 * MS, 850_000 + spread, 1);
    }
    for n in 0..18 {
        open(&mut watched, v4(10, 20, 3, 14, 5432), NOW - 9 * S + n * 400 * MS, (205 + n * 11) * MS, 1);
    }
    for n in 0..4 {
        open(&mut watched, v6("2001:db8::8d", 443), NOW - 8 * S + n * S, 1_100_000 + n * 400_000, 1 + n % 2);
    }
    for n in 0..12 {
        let refused = Connection::to(v4(10, 20, 4, 2, 6379), 30_000 + n);
        let began_ns = NOW - 9 * S + u64::from(n) * 700 * MS;
        watched.see([refused.syn(began_ns), refused.rst_of_responder(began_ns + 400_000)]);
    }
    for n in 0..3 {
        let silent = Connection::to(v4(10, 20, 9, 7, 443), 31_000 + n);
        let began_ns = NOW - 20 * S + u64::from(n) * 8 * S;
        watched.see([silent.syn(began_ns)]).expire(began_ns + 7 * S);
    }
    let from = Connection::from(v6("2001:db8:85a3:8d3:1319:8a2e:370:7348", 50_123), 22);
    watched.see([from.syn(NOW - 2 * S), from.syn_ack(NOW - 2 * S + 50_000), from.ack(NOW - 2 * S + 9 * MS)]);
    watched.expire(NOW);
    watched
}

fn scene() -> Scene {
    let wall = "2026-01-02T14:02:31Z".parse::<Timestamp>().expect("a time");
    let interfaces = BTreeMap::from([(INTERFACE, "enp0s1".to_owned())]);
    Scene { interfaces, how: "tcx", anchor: Anchor::new(NOW, wall), zone: TimeZone::UTC }
}

fn snapshot(watched: &Watched, model: &Model, now_ns: u64) -> Arc<Snapshot> {
    let intake =
        Intake { started_ns: START, counters: Counters::default(), records: 900, ..Intake::default() };
    Arc::new(Snapshot::take(&watched.table, &intake, &model.interest(), now_ns))
}

fn shown(watched: &Watched, actions: &[Action]) -> Model {
    let mut model = Model::default();
    model.refresh(snapshot(watched, &model, NOW));
    for &action in actions {
        if let Effect::Tell(Command::Look(_)) = model.update(action) {
            model.refresh(snapshot(watched, &model, NOW));
        }
    }
    model
}

fn frame(width: u16, height: u16, model: &Model) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| view::draw(frame, model, &scene())).expect("memory takes all");
    terminal.backend().to_string()
}

#[test]
fn the_first_screen_at_80x24() {
    insta::assert_snapshot!(frame(80, 24, &shown(&watched(), &[])));
}

#[test]
fn the_flows_of_the_slow_peer() {
    insta::assert_snapshot!(frame(80, 24, &shown(&watched(), &[Action::Move(2), Action::NextPane])));
}

#[test]
fn a_wide_and_tall_screen() {
    insta::assert_snapshot!(frame(120, 30, &shown(&watched(), &[Action::Last])));
}

#[test]
fn a_narrow_screen_loses_columns_but_never_the_losses() {
    insta::assert_snapshot!(frame(60, 20, &shown(&watched(), &[])));
}

#[test]
fn the_help_at_80x24() {
    insta::assert_snapshot!(frame(80, 24, &shown(&watched(), &[Action::Help])));
}

#[test]
fn nothing_yet() {
    insta::assert_snapshot!(frame(80, 24, &shown(&Watched::new(), &[])));
}

#[test]
fn any_size_is_survived() {
    let watched = watched();
    let models = [Model::default(), shown(&watched, &[]), shown(&watched, &[Action::Help])];
    for model in &models {
        for width in 1..50 {
            for height in 1..20 {
                frame(width, height, model);
            }
        }
    }
    assert!(frame(30, 5, &models[1]).contains("tcptop needs 40x8; q quits"));
}

#[test]
fn the_selection_follows_its_row() {
    let mut watched = watched();
    let mut model = shown(&watched, &[Action::Move(3)]);
    let selected = model.snapshot.as_ref().unwrap().rows[3].key;
    for n in 0..5 {
        let refused = Connection::to(v4(10, 20, 1, n, 80), 33_000);
        watched.see([refused.syn(NOW), refused.rst_of_responder(NOW + 1)]);
    }
    model.refresh(snapshot(&watched, &model, NOW + 2));
    assert!(model.peer_row() > 3);
    assert_eq!(model.snapshot.as_ref().unwrap().rows[model.peer_row()].key, selected);
}

#[test]
fn a_frozen_screen_stands_still_and_says_for_how_long() {
    let watched = watched();
    let mut model = shown(&watched, &[Action::Freeze]);
    let before = model.snapshot.clone();
    model.refresh(snapshot(&watched, &model, NOW + 12 * S));
    assert_eq!(model.snapshot, before);
    assert!(frame(80, 24, &model).contains("FROZEN 12s"));
    model.update(Action::Freeze);
    assert_eq!(model.snapshot.as_ref().unwrap().taken_ns, NOW + 12 * S);
}

#[test]
fn escape_goes_back_and_never_quits() {
    let mut model = shown(&watched(), &[Action::NextPane, Action::Help]);
    for _ in 0..4 {
        model.update(Action::Back);
    }
    assert!(!model.leaving && !model.help);
    model.update(Action::Quit);
    assert!(model.leaving);
}
