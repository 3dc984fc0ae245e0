//! What the README says of tables that the program has itself.

use tcptop::tui::columns::rows::COLUMNS;
use tcptop_core::table::Verdict;

const README: &str = include_str!("../../README.md");

#[test]
fn every_column_is_in_the_readme() {
    let rows: Vec<String> = COLUMNS
        .iter()
        .map(|column| format!("| `{}` | {} | {} |", column.name, column.title, column.meaning))
        .collect();
    let table = rows.join("\n");
    assert!(README.contains(&table), "the README's table of columns should be\n{table}");
}

#[test]
fn every_verdict_is_in_the_readme() {
    for verdict in Verdict::ALL {
        let row = format!("| `{}` | ", verdict.letter());
        assert!(README.contains(&row), "{row}");
    }
}
