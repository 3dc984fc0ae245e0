//! What the keys do and what the words mean, here: made from the tables that dispatch the keys and draw the
//! columns.

use ratatui::text::Line;

use super::{place_name, style};
use crate::flow::{Thresholds, Verdict};
use crate::sink::tui::columns::{Column, events, flows, rows};
use crate::sink::tui::keys::BINDINGS;
use crate::sink::tui::model::Place;

const WORDS: [(&str, &str); 5] = [
    ("window", "the time that the figures speak of; + and - change it"),
    ("lost", "records, packets or flows that the figures are missing"),
    ("rtt", "the leg of the handshake that crosses the network"),
    ("-", "not known: connections opened before cannot be timed"),
    ("@", "the SSH session that you look through"),
];

/// The help of a place.
pub(super) fn lines(place: Place, thresholds: &Thresholds) -> Vec<Line<'static>> {
    let bound = BINDINGS.iter().filter(|binding| binding.places.contains(&place));
    let keys = bound.map(|binding| row(binding.label, binding.help));
    let section = |title: String| [Line::default(), Line::styled(title, style::strong())];
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(word, text)| row(word, text)).collect::<Vec<_>>();
    [Line::styled("Letters", style::strong())]
        .into_iter()
        .chain(letters(thresholds))
        .chain(section(format!("Keys: {}", place_name(place))))
        .chain(keys)
        .chain(section("Columns".to_owned()))
        .chain(columns(place))
        .chain(section("Words".to_owned()))
        .chain(pairs(&WORDS))
        .collect()
}

fn letters(thresholds: &Thresholds) -> Vec<Line<'static>> {
    let letter = |verdict: Verdict| {
        row(&verdict.letter().to_string(), &format!("{}: {}", verdict.name(), verdict.definition(thresholds)))
    };
    let small = row("n r s l", "healthy again, but not yet for a whole window");
    Verdict::ALL.into_iter().map(letter).chain([small]).collect()
}

fn columns(place: Place) -> Vec<Line<'static>> {
    match place {
        Place::FlowPane | Place::Flows => described(&flows::COLUMNS),
        Place::Events => described(&events::COLUMNS),
        Place::Rows | Place::Latency | Place::Details | Place::Help | Place::Order | Place::Prompt => {
            described(&rows::COLUMNS)
        }
    }
}

fn described<Row, Order>(columns: &[Column<Row, Order>]) -> Vec<Line<'static>> {
    columns.iter().map(|column| row(column.title, column.meaning)).collect()
}

fn row(left: &str, right: &str) -> Line<'static> {
    Line::from(format!("  {left:<13} {right}"))
}
