//! A capture of many concurrent connections, and its contents.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

use fastrand::Rng;
use lab::capture::Format;

use super::conversation::{Segment, Step, connection};

/// Connections that are open at the same time.
const CONCURRENT: u32 = 500;
/// An arbitrary recent time: 2 January 2026, 14:02:31 UTC.
const START_NS: u64 = 1_767_362_551_000_000_000;
/// The first connections begin within this time, later ones within it after one has ended.
const SPREAD_NS: u64 = 1_000_000_000;

/// What a capture holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) bytes: u64,
    /// Connections whose first SYN is in it.
    pub(super) handshakes: u64,
    /// Those whose completing ACK is in it, too.
    pub(super) established: u64,
    /// Those that were answered by a RST.
    pub(super) refused: u64,
}

/// Writes a capture with this many packets. The same seed gives the same bytes.
pub(super) fn write(packets: u64, seed: u64, output: &mut impl Write) -> io::Result<Contents> {
    let format = Format::USUAL;
    let header = format.pcap_header();
    output.write_all(&header)?;
    let mut contents = Contents { bytes: header.len() as u64, ..Contents::default() };
    let mut interleaved = Interleaved::new(seed);
    for _ in 0..packets {
        let Some((record, step)) = interleaved.next() else { break };
        let packet = format.pcap_packet(&record);
        output.write_all(&packet)?;
        contents.bytes += packet.len() as u64;
        match step {
            Some(Step::Opens) => contents.handshakes += 1,
            Some(Step::Establishes) => contents.established += 1,
            Some(Step::Refuses) => contents.refused += 1,
            None => {}
        }
    }
    Ok(contents)
}

type Segments = std::vec::IntoIter<Segment>;

/// The segments of all connections in order of time, without end: a new connection replaces each that ends.
struct Interleaved {
    rng: Rng,
    opened: u32,
    open: Vec<Segments>,
    /// When the next segment of each is due.
    due: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Interleaved {
    fn new(seed: u64) -> Self {
        let mut this =
            Self { rng: Rng::with_seed(seed), opened: 0, open: Vec::new(), due: BinaryHeap::new() };
        for place in 0..CONCURRENT as usize {
            let segments = this.begin(START_NS);
            this.open.push(segments);
            this.wait(place);
        }
        this
    }

    fn begin(&mut self, not_before_ns: u64) -> Segments {
        let start_ns = not_before_ns + self.rng.u64(0..SPREAD_NS);
        self.opened += 1;
        connection(self.opened - 1, start_ns, &mut self.rng)
    }

    fn wait(&mut self, place: usize) {
        let next = self.open[place].as_slice().first();
        self.due.extend(next.map(|(record, _)| Reverse((record.time_ns, place))));
    }
}

impl Iterator for Interleaved {
    type Item = Segment;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((now_ns, place)) = self.due.pop()?;
        let segment = self.open[place].next();
        if self.open[place].as_slice().is_empty() {
            self.open[place] = self.begin(now_ns);
        }
        self.wait(place);
        segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_capture() {
        let [mut one, mut two, mut other] = [Vec::new(), Vec::new(), Vec::new()];
        let contents = write(20_000, 1, &mut one).unwrap();
        assert_eq!(contents, write(20_000, 1, &mut two).unwrap());
        write(20_000, 2, &mut other).unwrap();
        assert!(one == two && one != other);
        assert_eq!(contents.bytes, one.len() as u64);
        assert!(contents.handshakes > contents.established + contents.refused, "some have no answer");
        assert!(contents.established > 0 && contents.refused > 0);
    }

    #[test]
    fn connections_are_interleaved_in_the_order_of_time() {
        let records: Vec<_> = Interleaved::new(1).take(20_000).map(|(record, _)| record).collect();
        assert!(records.is_sorted_by_key(|record| record.time_ns));
        let alone = records.windows(2).filter(|pair| pair[0].source == pair[1].source).count();
        assert!(alone < records.len() / 4, "{alone}");
    }
}
