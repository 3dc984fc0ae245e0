//! `tcptop --interfaces list`: which interfaces would be watched, and why the others would not.

use std::io::{self, Write};

use crate::error::Error;
use crate::source::interface::{self, Interface};
use crate::source::namespace::NetworkNamespace;
use crate::source::selection::{Choice, Selection};

/// Lists the interfaces of this network namespace, and what becomes of each with these names.
///
/// # Errors
/// When the kernel does not list them, there is none of a name, or standard output fails.
pub fn run(names: &[String], namespace: Option<&NetworkNamespace>) -> Result<(), Error> {
    namespace.map_or(Ok(()), NetworkNamespace::enter)?;
    let (present, selection) = (interface::all()?, Selection::new(names));
    selection.watched(&present)?;
    let lines = table(&present, &selection.choose(&present));
    match io::stdout().write_all(lines.as_bytes()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Output { target: "standard output".to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn table(present: &[Interface], choices: &[Choice]) -> String {
    let rows = present.iter().zip(choices).map(|(interface, choice)| {
        let is_watched = if choice.is_watched() { "watched" } else { "-" };
        let kind = interface.kind.as_deref().unwrap_or(if interface.loopback { "loopback" } else { "-" });
        [interface.name.as_str(), kind, is_watched, &choice.to_string()]
            .map(|cell| cell.escape_debug().to_string())
    });
    let head = ["INTERFACE", "KIND", "WATCHED", "WHY"].map(str::to_owned);
    let rows: Vec<[String; 4]> = [head].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2].map(width);
    let line = |[name, kind, watched, why]: &[String; 4]| {
        let [first, second, third] = widths;
        format!("{name:first$}  {kind:second$}  {watched:third$}  {why}\n")
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_has_its_reason() {
        let one = |index, name: &str, up| Interface {
            name: name.to_owned(),
            index,
            up,
            has_carrier: up,
            hardware: 1,
            ..Interface::default()
        };
        let present = [one(1, "eth0", true), one(2, "e\u{1b}1", false)];
        let choices = Selection::new(&[]).choose(&present);
        let expected = "\
INTERFACE  KIND  WATCHED  WHY
eth0       -     watched  carries traffic
e\\u{1b}1   -     -        is down
";
        assert_eq!(table(&present, &choices), expected);
    }
}
