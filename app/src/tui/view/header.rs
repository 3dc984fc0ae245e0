//! The lines at the top: the state of the run and of the display, the totals of the window, and what is wrong with the host
//! itself, if anything is.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{ViewContext, style};
use crate::output::RenderContext;
use crate::output::format::{age, brief, brief_rate, clock, maybe_duration, percent};
use crate::output::host::recent_troubles;
use crate::tui::columns::{CellContext, shorten};
use crate::tui::model::Model;
use tcptop_core::{Group, Outcome, Snapshot};

/// The filter is never left out: it is shortened to no less than this.
const LEAST_FILTER: usize = 16;

/// The lines of a terminal that has one to spare for the host.
const HOST_HEIGHT: u16 = 12;

/// How many lines it takes.
pub(super) fn height(model: &Model, render: &RenderContext) -> u16 {
    if model.snapshot.as_ref().is_some_and(|snapshot| host(snapshot, model, render).is_some()) {
        3
    } else {
        2
    }
}

/// What went wrong on this host within the window, or is wrong now.
fn host(snapshot: &Snapshot, model: &Model, render: &RenderContext) -> Option<String> {
    let known = snapshot.host.as_ref().filter(|_| model.size.height >= HOST_HEIGHT)?;
    recent_troubles(known, snapshot.taken_ns.saturating_sub(snapshot.window_ns), render)
}

/// Draws them.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>) {
    let ViewContext { snapshot, model, cells: CellContext { render, .. } } = view;
    let parts = [Constraint::Length(1), Constraint::Length(1), Constraint::Fill(1)];
    let [first, second, third] = area.layout(&Layout::vertical(parts));
    let right = right(snapshot, render);
    let room = usize::from(first.width).saturating_sub(right.width() + 2);
    frame.render_widget(left(snapshot, model, render, room), first);
    frame.render_widget(right.right_aligned(), first);
    frame.render_widget(figures(snapshot, second.width.into()), second);
    if let Some(host) = host(snapshot, model, render) {
        frame.render_widget(Line::styled(shorten(&host, third.width.into()), style::alarm()), third);
    }
}

/// What was missed is shown at every width, also if it is 0.
fn right(snapshot: &Snapshot, render: &RenderContext) -> Line<'static> {
    let missed = snapshot.missed.total();
    let style = if missed > 0 { style::alarm() } else { Style::new() };
    let time = render.clock_time(snapshot.taken_ns);
    Line::from(vec![Span::styled(format!("missed {missed}"), style), Span::raw(format!("  {time}"))])
}

/// A part of the first line. Where not all fit, those of the highest rank are left out.
struct Fact {
    rank: u8,
    text: String,
    style: Style,
}

fn left(snapshot: &Snapshot, model: &Model, render: &RenderContext, room: usize) -> Line<'static> {
    let mut facts = facts(snapshot, model, render, room);
    let length = |facts: &[Fact]| facts.iter().map(|fact| fact.text.chars().count() + 2).sum::<usize>();
    while length(&facts) > room + 2 && facts.len() > 1 {
        let highest = facts.iter().map(|fact| fact.rank).max().unwrap_or(0);
        facts.retain(|fact| fact.rank < highest);
    }
    let spans = facts.into_iter().enumerate().map(|(index, fact)| {
        let gap = if index == 0 { "" } else { "  " };
        Span::styled(format!("{gap}{}", fact.text), fact.style)
    });
    Line::from(spans.collect::<Vec<_>>())
}

fn facts(snapshot: &Snapshot, model: &Model, render: &RenderContext, room: usize) -> Vec<Fact> {
    let fact = |rank, text| Some(Fact { rank, text, style: Style::new() });
    let alarm = |rank, text| Some(Fact { rank, text, style: style::alarm() });
    let strong = |rank, text| Some(Fact { rank, text, style: style::strong() });
    let sort = if model.sorts_flows() {
        (model.query.flow_sort.by.name(), model.query.flow_sort.reversed)
    } else {
        (model.query.sort.by.name(), model.query.sort.reversed)
    };
    let filter = model.query.filter.to_string();
    let facts = [
        model.frozen_for_ns().and_then(|ns| alarm(1, format!("FROZEN {}", age(ns)))),
        model.notice.as_ref().and_then(|notice| alarm(2, notice.clone())),
        fact(3, format!("tcptop {} {}", shorten(&render.all_interfaces(), (room / 3).max(9)), render.source)),
        (!filter.is_empty())
            .then(|| shorten(&format!("filter:{filter}"), (room / 3).max(LEAST_FILTER)))
            .and_then(|text| strong(0, text)),
        fact(8, format!("up {}", clock(snapshot.taken_ns.saturating_sub(snapshot.started_ns)))),
        (snapshot.counted_ns > snapshot.started_ns)
            .then(|| format!("since {}", render.clock_time(snapshot.counted_ns)))
            .and_then(|text| strong(4, text)),
        fact(6, format!("window {}", age(snapshot.window_ns))),
        (model.query.group != Group::Peer)
            .then(|| model.query.group.name())
            .and_then(|by| fact(5, format!("by:{by}"))),
        fact(7, format!("sort:{}{}", if sort.1 { "-" } else { "" }, sort.0)),
        model.is_held().then(|| "HELD".to_owned()).and_then(|text| strong(4, text)),
    ];
    facts.into_iter().flatten().collect()
}

/// A variant of the second line. The widest that fits is used.
struct Wording {
    gap: &'static str,
    setup: &'static str,
    unanswered: &'static str,
    shown: &'static [&'static str],
}

const WORDINGS: [Wording; 5] = [
    Wording {
        gap: "  ",
        setup: "setup p99",
        unanswered: "unanswered",
        shown: &["new", "rtt", "p50", "p90", "p99", "setup", "unans", "refused", "aborted", "retr"],
    },
    Wording {
        gap: " ",
        setup: "setup p99",
        unanswered: "unans",
        shown: &["new", "rtt", "p50", "p99", "setup", "unans", "refused", "retr"],
    },
    Wording {
        gap: " ",
        setup: "setup p99",
        unanswered: "unans",
        shown: &["new", "rtt", "p99", "setup", "unans", "refused", "retr"],
    },
    Wording {
        gap: " ",
        setup: "setup",
        unanswered: "unans",
        shown: &["p99", "setup", "unans", "refused", "retr"],
    },
    Wording { gap: " ", setup: "setup", unanswered: "unans", shown: &["p99", "unans", "refused"] },
];

/// Each figure has a fixed width, so that none moves when another changes.
fn figures(snapshot: &Snapshot, width: usize) -> Line<'static> {
    let lines = WORDINGS.iter().map(|wording| figures_in(snapshot, wording));
    let narrowest = figures_in(snapshot, &WORDINGS[WORDINGS.len() - 1]);
    lines.into_iter().find(|line| line.width() <= width).unwrap_or(narrowest)
}

fn figures_in(snapshot: &Snapshot, wording: &Wording) -> Line<'static> {
    let counts = &snapshot.recent.counts;
    let unreachable = counts.of(Outcome::Unreachable);
    let (rtt, setup) = (snapshot.recent.rtt, snapshot.recent.setup);
    let latency = |ns: Option<u64>| format!("{:>6}", maybe_duration(ns));
    let Wording { gap, unanswered, .. } = wording;
    let facts = [
        ("new", format!("new {:>4}/s{gap}", brief_rate(snapshot.new_per_s)), false),
        ("rtt", "rtt ".to_owned(), false),
        ("p50", format!("p50 {}{gap}", latency(rtt.map(|rtt| rtt.p50_ns))), false),
        ("p90", format!("p90 {}{gap}", latency(rtt.map(|rtt| rtt.p90_ns))), false),
        ("p99", format!("p99 {}{gap}", latency(rtt.map(|rtt| rtt.p99_ns))), false),
        (
            "setup",
            format!("{} {}{gap}", wording.setup, latency(setup.map(|setup| setup.p99_ns))),
            counts.slow_setups > 0,
        ),
        ("unans", format!("│{gap}{unanswered} {:>4}", brief(counts.unanswered())), counts.unanswered() > 0),
        ("unrch", format!("{gap}unreachable {:>4}", brief(unreachable)), true),
        (
            "refused",
            format!("{gap}refused {:>4}", brief(counts.of(Outcome::Refused))),
            counts.of(Outcome::Refused) > 0,
        ),
        ("aborted", format!("{gap}aborted {:>4}", brief(counts.aborted)), counts.aborted > 0),
        ("retr", format!("{gap}retr {:>4}%", percent(counts.retransmit_share())), counts.retransmits() > 0),
    ];
    // Most hosts never see one.
    let is_shown = |name: &&str| wording.shown.contains(name) && (*name != "unrch" || unreachable > 0);
    let shown = facts.into_iter().filter(|(name, ..)| is_shown(name));
    let spans = shown
        .map(|(_, text, matters)| Span::styled(text, if matters { style::strong() } else { Style::new() }));
    Line::from(spans.collect::<Vec<_>>())
}
