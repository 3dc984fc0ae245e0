//! How many different addresses there were, in little memory.

use std::collections::BTreeSet;

/// So many hashes are kept: up to 64 KiB. The estimate is then off by 1.6% (one standard deviation, 1 / sqrt(KEPT - 2)).
const KEPT: usize = 4_096;

/// The smallest hashes of all addresses that were added ("k minimum values"; Bar-Yossef and others, 2002). As long as there
/// are no more than are kept, their number is exact. Two of these add up to the one of all addresses of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses(BTreeSet<u64>);

/// A number that is an estimate where it is large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// The number, or the estimate.
    pub number: u64,
    /// Whether it is the number.
    pub is_exact: bool,
}

impl Addresses {
    /// Adds an address by its hash, which must be one that nobody can predict.
    pub(super) fn add(&mut self, hash: u64) {
        if self.0.len() < KEPT {
            self.0.insert(hash);
        } else if self.0.last().is_some_and(|largest| hash < *largest) && self.0.insert(hash) {
            self.0.pop_last();
        }
    }

    /// Adds all of another.
    pub(super) fn absorb(&mut self, other: &Self) {
        other.0.iter().for_each(|hash| self.add(*hash));
    }

    /// How many there are.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate that is positive"
    )]
    pub(crate) fn count(&self) -> Estimate {
        match self.0.last() {
            Some(largest) if self.0.len() == KEPT => {
                let share = *largest as f64 / u64::MAX as f64;
                Estimate { number: ((KEPT - 1) as f64 / share) as u64, is_exact: false }
            }
            _ => Estimate { number: self.0.len() as u64, is_exact: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The finaliser of `SplitMix64`: distinct numbers give distinct, evenly spread ones.
    fn hash(number: u64) -> u64 {
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }

    #[test]
    fn few_are_counted_and_many_are_estimated() {
        let mut addresses = Addresses::default();
        for number in 1..=3_000_000_u64 {
            // Each twice.
            addresses.add(hash(number));
            addresses.add(hash(number));
            if [1, 100, 4_095].contains(&number) {
                assert_eq!(addresses.count(), Estimate { number, is_exact: true });
            }
            if [10_000, 61_204, 3_000_000].contains(&number) {
                let Estimate { number: estimate, is_exact } = addresses.count();
                assert!(!is_exact && estimate.abs_diff(number) * 100 < number * 5, "{estimate} of {number}");
            }
        }
    }

    #[test]
    fn two_add_up() {
        let [mut one, mut other, mut both] = [(); 3].map(|()| Addresses::default());
        for number in 0..20_000 {
            if number < 12_000 {
                one.add(hash(number));
            }
            if number >= 8_000 {
                other.add(hash(number));
            }
            both.add(hash(number));
        }
        one.absorb(&other);
        assert_eq!(one, both);
    }
}
