//! The variables of a socket as lines for people.

use std::io::{self, Write};

use crate::output::format::endpoint;
use crate::output::json;
use jiff::Timestamp;
use tcptop_core::{EstatsTable, EstatsValue, Facts, Quality};

/// Writes a socket and all of its variables that are known.
pub(super) fn write(
    facts: &Facts<'_>,
    wall: Timestamp,
    tables: &[EstatsTable],
    output: &mut impl Write,
) -> io::Result<()> {
    let socket = facts.socket;
    let remote = if socket.listens() { String::new() } else { format!(" - {}", endpoint(&socket.remote)) };
    writeln!(output, "{}{remote} {} cookie {}", endpoint(&socket.local), socket.state.name(), socket.cookie)?;
    for table in tables.iter().filter(|table| table.is_of(socket)) {
        for variable in table.variables() {
            let Some(quality) = variable.quality() else { continue };
            let Some(value) = variable.value(facts) else { continue };
            let mark = match quality {
                Quality::Exact => "",
                Quality::Derived => " (derived)",
                Quality::Approximate => " (approximate)",
            };
            let unit = if variable.unit.is_empty() { "" } else { " " };
            writeln!(
                output,
                "  {:<8} {:<20} {}{unit}{}{mark}",
                table.name(),
                variable.name,
                shown(value, wall),
                variable.unit
            )?;
        }
    }
    writeln!(output)
}

fn shown(value: EstatsValue, wall: Timestamp) -> String {
    match value {
        EstatsValue::Number(number) => number.to_string(),
        EstatsValue::Milliseconds { us } => format!("{}.{:03}", us / 1_000, us % 1_000),
        EstatsValue::Truth(truth) => truth.to_string(),
        EstatsValue::Word(word) => word.to_owned(),
        EstatsValue::Ago { ns } => json::stats::before(wall, ns).to_string(),
    }
}
