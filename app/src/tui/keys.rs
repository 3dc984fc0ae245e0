//! The key bindings: one table for dispatch, footer and help.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Action, Edit, Place, View};
use tui_input::InputRequest;

/// An action, and the keys that trigger it.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The keys, each of which triggers it.
    pub keys: &'static [(KeyModifiers, KeyCode)],
    /// How the keys are written.
    pub label: &'static str,
    /// The action.
    pub action: Action,
    /// Where the keys apply.
    pub places: &'static [Place],
    /// What it does, for the help.
    pub help: &'static str,
    /// Key and word in the footer, if shown there.
    pub footer: Option<(&'static str, &'static str)>,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;
const ALT: KeyModifiers = KeyModifiers::ALT;

const fn plain(code: KeyCode) -> (KeyModifiers, KeyCode) {
    (NONE, code)
}

const fn letter(letter: char) -> (KeyModifiers, KeyCode) {
    (NONE, KeyCode::Char(letter))
}

const fn control(letter: char) -> (KeyModifiers, KeyCode) {
    (CONTROL, KeyCode::Char(letter))
}

const fn alt(letter: char) -> (KeyModifiers, KeyCode) {
    (ALT, KeyCode::Char(letter))
}

use InputRequest::{
    DeleteLine, DeleteNextChar, DeleteNextWord, DeletePrevChar, DeletePrevWord, DeleteTillEnd, GoToEnd,
    GoToNextChar, GoToNextWord, GoToPrevChar, GoToPrevWord, GoToStart, InsertChar, Yank,
};
use Place::{Details, Events, FlowPane, Flows, Help, Latency, Order, Prompt, Rows};

/// Everywhere but in the prompt.
const KEYS: &[Place] = &[Rows, FlowPane, Flows, Latency, Events, Details, Help, Order];
const ANYWHERE: &[Place] = &[Rows, FlowPane, Flows, Latency, Events, Details, Help, Order, Prompt];
/// The four views.
const VIEWS: &[Place] = &[Rows, FlowPane, Flows, Latency, Events];
/// Views with rows of their own.
const TABLES: &[Place] = &[Rows, FlowPane, Flows, Events];
/// Views that can be sorted.
const SORTED: &[Place] = &[Rows, FlowPane, Flows, Latency];
/// Pages over a view.
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

/// A key of the prompt.
const fn edit(
    keys: &'static [(KeyModifiers, KeyCode)],
    label: &'static str,
    request: InputRequest,
    help: &'static str,
) -> Binding {
    binding(keys, label, Action::Edit(Edit::Input(request)), &[Prompt], help)
}

impl Binding {
    const fn footer(mut self, key: &'static str, word: &'static str) -> Self {
        self.footer = Some((key, word));
        self
    }
}

/// All key bindings. The footer shows them in this order, as far as they fit.
pub static BINDINGS: &[Binding] = &[
    binding(&[letter('q'), plain(KeyCode::F(10))], "q F10", Action::Quit, KEYS, "quit").footer("q", "quit"),
    binding(&[control('c')], "Ctrl-C", Action::Quit, ANYWHERE, "quit"),
    binding(&[letter('Q')], "Q", Action::QuitAndKeep, KEYS, "quit, and leave this screen in the scrollback"),
    binding(&[letter('?'), plain(KeyCode::F(1))], "? F1", Action::Help, KEYS, "help for this view")
        .footer("?", "help"),
    binding(&[plain(KeyCode::Esc)], "Esc", Action::Back, PAGES, "back").footer("Esc", "back"),
    binding(
        &[plain(KeyCode::Esc)],
        "Esc",
        Action::Back,
        &[FlowPane, Flows, Latency, Events],
        "back to the peers",
    )
    .footer("Esc", "back"),
    binding(&[plain(KeyCode::Esc)], "Esc", Action::Back, &[Rows], "clear the filter"),
    binding(
        &[letter('/'), plain(KeyCode::F(4))],
        "/ F4",
        Action::Filter,
        VIEWS,
        "filter; applied while you type",
    )
    .footer("/", "filter"),
    binding(
        &[plain(KeyCode::Enter)],
        "Enter",
        Action::Enter,
        &[Rows, FlowPane, Flows, Events, Latency],
        "details of the selected row",
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
    binding(&[plain(KeyCode::BackTab)], "Shift-Tab", Action::PreviousView, VIEWS, "previous view"),
    binding(&[letter('1')], "1", Action::Show(View::Peers), KEYS, "peers, worst first"),
    binding(&[letter('2')], "2", Action::Show(View::Flows), KEYS, "all flows"),
    binding(&[letter('3')], "3", Action::Show(View::Latency), KEYS, "latency of the selected row over time"),
    binding(
        &[letter('4')],
        "4",
        Action::Show(View::Events),
        KEYS,
        "events: verdict changes, failures, retransmits",
    ),
    binding(
        &[letter('s'), plain(KeyCode::F(6))],
        "s F6",
        Action::ChooseOrder,
        SORTED,
        "choose the sort column",
    )
    .footer("s", "sort"),
    binding(&[letter('>')], ">", Action::NextOrder, SORTED, "sort by the next column"),
    binding(&[letter('<')], "<", Action::PreviousOrder, SORTED, "sort by the previous column"),
    binding(&[letter('I')], "I", Action::Reverse, SORTED, "reverse the order"),
    binding(
        &[letter('b')],
        "b",
        Action::Group,
        SORTED,
        "group by host, service, subnet (/24, /64), role, interface, process, container",
    )
    .footer("b", "group"),
    binding(
        &[letter(' '), letter('p')],
        "Space p",
        Action::Freeze,
        VIEWS,
        "freeze the display; counting continues",
    )
    .footer("Space", "freeze"),
    binding(&[letter('o')], "o", Action::Hold, TABLES, "keep the rows in their current order"),
    binding(
        &[letter('t')],
        "t",
        Action::OtherLatency,
        &[Rows, FlowPane, Latency],
        "histogram of setup times, or of RTTs",
    )
    .footer("t", "rtt/setup"),
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
        "focus the flows of the selected row",
    ),
    binding(&[plain(KeyCode::Left), letter('h')], "Left h", Action::ToRows, &[FlowPane], "focus the peers"),
    binding(&[plain(KeyCode::PageUp), control('b')], "PgUp", Action::Page(-1), KEYS, "one page up"),
    binding(&[plain(KeyCode::PageDown), control('f')], "PgDn", Action::Page(1), KEYS, "one page down"),
    binding(&[plain(KeyCode::Home), letter('g')], "Home g", Action::First, KEYS, "first row"),
    binding(&[plain(KeyCode::End), letter('G')], "End G", Action::Last, KEYS, "last row"),
    binding(
        &[letter('y')],
        "y",
        Action::Copy,
        &[Rows, FlowPane, Flows, Latency, Events, Details],
        "copy the row to the clipboard (OSC 52)",
    ),
    binding(
        &[letter('n')],
        "n",
        Action::HostNames,
        &[Rows, FlowPane, Flows, Latency, Events, Details],
        "host names on or off (DNS look-ups)",
    ),
    binding(&[control('l')], "Ctrl-L", Action::Redraw, ANYWHERE, "redraw"),
    binding(&[control('r')], "Ctrl-R", Action::Reset, VIEWS, "restart all counters at 0"),
    binding(&[control('z')], "Ctrl-Z", Action::Pause, ANYWHERE, "suspend; the shell's fg resumes"),
    binding(&[plain(KeyCode::Enter)], "Enter", Action::Enter, &[Order], "sort by this column")
        .footer("Enter", "sort"),
    binding(&[plain(KeyCode::Enter)], "Enter", Action::Enter, &[Prompt], "apply the filter")
        .footer("Enter", "apply"),
    binding(&[plain(KeyCode::Esc)], "Esc", Action::Back, &[Prompt], "clear the filter")
        .footer("Esc", "clear"),
    edit(&[plain(KeyCode::Backspace), control('h')], "Backspace", DeletePrevChar, "erase a character"),
    edit(&[plain(KeyCode::Delete), control('d')], "Delete", DeleteNextChar, "erase the next character"),
    binding(&[control('w')], "Ctrl-W", Action::Edit(Edit::EraseTerm), &[Prompt], "erase a term"),
    edit(&[(ALT, KeyCode::Backspace)], "Alt-Backspace", DeletePrevWord, "erase a word"),
    edit(&[alt('d'), (CONTROL, KeyCode::Delete)], "Alt-D", DeleteNextWord, "erase the next word"),
    edit(&[control('u')], "Ctrl-U", DeleteLine, "erase everything").footer("Ctrl-U", "erase"),
    edit(&[control('k')], "Ctrl-K", DeleteTillEnd, "erase to the end"),
    edit(&[control('y')], "Ctrl-Y", Yank, "insert what was erased last"),
    edit(&[plain(KeyCode::Left), control('b')], "Left", GoToPrevChar, "one character left"),
    edit(&[plain(KeyCode::Right), control('f')], "Right", GoToNextChar, "one character right"),
    edit(&[alt('b'), (CONTROL, KeyCode::Left)], "Ctrl-Left", GoToPrevWord, "one word left"),
    edit(&[alt('f'), (CONTROL, KeyCode::Right)], "Ctrl-Right", GoToNextWord, "one word right"),
    edit(&[plain(KeyCode::Home), control('a')], "Home Ctrl-A", GoToStart, "to the start"),
    edit(&[plain(KeyCode::End), control('e')], "End Ctrl-E", GoToEnd, "to the end"),
];

/// The action of a key at this place, if it has one.
#[must_use]
pub fn action(key: &KeyEvent, place: Place) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    // Some terminals report Shift with an upper-case letter or with Shift-Tab, which have codes of their own.
    let has_own_code = matches!(key.code, KeyCode::Char(_) | KeyCode::BackTab);
    let modifiers = if has_own_code { key.modifiers - KeyModifiers::SHIFT } else { key.modifiers };
    let typed = (modifiers, key.code);
    let mut here = BINDINGS.iter().filter(|binding| binding.places.contains(&place));
    let bound = here.find(|binding| binding.keys.contains(&typed)).map(|binding| binding.action);
    match key.code {
        KeyCode::Char(letter) if place == Prompt && modifiers == NONE => {
            bound.or(Some(Action::Edit(Edit::Input(InsertChar(letter)))))
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
        assert_eq!(typed('q', NONE), Some(Action::Edit(Edit::Input(InsertChar('q')))));
        assert_eq!(typed('Q', KeyModifiers::SHIFT), Some(Action::Edit(Edit::Input(InsertChar('Q')))));
        assert_eq!(typed('c', CONTROL), Some(Action::Quit));
        assert_eq!(typed('x', KeyModifiers::ALT), None);
    }

    #[test]
    fn a_key_that_is_let_go_does_nothing() {
        let up = KeyEvent::new_with_kind(KeyCode::Char('q'), NONE, KeyEventKind::Release);
        assert_eq!(action(&up, Rows), None);
    }
}
