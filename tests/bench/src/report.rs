//! Tables of measurements, and their limits.

use anyhow::{Context, Result, bail};

/// The limit of a figure: for the median of all rounds, or for each round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    None,
    AtLeast(f64),
    AtMost(f64),
    EachAtLeast(f64),
    EachAtMost(f64),
}

impl Limit {
    fn holds(self, measured: Spread) -> bool {
        match self {
            Self::None => true,
            Self::AtLeast(limit) => measured.median >= limit,
            Self::AtMost(limit) => measured.median <= limit,
            Self::EachAtLeast(limit) => measured.min >= limit,
            Self::EachAtMost(limit) => measured.max <= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::None => "-".to_owned(),
            Self::AtLeast(limit) => format!(">= {}", number(limit)),
            Self::AtMost(limit) => format!("<= {}", number(limit)),
            Self::EachAtLeast(limit) => format!("each >= {}", number(limit)),
            Self::EachAtMost(limit) => format!("each <= {}", number(limit)),
        }
    }
}

/// Median, minimum and maximum. With few measurements, a mean would hide an outlier, and a percentile would be one of
/// them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// Returns `None` without measurements. The median of an even number is the midpoint of the two in the middle.
    fn of(measured: &[f64]) -> Option<Self> {
        let mut sorted = measured.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
        Some(Self { min: *sorted.first()?, median: f64::midpoint(*low, *high), max: *sorted.last()? })
    }
}

/// A table that is printed row by row.
#[derive(Debug, Default)]
pub(crate) struct Report {
    missed: Vec<String>,
}

impl Report {
    /// Prints the title and the heading.
    pub(crate) fn new(title: &str) -> Self {
        println!("{title}\n{:<56}{:>13}{:>10}{:>19}", "", "limit", "median", "min - max");
        Self::default()
    }

    /// Prints a figure, measured once per round.
    pub(crate) fn row(&mut self, name: &str, limit: Limit, measured: &[f64]) -> Result<()> {
        let spread = Spread::of(measured).with_context(|| format!("{name}: there is no round"))?;
        let [min, median, max] = [spread.min, spread.median, spread.max].map(number);
        let holds = limit.holds(spread);
        let (range, mark) = (format!("{min} - {max}"), if holds { "" } else { "  missed" });
        println!("{name:<56}{:>13}{median:>10}{range:>19}{mark}", limit.text());
        if !holds {
            self.missed.push(format!("{}: {median} ({range}), limit {}", name.trim(), limit.text()));
        }
        Ok(())
    }

    /// Fails if a limit was exceeded, unless limits do not apply.
    pub(crate) fn finish(self, no_limits: bool) -> Result<()> {
        if !no_limits && !self.missed.is_empty() {
            bail!("beyond the limit:\n{}", self.missed.join("\n"));
        }
        Ok(())
    }
}

/// A figure with three significant digits: `0.929`, `13.1`, `24.7 k`, `2.41 M`.
fn number(figure: f64) -> String {
    let (scaled, unit) = match figure.abs() {
        0.0..999.5 => (figure, ""),
        999.5..999_500.0 => (figure / 1e3, " k"),
        _ => (figure / 1e6, " M"),
    };
    let decimals = match scaled.abs() {
        _ if unit.is_empty() && figure.fract() == 0.0 => 0,
        99.95.. => 0,
        9.995.. => 1,
        0.9995.. => 2,
        _ => 3,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// A count with thousands separators: `1,000,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0]), Some(Spread { min: 3.0, median: 3.0, max: 3.0 }));
        assert_eq!(Spread::of(&[5.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 5.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]), Some(Spread { min: 1.0, median: 3.0, max: 9.0 }));
    }

    #[test]
    fn a_limit_is_for_the_middle_or_for_each_round() {
        let missed = |limit, measured: &[f64]| {
            let mut report = Report::default();
            report.row("  figure", limit, measured).unwrap();
            let missed = report.missed.clone();
            assert_eq!(report.finish(false).is_err(), !missed.is_empty());
            missed
        };
        let rounds = [1.0, 2.0, 9.0];
        for holds in [
            Limit::None,
            Limit::AtLeast(2.0),
            Limit::AtMost(2.0),
            Limit::EachAtLeast(1.0),
            Limit::EachAtMost(9.0),
        ] {
            assert_eq!(missed(holds, &rounds), Vec::<String>::new(), "{holds:?}");
        }
        for broken in
            [Limit::AtLeast(3.0), Limit::AtMost(1.0), Limit::EachAtLeast(2.0), Limit::EachAtMost(2.0)]
        {
            assert_eq!(missed(broken, &rounds), [format!("figure: 2 (1 - 9), limit {}", broken.text())]);
        }
        assert!(Report::default().row("nothing", Limit::None, &[]).is_err());
        let mut report = Report::default();
        report.row("figure", Limit::AtMost(0.5), &rounds).unwrap();
        assert!(report.finish(true).is_ok(), "nobody asked");
    }

    #[test]
    fn figures_have_three_digits() {
        let figures = [0.0, 0.9294, 1.0, 13.06, 128.4, -3.2, 24_680.0, 251_400.0, 999_600.0, 2_412_345.0];
        let texts = ["0", "0.929", "1", "13.1", "128", "-3.20", "24.7 k", "251 k", "1.00 M", "2.41 M"];
        assert_eq!(figures.map(number), texts);
        assert_eq!([0, 999, 1_234_567].map(count), ["0", "999", "1,234,567"]);
    }
}
