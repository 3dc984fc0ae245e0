//! The flow table: records in, decided handshakes and figures out.

use hashbrown::HashTable;
use probe_common::{Record, SegmentKind, SegmentRecord};

use super::alarm::Alarms;
use super::chains::Chains;
use super::flow::{Ack, Flow, Syn, SynAck};
use super::handshake::{Handshake, Stage};
use super::key::FlowTuple;
use super::leg::Leg;
use super::outcome::Outcome;
use super::peer::PeerEvent;
use super::report::{Event, RetransmitKind};
use super::slab::Slab;
use super::stats::{Stats, StatsConfig};
use super::views::{Baseline, Views};
use super::watched::Watched;
use crate::snapshot::{MissedCounts, RunCounters};

/// Queues of the slab.
pub(super) const FINISHED: usize = 0;
/// Handshakes under way, and connections of which nothing but their end is known: forged FINs are as cheap as SYNs.
const PENDING: usize = 1;
pub(super) const LASTING: usize = 2;
pub(super) const QUEUES: usize = 3;

/// Pending flows may take one part in this many of a full table.
const PENDING_SHARE: usize = 4;

/// A finished flow stays on the screen for this long.
const RETENTION_NS: u64 = 60_000_000_000;

/// What the table may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Flows at the same time, at least 1.
    pub flows: usize,
    /// How many outcomes to tell; all of them without.
    pub handshakes: Option<u64>,
    /// The statistics' own.
    pub stats: StatsConfig,
}

/// What the table could not keep or not make sense of, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableLosses {
    /// Flows that gave way to new ones before they had ended.
    pub evicted_flows: u64,
    /// SYN-ACKs, ACKs and RSTs that answer nothing that was seen.
    pub unmatched: u64,
}

/// Every flow that is known, and the statistics over them.
#[derive(Debug)]
pub(crate) struct FlowTable {
    pub(super) flows: Slab<Flow, QUEUES>,
    pub(super) index: HashTable<u32>,
    /// Which flows each peer has.
    pub(super) chains: Chains,
    alarms: Alarms,
    pub(crate) views: Views,
    /// What was decided and not discarded, in order.
    pub(crate) events: Vec<Event>,
    pub(super) limit: usize,
    handshakes: Option<u64>,
    next_id: u64,
    told: u64,
    pub(super) losses: TableLosses,
    pub(crate) watched: Watched,
}

impl FlowTable {
    /// An empty table.
    #[must_use]
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            flows: Slab::new(),
            index: HashTable::new(),
            chains: Chains::default(),
            alarms: Alarms::default(),
            views: Views::new(Stats::new(limits.stats)),
            events: Vec::new(),
            limit: limits.flows.max(1),
            handshakes: limits.handshakes,
            next_id: 0,
            told: 0,
            losses: TableLosses::default(),
            watched: Watched::default(),
        }
    }

    /// Takes a record of the flow with these ends.
    pub(super) fn handle_of(&mut self, tuple: FlowTuple, record: &Record) {
        match record {
            Record::Segment(segment) => self.segment(tuple, segment),
            Record::EvictedFlow(flow) => self.evicted(tuple, flow),
        }
    }

    fn segment(&mut self, tuple: FlowTuple, record: &SegmentRecord) {
        let slot = self.find(&tuple);
        if let Some(slot) = slot {
            self.learn_volumes(slot, record.source, record.volumes, record.time_ns);
        } else if self.watched.may_answer_earlier(record) {
            self.losses.unmatched += 1;
            return;
        }
        match record.kind {
            SegmentKind::Retransmit => self.resent(slot, tuple, record),
            SegmentKind::Syn => self.syn(slot, tuple, record),
            SegmentKind::SynAck => self.syn_ack(slot, tuple, record),
            SegmentKind::Ack => self.ack(slot, record),
            SegmentKind::Rst => self.rst(slot, tuple, record),
            SegmentKind::Fin => self.fin(slot, tuple, record),
        }
    }

    /// Lets time pass: what was silent for too long is decided, what ended long ago is forgotten.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        while !self.is_done()
            && let Some((slot, due_ns)) = self.alarms.next(now_ns)
        {
            self.wake(slot, due_ns);
        }
        while let Some(slot) = self.flows.oldest(FINISHED) {
            let changed_ns = self.flows.get(slot).map_or(0, |flow| flow.changed_ns);
            if changed_ns.saturating_add(RETENTION_NS) > now_ns {
                break;
            }
            self.retire(slot, now_ns);
        }
    }

    /// The run ends: handshakes that are open are told as they are.
    pub(crate) fn finish(&mut self, now_ns: u64) {
        let open = self.flows.iter().filter(|(_, flow)| flow.is_open());
        let mut open: Vec<(u64, u32)> = open.map(|(slot, flow)| (flow.id, slot)).collect();
        open.sort_unstable();
        for (_, slot) in open {
            self.tell(slot, now_ns);
        }
    }

    /// How many handshakes' outcomes were told since the start.
    #[must_use]
    pub(crate) const fn told(&self) -> u64 {
        self.told
    }

    /// Were as many outcomes told as were asked for?
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.handshakes.is_some_and(|handshakes| self.told >= handshakes)
    }

    /// When [`expire`](Self::expire) has something to do, or before.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        if self.is_done() {
            return None;
        }
        let oldest = self.flows.oldest(FINISHED).and_then(|slot| self.flows.get(slot));
        let forgotten_ns = oldest.map(|flow| flow.changed_ns.saturating_add(RETENTION_NS));
        self.alarms.due_ns().into_iter().chain(forgotten_ns).min()
    }

    /// Restarts the counts of a view at `now_ns`. Flows stay known.
    pub(crate) fn reset(&mut self, view: usize, run: &RunCounters, now_ns: u64) {
        let baseline = Baseline {
            counted_ns: Some(now_ns),
            records: run.records,
            reported: self.told,
            unmatched: self.losses.unmatched,
            missed: MissedCounts::of(self, &self.views.get(view).stats, run),
        };
        let view = self.views.get_mut(view);
        view.baseline = baseline;
        view.stats.reset(now_ns);
    }

    /// What was lost here.
    #[must_use]
    pub(crate) const fn losses(&self) -> TableLosses {
        self.losses
    }

    fn syn(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        if let Some((slot, flow)) = slot.and_then(|slot| Some((slot, self.flows.get_mut(slot)?))) {
            match flow.takes_syn(record) {
                Syn::Repeats => return self.repeated(slot, RetransmitKind::Syn, record),
                Syn::Crosses => return,
                Syn::Opens => self.supersede(slot, record.time_ns),
            }
        }
        self.open(Flow::new(tuple, record, Some(Handshake::opened_by(record))));
    }

    fn syn_ack(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        let Some((slot, flow)) = slot.and_then(|slot| Some((slot, self.flows.get_mut(slot)?))) else {
            self.open(Flow::new(tuple, record, Some(Handshake::answered_by(record))));
            return;
        };
        match flow.takes_syn_ack(record) {
            SynAck::Answers => {
                self.wait(slot, record.time_ns, false);
                self.arm(slot);
            }
            SynAck::Repeats => self.repeated(slot, RetransmitKind::SynAck, record),
            SynAck::Unmatched if self.flows.get(slot).is_some_and(Flow::may_be_followed) => {
                // The next connection on these ports, whose SYN passed elsewhere.
                self.supersede(slot, record.time_ns);
                self.open(Flow::new(tuple, record, Some(Handshake::answered_by(record))));
            }
            SynAck::Unmatched => self.losses.unmatched += 1,
        }
    }

    fn ack(&mut self, slot: Option<u32>, record: &SegmentRecord) {
        let known = slot.and_then(|slot| Some((slot, self.flows.get_mut(slot)?.takes_ack(record))));
        match known {
            Some((slot, Ack::Completes)) => self.tell(slot, record.time_ns),
            Some((_, Ack::Repeats | Ack::Challenges)) => {}
            Some((_, Ack::Unmatched)) | None => self.losses.unmatched += 1,
        }
    }

    fn rst(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        let slot = self.known_or_mid_stream(slot, tuple, record);
        let Some(flow) = self.flows.get_mut(slot) else { return };
        if record.class.is_out_of_window() {
            self.losses.unmatched += 1;
        } else if flow.is_up() {
            flow.reset(record);
            self.closed(slot);
        } else if flow.is_open() {
            if flow.takes_early_rst(record) {
                self.tell(slot, record.time_ns);
            } else {
                self.losses.unmatched += 1;
            }
        }
    }

    fn fin(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        let slot = self.known_or_mid_stream(slot, tuple, record);
        let Some(flow) = self.flows.get_mut(slot) else { return };
        if flow.is_completed_by_fin(record) {
            flow.complete_unseen(record);
            self.tell(slot, record.time_ns);
        }
        if record.class.is_retransmit()
            && let Some(flow) = self.flows.get(slot)
        {
            self.events.push(Event::Retransmit(flow.retransmit(RetransmitKind::Fin, record)));
        }
        if self.flows.get_mut(slot).is_some_and(|flow| flow.takes_last_fin(record)) {
            self.closed(slot);
        }
    }

    /// A SYN or SYN-ACK was seen once more.
    fn repeated(&mut self, slot: u32, kind: RetransmitKind, record: &SegmentRecord) {
        let now_ns = record.time_ns;
        let Some(flow) = self.flows.get(slot) else { return };
        self.views.count(flow.peer(), PeerEvent::Repeated, now_ns);
        self.events.push(Event::Retransmit(flow.retransmit(kind, record)));
        self.wait(slot, now_ns, true);
        self.arm(slot);
    }

    /// Adds a flow, at the cost of the oldest of the least valuable class.
    pub(super) fn open(&mut self, mut flow: Flow) -> u32 {
        while self.flows.len() >= self.limit {
            let Some(oldest) = self.least_valuable() else { break };
            if self.flows.get(oldest).is_some_and(|flow| flow.is_open() || flow.is_up()) {
                self.losses.evicted_flows += 1;
            }
            self.retire(oldest, flow.first_ns);
            // Whose turn is next.
            self.least_valuable().into_iter().for_each(|slot| self.flows.prefetch(slot));
        }
        flow.id = self.next_id;
        self.next_id += 1;
        let (peer, first_ns, hash) = (flow.peer(), flow.first_ns, flow.tuple.hash());
        let opening = flow.handshake.is_some();
        let slot = self.flows.insert(flow, PENDING);
        let flows = &self.flows;
        self.index.insert_unique(hash, slot, |&slot| flows.get(slot).map_or(0, |flow| flow.tuple.hash()));
        self.chain(slot, peer);
        if opening {
            self.views.count(peer, PeerEvent::Opened, first_ns);
        }
        self.arm(slot);
        slot
    }

    /// The oldest finished flow; else, while pending ones take more than their share, the oldest of these;
    /// else the oldest of those that last. A flood of SYNs thus leaves three quarters to the latter, and
    /// however many of them there are, a handshake has room to be completed.
    fn least_valuable(&self) -> Option<u32> {
        let crowded = self.flows.len_of(PENDING) > self.limit / PENDING_SHARE;
        let order = if crowded { [FINISHED, PENDING, LASTING] } else { [FINISHED, LASTING, PENDING] };
        order.into_iter().find_map(|queue| self.flows.oldest(queue))
    }

    /// Takes out a flow whose ports are used again.
    fn supersede(&mut self, slot: u32, now_ns: u64) {
        let Some(flow) = self.flows.get_mut(slot) else { return };
        if flow.supersede(now_ns) {
            self.closed(slot);
        } else {
            self.tell(slot, now_ns);
        }
        self.retire(slot, now_ns);
    }

    /// Takes a flow out; an outcome that is still open is told as it is.
    fn retire(&mut self, slot: u32, now_ns: u64) {
        if self.flows.get(slot).is_some_and(Flow::is_open) {
            self.tell(slot, now_ns);
        }
        self.unchain(slot);
        let Some(hash) = self.flows.get(slot).map(|flow| flow.tuple.hash()) else { return };
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        self.flows.discard(slot);
    }

    /// Tells the outcome of a handshake as it is at `now_ns`, unless there is none or that was done.
    fn tell(&mut self, slot: u32, now_ns: u64) {
        let Some(flow) = self.flows.get_mut(slot) else { return };
        if flow.handshake.is_none() || core::mem::replace(&mut flow.told, true) {
            return;
        }
        self.told += 1;
        self.alarms.cancel(slot);
        if flow.is_open() {
            flow.changed_ns = now_ns;
        }
        let report = flow.report(now_ns);
        let event = match report.outcome {
            Outcome::Established => Some(PeerEvent::Established),
            Outcome::Refused => Some(PeerEvent::Refused),
            Outcome::Unanswered => Some(PeerEvent::Unanswered),
            Outcome::HalfOpen => Some(PeerEvent::HalfOpen),
            Outcome::Reset => Some(PeerEvent::Reset),
            Outcome::Unknown => Some(PeerEvent::OneSided),
            Outcome::Pending | Outcome::Closed => None,
        };
        if let Some(event) = event {
            self.views.count(report.peer, event, now_ns);
        }
        let up = report.outcome == Outcome::Established;
        if let Some(rtt_ns) = report.rtt().and_then(Leg::exact).filter(|_| up) {
            self.views.record(report.peer, rtt_ns, now_ns);
        }
        // After it was counted: what waited and what was given up is one row of trouble.
        self.wait(slot, now_ns, false);
        self.events.push(Event::Handshake(report));
        self.flows.requeue(slot, if up { LASTING } else { FINISHED });
    }

    fn closed(&mut self, slot: u32) {
        let Some(flow) = self.flows.get(slot) else { return };
        self.events.push(Event::Close(flow.report(flow.changed_ns)));
        self.flows.requeue(slot, FINISHED);
    }

    /// An attempt counts as unanswered from now on, or no longer.
    fn wait(&mut self, slot: u32, now_ns: u64, waiting: bool) {
        let Some(flow) = self.flows.get_mut(slot) else { return };
        let waiting = waiting && flow.stage() == Some(Stage::Opening);
        if core::mem::replace(&mut flow.waiting, waiting) != waiting {
            self.views.wait(flow.peer(), waiting, now_ns);
        }
    }

    /// Looks at a slot whose alarm was due at `now_ns`. The slot may hold another flow by now.
    fn wake(&mut self, slot: u32, now_ns: u64) {
        let Some(flow) = self.flows.get_mut(slot) else { return };
        let Some(handshake) = &mut flow.handshake else { return };
        // What happens is dated to when it was due, so that it does not depend on how often one looks.
        if let Some(deadline_ns) = handshake.deadline_ns().filter(|&deadline_ns| deadline_ns <= now_ns) {
            handshake.expire();
            flow.changed_ns = deadline_ns;
            return self.tell(slot, deadline_ns);
        }
        if let Some(silent_ns) = handshake.silent_at_ns().filter(|&silent_ns| silent_ns <= now_ns) {
            self.wait(slot, silent_ns, true);
        }
        if let Some(due_ns) = self.flows.get(slot).and_then(Flow::due_ns) {
            self.alarms.set_apart(slot, due_ns);
        }
    }

    fn arm(&mut self, slot: u32) {
        if let Some(due_ns) = self.flows.get(slot).and_then(Flow::due_ns) {
            self.alarms.set(slot, due_ns);
        }
    }
}
