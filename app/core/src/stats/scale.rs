//! A logarithmic scale for latencies, the same in every picture of them.

/// Where steps begin within a decade, in tenths: 24 that are about equally wide (the E24 series of preferred numbers,
/// IEC 60063). Every second one is of the E12 series.
const TENTHS: [u64; 24] =
    [10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91];

/// How many steps there are: from 1 µs to 91 s. Shorter latencies count to the first, longer ones to the last.
pub const STEPS: usize = 8 * TENTHS.len();

/// Where each step begins, in nanoseconds.
const BEGINS_NS: [u64; STEPS] = begins();

const fn begins() -> [u64; STEPS] {
    let mut begins = [0; STEPS];
    let (mut index, mut decade) = (0, 100);
    while index < STEPS {
        begins[index] = TENTHS[index % TENTHS.len()] * decade;
        index += 1;
        if index % TENTHS.len() == 0 {
            decade *= 10;
        }
    }
    begins
}

/// The step that a latency in nanoseconds falls on.
#[must_use]
pub fn step(latency_ns: u64) -> u8 {
    let above = BEGINS_NS.partition_point(|&begin_ns| begin_ns <= latency_ns);
    u8::try_from(above.saturating_sub(1)).expect("there are fewer than 256 steps")
}

/// Where a step begins, in nanoseconds.
#[must_use]
pub fn begin_ns(step: usize) -> u64 {
    BEGINS_NS[step.min(STEPS - 1)]
}

/// The highest latency of a step, in nanoseconds.
#[must_use]
pub fn end_ns(step: usize) -> u64 {
    BEGINS_NS.get(step + 1).map_or(u64::MAX, |next_ns| next_ns - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_falls_on_its_step() {
        for (latency_ns, begin) in
            [(0, 1_000), (1_099, 1_000), (1_100, 1_100), (151_000, 150_000), (u64::MAX, 91_000_000_000)]
        {
            assert_eq!(begin_ns(step(latency_ns).into()), begin, "{latency_ns}");
        }
        for index in 1..STEPS - 1 {
            assert_eq!(usize::from(step(begin_ns(index))), index);
            assert_eq!(usize::from(step(end_ns(index))), index);
            assert!((end_ns(index) - begin_ns(index)) * 100 < begin_ns(index) * 16, "steps are narrow");
        }
    }
}
