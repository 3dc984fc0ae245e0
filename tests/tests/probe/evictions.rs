//! More flows than slots: which flow is evicted, and the record of it.

use std::thread;
use std::time::Duration;

use probe_common::buckets::WAYS;
use probe_common::state::Phase;
use probe_common::{
    Counter, Direction, Endpoint, EvictedFlowRecord, Family, FlowState, Hook, LinkLayer, RecordKind,
    SegmentKind, Volume,
};

use crate::bench::{Both, Frame, Seen, programs};
use crate::data::Open;
use crate::frames::{ACK, FIN, PSH, RST, SYN, Spec, ethernet, volume};
use crate::sequences::NONE;

/// Longer than an epoch, even with 100 ticks a second.
const EPOCH: Duration = Duration::from_millis(700);

/// Kernel and host with a single bucket, at one hook.
struct Full<'a> {
    both: &'a mut Both,
    program: &'static str,
    hook: Hook,
    family: Family,
}

/// Flows are numbered, and differ in the opener's port.
fn port(number: u8) -> u16 {
    40_000 + u16::from(number)
}

impl Full<'_> {
    fn bytes(&self, number: u8, spec: Spec) -> Vec<u8> {
        let source = if spec.source.0 == 1 { (1, port(number)) } else { spec.source };
        let destination = if spec.destination.0 == 1 { (1, port(number)) } else { spec.destination };
        let packet = Spec { source, destination, ..spec }.packet();
        match self.hook.link {
            LinkLayer::Ethernet => ethernet(&[], &packet),
            LinkLayer::None => packet,
        }
    }

    /// Runs both on a segment of a flow.
    fn run(&mut self, number: u8, spec: Spec) -> Seen {
        let bytes = self.bytes(number, spec);
        let place = || format!("{}, {:?}, flow {number}: {bytes:02x?}", self.program, self.family);
        let seen = self.both.run(self.program, &self.hook, &Frame::one(&bytes), place);
        let seen = seen.unwrap_or_else(|| panic!("refused: {}", place()));
        let evicted = seen.evicted().count() as u64;
        assert_eq!(seen.counted.of(Counter::EvictedFlow), evicted, "{}", place());
        assert_eq!(seen.counted.of(Counter::Submitted(RecordKind::EvictedFlow)), evicted, "{}", place());
        seen.timeless()
    }

    /// Whether everything comes in from outside.
    fn is_inbound(&self) -> bool {
        self.hook.direction == Direction::Ingress
    }

    fn open(&self) -> Open {
        Open::new(self.family)
    }

    /// Opens a flow that has sent this many bytes.
    fn open_with(&mut self, number: u8, bytes: usize) {
        let open = self.open();
        for spec in [open.0.out(SYN, 0, 0), open.0.back(SYN | ACK, 0, 1), open.0.out(ACK, 1, 1)] {
            self.expect(number, spec, &[]);
        }
        self.expect(number, open.data(1, bytes), &[]);
        self.expect(number, open.back(1, 1), &[]);
    }

    /// Makes a flow look as if it had been silent for this many times the length of any test.
    fn silence(&mut self, number: u8, times: u32) {
        /// About four minutes.
        const EPOCHS: u32 = 1_000;
        self.edit(number, |state| state.epoch -= times * EPOCHS);
    }

    fn edit(&mut self, number: u8, edit: impl FnOnce(&mut FlowState)) {
        let bytes = self.bytes(number, self.open().data(1, 1));
        self.both.edit(&self.hook, &bytes, edit);
    }

    /// Runs both on a segment, for which these flows must be evicted.
    fn expect(&mut self, number: u8, spec: Spec, gone: &[(u8, [Volume; 2])]) {
        let gone: Vec<_> = gone.iter().map(|(number, volumes)| self.record(*number, *volumes)).collect();
        self.expect_records(number, spec, &gone);
    }

    fn expect_records(&mut self, number: u8, spec: Spec, gone: &[EvictedFlowRecord]) {
        let what = format!("{}, {:?}, flow {number}: {spec:?}", self.program, self.family);
        let seen = self.run(number, spec);
        let evicted: Vec<_> = seen.evicted().copied().collect();
        assert_eq!(evicted, gone, "{what}");
    }

    /// The record of an evicted flow that was learned from data of its low end.
    fn learned(&self, number: u8, volumes: [Volume; 2]) -> EvictedFlowRecord {
        EvictedFlowRecord { learned: Some(self.hook.direction), ..self.record(number, volumes) }
    }

    /// The record of an evicted flow. Its low end is the opener, which has the lower address.
    fn record(&self, number: u8, volumes: [Volume; 2]) -> EvictedFlowRecord {
        let spec = Spec::out(self.family, 0, 0, 0);
        let end = |host, port| Endpoint { address: spec.address(host), port };
        EvictedFlowRecord {
            time_ns: 0,
            interface: self.hook.interface,
            ends: [end(1, port(number)), end(2, 443)],
            volumes,
            learned: None,
        }
    }
}

/// Runs a test at every hook, in both families.
fn when_full(test: impl Fn(&mut Full<'_>)) {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(1);
    for (program, hook) in programs() {
        for family in [Family::V4, Family::V6] {
            both.forget();
            test(&mut Full { both: &mut both, program, hook, family });
        }
    }
}

/// Opens as many flows as there are slots; the n-th has sent 10 n bytes.
fn fill(full: &mut Full<'_>) {
    for number in 1..=slots() {
        full.open_with(number, 10 * usize::from(number));
    }
    assert_eq!(full.both.count(), WAYS);
}

fn slots() -> u8 {
    u8::try_from(WAYS).expect("a few")
}

fn volumes(number: u8) -> [Volume; 2] {
    [volume(1, 10 * u64::from(number), 0), volume(1, 1, 0)]
}

/// The flow that was silent for longest is evicted, whichever its slot, for a SYN, a SYN-ACK or data.
#[test]
fn the_longest_silent_flow_is_evicted() {
    when_full(|full| {
        fill(full);
        let open = full.open();
        for (number, epochs) in (1..).zip([4, 1, 7, 2, 8, 3, 6, 5]) {
            full.silence(number, epochs);
        }
        let (inbound, mut silent) = (full.is_inbound(), [5, 3, 7].into_iter());
        // What this host opened is not evicted for a SYN-ACK, which answers a SYN from outside; nor an open flow for one
        // that is learned from what came in.
        let newcomers = [
            (open.0.out(SYN, 0, 0), true),
            (open.0.back(SYN | ACK, 0, 1), inbound),
            (open.data(1, 9), !inbound),
            (open.back(1, 9), !inbound),
        ];
        for (number, (spec, evicts)) in (100..).zip(newcomers) {
            let gone = if evicts { silent.next() } else { None };
            full.expect(number, spec, gone.map(|gone| (gone, volumes(gone))).as_slice());
            if evicts {
                // Handshakes, and flows that are learned, would be evicted next.
                full.edit(number, |state| (state.phase, state.flags) = (Phase::OPEN, FlowState::OPENED_HERE));
            }
        }
        if inbound {
            full.expect(200, open.fin(1), &[]);
        }
        assert_eq!(full.both.count(), WAYS);
        // A segment that is neither data nor part of a handshake needs no slot.
        for spec in [open.data(1, 0), open.0.out(RST, 1, 0)] {
            full.expect(200, spec, &[]);
        }
    });
}

/// Ended flows are evicted first, without a record; then handshakes; then open flows.
#[test]
fn ended_flows_are_evicted_first_then_handshakes() {
    when_full(|full| {
        fill(full);
        let open = full.open();
        // One ended by a RST, one by FINs, and both were seen last.
        full.run(3, open.0.out(RST, 31, 0));
        full.run(6, open.fin(61));
        full.run(6, open.back(2, 0).flags(FIN | ACK));
        full.silence(1, 9);
        full.silence(3, 1);
        full.expect(10, open.0.out(SYN, 0, 0), &[]);
        full.expect(11, open.0.out(SYN, 0, 0), &[]);
        full.expect(11, open.0.back(SYN | ACK, 0, 1), &[]);
        full.expect(10, open.0.out(RST, 1, 0), &[]);
        assert_eq!(full.both.count(), WAYS);
        // A refused flow has ended as well.
        full.expect(12, open.data(1, 70), &[]);
        let learned = full.learned(12, [volume(1, 70, 0), NONE]);
        full.expect_records(13, open.0.out(SYN, 0, 0), &[learned]);
        thread::sleep(Duration::from_micros(40));
        full.expect(14, open.0.out(SYN, 0, 0), &[(11, [NONE, NONE])]);
        let establish = |state: &mut FlowState| state.phase = Phase::OPEN;
        full.edit(13, establish);
        full.edit(14, establish);
        full.expect(15, open.0.out(SYN, 0, 0), &[(1, volumes(1))]);
        full.edit(15, establish);
        // A half-closed flow has not ended.
        full.run(2, open.fin(21));
        full.silence(2, 2);
        full.expect(16, open.0.out(SYN, 0, 0), &[(2, volumes(2))]);
    });
}

/// Hard case `syn-flood`: each SYN of a flood evicts an earlier one of it, and no open connection is evicted.
#[test]
fn a_flood_evicts_its_own_flows() {
    when_full(|full| {
        let open = full.open();
        for number in 1..slots() {
            full.open_with(number, 10 * usize::from(number));
            full.silence(number, 50);
        }
        full.expect(100, open.0.out(SYN, 0, 0), &[]);
        for number in 101..120 {
            full.expect(number, open.0.out(SYN, 0, 0), &[(number - 1, [NONE, NONE])]);
        }
        for number in 1..slots() {
            let seen = full.run(number, open.fin(10 * u32::from(number) + 1));
            assert_eq!(seen.segment().volumes, volumes(number), "{number} was forgotten");
        }
    });
}

/// Of several handshakes the oldest is evicted.
#[test]
fn the_oldest_handshake_is_evicted() {
    when_full(|full| {
        let open = full.open();
        for number in 1..=slots() {
            full.expect(number, open.0.out(SYN, 0, 0), &[]);
            // Their times are compared with a resolution of 16 µs.
            thread::sleep(Duration::from_micros(40));
        }
        // The first retransmits its SYN.
        full.expect(1, open.0.out(SYN, 0, 0), &[]);
        for number in 2..=slots() {
            full.expect(50 + number, open.0.out(SYN, 0, 0), &[(number, [NONE, NONE])]);
            thread::sleep(Duration::from_micros(40));
        }
        full.expect(100, open.0.out(SYN, 0, 0), &[(1, [NONE, NONE])]);
    });
}

/// An evicted flow that is seen again is learned again, and none of its segments is taken for a retransmit. Flows that are
/// learned evict each other before any whose handshake was seen.
#[test]
fn an_evicted_flow_is_learned_again() {
    when_full(|full| {
        fill(full);
        let open = full.open();
        full.silence(1, 3);
        if full.is_inbound() {
            // So that there is a slot for one of them.
            full.run(1, open.0.out(RST, 11, 0));
            full.expect(10, open.data(1, 5), &[]);
        } else {
            full.expect(10, open.data(1, 5), &[(1, volumes(1))]);
        }
        let learned = full.learned(10, [volume(1, 5, 0), NONE]);
        full.expect_records(1, open.data(11, 10), &[learned]);
        for spec in [open.data(21, 10), open.0.out(ACK, 31, 1), open.back(2, 1), open.back(3, 5)] {
            assert_eq!(full.run(1, spec), Seen::default(), "learned without a record of its own");
        }
        let seen = full.run(1, open.fin(31));
        let since = [volume(2, 20, 0), volume(2, 6, 0)];
        assert_eq!((seen.records.len(), seen.segment().volumes), (1, since), "counted anew");
        let seen = full.run(1, open.data(21, 10));
        assert!(seen.segment().class.is_retransmit(), "what is sent again from then on is known");
    });
}

/// Hard case `forged-segments`: a handshake under way is not evicted for a flow that is learned mid-stream, and what this
/// host opened not for anything from outside. A segment that finds no slot is reported all the same.
#[test]
fn a_handshake_is_not_evicted_for_what_is_learned() {
    when_full(|full| {
        let open = full.open();
        for number in 1..=slots() {
            full.expect(number, open.0.out(SYN, 0, 0), &[]);
        }
        for (number, spec) in (100..).zip([open.data(1, 9), open.back(1, 9), open.fin(1), open.back(1, 0)]) {
            full.expect(number, spec, &[]);
        }
        for number in 1..=slots() {
            full.expect(number, open.0.back(SYN | ACK, 0, 1), &[]);
            let seen = full.run(number, open.0.out(ACK, 1, 1));
            assert_eq!(seen.segment().kind, SegmentKind::Ack, "{number} is known");
            full.edit(number, |state| state.flags |= FlowState::OPENED_HERE);
        }
        // From outside, as a SYN at ingress: this host opened all that is known.
        if full.is_inbound() {
            let seen = full.run(120, open.0.out(SYN, 0, 0));
            assert_eq!((seen.evicted().count(), seen.segment().kind), (0, SegmentKind::Syn));
        }
        assert_eq!(full.both.count(), WAYS);
    });
}

/// Epochs pass by the kernel's own clock.
#[test]
fn epochs_pass() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(1);
    let (program, hook) = programs().next().expect("a program");
    let full = &mut Full { both: &mut both, program, hook, family: Family::V4 };
    fill(full);
    thread::sleep(EPOCH);
    let open = full.open();
    // All but the fifth are seen once more. A pure ACK is enough.
    for number in (1..=slots()).filter(|number| *number != 5) {
        full.expect(number, open.0.out(ACK | PSH, 10 * u32::from(number) + 1, 1), &[]);
    }
    full.expect(10, open.0.out(SYN, 0, 0), &[(5, volumes(5))]);
}

/// A flow whose first bucket is full is inserted into the second one, and found there.
#[test]
fn second_buckets() {
    const BUCKETS: u32 = 4;
    const FLOWS: u8 = 30;
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(BUCKETS);
    let (program, hook) = programs().next().expect("a program");
    for family in [Family::V4, Family::V6] {
        both.forget();
        let full = &mut Full { both: &mut both, program, hook, family };
        let open = full.open();
        let mut gone = 0;
        for number in 1..=FLOWS {
            let seen = full.run(number, open.data(1, 10 * usize::from(number)));
            assert_eq!(seen.evicted().count(), seen.records.len(), "{seen:?}");
            gone += seen.records.len();
        }
        assert_eq!(
            full.both.count() + gone,
            usize::from(FLOWS),
            "{family:?}: each is there, or was reported"
        );
        assert!(gone < 8, "{family:?}: {gone} were evicted, though there was room for all of them");
        let remembered = (1..=FLOWS).filter(|number| {
            let seen = full.run(*number, open.0.out(RST, 10 * u32::from(*number) + 1, 0));
            seen.segment().volumes == [volume(1, 10 * u64::from(*number), 0), NONE]
        });
        assert_eq!(remembered.count() + gone, usize::from(FLOWS), "{family:?}: each is found again");
    }
}
