//! Draws pictures of the screen: a capture is watched as if it were live, and its last moment is shown in every view.
//!
//! `cargo xtask screenshots` runs it. Only the capture's time is used, so that the same capture gives the same
//! pictures.

mod svg;
mod watch;

use std::error::Error;
use std::fs;
use std::path::Path;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use tcptop::tui::capabilities::{Capabilities, Theme};
use tcptop::tui::model::Model;
use tcptop::tui::{keys, view};
use tcptop_core::Query;

use watch::Watch;

const USUAL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (160, 50);
const MONOCHROME: Capabilities = Capabilities { colour: false, ..Capabilities::FULL };
const ASCII: Capabilities = Capabilities { ascii: true, ..Capabilities::FULL };
const LIGHT: Capabilities = Capabilities { theme: Theme::LIGHT, ..Capabilities::FULL };

/// A picture: its name, its size, what the terminal can show, and the keys that lead to it.
struct Shot(&'static str, (u16, u16), Capabilities, &'static [KeyCode]);

const DOWN: KeyCode = KeyCode::Down;

const fn letter(letter: char) -> KeyCode {
    KeyCode::Char(letter)
}

const SHOTS: [Shot; 13] = [
    Shot("first-80x24", USUAL, Capabilities::FULL, &[]),
    Shot("first-160x50", LARGE, Capabilities::FULL, &[DOWN, DOWN]),
    Shot("slow-peer", USUAL, Capabilities::FULL, &[DOWN, DOWN]),
    Shot("flows", USUAL, Capabilities::FULL, &[letter('2')]),
    Shot("latency", USUAL, Capabilities::FULL, &[DOWN, DOWN, letter('3')]),
    Shot("events", USUAL, Capabilities::FULL, &[letter('4')]),
    Shot("peer-details", USUAL, Capabilities::FULL, &[DOWN, DOWN, KeyCode::Enter]),
    Shot("flow-details", USUAL, Capabilities::FULL, &[DOWN, DOWN, KeyCode::Right, DOWN, KeyCode::Enter]),
    Shot("by-subnet", USUAL, Capabilities::FULL, &[letter('b'), letter('b'), letter('b')]),
    Shot("help", USUAL, Capabilities::FULL, &[letter('?')]),
    Shot("monochrome", USUAL, MONOCHROME, &[]),
    Shot("ascii", USUAL, ASCII, &[DOWN, DOWN]),
    Shot("light", USUAL, LIGHT, &[DOWN, DOWN]),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, capture, folder] = &arguments[..] else {
        return Err("usage: screenshots CAPTURE FOLDER".into());
    };
    let mut watch = Watch::to_the_end(capture)?;
    for shot in SHOTS {
        fs::write(Path::new(folder).join(format!("{}.svg", shot.0)), draw(&mut watch, &shot)?)?;
    }
    Ok(())
}

fn draw(
    watch: &mut Watch,
    Shot(_, (width, height), capabilities, keys): &Shot,
) -> Result<String, Box<dyn Error>> {
    let mut model = Model::new(Query::default());
    model.size = Size { width: *width, height: *height };
    model.own_session = Some(watch::own_session());
    model.refresh(watch.snapshot(&model));
    for key in *keys {
        let action = keys::action(&KeyEvent::new(*key, KeyModifiers::NONE), model.place());
        model.update(action.ok_or("a key that does nothing here")?);
        model.refresh(watch.snapshot(&model));
    }
    let mut terminal = Terminal::new(TestBackend::new(*width, *height))?;
    let drawn = terminal.draw(|frame| {
        view::draw(frame, &model, &watch.context);
        capabilities.reduce(frame.buffer_mut());
    })?;
    let ground = if capabilities.theme == Theme::LIGHT { svg::LIGHT } else { svg::DARK };
    Ok(svg::snapshot(drawn.buffer, ground))
}
