//! The README says what the program does.

use clap::CommandFactory;
use tcptop::cli::Cli;
use tcptop_core::snapshot::{Filter, Group, RowOrder};
use tcptop_core::table::{Thresholds, Verdict};

const README: &str = include_str!("../../README.md");

#[test]
fn verdicts_are_defined_as_they_are() {
    for verdict in Verdict::ALL {
        let definition = verdict.definition(&Thresholds::default());
        let row = format!("| `{}` | {}: {definition} |", verdict.letter(), verdict.name());
        assert!(README.contains(&row), "{row}");
    }
}

#[test]
fn flags_and_words_are_told() {
    let command = Cli::command();
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    for flag in flags
        .filter(|flag| ["filter", "group", "sort", "slow", "unanswered", "refused", "loss"].contains(flag))
    {
        assert!(README.contains(&format!("`--{flag}")), "{flag}");
    }
    for word in Group::ALL.map(Group::name).into_iter().chain(RowOrder::ALL.map(RowOrder::name)) {
        assert!(README.contains(word), "{word}");
    }
}

/// Every term of the README's table is one.
#[test]
fn terms_are_terms() {
    let rows = README.lines().skip_while(|line| !line.starts_with("| term |")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let terms = row.split('|').nth(1).expect("a first column").split(", `");
        for term in terms.map(|term| term.trim().trim_matches('`')) {
            let figure = term.chars().all(char::is_alphanumeric) && term != "web";
            let text = if figure { format!("{term}>1{}", unit(term)) } else { term.to_owned() };
            assert!(text.parse::<Filter>().is_ok(), "{text}");
        }
    }
}

fn unit(figure: &str) -> &'static str {
    match figure {
        "p50" | "p90" | "p99" | "max" | "rtt" => "ms",
        _ => "",
    }
}
