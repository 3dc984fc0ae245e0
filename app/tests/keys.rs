//! Every key, and what it does: each row of the table of keys is pressed here.

mod support;

use support::stage::{Stage, trouble};
use tcptop::tui::Command;
use tcptop::tui::keys::BINDINGS;
use tcptop::tui::model::{Action, Edit, Effect, Leaving, Page, Pane, Place, View};
use tcptop_core::{FlowOrder, Group, RowOrder};
use tui_input::InputRequest;

fn stage(keys: &[&str]) -> Stage {
    Stage::new(trouble()).keys(keys)
}

/// The keys that lead to a place.
const fn way(place: Place) -> &'static [&'static str] {
    match place {
        Place::Rows => &[],
        Place::FlowPane => &["Down", "Down", "Right"],
        Place::Flows => &["2"],
        Place::Latency => &["3"],
        Place::Events => &["4"],
        Place::Details => &["Enter"],
        Place::Help => &["?"],
        Place::Order => &["s"],
        Place::Prompt => &["/"],
    }
}

/// Checks what an action does. A new action does not compile until it is added here.
fn check(action: Action, place: Place) {
    let mut stage = stage(way(place));
    assert_eq!(stage.model.place(), place);
    let before = stage.model.clone();
    let effect = stage.act(action);
    let model = &stage.model;
    let what = format!("{action:?} at {place:?}");
    let is_page = matches!(place, Place::Details | Place::Help | Place::Order);
    match action {
        Action::Quit => assert_eq!(model.leaving, Some(Leaving::Clean), "{what}"),
        Action::QuitAndKeep => assert_eq!(model.leaving, Some(Leaving::KeepingScreen), "{what}"),
        Action::Help if place == Place::Help => assert!(model.overlays.is_empty(), "{what}"),
        Action::Help => {
            assert_eq!(model.overlays.last().map(|overlay| overlay.page), Some(Page::Help(place)), "{what}");
        }
        Action::Back => assert_eq!((model.place(), model.leaving), (Place::Rows, None), "{what}"),
        Action::Enter => assert_ne!(model.place(), place, "{what}"),
        Action::Show(view) => assert_eq!((model.view, model.overlays.len()), (view, 0), "{what}"),
        Action::NextView | Action::PreviousView => assert_ne!(model.view, before.view, "{what}"),
        Action::ToFlows => assert_eq!(model.pane, Pane::Flows),
        Action::ToRows => assert_eq!(model.pane, Pane::Rows),
        Action::Move(_) | Action::Page(_) | Action::First | Action::Last => assert_moved(action, place),
        Action::Freeze => assert!(model.frozen, "{what}"),
        Action::Hold => assert!(model.is_held(), "{what}"),
        Action::WiderWindow => assert_eq!(effect, Effect::Send(Command::Window(30_000_000_000))),
        Action::NarrowerWindow => assert_eq!(effect, Effect::Send(Command::Window(5_000_000_000))),
        Action::ChooseOrder => assert_eq!(model.place(), Place::Order, "{what}"),
        Action::NextOrder | Action::PreviousOrder | Action::Reverse => {
            assert_ne!(model.query, before.query, "{what}");
        }
        Action::Group => assert_eq!(model.query.group, Group::Host, "{what}"),
        Action::Filter => assert_eq!(model.place(), Place::Prompt, "{what}"),
        Action::Copy => assert_eq!(effect, Effect::Copy, "{what}"),
        Action::OtherLatency => assert_ne!(model.latency, before.latency, "{what}"),
        Action::HostNames => assert!(model.names.on, "{what}"),
        Action::Redraw => assert_eq!(effect, Effect::Redraw, "{what}"),
        Action::Reset => assert_eq!(effect, Effect::Send(Command::Reset), "{what}"),
        Action::Pause => assert_eq!(effect, Effect::Pause, "{what}"),
        Action::Edit(_) => assert!(!is_page, "{what}: see the test of the prompt"),
    }
    assert_eq!(model.leaving.is_some(), matches!(action, Action::Quit | Action::QuitAndKeep), "{what}");
}

/// From the middle of a table every movement changes the selection.
fn assert_moved(action: Action, place: Place) {
    let mut stage = stage(way(place));
    // On a small screen pages are short, and no text fits.
    stage = stage.sized(60, 9);
    stage.model.limit_scroll(usize::MAX);
    (0..2).for_each(|_| drop(stage.act(Action::Move(1))));
    let at = |stage: &Stage| {
        let model = &stage.model;
        let line = model.overlays.last().map(|overlay| overlay.line);
        (model.selected_row(), model.selected_flow(), model.selected_event(), line)
    };
    let before = at(&stage);
    stage.act(action);
    assert_ne!(at(&stage), before, "{action:?} at {place:?}");
}

#[test]
fn every_key_does_what_its_help_says_at_each_of_its_places() {
    for binding in BINDINGS {
        for &place in binding.places {
            check(binding.action, place);
        }
    }
}

#[test]
fn views_follow_each_other_both_ways() {
    let view = |keys: &[&str]| stage(keys).model.view;
    assert_eq!(view(&["Tab"]), View::Flows);
    assert_eq!(view(&["Tab", "Tab", "Tab"]), View::Events);
    assert_eq!(view(&["Tab", "Tab", "Tab", "Tab"]), View::Peers);
    assert_eq!(view(&["Shift-Tab"]), View::Events);
    assert_eq!(view(&["4", "Shift-Tab"]), View::Latency);
    assert_eq!([view(&["3", "1"]), view(&["2"]), view(&["3"])], [View::Peers, View::Flows, View::Latency]);
}

#[test]
fn escape_goes_back_level_by_level_and_never_quits() {
    let mut stage = stage(&["/", "port:5432", "Enter", "Right", "Enter", "?"]);
    assert_eq!(stage.model.place(), Place::Help);
    let mut places = Vec::new();
    for _ in 0..6 {
        stage.key("Esc");
        places.push((stage.model.place(), stage.model.query.filter.is_empty()));
    }
    let (rows, end) = ((Place::Rows, false), (Place::Rows, true));
    assert_eq!(places, [(Place::Details, false), (Place::FlowPane, false), rows, end, end, end]);
    assert_eq!(stage.model.leaving, None);
}

#[test]
fn a_filter_works_as_it_is_typed() {
    let mut stage = stage(&["/", "port:5432"]);
    assert_eq!(stage.model.rows().len(), 1);
    // The terms before a wrong one stay in effect, and the wrong one is marked.
    stage.key(" rtt>");
    assert_eq!((stage.model.query.filter.to_string().as_str(), stage.model.rows().len()), ("port:5432", 1));
    assert!(stage.model.prompt.as_ref().unwrap().error.is_some());
    stage.key("Enter");
    assert_eq!(stage.model.place(), Place::Prompt, "it is not applied");
    for _ in 0..5 {
        stage.key("Backspace");
    }
    assert!(stage.frame().contains("port:443 p99>50ms"), "examples");
    stage.key(" tries>1");
    assert!(stage.frame().contains("tries>1 chooses flows only"));
    stage.key("Ctrl-W");
    stage.key("Enter");
    assert_eq!((stage.model.place(), stage.model.rows().len()), (Place::Rows, 1));
    assert!(stage.frame().contains("filter:port:5432"));
    // It can be edited again, and Esc clears it.
    let stage = stage.keys(&["/"]);
    assert_eq!(stage.model.prompt.as_ref().unwrap().text(), "port:5432");
    let stage = stage.keys(&["Esc"]);
    assert!(stage.model.query.filter.is_empty() && stage.model.rows().len() > 1);
}

/// Neither a wrong filter nor a part of its wrong term hides anything, and Enter does not close the prompt.
#[test]
fn a_wrong_filter_hides_nothing() {
    let all = stage(&[]).model.rows().len();
    for wrong in
        ["loss>1%", "dport:443", "p99:50ms", "|| web", "foo:bar port:5432", "port 5432", "p99 > x", "\"a b"]
    {
        let mut stage = stage(&["/", wrong]);
        for key in ["", "Enter"] {
            stage.key(key);
            assert_eq!(
                (stage.model.place(), stage.model.rows().len()),
                (Place::Prompt, all),
                "{wrong} {key}"
            );
            assert!(stage.model.prompt.as_ref().unwrap().error.is_some(), "{wrong} {key}");
        }
        assert!(stage.frame().contains('^'), "{wrong}");
        stage.key("Ctrl-U");
        assert_eq!(stage.keys(&["port:5432", "Enter"]).model.rows().len(), 1, "{wrong}");
    }
    // The terms before it apply.
    let stage = stage(&["/", "port:5432 loss>1%"]);
    assert_eq!((stage.model.query.filter.to_string().as_str(), stage.model.rows().len()), ("port:5432", 1));
}

/// The `p99` of a `p99>50ms` that is being typed would match nothing as a word.
#[test]
fn an_unfinished_term_is_not_a_word_while_it_is_typed() {
    let mut stage = stage(&["/"]);
    let all = stage.model.rows().len();
    for letter in ["p", "9", "9", ">", "5", "0", "000u"] {
        stage.key(letter);
        assert_eq!(stage.model.rows().len(), all, "{}", stage.model.prompt.as_ref().unwrap().text());
    }
    stage.key("s");
    assert_eq!(stage.model.rows().len(), 1);
    // Applied by Enter, or followed by a blank, `p9` is a word.
    assert_eq!(stage.keys(&["Ctrl-U", "p9"]).keys(&["Enter"]).model.query.filter.to_string(), "p9");
    assert_eq!(self::stage(&["/", "p9 "]).model.rows().len(), 0);
    assert_eq!(self::stage(&["/", "!outc"]).model.rows().len(), all);
}

#[test]
fn the_prompt_is_edited_in_place() {
    let text = |keys: &[&str]| stage(keys).model.prompt.unwrap().text().to_owned();
    assert_eq!(text(&["/", "prt:80", "Home", "Right", "o"]), "port:80");
    assert_eq!(text(&["/", "port:880", "Left", "Backspace", "End", "8"]), "port:808");
    assert_eq!(text(&["/", "xport:80", "Home", "Delete"]), "port:80");
    assert_eq!(text(&["/", "port:80 web", "Ctrl-W"]), "port:80 ");
    assert_eq!(text(&["/", "port:80 web", "Ctrl-U", "q"]), "q");
    assert_eq!(text(&["/", "abc", "Left", "Ctrl-H", "Ctrl-A", "Ctrl-E", "d"]), "acd");
    let mut stage = stage(&["/", "x"]);
    stage.act(Action::Edit(Edit::Input(InputRequest::DeleteLine)));
    assert!(stage.model.query.filter.is_empty());
}

#[test]
fn rows_and_flows_have_orders_of_their_own() {
    let sorts = |keys: &[&str]| {
        let query = stage(keys).model.query;
        ((query.sort.by, query.sort.reversed), (query.flow_sort.by, query.flow_sort.reversed))
    };
    let usual = ((RowOrder::Problem, false), (FlowOrder::Age, false));
    assert_eq!(sorts(&[]), usual);
    assert_eq!(sorts(&[">", ">", "I"]), ((RowOrder::New, true), usual.1));
    assert_eq!(sorts(&["<"]), ((RowOrder::Since, false), usual.1));
    assert_eq!(sorts(&["2", ">"]), (usual.0, (FlowOrder::Problem, false)));
    assert_eq!(sorts(&["s", "End", "Enter"]), ((RowOrder::Since, false), usual.1));
    assert_eq!(sorts(&["Down", "Down", "Right", "F6", "Down", "Down", "Enter"]).1, (FlowOrder::Peer, false));
    assert_eq!(sorts(&["s", "Down", "Esc"]), usual);
}

#[test]
fn the_window_grows_and_shrinks_step_by_step() {
    let mut stage = stage(&["+"]);
    assert!(stage.frame().contains("window 30s"));
    let windows: Vec<Effect> = ["+", "+", "+", "+", "+", "-"].map(|key| stage.key(key)).into();
    let window = |s: u64| Effect::Send(Command::Window(s * 1_000_000_000));
    let expected = [window(60), window(300), window(900), window(3_600), Effect::None, window(900)];
    assert_eq!(windows, expected);
}

#[test]
fn the_footer_shows_keys_that_work_here() {
    for place in Place::ALL {
        let frame = stage(way(place)).sized(160, 40).frame();
        let footer = frame.lines().last().unwrap();
        let here = || BINDINGS.iter().filter(|binding| binding.places.contains(&place));
        for (key, word) in here().filter_map(|binding| binding.footer) {
            assert!(footer.contains(&format!("{key} {word}")), "{key} at {place:?}: {footer}");
        }
    }
}

#[test]
fn the_help_has_every_key_of_its_view() {
    for place in [Place::Rows, Place::FlowPane, Place::Flows, Place::Latency, Place::Events, Place::Details] {
        let help = stage(way(place)).keys(&["?"]).sized(120, 120).frame();
        for binding in BINDINGS.iter().filter(|binding| binding.places.contains(&place)) {
            assert!(help.contains(&format!("  {:<13} {}", binding.label, binding.help)), "{}", binding.label);
        }
    }
}

#[test]
fn rows_are_copied_with_all_columns() {
    let copied = |keys: &[&str]| {
        let stage = stage(keys);
        tcptop::tui::view::row_as_text(&stage.model, &support::stage::context()).unwrap()
    };
    let row = copied(&["Down", "Down"]);
    assert!(
        row.starts_with("S 10.20.3.14:5432 process - container - why - interface enp0s1")
            && row.contains(" p99 392ms "),
        "{row}"
    );
    let flow = copied(&["2", "Down"]);
    assert!(flow.starts_with("10.0.0.1:31002 - 10.20.9.7:443 port 31002 outcome unanswered"), "{flow}");
    assert_eq!(copied(&["2", "Down", "Enter"]), flow);
    let event = copied(&["4", "Down", "Down", "Down", "Down"]);
    assert!(
        event.starts_with("2026-01-02 14:02:31.000 +00:00 14:02:15 unanswered ×3 10.20.9.7:443 31002"),
        "{event}"
    );
}
