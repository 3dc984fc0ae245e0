//! A frame of the screen as SVG.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// Width of a character: DejaVu Sans Mono is 0.602 of its size wide.
const CELL: (f64, f64) = (8.43, 18.0);
const FONT_SIZE: f64 = 14.0;
/// From the top of a cell to the baseline.
const BASELINE: f64 = 13.5;
const MARGIN: f64 = 12.0;
const FONTS: &str = "DejaVu Sans Mono, Menlo, Consolas, monospace";

/// The colours of a terminal that has none of its own.
#[derive(Clone, Copy)]
pub(crate) struct Ground {
    background: &'static str,
    foreground: &'static str,
    faint: &'static str,
}

pub(crate) const DARK: Ground = Ground { background: "#15171c", foreground: "#d4d7dd", faint: "#868e9b" };
pub(crate) const LIGHT: Ground = Ground { background: "#ffffff", foreground: "#1f2328", faint: "#6a737d" };

impl Ground {
    /// A colour of the 16 as a dark terminal shows it, or one of the 256 as every terminal does.
    fn color(self, color: Color) -> String {
        let known = match color {
            Color::Red => "#ff6b66",
            Color::Yellow => "#edc44d",
            Color::Magenta => "#d98cff",
            Color::Cyan => "#50d4d8",
            Color::Indexed(index @ 16..=231) => return cube(index - 16),
            _ => self.foreground,
        };
        known.to_owned()
    }
}

/// A colour of xterm's cube of 6x6x6.
fn cube(index: u8) -> String {
    let level = |step: u8| [0_u8, 95, 135, 175, 215, 255][usize::from(index / step % 6)];
    format!("#{:02x}{:02x}{:02x}", level(36), level(6), level(1))
}

/// The whole picture.
pub(crate) fn snapshot(frame: &Buffer, ground: Ground) -> String {
    let (columns, rows) = (f64::from(frame.area.width), f64::from(frame.area.height));
    let (width, height) = (columns * CELL.0 + 2.0 * MARGIN, rows * CELL.1 + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" width=\"{width:.1}\" \
         height=\"{height:.1}\" font-family=\"{FONTS}\" font-size=\"{FONT_SIZE}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{}\"/>\n",
        ground.background
    );
    let columns = usize::from(frame.area.width).max(1);
    for (row, cells) in (0_u16..).zip(frame.content.chunks(columns)) {
        let top = MARGIN + f64::from(row) * CELL.1;
        let mut column = 0;
        while column < cells.len() {
            let length = run(&cells[column..]);
            draw(&mut svg, &cells[column..column + length], column, top, ground);
            column += length;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The number of cells, from the first on, with one style and of one kind.
fn run(cells: &[Cell]) -> usize {
    let first = &cells[0];
    let kind = |cell: &Cell| shape(cell).map(|_| cell.symbol().to_owned());
    let alike = |cell: &&Cell| cell.style() == first.style() && kind(cell) == kind(first);
    cells.iter().take_while(alike).count()
}

/// The place of a block or a line within its cell, in eighths (left, top, right, bottom), and its opacity.
type Shape = ([u8; 4], f64);

/// Fonts leave gaps between blocks and between lines, so these are drawn.
fn shape(cell: &Cell) -> Option<Vec<Shape>> {
    let symbol = cell.symbol().chars().next()?;
    let whole = |density| vec![([0, 0, 8, 8], density)];
    let eighth = |first: char| u8::try_from(u32::from(symbol) - u32::from(first)).ok();
    Some(match symbol {
        '█' => whole(1.0),
        '░' => whole(0.25),
        '▒' => whole(0.5),
        '▓' => whole(0.75),
        // U+2581 is one eighth from below, U+2588 eight; U+258F is one from the left, U+2589 seven.
        '▁'..='▇' => vec![([0, 7 - eighth('▁')?, 8, 8], 1.0)],
        '▉'..='▏' => vec![([0, 0, 7 - eighth('▉')?, 8], 1.0)],
        _ => return None,
    })
}

fn draw(svg: &mut String, cells: &[Cell], column: usize, top: f64, ground: Ground) {
    let first = &cells[0];
    let left = MARGIN + f64::from(u16::try_from(column).unwrap_or(u16::MAX)) * CELL.0;
    let count = f64::from(u16::try_from(cells.len()).unwrap_or(u16::MAX));
    let fill =
        if first.modifier.contains(Modifier::DIM) { ground.faint.to_owned() } else { ground.color(first.fg) };
    // Writing to a String cannot fail.
    if let Some(shapes) = shape(first) {
        for ([x0, y0, x1, y1], density) in shapes {
            let part = |eighths: u8, of: f64| f64::from(eighths) * of / 8.0;
            // Partial blocks are drawn one by one, rows of full ones together.
            let each = if x0 == 0 && x1 == 8 { 1.0 } else { count };
            let width = if each > 1.0 { part(x1 - x0, CELL.0) } else { count * CELL.0 };
            let (y, height) = (top + part(y0, CELL.1), part(y1 - y0, CELL.1));
            let _ = writeln!(
                svg,
                "<rect x=\"{left:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" fill=\"{fill}\" \
                 fill-opacity=\"{density}\" \
                 shape-rendering=\"crispEdges\"/>"
            );
        }
        return;
    }
    let text: String = cells.iter().map(Cell::symbol).collect();
    let words = text.trim_end();
    let indent = words.chars().take_while(|letter| *letter == ' ').count();
    let words = words.trim_start();
    if words.is_empty() {
        return;
    }
    let x = left + f64::from(u16::try_from(indent).unwrap_or(u16::MAX)) * CELL.0;
    let length = f64::from(u16::try_from(words.chars().count()).unwrap_or(u16::MAX)) * CELL.0;
    let y = top + BASELINE;
    let _ = writeln!(
        svg,
        "<text x=\"{x:.2}\" y=\"{y:.2}\" textLength=\"{length:.2}\" xml:space=\"preserve\" fill=\"{fill}\"{}>{}</text>",
        emphasis(first.modifier),
        escaped(words)
    );
}

fn emphasis(modifier: Modifier) -> String {
    let mut attributes = String::new();
    if modifier.contains(Modifier::BOLD) {
        attributes.push_str(" font-weight=\"bold\"");
    }
    if modifier.contains(Modifier::UNDERLINED) {
        attributes.push_str(" text-decoration=\"underline\"");
    }
    attributes
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
