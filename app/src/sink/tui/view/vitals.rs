//! Two lines that are always there: can this be trusted, and how is it going?

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::style;
use crate::sink::Scene;
use crate::sink::format::{age, clock, maybe_duration, percent, rate};
use crate::sink::tui::model::Model;
use crate::snapshot::Snapshot;

/// Draws both.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, model: &Model, scene: &Scene) {
    let [first, second] = area.layout(&ratatui::layout::Layout::vertical([1, 1]));
    let right = right(snapshot, scene);
    let room = usize::from(first.width).saturating_sub(right.width() + 1);
    let left = left(snapshot, model, scene, room);
    let gap = " ".repeat(usize::from(first.width).saturating_sub(left.width() + right.width()));
    let spans = left.spans.into_iter().chain([Span::raw(gap)]).chain(right.spans);
    frame.render_widget(Line::from(spans.collect::<Vec<_>>()), first);
    frame.render_widget(figures(snapshot, second.width.into()), second);
}

/// Losses come first where there is no room for more: they never go.
fn right(snapshot: &Snapshot, scene: &Scene) -> Line<'static> {
    let lost = snapshot.losses.total();
    let look = if lost > 0 { style::alarm() } else { Style::new() };
    let time = scene.time_of_day(snapshot.taken_ns);
    let to_the_second = time.split('.').next().unwrap_or_default().to_owned();
    Line::from(vec![Span::styled(format!("lost {lost}"), look), Span::raw(format!("  {to_the_second}"))])
}

fn left(snapshot: &Snapshot, model: &Model, scene: &Scene, room: usize) -> Line<'static> {
    let up_ns = snapshot.taken_ns.saturating_sub(snapshot.started_ns);
    let state = match (model.frozen_for_ns(), &model.notice) {
        (Some(ns), _) => Some(format!("FROZEN {}", age(ns))),
        (None, Some(notice)) => Some(notice.clone()),
        (None, None) => None,
    };
    let facts = [
        format!("tcptop {} {}", scene.all_interfaces(), scene.how),
        format!("up {}", clock(up_ns)),
        format!("window {}", age(snapshot.window_ns)),
    ];
    let mut line = Line::default();
    for (text, look) in
        state.map(|text| (text, style::alarm())).into_iter().chain(facts.map(|text| (text, Style::new())))
    {
        // What does not fit is left out whole.
        if line.width() + 2 + text.chars().count() <= room || line.spans.is_empty() {
            let gap = if line.spans.is_empty() { "" } else { "  " };
            line.push_span(Span::styled(format!("{gap}{text}"), look));
        }
    }
    line
}

/// What is left out first when the line is too narrow.
const EXPENDABLE: [&str; 3] = ["p90", "p50", "new"];

fn figures(snapshot: &Snapshot, width: usize) -> Line<'static> {
    let outcomes = &snapshot.recent.outcomes;
    let rtt = snapshot.recent.rtt;
    let mut facts = vec![
        ("new", format!("{}/s", rate(snapshot.new_per_s)), false),
        ("p50", maybe_duration(rtt.map(|rtt| rtt.p50_ns)), false),
        ("p90", maybe_duration(rtt.map(|rtt| rtt.p90_ns)), false),
        ("p99", maybe_duration(rtt.map(|rtt| rtt.p99_ns)), false),
        ("│ unans", outcomes.silent().to_string(), outcomes.silent() > 0),
        ("refused", outcomes.refused.to_string(), outcomes.refused > 0),
        ("retr%", percent(outcomes.retransmit_share()), outcomes.retransmits() > 0),
    ];
    let length = |facts: &[(&str, String, bool)]| -> usize {
        facts.iter().map(|(name, value, _)| name.chars().count() + value.chars().count() + 2).sum::<usize>()
            + 4
    };
    for name in EXPENDABLE {
        if length(&facts) > width + 1 {
            facts.retain(|fact| fact.0 != name);
        }
    }
    let gap = if length(&facts) + facts.len() <= width { "  " } else { " " };
    let first_rtt = facts.iter().position(|(name, ..)| name.starts_with('p'));
    let spans = facts.into_iter().enumerate().map(|(index, (name, value, matters))| {
        let what = if Some(index) == first_rtt { "rtt " } else { "" };
        let look = if matters { style::strong() } else { Style::new() };
        Span::styled(format!("{what}{name} {value}{gap}"), look)
    });
    Line::from(spans.collect::<Vec<_>>())
}
