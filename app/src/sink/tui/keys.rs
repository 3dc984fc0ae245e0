//! Which key does what: one table, for the dispatch, the footer and the help.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Action;

/// One thing that keys do.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The keys, any of them.
    pub keys: &'static [(KeyModifiers, KeyCode)],
    /// How they are written.
    pub label: &'static str,
    /// What they do.
    pub action: Action,
    /// In words, for the help.
    pub help: &'static str,
    /// Key and word for the footer, if it belongs there.
    pub footer: Option<(&'static str, &'static str)>,
}

const fn plain(code: KeyCode) -> (KeyModifiers, KeyCode) {
    (KeyModifiers::NONE, code)
}

const fn control(letter: char) -> (KeyModifiers, KeyCode) {
    (KeyModifiers::CONTROL, KeyCode::Char(letter))
}

/// Every key that does something.
pub const BINDINGS: &[Binding] = &[
    Binding {
        keys: &[plain(KeyCode::Char('q')), control('c'), plain(KeyCode::F(10))],
        label: "q Ctrl-C F10",
        action: Action::Quit,
        help: "quit",
        footer: Some(("q", "quit")),
    },
    Binding {
        keys: &[plain(KeyCode::Char('?')), plain(KeyCode::F(1))],
        label: "? F1",
        action: Action::Help,
        help: "this help, and back",
        footer: Some(("?", "help")),
    },
    Binding {
        keys: &[plain(KeyCode::Up), plain(KeyCode::Char('k'))],
        label: "Up k",
        action: Action::Move(-1),
        help: "one row up",
        footer: None,
    },
    Binding {
        keys: &[plain(KeyCode::Down), plain(KeyCode::Char('j'))],
        label: "Down j",
        action: Action::Move(1),
        help: "one row down",
        footer: Some(("↑↓", "move")),
    },
    Binding {
        keys: &[plain(KeyCode::PageUp)],
        label: "PgUp",
        action: Action::Move(-10),
        help: "ten rows up",
        footer: None,
    },
    Binding {
        keys: &[plain(KeyCode::PageDown)],
        label: "PgDn",
        action: Action::Move(10),
        help: "ten rows down",
        footer: None,
    },
    Binding {
        keys: &[plain(KeyCode::Home), plain(KeyCode::Char('g'))],
        label: "Home g",
        action: Action::First,
        help: "first row",
        footer: None,
    },
    Binding {
        keys: &[plain(KeyCode::End), plain(KeyCode::Char('G')), (KeyModifiers::SHIFT, KeyCode::Char('G'))],
        label: "End G",
        action: Action::Last,
        help: "last row",
        footer: None,
    },
    Binding {
        keys: &[plain(KeyCode::Tab)],
        label: "Tab",
        action: Action::NextPane,
        help: "from the peers to the flows of the selected one, and back",
        footer: Some(("Tab", "peers/flows")),
    },
    Binding {
        keys: &[plain(KeyCode::Char(' ')), plain(KeyCode::Char('p'))],
        label: "Space p",
        action: Action::Freeze,
        help: "freeze the display; watching goes on",
        footer: Some(("Space", "freeze")),
    },
    Binding {
        keys: &[plain(KeyCode::Char('+'))],
        label: "+",
        action: Action::WiderWindow,
        help: "longer window",
        footer: None,
    },
    Binding {
        keys: &[plain(KeyCode::Char('-'))],
        label: "-",
        action: Action::NarrowerWindow,
        help: "shorter window",
        footer: Some(("+-", "window")),
    },
    Binding {
        keys: &[plain(KeyCode::Esc)],
        label: "Esc",
        action: Action::Back,
        help: "one level back; never quits",
        footer: None,
    },
    Binding {
        keys: &[control('l')],
        label: "Ctrl-L",
        action: Action::Redraw,
        help: "draw anew",
        footer: None,
    },
];

/// What a key does, if anything.
#[must_use]
pub fn action(key: &KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let typed = (key.modifiers, key.code);
    BINDINGS.iter().find(|binding| binding.keys.contains(&typed)).map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things() {
        let keys: Vec<_> = BINDINGS.iter().flat_map(|binding| binding.keys).collect();
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[index + 1..].contains(key), "{key:?}");
        }
    }

    #[test]
    fn every_key_in_the_table_is_found() {
        for binding in BINDINGS {
            for &(modifiers, code) in binding.keys {
                assert_eq!(action(&KeyEvent::new(code, modifiers)), Some(binding.action));
            }
        }
    }
}
