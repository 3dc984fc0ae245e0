//! What the terminal can show: which colours, and which characters. Views draw in four colours and Unicode, and the
//! finished frame is reduced to what this terminal can show, so that no view can forget it.

use std::ffi::{OsStr, OsString};

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Color;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// Unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always, even if `NO_COLOR` is set
    Always,
    /// Never
    Never,
}

/// The background that colours are chosen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ThemeChoice {
    /// What `COLORFGBG` says; without it, colours that are readable on dark and on light backgrounds
    #[default]
    Auto,
    /// Dark
    Dark,
    /// Light
    Light,
}

/// The colours of the terminal that stand for red, magenta, yellow and cyan, which the views draw in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme([Color; 4]);

/// The colours that the views draw in.
const DRAWN: [Color; 4] = [Color::Red, Color::Magenta, Color::Yellow, Color::Cyan];

impl Theme {
    /// On a dark background: the palette of the terminal as it is.
    pub const DARK: Self = Self(DRAWN);
    /// On a light one, from the 256 colours (xterm's cube): red, purple, brown, blue; 4.4 to 1 or more on white.
    pub const LIGHT: Self =
        Self([Color::Indexed(160), Color::Indexed(127), Color::Indexed(130), Color::Indexed(24)]);
    /// On either: red, magenta, olive, blue; 3.5 to 1 or more on black, #1e1e1e, white and #fdf6e3.
    pub const EITHER: Self =
        Self([Color::Indexed(196), Color::Indexed(164), Color::Indexed(100), Color::Indexed(31)]);
    /// The same where there are only 16: of these, yellow and cyan are unreadable on white, blue on black.
    const LIGHT_OF_16: Self = Self([Color::Red, Color::Magenta, Color::Blue, Color::Blue]);
    const EITHER_OF_16: Self = Self([Color::Red, Color::Magenta, Color::Reset, Color::Reset]);

    fn new(choice: ThemeChoice, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let term = variable("TERM").unwrap_or_default().to_string_lossy().into_owned();
        let has_16 = ["linux", "ansi", "vt", "cons"].iter().any(|name| term.starts_with(name))
            || term.ends_with("16color");
        let choice = match choice {
            ThemeChoice::Auto => background(variable("COLORFGBG").as_deref()).unwrap_or(choice),
            ThemeChoice::Dark | ThemeChoice::Light => choice,
        };
        match (choice, has_16) {
            (ThemeChoice::Dark, _) => Self::DARK,
            (ThemeChoice::Light, false) => Self::LIGHT,
            (ThemeChoice::Light, true) => Self::LIGHT_OF_16,
            (ThemeChoice::Auto, false) => Self::EITHER,
            (ThemeChoice::Auto, true) => Self::EITHER_OF_16,
        }
    }

    fn color(self, drawn: Color) -> Color {
        let index = DRAWN.iter().position(|color| *color == drawn);
        index.map_or(drawn, |index| self.0[index])
    }
}

/// `COLORFGBG` is `foreground;background` or `foreground;default;background` in numbers of the 16 colours, of which 0 to
/// 6 and 8 are dark, as vim has it.
fn background(colorfgbg: Option<&OsStr>) -> Option<ThemeChoice> {
    let background: u8 = colorfgbg?.to_str()?.rsplit(';').next()?.parse().ok()?;
    match background {
        0..=6 | 8 => Some(ThemeChoice::Dark),
        7 | 9..=15 => Some(ThemeChoice::Light),
        16.. => None,
    }
}

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Colours; otherwise only bold and dim text.
    pub colour: bool,
    /// Which colours.
    pub theme: Theme,
    /// Only ASCII.
    pub ascii: bool,
}

impl Capabilities {
    /// A dark terminal that can show everything.
    pub const FULL: Self = Self { colour: true, theme: Theme::DARK, ascii: false };

    /// What the command line asks for, or else what the environment says. The terminal is not asked: some never answer.
    #[must_use]
    pub fn new(
        colour: ColorChoice,
        theme: ThemeChoice,
        ascii: bool,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let colour = match colour {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            // https://no-color.org
            ColorChoice::Auto => !is_set("NO_COLOR"),
        };
        // The font of the Linux console has 512 glyphs; the small bars and the arrows are not among them.
        let is_console = variable("TERM").is_some_and(|term| term == "linux");
        let theme = Theme::new(theme, &variable);
        Self { colour, theme, ascii: ascii || is_console || !is_utf8(variable) }
    }

    /// Replaces in a finished frame what cannot be shown.
    pub fn reduce(self, frame: &mut Buffer) {
        if self == Self::FULL {
            return;
        }
        for cell in &mut frame.content {
            let color = if self.colour { self.theme.color(cell.fg) } else { Color::Reset };
            cell.set_fg(color);
            if !self.colour {
                cell.set_bg(Color::Reset);
            }
            if self.ascii && !cell.symbol().is_ascii() {
                let ascii = ascii(cell);
                cell.set_char(ascii);
            }
        }
    }
}

/// The first of these that is set tells the character set (`setlocale(3)`).
fn is_utf8(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    let charset = |locale: &OsStr| locale.to_string_lossy().to_lowercase();
    locale.as_deref().map(charset).is_some_and(|name| name.contains("utf-8") || name.contains("utf8"))
}

/// The character that comes closest.
fn ascii(cell: &Cell) -> char {
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
        '×' => 'x',
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

    fn variable<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
    }

    fn look(choice: ColorChoice, ascii: bool, variables: &[(&str, &str)]) -> (bool, bool) {
        let capabilities = Capabilities::new(choice, ThemeChoice::Auto, ascii, variable(variables));
        (capabilities.colour, capabilities.ascii)
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
    fn the_theme_follows_the_background() {
        let theme = |choice, variables: &[(&str, &str)]| Theme::new(choice, variable(variables));
        let many = ("TERM", "xterm-256color");
        assert_eq!(theme(ThemeChoice::Auto, &[many]), Theme::EITHER);
        assert_eq!(theme(ThemeChoice::Auto, &[many, ("COLORFGBG", "15;0")]), Theme::DARK);
        assert_eq!(theme(ThemeChoice::Auto, &[many, ("COLORFGBG", "0;default;15")]), Theme::LIGHT);
        assert_eq!(theme(ThemeChoice::Auto, &[many, ("COLORFGBG", "default;default")]), Theme::EITHER);
        assert_eq!(theme(ThemeChoice::Light, &[many, ("COLORFGBG", "15;0")]), Theme::LIGHT);
        assert_eq!(theme(ThemeChoice::Dark, &[many, ("COLORFGBG", "0;15")]), Theme::DARK);
        let few = ("TERM", "rxvt-16color");
        assert_eq!(theme(ThemeChoice::Auto, &[few]), Theme::EITHER_OF_16);
        assert_eq!(theme(ThemeChoice::Light, &[few]), Theme::LIGHT_OF_16);
    }

    /// Relative luminance as in WCAG 2.1, of a colour of xterm's cube.
    fn luminance(rgb: [u8; 3]) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = rgb.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    fn contrast(color: Color, ground: [u8; 3]) -> f64 {
        let Color::Indexed(index @ 16..=231) = color else { panic!("{color:?} is none of the cube") };
        let levels = [0, 95, 135, 175, 215, 255];
        let at = |step: u8| levels[usize::from((index - 16) / step % 6)];
        let [one, other] = [luminance([at(36), at(6), at(1)]), luminance(ground)];
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn colours_are_readable_on_their_backgrounds() {
        const BLACK: [[u8; 3]; 2] = [[0; 3], [0x1e; 3]];
        const WHITE: [[u8; 3]; 2] = [[0xff; 3], [0xfd, 0xf6, 0xe3]];
        for color in Theme::EITHER.0 {
            assert!(BLACK.iter().chain(&WHITE).all(|ground| contrast(color, *ground) >= 3.4), "{color:?}");
        }
        for color in Theme::LIGHT.0 {
            assert!(WHITE.iter().all(|ground| contrast(color, *ground) >= 4.3), "{color:?}");
        }
    }

    #[test]
    fn a_frame_is_reduced_to_what_can_be_shown() {
        let frame = |capabilities: Capabilities| {
            let mut frame = Buffer::empty(Rect::new(0, 0, 12, 1));
            frame.set_string(0, 0, "▸ 3µs █▁│… é", Color::Red);
            capabilities.reduce(&mut frame);
            frame
        };
        let reduced = frame(Capabilities { colour: false, ascii: true, ..Capabilities::FULL });
        let text: String = reduced.content.iter().map(Cell::symbol).collect();
        assert_eq!(text, "> 3us #.|~ ?");
        assert!(reduced.content.iter().all(|cell| cell.fg == Color::Reset));
        let light = frame(Capabilities { theme: Theme::LIGHT, ..Capabilities::FULL });
        assert_eq!(light.content[0].fg, Color::Indexed(160));
    }
}
