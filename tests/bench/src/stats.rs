//! What a handful of measurements say.

/// The middle and the ends of some measurements. Few are no base for more: a mean would hide the one that was
/// disturbed, and a percentile would be one of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing. SequenceTracker-way between the two in the middle of an even number.
    pub(crate) fn of(measured: &[f64]) -> Option<Self> {
        let mut sorted = measured.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
        Some(Self { min: *sorted.first()?, median: f64::midpoint(*low, *high), max: *sorted.last()? })
    }
}

/// Seconds, for people: `812 ms`, `1.23 s`.
pub(crate) fn seconds(s: f64) -> String {
    if s < 0.9995 { format!("{:.0} ms", s * 1_000.0) } else { format!("{s:.2} s") }
}

/// A count with its thousands apart: `1,000,000`.
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
    fn figures_are_written_for_people() {
        assert_eq!(
            (seconds(0.0123), seconds(0.9994), seconds(0.9996)),
            ("12 ms".into(), "999 ms".into(), "1.00 s".into())
        );
        assert_eq!(
            (count(0), count(999), count(1_000), count(1_234_567)),
            ("0".into(), "999".into(), "1,000".into(), "1,234,567".into())
        );
    }
}
