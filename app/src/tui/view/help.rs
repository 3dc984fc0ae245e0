//! The help of a view, made from the tables that dispatch the keys and draw the columns.

use ratatui::text::Line;

use super::{place_name, style};
use crate::tui::columns::{Column, events, flows, peers};
use crate::tui::keys::BINDINGS;
use crate::tui::model::{Action, Place};
use tcptop_core::{Thresholds, Verdict};

const WORDS: [(&str, &str); 10] = [
    ("window", "the time that the figures cover; + and - change it"),
    ("attempt", "a connection attempt: a SYN and its retransmits"),
    ("unanswered", "no reply to the SYN, or to the SYN-ACK"),
    ("refused", "a RST answered the SYN"),
    ("rtt", "round-trip time of the network, measured on the handshake"),
    ("setup", "setup time: from the first SYN to the ACK, repeated SYNs included"),
    ("aborted", "accepted, then reset by the same end before it sent data"),
    ("missed", "records, packets or flows that could not be read or kept"),
    ("-", "unknown; connections opened before the start have no RTT"),
    ("@", "the SSH session that tcptop runs in"),
];

/// Some filters; the documentation has all.
const FILTERS: [(&str, &str); 11] = [
    ("peer:10.0.0.1", "remote address; also a block 10.0.0.0/8, or with a port"),
    ("port:443", "service port; also 80,443 or 8000-8099"),
    ("lport:40001", "local port, of flows; local:10.0.0.1 for the address"),
    ("p99>50ms", "p50, p90, p99, max, rtt, setup, age; with > >= < <= ="),
    ("setup_p99>1s", "setup_p50, setup_p90, setup_p99, setup_max likewise"),
    ("retr>1%", "new, unanswered, refused, aborted, retr, retransmits, tries likewise"),
    ("outcome:reset", "also refused, unanswered, half-open, established"),
    ("cause:timeout", "also slow-start, fast, tail-loss-probe, spurious, unknown"),
    ("verdict:NS", "letters in the first column"),
    ("role:server", "also client, local, forwarded, observer; iface:eth0"),
    ("!web", "a word matches part of a row; ! negates; all terms must match"),
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
        .chain(has_filter(place).then(|| section("Filters".to_owned())).into_iter().flatten())
        .chain(has_filter(place).then(|| pairs(&FILTERS)).into_iter().flatten())
        .chain(section("Columns".to_owned()))
        .chain(columns(place))
        .chain(section("Words".to_owned()))
        .chain(pairs(&WORDS))
        .collect()
}

fn has_filter(place: Place) -> bool {
    BINDINGS.iter().any(|binding| binding.action == Action::Filter && binding.places.contains(&place))
}

fn letters(thresholds: &Thresholds) -> Vec<Line<'static>> {
    let letter = |verdict: Verdict| {
        row(&verdict.letter().to_string(), &format!("{}: {}", verdict.name(), verdict.definition(thresholds)))
    };
    let letters: Vec<String> =
        Verdict::ALL.iter().map(|verdict| verdict.letter().to_ascii_lowercase().to_string()).collect();
    let recovering =
        row(&letters.join(" "), "recovering: clears after one full window without the condition");
    Verdict::ALL.into_iter().map(letter).chain([recovering]).collect()
}

fn columns(place: Place) -> Vec<Line<'static>> {
    match place {
        Place::FlowPane | Place::Flows => described(&flows::COLUMNS),
        Place::Events => described(&events::COLUMNS),
        Place::Rows | Place::Latency | Place::Details | Place::Help | Place::Order | Place::Prompt => {
            described(&peers::COLUMNS)
        }
    }
}

fn described<Row, Order>(columns: &[Column<Row, Order>]) -> Vec<Line<'static>> {
    columns.iter().map(|column| row(column.title, column.meaning)).collect()
}

fn row(left: &str, right: &str) -> Line<'static> {
    Line::from(format!("  {left:<13} {right}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcptop_core::Filter;

    #[test]
    fn filters_of_the_help_are_filters() {
        for (text, _) in FILTERS {
            assert!(text.parse::<Filter>().is_ok(), "{text}");
        }
    }
}
