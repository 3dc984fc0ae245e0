//! A screen in memory: records in, keys in, frames out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use tcptop::clock::Anchor;
use tcptop::output::RenderContext;
use tcptop::tui::Command;
use tcptop::tui::model::{Action, Effect, Model};
use tcptop::tui::{keys, view};
use tcptop_core::Query;

pub use super::START;
use super::{Connection, INTERFACE, MS, S, Watched, v4, v6};

pub const NOW: u64 = START + 252 * S;

/// The screen, and what it shows.
pub struct Stage {
    pub watched: Watched,
    pub model: Model,
    pub now_ns: u64,
}

impl Stage {
    pub fn new(watched: Watched) -> Self {
        let mut stage = Self { watched, model: Model::new(Query::default()), now_ns: NOW };
        stage.refresh();
        stage
    }

    pub fn sized(mut self, width: u16, height: u16) -> Self {
        self.model.size = Size { width, height };
        self.refresh();
        self
    }

    /// Takes a snapshot as the model requests it.
    pub fn refresh(&mut self) {
        let request = self.model.request();
        let snapshot = self.watched.engine.snapshot(self.watched.reader, &request, self.now_ns);
        self.model.refresh(Arc::new(snapshot));
    }

    /// Does what the session would do, immediately.
    pub fn act(&mut self, action: Action) -> Effect {
        let effect = self.model.update(action);
        match &effect {
            Effect::Send(Command::Window(window_ns)) => {
                self.watched.engine.set_window(self.watched.reader, *window_ns);
            }
            Effect::Send(Command::Reset) => {
                self.watched.engine.reset(self.watched.reader, self.now_ns);
            }
            _ => {}
        }
        self.refresh();
        effect
    }

    /// Types keys, by their names in the table of keys; anything else letter by letter.
    pub fn keys(mut self, keys: &[&str]) -> Self {
        for key in keys {
            self.key(key);
        }
        self
    }

    pub fn key(&mut self, name: &str) -> Effect {
        let mut effect = Effect::None;
        for (modifiers, code) in named(name) {
            let action = keys::action(&KeyEvent::new(code, modifiers), self.model.place());
            let action = action.unwrap_or_else(|| panic!("{name} does nothing at {:?}", self.model.place()));
            effect = self.act(action);
        }
        effect
    }

    pub fn frame(&self) -> String {
        let Size { width, height } = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        let draw = |frame: &mut ratatui::Frame<'_>| {
            view::draw(frame, &self.model, &context());
        };
        terminal.draw(draw).expect("memory takes all");
        let text = terminal.backend().to_string();
        // A frame of text is quoted line by line.
        text.lines().map(|line| line.trim_matches('"').trim_end()).collect::<Vec<_>>().join("\n")
    }
}

fn named(name: &str) -> Vec<(KeyModifiers, KeyCode)> {
    let none = KeyModifiers::NONE;
    let code = match name {
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "Shift-Tab" => return vec![(KeyModifiers::SHIFT, KeyCode::BackTab)],
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "Left" => KeyCode::Left,
        "Right" => KeyCode::Right,
        "PgUp" => KeyCode::PageUp,
        "PgDn" => KeyCode::PageDown,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        "Backspace" => KeyCode::Backspace,
        "Delete" => KeyCode::Delete,
        "Space" => KeyCode::Char(' '),
        _ => {
            if let Some(letter) = name.strip_prefix("Ctrl-") {
                let letter = letter.to_lowercase().chars().next().expect("a letter");
                return vec![(KeyModifiers::CONTROL, KeyCode::Char(letter))];
            }
            if let Some(Ok(number)) = name.strip_prefix('F').map(str::parse) {
                return vec![(none, KeyCode::F(number))];
            }
            return name.chars().map(|letter| (none, KeyCode::Char(letter))).collect();
        }
    };
    vec![(none, code)]
}

pub fn context() -> RenderContext {
    let wall = "2026-01-02T14:02:31Z".parse::<Timestamp>().expect("a time");
    let interfaces = BTreeMap::from([(INTERFACE, "enp0s1".to_owned())]);
    RenderContext {
        interfaces,
        source: "tcx",
        not_known: Vec::new(),
        host: None,
        run: String::new(),
        anchor: Anchor::new(NOW, wall),
        zone: TimeZone::UTC,
    }
}

/// A healthy peer, a slow one, one that refuses, one that does not answer, one that loses SYNs and one that connects.
pub fn trouble() -> Watched {
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
        let began_ns = NOW - 23 * S + u64::from(n) * 8 * S;
        watched.see([silent.syn(began_ns)]).expire(began_ns + 7 * S);
    }
    let from = Connection::from(v6("2001:db8:85a3:8d3:1319:8a2e:370:7348", 50_123), 22);
    watched.see([from.syn(NOW - 2 * S), from.syn_ack(NOW - 2 * S + 50_000), from.ack(NOW - 2 * S + 9 * MS)]);
    watched.expire(NOW);
    watched
}
