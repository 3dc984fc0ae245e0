//! Which key does what, and where: one table, for the dispatch, the footer and the help.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Action, Edit, Place, View};

/// One thing that keys do.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The keys, any of them.
    pub keys: &'static [(KeyModifiers, KeyCode)],
    /// How they are written.
    pub label: &'static str,
    /// What they do.
    pub action: Action,
    /// Where they do it.
    pub places: &'static [Place],
    /// In words, for the help.
    pub help: &'static str,
    /// Key and word for the footer, if it belongs there.
    pub footer: Option<(&'static str, &'static str)>,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

const fn plain(code: KeyCode) -> (KeyModifiers, KeyCode) {
    (NONE, code)
}

const fn letter(letter: char) -> (KeyModifiers, KeyCode) {
    (NONE, KeyCode::Char(letter))
}

const fn control(letter: char) -> (KeyModifiers, KeyCode) {
    (CONTROL, KeyCode::Char(letter))
}

use Place::{Details, Events, FlowPane, Flows, Help, Latency, Order, Prompt, Rows};

/// Everywhere but where text is typed.
const KEYS: &[Place] = &[Rows, FlowPane, Flows, Latency, Events, Details, Help, Order];
const ANYWHERE: &[Place] = &[Rows, FlowPane, Flows, Latency, Events, Details, Help, Order, Prompt];
/// The four views.
const VIEWS: &[Place] = &[Rows, FlowPane, Flows, Latency, Events];
/// What has rows of its own.
const TABLES: &[Place] = &[Rows, FlowPane, Flows, Events];
/// What can be sorted.
const SORTED: &[Place] = &[Rows, FlowPane, Flows, Latency];
/// What lies over a view.
const PAGES: &[Place] = &[Details, Help, Order];

const fn binding(
    keys: &'static [(KeyModifiers, KeyCode)],
    label: &'static str,
    action: Action,
    places: &'static [Place],
    help: &'static str,
) -> Binding {
    Binding { keys, label, action, places, help, footer: None }
}

impl Binding {
    const fn footer(mut self, key: &'static str, word: &'static str) -> Self {
        self.footer = Some((key, word));
        self
    }
}

/// Every key that does something; the footer shows them in this order, as far as there is room.
pub static BINDINGS: &[Binding] = &[
    binding(&[letter('q'), plain(KeyCode::F(10))], "q F10", Action::Quit, KEYS, "quit").footer("q", "quit"),
    binding(&[control('c')], "Ctrl-C", Action::Quit, ANYWHERE, "quit"),
    binding(&[letter('Q')], "Q", Action::QuitAndKeep, KEYS, "quit, and leave this screen in the scrollback"),
    binding(&[letter('?'), plain(KeyCode::F(1))], "? F1", Action::Help, KEYS, "this help, and back")
        .footer("?", "help"),
    binding(&[plain(KeyCode::Esc)], "Esc", Action::Back, PAGES, "one level back").footer("Esc", "back"),
    binding(
        &[plain(KeyCode::Esc)],
        "Esc",
        Action::Back,
        &[FlowPane, Flows, Latency, Events],
        "one level back, to the peers",
    )
    .footer("Esc", "back"),
    binding(&[plain(KeyCode::Esc)], "Esc", Action::Back, &[Rows], "forget the filter; never quits"),
    binding(&[letter('/'), plain(KeyCode::F(4))], "/ F4", Action::Filter, VIEWS, "filter rows as you type")
        .footer("/", "filter"),
    binding(
        &[plain(KeyCode::Enter)],
        "Enter",
        Action::Enter,
        &[Rows, FlowPane, Flows, Events, Latency],
        "details of the selected row, in words",
    )
    .footer("Enter", "details"),
    binding(
        &[plain(KeyCode::Tab)],
        "Tab",
        Action::NextView,
        VIEWS,
        "next view: peers, flows, latency, events",
    )
    .footer("Tab", "view"),
    binding(&[plain(KeyCode::BackTab)], "Shift-Tab", Action::PreviousView, VIEWS, "view before"),
    binding(&[letter('1')], "1", Action::Show(View::Peers), KEYS, "peers, worst first"),
    binding(&[letter('2')], "2", Action::Show(View::Flows), KEYS, "flows, whosever they are"),
    binding(
        &[letter('3')],
        "3",
        Action::Show(View::Latency),
        KEYS,
        "latencies of the selected row over time",
    ),
    binding(&[letter('4')], "4", Action::Show(View::Events), KEYS, "events: what went wrong, newest first"),
    binding(
        &[letter('s'), plain(KeyCode::F(6))],
        "s F6",
        Action::ChooseOrder,
        SORTED,
        "choose what rows are sorted by",
    )
    .footer("s", "sort"),
    binding(&[letter('>')], ">", Action::NextOrder, SORTED, "sort by the next column"),
    binding(&[letter('<')], "<", Action::PreviousOrder, SORTED, "sort by the column before"),
    binding(&[letter('I')], "I", Action::Reverse, SORTED, "the other way round"),
    binding(
        &[letter('b')],
        "b",
        Action::Group,
        SORTED,
        "rows by peer, host, service, subnet (/24, /64), role, interface",
    )
    .footer("b", "group"),
    binding(
        &[letter(' '), letter('p')],
        "Space p",
        Action::Freeze,
        VIEWS,
        "freeze the display; watching goes on",
    )
    .footer("Space", "freeze"),
    binding(&[letter('o')], "o", Action::Hold, TABLES, "hold the order of the rows"),
    binding(&[letter('+'), letter('=')], "+", Action::WiderWindow, VIEWS, "longer window"),
    binding(&[letter('-')], "-", Action::NarrowerWindow, VIEWS, "shorter window").footer("+-", "window"),
    binding(&[plain(KeyCode::Up), letter('k')], "Up k", Action::Move(-1), KEYS, "one row up"),
    binding(&[plain(KeyCode::Down), letter('j')], "Down j", Action::Move(1), VIEWS, "one row down"),
    binding(&[plain(KeyCode::Down), letter('j')], "Down j", Action::Move(1), PAGES, "one row down")
        .footer("↑↓", "move"),
    binding(
        &[plain(KeyCode::Right), letter('l')],
        "Right l",
        Action::ToFlows,
        &[Rows],
        "to the flows of the selected row",
    ),
    binding(&[plain(KeyCode::Left), letter('h')], "Left h", Action::ToRows, &[FlowPane], "back to the peers"),
    binding(&[plain(KeyCode::PageUp), control('b')], "PgUp", Action::Page(-1), KEYS, "one page up"),
    binding(&[plain(KeyCode::PageDown), control('f')], "PgDn", Action::Page(1), KEYS, "one page down"),
    binding(&[plain(KeyCode::Home), letter('g')], "Home g", Action::First, KEYS, "first row"),
    binding(&[plain(KeyCode::End), letter('G')], "End G", Action::Last, KEYS, "last row"),
    binding(
        &[letter('y')],
        "y",
        Action::Copy,
        &[Rows, FlowPane, Flows, Latency, Events, Details],
        "copy the row as text (OSC 52)",
    ),
    binding(
        &[letter('n')],
        "n",
        Action::Names,
        &[Rows, FlowPane, Flows, Latency, Events, Details],
        "names of hosts, looked up from now on; and off",
    ),
    binding(&[control('l')], "Ctrl-L", Action::Redraw, ANYWHERE, "draw anew"),
    binding(&[control('r')], "Ctrl-R", Action::Reset, VIEWS, "count from now on"),
    binding(&[control('z')], "Ctrl-Z", Action::Pause, ANYWHERE, "stop; the shell's fg goes on"),
    binding(&[plain(KeyCode::Enter)], "Enter", Action::Enter, &[Order], "sort by this")
        .footer("Enter", "sort"),
    binding(&[plain(KeyCode::Enter)], "Enter", Action::Enter, &[Prompt], "keep the filter")
        .footer("Enter", "keep"),
    binding(&[plain(KeyCode::Esc)], "Esc", Action::Back, &[Prompt], "no filter").footer("Esc", "clear"),
    binding(
        &[plain(KeyCode::Backspace), control('h')],
        "Backspace",
        Action::Edit(Edit::Erase),
        &[Prompt],
        "erase a character",
    ),
    binding(
        &[plain(KeyCode::Delete)],
        "Delete",
        Action::Edit(Edit::EraseNext),
        &[Prompt],
        "erase the next character",
    ),
    binding(&[control('w')], "Ctrl-W", Action::Edit(Edit::EraseWord), &[Prompt], "erase a word"),
    binding(&[control('u')], "Ctrl-U", Action::Edit(Edit::EraseAll), &[Prompt], "erase everything")
        .footer("Ctrl-U", "erase"),
    binding(&[plain(KeyCode::Left)], "Left", Action::Edit(Edit::Cursor(-1)), &[Prompt], "to the left"),
    binding(&[plain(KeyCode::Right)], "Right", Action::Edit(Edit::Cursor(1)), &[Prompt], "to the right"),
    binding(
        &[plain(KeyCode::Home), control('a')],
        "Home",
        Action::Edit(Edit::Cursor(isize::MIN)),
        &[Prompt],
        "to the beginning",
    ),
    binding(
        &[plain(KeyCode::End), control('e')],
        "End",
        Action::Edit(Edit::Cursor(isize::MAX)),
        &[Prompt],
        "to the end",
    ),
];

/// What a key does at this place, if anything.
#[must_use]
pub fn action(key: &KeyEvent, place: Place) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    // Some terminals tell the shift of a letter or a tab, which has a code of its own anyway.
    let is_told_twice = matches!(key.code, KeyCode::Char(_) | KeyCode::BackTab);
    let modifiers = if is_told_twice { key.modifiers - KeyModifiers::SHIFT } else { key.modifiers };
    let typed = (modifiers, key.code);
    let mut here = BINDINGS.iter().filter(|binding| binding.places.contains(&place));
    let bound = here.find(|binding| binding.keys.contains(&typed)).map(|binding| binding.action);
    match key.code {
        KeyCode::Char(letter) if place == Prompt && modifiers == NONE => {
            bound.or(Some(Action::Edit(Edit::Type(letter))))
        }
        _ => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things_at_one_place() {
        for place in Place::ALL {
            let here = || BINDINGS.iter().filter(|binding| binding.places.contains(&place));
            let keys: Vec<_> = here().flat_map(|binding| binding.keys).collect();
            for (index, key) in keys.iter().enumerate() {
                assert!(!keys[index + 1..].contains(key), "{key:?} at {place:?}");
            }
        }
    }

    #[test]
    fn every_key_in_the_table_is_found_where_it_belongs_and_nowhere_else() {
        for binding in BINDINGS {
            for (&(modifiers, code), place) in
                binding.keys.iter().flat_map(|key| Place::ALL.map(|place| (key, place)))
            {
                let found = action(&KeyEvent::new(code, modifiers), place);
                if binding.places.contains(&place) {
                    assert_eq!(found, Some(binding.action), "{} at {place:?}", binding.label);
                } else {
                    let other = BINDINGS.iter().any(|other| {
                        other.places.contains(&place) && other.keys.contains(&(modifiers, code))
                    });
                    let typed = matches!((place, code), (Prompt, KeyCode::Char(_))) && modifiers == NONE;
                    assert_eq!(found.is_some(), other || typed, "{} at {place:?}", binding.label);
                }
            }
        }
    }

    #[test]
    fn letters_are_text_where_text_is_typed() {
        let typed = |letter, modifiers| action(&KeyEvent::new(KeyCode::Char(letter), modifiers), Prompt);
        assert_eq!(typed('q', NONE), Some(Action::Edit(Edit::Type('q'))));
        assert_eq!(typed('Q', KeyModifiers::SHIFT), Some(Action::Edit(Edit::Type('Q'))));
        assert_eq!(typed('c', CONTROL), Some(Action::Quit));
        assert_eq!(typed('x', KeyModifiers::ALT), None);
    }

    #[test]
    fn a_key_that_is_let_go_does_nothing() {
        let up = KeyEvent::new_with_kind(KeyCode::Char('q'), NONE, KeyEventKind::Release);
        assert_eq!(action(&up, Rows), None);
    }
}
