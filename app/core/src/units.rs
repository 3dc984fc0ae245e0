//! Times and shares as people type them, and written so that they can be typed again.

use core::fmt;
use core::str::FromStr;

/// A span of time in nanoseconds: `200ns`, `50us` or `50µs`, `1.5ms`, `30s`, `5m`, `1m30s`, `2h`, `1d`. Every time that
/// is typed, as an option or in a filter, is read by this one parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

/// Units of time in nanoseconds in which times are written, the largest first.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // humantime reads `5M` as five months, and a bare 0.
        let is_plain = |letter: char| letter.is_ascii_digit() || letter.is_lowercase() || letter == '.';
        let has_unit = text.chars().all(is_plain) && text.chars().next_back().is_some_and(char::is_lowercase);
        let time = Some(text).filter(|_| has_unit).and_then(|text| humantime::parse_duration(text).ok());
        let ns = time.and_then(|time| u64::try_from(time.as_nanos()).ok());
        ns.map(Self).ok_or_else(|| {
            "must be a time with a unit (ns, us, ms, s, m, h, d), such as 50ms or 1m30s".to_owned()
        })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = UNITS.iter().find(|(_, unit_ns)| self.0 > 0 && self.0.is_multiple_of(*unit_ns));
        let (name, unit_ns) = fitting.unwrap_or(&("s", 1));
        write!(f, "{}{name}", self.0 / unit_ns)
    }
}

/// A share of all, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// One in a hundred.
    pub const PERCENT: Self = Self(10);

    /// So many times as much.
    #[must_use]
    pub const fn times(self, factor: u32) -> Self {
        Self(self.0 * factor)
    }

    /// The share as a fraction of 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1_000.0
    }

    /// Are there some, and do they make this share of all or more?
    #[must_use]
    pub const fn is_reached_by(self, some: u64, all: u64) -> bool {
        some > 0 && some.saturating_mul(1_000) >= all.saturating_mul(self.0 as u64)
    }
}

/// `10%`, `0.5%`.
impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').and_then(|number| decimal(number, 10));
        let share = number.and_then(|thousandths| u32::try_from(thousandths).ok());
        let share = share.filter(|thousandths| (1..=1_000).contains(thousandths)).map(Self);
        share.ok_or_else(|| "must be a share such as 10%, from 0.1% to 100%".to_owned())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, tenths) = (self.0 / 10, self.0 % 10);
        if tenths == 0 { write!(f, "{whole}%") } else { write!(f, "{whole}.{tenths}%") }
    }
}

/// A decimal number of units, in parts of which `parts` are one. What is smaller than a part is cut off.
#[must_use]
pub fn decimal(text: &str, parts: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let tenths = fraction.bytes().try_fold((0_u64, parts), |(sum, part), digit| {
        let part = part / 10;
        Some((sum.checked_add(u64::from(digit - b'0').checked_mul(part)?)?, part))
    });
    whole.checked_mul(parts)?.checked_add(tenths?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, ns) in [("200ns", 200), ("50us", 50_000), ("1500us", 1_500_000), ("30s", 30_000_000_000)] {
            assert_eq!(text.parse(), Ok(Time(ns)));
            assert_eq!(Time(ns).to_string().parse(), Ok(Time(ns)), "{}", Time(ns));
        }
        assert_eq!("1.5ms".parse(), Ok(Time(1_500_000)));
        assert_eq!("50µs".parse(), Ok(Time(50_000)));
        assert_eq!("0.25h".parse(), Ok(Time(900_000_000_000)));
        assert_eq!("1m30s".parse(), Ok(Time(90_000_000_000)));
        assert_eq!("1d".parse(), Ok(Time(86_400_000_000_000)));
        assert_eq!(
            (Time(900_000_000_000).to_string(), Time(0).to_string()),
            ("15m".to_owned(), "0s".to_owned())
        );
        for nonsense in ["", "5", "ms", "1.2.3s", "-1s", "5 ms", "99999999999h", ".s", "5M", "0", "1m30"] {
            assert!(nonsense.parse::<Time>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn shares_are_read_and_written() {
        for text in ["10%", "0.5%", "100%", "1%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        assert!(["", "10", "0%", "101%", "x%", "-1%"].iter().all(|text| text.parse::<Share>().is_err()));
    }

    #[test]
    fn a_share_is_of_something() {
        let tenth = Share::PERCENT.times(10);
        assert!(tenth.is_reached_by(1, 10) && tenth.is_reached_by(1, 0));
        assert!(!tenth.is_reached_by(1, 11) && !tenth.is_reached_by(0, 0));
    }
}
