//! What the keys do and what the words mean.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Paragraph};

use super::style;
use crate::sink::tui::keys::BINDINGS;

const WORDS: [(&str, &str); 12] = [
    ("N", "no answer: to a tenth of the window's attempts or more"),
    ("R", "refuses: a RST answered a tenth of the window's SYNs or more"),
    ("S", "slow: P90 within the window is --slow (100ms) or more"),
    ("L", "loss: SYNs or SYN-ACKs sent again, 1 for 100 attempts or more"),
    ("PEER", "remote address and port; with an arrow: it connects to that port here"),
    ("NEW/s", "connection attempts per second"),
    ("P50..P99", "round-trip time of handshakes: the leg that crosses the network"),
    ("UNANS", "SYNs repeated or older than 1 s, and SYN-ACKs, without a reply"),
    ("RETR%", "share of SYNs, SYN-ACKs and data sent again, of 100 segments"),
    ("SINCE", "how long the trouble has gone on"),
    ("SETUP", "first SYN to the ACK: what the application waited"),
    ("lost", "records, packets or flows that the figures are missing"),
];

/// Draws the help over the tables, from a line on that is cut to what there is.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, offset: usize) {
    let keys = BINDINGS.iter().map(|binding| row(binding.label, binding.help));
    let words = WORDS.iter().map(|(word, meaning)| row(word, meaning));
    let lines: Vec<Line<'_>> = [Line::styled("Keys", style::strong())]
        .into_iter()
        .chain(keys)
        .chain([Line::default(), Line::styled("Words", style::strong())])
        .chain(words)
        .collect();
    let last = lines.len().saturating_sub(usize::from(area.height));
    let shown = lines.into_iter().skip(offset.min(last)).collect::<Vec<_>>();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(shown), area);
}

fn row(left: &str, right: &str) -> Line<'static> {
    Line::from(format!("  {left:<13} {right}"))
}
