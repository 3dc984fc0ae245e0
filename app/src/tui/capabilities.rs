//! What the terminal can show: colours or none, and which characters. Everything is drawn for the best of
//! terminals, and the finished frame is reduced to what this one can: so no view can forget it.

use std::ffi::{OsStr, OsString};

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Color;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// Unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Even then.
    Always,
    /// Never.
    Never,
}

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Colours; else bold and dim text only.
    pub colour: bool,
    /// ASCII alone.
    pub ascii: bool,
}

impl Look {
    /// A terminal that can show everything.
    pub const FULL: Self = Self { colour: true, ascii: false };

    /// What was asked for, or else what the environment says.
    #[must_use]
    pub fn new(colour: ColorChoice, ascii: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let colour = match colour {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            // https://no-color.org
            ColorChoice::Auto => !is_set("NO_COLOR"),
        };
        // The font of the Linux console has 512 glyphs, and neither the small bars nor the arrows.
        let is_console = variable("TERM").is_some_and(|term| term == "linux");
        Self { colour, ascii: ascii || is_console || !speaks_utf8(variable) }
    }

    /// Takes out of a finished frame what cannot be shown.
    pub fn reduce(self, frame: &mut Buffer) {
        if self == Self::FULL {
            return;
        }
        for cell in &mut frame.content {
            if !self.colour {
                cell.set_fg(Color::Reset).set_bg(Color::Reset);
            }
            if self.ascii && !cell.symbol().is_ascii() {
                let plain = plain(cell);
                cell.set_char(plain);
            }
        }
    }
}

/// The first of these that is set tells the character set (`setlocale(3)`).
fn speaks_utf8(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    let charset = |locale: &OsStr| locale.to_string_lossy().to_lowercase();
    locale.as_deref().map(charset).is_some_and(|name| name.contains("utf-8") || name.contains("utf8"))
}

/// The character that comes closest.
fn plain(cell: &Cell) -> char {
    let symbol = cell.symbol().chars().next().unwrap_or(' ');
    match symbol {
        '─' | '━' => '-',
        '│' | '┃' => '|',
        '┬' | '┴' | '┼' | '├' | '┤' | '└' | '┘' | '┌' | '┐' => '+',
        '▸' | '→' => '>',
        '↑' => '^',
        '↓' => 'v',
        '…' => '~',
        'µ' => 'u',
        '·' => '.',
        '▁' | '▏' | '░' => '.',
        '▂' | '▎' => ':',
        '▃' | '▍' | '▒' => '-',
        '▄' | '▌' => '=',
        '▅' | '▋' => '+',
        '▆' | '▊' | '▓' => '*',
        '▇' | '▉' | '█' => '#',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;

    fn look(choice: ColorChoice, ascii: bool, variables: &[(&str, &str)]) -> (bool, bool) {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        let Look { colour, ascii } = Look::new(choice, ascii, variable);
        (colour, ascii)
    }

    #[test]
    fn colours_go_where_they_are_not_wanted() {
        let utf8 = ("LANG", "en_US.UTF-8");
        assert_eq!(look(ColorChoice::Auto, false, &[utf8]), (true, false));
        assert_eq!(look(ColorChoice::Auto, false, &[utf8, ("NO_COLOR", "1")]), (false, false));
        assert_eq!(look(ColorChoice::Auto, false, &[utf8, ("NO_COLOR", "")]), (true, false));
        assert_eq!(look(ColorChoice::Always, false, &[utf8, ("NO_COLOR", "1")]), (true, false));
        assert_eq!(look(ColorChoice::Never, false, &[utf8]), (false, false));
    }

    #[test]
    fn the_first_locale_that_is_set_decides_on_characters() {
        let is_ascii = |variables| look(ColorChoice::Auto, false, variables).1;
        assert!(is_ascii(&[]) && is_ascii(&[("LANG", "C")]) && is_ascii(&[("LC_ALL", "POSIX")]));
        assert!(is_ascii(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(!is_ascii(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(is_ascii(&[("LANG", "de_DE.UTF-8"), ("TERM", "linux")]));
        assert!(look(ColorChoice::Auto, true, &[("LANG", "de_DE.UTF-8")]).1);
    }

    #[test]
    fn a_frame_is_reduced_to_what_can_be_shown() {
        let mut frame = Buffer::empty(Rect::new(0, 0, 12, 1));
        frame.set_string(0, 0, "▸ 3µs █▁│… é", Color::Red);
        Look { colour: false, ascii: true }.reduce(&mut frame);
        let text: String = frame.content.iter().map(Cell::symbol).collect();
        assert_eq!(text, "> 3us #.|~ ?");
        assert!(frame.content.iter().all(|cell| cell.fg == Color::Reset));
    }
}
