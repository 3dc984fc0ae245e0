//! The flow table: records in, decided handshakes and figures out.

mod chains;
mod owning;
mod resets;
mod sightings;
mod sockets;
mod startup;
mod timers;
mod witness;

use core::ops::Range;

use hashbrown::HashTable;
use probe_common::key::Ends;
use probe_common::{
    Direction, Endpoint, EvictedFlowRecord, FlowState, IcmpRecord, Record, SegmentKind, SegmentRecord, Side,
    Volume,
};

use crate::engine::EngineConfig;
use crate::flow::{
    Ack, EndpointHasher, Event, Flow, FlowName, FlowTuple, Handshake, Icmp, Leg, NewVolumes, Outcome,
    PeerKey, RetransmitCause, RetransmitKind, Syn, SynAck, Tracked,
};
use crate::host::OwnRetransmits;
use crate::locals::Locals;
use crate::owner::OwnerTable;
use crate::slab::Slab;
use crate::socket::{Listeners, PeerRtts, Unclaimed};
use crate::stats::{Account, PeerEvent, Stats, Times};
use chains::Chains;
use resets::Resetting;
use sightings::{Place, Translated};
use startup::Watched;
use timers::Alarms;
pub use witness::KernelWitness;

/// Queues of the slab.
const FINISHED: usize = 0;
/// Connections of which nothing is known but what came in, such as a FIN: anybody can have forged it.
const UNCONFIRMED: usize = 1;
/// Open handshakes.
const PENDING: usize = 2;
const LASTING: usize = 3;
/// The same of connections that this host opened.
const OWN_PENDING: usize = 4;
const OWN_LASTING: usize = 5;
const QUEUES: usize = 6;

/// Pending flows may take one part in this many of a full table.
const PENDING_SHARE: usize = 4;
/// A finished flow stays on the screen for this long.
const RETENTION_NS: u64 = 60_000_000_000;
/// Records whose flows are prefetched together.
const PREFETCHED: usize = 16;

/// What both ends of a flow have sent so far, as its state in the source has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowVolumes {
    /// The ends, the low one first, and the interface.
    pub ends: Ends,
    /// What each of them sent.
    pub volumes: [Volume; 2],
    /// The direction in which the low end sends, of a connection that was open before the source saw it: no record may have
    /// reported it. See [`FlowState::learned`].
    pub learned: Option<Direction>,
}

impl FlowVolumes {
    /// Those of the flow between these ends with this state.
    #[must_use]
    pub fn of(ends: Ends, state: &FlowState) -> Self {
        Self { ends, volumes: state.volumes(Side::Low), learned: state.learned() }
    }
}

/// What the table could not keep or not match, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableLosses {
    /// Flows that were evicted before they had ended, or for which there was no room.
    pub(crate) evicted_flows: u64,
    /// Attempts of strangers that were evicted before their end was known, which is how a flood ends.
    pub(crate) evicted_strangers: u64,
    /// Flows that the source evicted and that are not missed for that reason: attempts of strangers, and flows that are
    /// missed already, because the record of their beginning was, or because they were evicted here.
    pub(crate) not_missed: u64,
    /// SYN-ACKs, ACKs and RSTs that answer nothing that was seen.
    pub(crate) unmatched: u64,
    /// SYNs that were duplicated or delayed on their way, beyond the end of the connection that they opened.
    pub(crate) copies: u64,
}

/// The queue of handshakes that are open.
const fn pending(is_own: bool) -> usize {
    if is_own { OWN_PENDING } else { PENDING }
}

/// The queue of connections that are open.
const fn lasting(is_own: bool) -> usize {
    if is_own { OWN_LASTING } else { LASTING }
}

/// Every flow that is known, and the statistics about them.
#[derive(Debug)]
pub(crate) struct FlowTable {
    hasher: EndpointHasher,
    flows: Slab<Tracked, QUEUES>,
    index: HashTable<u32>,
    /// Which flows each peer has.
    chains: Chains,
    alarms: Alarms,
    pub(crate) stats: Stats,
    /// What was decided and not discarded, in order.
    pub(crate) events: Vec<Event>,
    limit: usize,
    max_reports: Option<u64>,
    next_id: u64,
    reported: u64,
    losses: TableLosses,
    /// Whether a flow that had not ended was evicted here.
    has_evicted: bool,
    /// What sockets of this host retransmitted, since the start.
    pub(crate) own_retransmits: OwnRetransmits,
    /// Records were missed until this moment. Attempts that began before may have been answered unseen.
    missed_until_ns: u64,
    /// Flows whose sockets have sent a RST lately: why may follow.
    resetting: Resetting,
    /// Since when interfaces are watched.
    pub(crate) watched: Watched,
    translated: Translated,
    /// Which processes were named lately.
    pub(crate) owners: OwnerTable,
    /// Who listens in this network namespace.
    listeners: Listeners,
    /// The round-trip times of connections, as the kernel measures them.
    pub(crate) rtts: PeerRtts,
    /// Sockets of connections that are not known yet.
    unclaimed: Unclaimed,
    /// Whether sockets were ever listed.
    pub(crate) has_sockets: bool,
    /// What the kernel itself says of retransmits; `None` where it is not asked.
    pub(crate) witness: Option<KernelWitness>,
    /// The addresses of the watched host.
    pub(crate) locals: Locals,
}

impl FlowTable {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            hasher: EndpointHasher::new(config.seed),
            flows: Slab::new(),
            index: HashTable::new(),
            chains: Chains::default(),
            alarms: Alarms::default(),
            stats: Stats::new(config),
            events: Vec::new(),
            limit: config.max_flows.max(1),
            max_reports: config.max_handshakes,
            next_id: 0,
            reported: 0,
            losses: TableLosses::default(),
            has_evicted: false,
            own_retransmits: OwnRetransmits::default(),
            missed_until_ns: 0,
            resetting: Resetting::default(),
            watched: Watched::default(),
            translated: Translated::default(),
            owners: OwnerTable::new(config.max_flows),
            listeners: Listeners::default(),
            rtts: PeerRtts::default(),
            unclaimed: Unclaimed::default(),
            has_sockets: false,
            witness: None,
            locals: Locals::default(),
        }
    }

    /// Handles records until as many outcomes are reported as were asked for. Returns how many it handled.
    ///
    /// With many flows, what is known of one is in no near cache, and to wait for one after the other is most of the work.
    /// So the flows of some records are requested from memory together, before the first of them is needed.
    pub(crate) fn handle(&mut self, records: &[Record]) -> usize {
        let mut handled = 0;
        for together in records.chunks(PREFETCHED) {
            let mut tuples = [None; PREFETCHED];
            for (record, place) in together.iter().zip(&mut tuples) {
                *place = FlowTuple::of(&self.hasher, record);
                let slots = place.iter().flat_map(|tuple| self.index.iter_hash(tuple.hash()));
                slots.for_each(|slot| self.flows.prefetch(*slot));
            }
            for (record, tuple) in together.iter().zip(tuples) {
                if self.is_done() {
                    return handled;
                }
                match (tuple, record) {
                    (Some(tuple), _) => self.handle_one(tuple, record),
                    (None, Record::Reset(reset)) => self.explain_reset(reset),
                    (None, _) => {}
                }
                handled += 1;
            }
        }
        handled
    }

    fn handle_one(&mut self, tuple: FlowTuple, record: &Record) {
        match record {
            Record::Segment(segment) => self.segment(tuple, segment),
            Record::EvictedFlow(flow) => self.evicted(tuple, flow),
            Record::Icmp(icmp) => self.icmp(&tuple, icmp),
            // The source names the process first: `Input::Owner`. A reason has no ends.
            Record::Owner(_) | Record::Reset(_) => {}
        }
    }

    /// Learns what both ends of a flow have sent so far. A connection that was open before is known from now on, if there is
    /// room for it.
    pub(crate) fn handle_volumes(&mut self, flow: &FlowVolumes, now_ns: u64) {
        let [low, high] = flow.ends.endpoints();
        let tuple = FlowTuple::new(&self.hasher, flow.ends.interface, low, high);
        let own = self.find(&tuple);
        if own.is_none()
            && let Some(slot) = self.elsewhere(&tuple)
        {
            let begun = |sends| Tracked::mid_stream(tuple, sends, [low, high], now_ns, &self.locals);
            let begun = flow.learned.map(begun);
            return self.sighted_volumes(slot, tuple.interface(), low, flow.volumes, begun);
        }
        match (own, flow.learned) {
            (Some(slot), _) => self.learn_volumes(slot, low, flow.volumes, now_ns),
            (None, Some(low_sends)) if self.has_room() => {
                let mid_stream = Tracked::mid_stream(tuple, low_sends, [low, high], now_ns, &self.locals);
                self.open_mid_stream(mid_stream, low, flow.volumes);
            }
            // Records have reported it, or will.
            (None, _) => {}
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
            let changed_ns = self.flow(slot).map_or(0, Flow::changed_ns);
            if changed_ns.saturating_add(RETENTION_NS) > now_ns {
                break;
            }
            self.retire(slot, now_ns);
        }
    }

    /// Records were missed, at `until_ns` at the latest. What is open from before may have been answered unseen. Records up to
    /// `now_ns` were handled.
    pub(crate) fn records_missed(&mut self, until_ns: u64, now_ns: u64) {
        self.missed_until_ns = self.missed_until_ns.max(until_ns);
        let waiting = self.flows.iter().filter(|(_, tracked)| tracked.is_waiting);
        let waiting: Vec<u32> = waiting.map(|(slot, _)| slot).collect();
        waiting.into_iter().for_each(|slot| self.set_waiting(slot, now_ns, false));
    }

    /// When [`expire`](Self::expire) has something to do, or before.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        if self.is_done() {
            return None;
        }
        let oldest = self.flows.oldest(FINISHED).and_then(|slot| self.flow(slot));
        let forgotten_ns = oldest.map(|flow| flow.changed_ns().saturating_add(RETENTION_NS));
        self.alarms.due_ns().into_iter().chain(forgotten_ns).min()
    }

    /// The run ends: open handshakes are reported as they are.
    pub(crate) fn finish(&mut self, now_ns: u64) {
        let open = self.flows.iter().filter(|(_, tracked)| tracked.is_open());
        let mut open: Vec<(u64, u32)> = open.map(|(slot, tracked)| (tracked.flow.id(), slot)).collect();
        open.sort_unstable();
        for (_, slot) in open {
            self.adopt_answers(slot);
            self.report(slot, now_ns);
        }
        let up = self.flows.iter().filter(|(_, tracked)| tracked.is_up());
        let up: Vec<u32> = up.map(|(slot, _)| slot).collect();
        up.into_iter().for_each(|slot| self.end_seen(slot));
    }

    /// How many handshakes' outcomes were reported since the start.
    pub(crate) const fn reported(&self) -> u64 {
        self.reported
    }

    /// Whether as many outcomes were reported as were asked for.
    pub(crate) fn is_done(&self) -> bool {
        self.max_reports.is_some_and(|max_reports| self.reported >= max_reports)
    }

    pub(crate) const fn losses(&self) -> TableLosses {
        self.losses
    }
}

/// What each kind of record does.
impl FlowTable {
    fn segment(&mut self, tuple: FlowTuple, record: &SegmentRecord) {
        let slot = match self.place(&tuple, record) {
            Place::Here(slot) => slot,
            Place::Elsewhere(slot) => return self.sighted(slot, tuple, record),
        };
        if let Some(slot) = slot {
            self.adopt_before(slot, record);
            self.learn_volumes(slot, record.source, record.volumes, record.time_ns);
            if let Some(tracked) = self.flows.get_mut(slot) {
                tracked.learn_ack(record);
                tracked.learn_ttl(record);
            }
            self.learn_dsacks(slot, record);
            // What the record leads to is reported with the owner.
            self.learn_owner(slot, record);
        } else if self.watched.may_answer_earlier(record) {
            self.losses.unmatched += 1;
            return;
        }
        match record.kind {
            SegmentKind::Retransmit => self.data_retransmitted(slot, tuple, record),
            SegmentKind::Syn => self.syn(slot, tuple, record),
            SegmentKind::SynAck => self.syn_ack(slot, tuple, record),
            SegmentKind::Ack => self.ack(slot, record),
            SegmentKind::Rst => self.rst(slot, tuple, record),
            SegmentKind::Fin => self.fin(slot, tuple, record),
        }
        self.learn_owner_of_new(slot, &tuple, record);
        self.note_opener(&tuple, record);
    }

    fn syn(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        if let Some((slot, tracked)) = slot.and_then(|slot| Some((slot, self.flows.get_mut(slot)?))) {
            match tracked.syn(record) {
                Syn::Repeats => return self.repeated(slot, RetransmitKind::Syn, false, record),
                Syn::Retries => return self.repeated(slot, RetransmitKind::Syn, true, record),
                Syn::Resumes => return self.resumed(slot, record),
                Syn::Crosses | Syn::Trails => return,
                Syn::Copies => {
                    self.losses.copies += 1;
                    return;
                }
                Syn::Opens => self.supersede(slot, record.time_ns),
            }
        }
        self.open(Tracked::new(tuple, record, Some(Handshake::opened_by(record)), &self.locals));
    }

    fn syn_ack(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        let Some((slot, tracked)) = slot.and_then(|slot| Some((slot, self.flows.get_mut(slot)?))) else {
            self.open(Tracked::new(tuple, record, Some(Handshake::answered_by(record)), &self.locals));
            return;
        };
        if let Some(accepted) = tracked.after_refusal(record) {
            self.supersede(slot, record.time_ns);
            if let Some(slot) = self.open(accepted) {
                self.syn_ack(Some(slot), tuple, record);
            }
            return;
        }
        match tracked.syn_ack(record) {
            SynAck::Answers => {
                self.set_waiting(slot, record.time_ns, false);
                self.arm(slot);
            }
            SynAck::Repeats => self.repeated(slot, RetransmitKind::SynAck, false, record),
            SynAck::Unmatched if self.flows.get(slot).is_some_and(Tracked::may_be_followed) => {
                // The next connection on these ports, whose SYN took another path.
                self.supersede(slot, record.time_ns);
                self.open(Tracked::new(tuple, record, Some(Handshake::answered_by(record)), &self.locals));
            }
            SynAck::Unmatched => self.losses.unmatched += 1,
        }
    }

    fn ack(&mut self, slot: Option<u32>, record: &SegmentRecord) {
        let known = slot.and_then(|slot| Some((slot, self.flows.get_mut(slot)?.ack(record))));
        match known {
            Some((slot, Ack::Completes)) => self.report(slot, record.time_ns),
            Some((_, Ack::Repeats)) => {}
            Some((slot, Ack::Challenges)) => self.set_waiting(slot, record.time_ns, false),
            Some((_, Ack::Unmatched)) | None => self.losses.unmatched += 1,
        }
    }

    /// An ICMP error never ends a flow: whether its handshake is completed in spite of it only time shows.
    fn icmp(&mut self, tuple: &FlowTuple, record: &IcmpRecord) {
        let own = self.find(tuple);
        // Where it is counted, it is noted.
        if own.is_none() && self.elsewhere(tuple).is_some() {
            return;
        }
        let known = own.and_then(|slot| Some((slot, self.flows.get_mut(slot)?.icmp(record))));
        if let Some((slot, Icmp::Undeliverable | Icmp::Noted)) = known
            && let Some(flow) = self.flows.get(slot).map(|tracked| &tracked.flow)
            && let Some(error) = flow.icmp_error()
        {
            self.stats.note_icmp(&flow.peer(), error);
        }
        match known {
            Some((slot, Icmp::Undeliverable)) => {
                self.set_waiting(slot, record.time_ns, false);
                self.arm(slot);
            }
            Some((_, Icmp::Noted)) => {}
            Some((_, Icmp::Unmatched)) | None => self.losses.unmatched += 1,
        }
    }

    fn rst(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        let Some(slot) = self.known_or_mid_stream(slot, tuple, record) else { return };
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        if record.class.is_out_of_window() {
            self.losses.unmatched += 1;
        } else if tracked.is_up() {
            tracked.reset(record, self.missed_until_ns);
            if tracked.flow.is_aborted() {
                self.aborted(slot);
            }
            self.closed(slot);
            self.await_reason(slot, record);
        } else if tracked.is_open() {
            if tracked.early_rst(record) {
                self.report(slot, record.time_ns);
                self.await_reason(slot, record);
            } else {
                self.losses.unmatched += 1;
            }
        } else if tracked.late_rst(record, self.missed_until_ns) {
            self.aborted(slot);
            self.await_reason(slot, record);
        }
    }

    fn fin(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        let Some(slot) = self.known_or_mid_stream(slot, tuple, record) else { return };
        if self.flows.get_mut(slot).is_some_and(|tracked| tracked.fin_completes(record)) {
            self.report(slot, record.time_ns);
        }
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        if record.class.is_retransmit() {
            self.events.push(Event::Retransmit(tracked.retransmit(RetransmitKind::Fin, None, false, record)));
            // With data it is one of the data segments.
            let is_alone = record.payload_len == 0 && tracked.flow.is_sent_here(tracked.sender(record));
            self.own_retransmits.all += u64::from(is_alone);
        }
        if tracked.last_fin(record) {
            self.closed(slot);
        }
    }

    /// An attempt that was given up goes on: its outcome is taken back where it was counted, and reported anew if it turns out to
    /// be another one.
    fn resumed(&mut self, slot: u32, record: &SegmentRecord) {
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        let Some((outcome, given_up_ns)) = tracked.resume(record) else { return };
        self.stats.reopen(tracked.account(), outcome, tracked.era, given_up_ns);
        tracked.is_waiting = outcome == Outcome::Unanswered;
        let queue = pending(tracked.is_own);
        self.flows.requeue(slot, queue);
        // It waits on, unless it was answered since, or records were missed.
        self.set_waiting(slot, record.time_ns, true);
        self.repeated(slot, RetransmitKind::Syn, false, record);
    }

    /// A SYN or SYN-ACK was retransmitted.
    fn repeated(&mut self, slot: u32, kind: RetransmitKind, is_retry: bool, record: &SegmentRecord) {
        let now_ns = record.time_ns;
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        let (cause, no_loss) = (tracked.note_repeated(kind, record), tracked.no_loss(kind, is_retry));
        // Data that came before this was not lost either.
        let arrived = tracked.arrived_so_far(kind);
        if arrived > 0 {
            let event = PeerEvent::Retransmitted { by: [0; 2], arrived };
            self.stats.count(tracked.account(), event, now_ns);
        }
        let by = tracked.sender(record);
        let event = PeerEvent::Repeated { by, is_loss: no_loss.is_none() };
        let own = u64::from(tracked.flow.is_sent_here(by));
        self.own_retransmits.all += own;
        self.own_retransmits.syns += own;
        self.stats.count(tracked.account(), event, now_ns);
        if let Some(cause) = cause {
            self.stats.count(tracked.account(), PeerEvent::Caused { cause, retransmits: 1 }, now_ns);
        }
        self.events.push(Event::Retransmit(tracked.retransmit(kind, no_loss, false, record)));
        if no_loss.is_none() {
            self.set_waiting(slot, now_ns, true);
        }
        self.arm(slot);
    }

    fn data_retransmitted(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        let Some(slot) = self.known_or_mid_stream(slot, tuple, record) else { return };
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        let is_stuck = tracked.data_retransmitted(record);
        let no_loss = tracked.data_no_loss(tracked.sender(record));
        self.events.push(Event::Retransmit(tracked.retransmit(
            RetransmitKind::Data,
            no_loss,
            is_stuck,
            record,
        )));
        if is_stuck {
            self.stats.count(tracked.account(), PeerEvent::Stuck, record.time_ns);
        }
    }

    /// The source evicted a flow. What it had sent is all that there is to count. Of a flow that is not known here, it was
    /// not counted yet, unless flows were evicted here and it is one of them.
    fn evicted(&mut self, tuple: FlowTuple, record: &EvictedFlowRecord) {
        let [low, high] = record.ends;
        let own = self.find(&tuple);
        if own.is_none()
            && let Some(slot) = self.elsewhere(&tuple)
        {
            // Nothing of it is missed where it is counted.
            self.losses.not_missed += 1;
            return self.sighted_volumes(slot, tuple.interface(), low, record.volumes, None);
        }
        match (own, record.learned) {
            (Some(slot), _) => {
                self.learn_volumes(slot, low, record.volumes, record.time_ns);
                // Its ACK will make no record.
                let Some(tracked) = self.flows.get_mut(slot) else { return };
                tracked.is_doubtful = true;
                if tracked.is_open() {
                    self.set_waiting(slot, record.time_ns, false);
                    self.losses.not_missed += u64::from(self.is_strangers(slot));
                }
            }
            (None, Some(low_sends)) if !self.has_evicted => {
                let ends = [low, high];
                let mut tracked = Tracked::mid_stream(tuple, low_sends, ends, record.time_ns, &self.locals);
                let new = tracked.learn_volumes(low, record.volumes);
                self.own_retransmits.all += tracked.flow.sent_here(new.retransmits);
                self.count_volumes(tracked.account(), &new, 0, record.time_ns);
            }
            (None, Some(_)) => {}
            (None, None) => self.losses.not_missed += 1,
        }
    }
}

/// Flows come and go.
impl FlowTable {
    /// Adds a flow, and evicts the oldest of the least valuable class when the table is full. `None` when there is none that
    /// may be evicted for it.
    fn open(&mut self, mut tracked: Tracked) -> Option<u32> {
        let queue = if tracked.has_handshake() { pending(tracked.is_own) } else { UNCONFIRMED };
        while self.flows.len() >= self.limit {
            let Some(oldest) = self.least_valuable(queue) else {
                (self.losses.evicted_flows, self.has_evicted) = (self.losses.evicted_flows + 1, true);
                return None;
            };
            self.count_evicted(oldest);
            self.retire(oldest, tracked.flow.first_ns());
            // The next to be evicted.
            self.least_valuable(queue).into_iter().for_each(|slot| self.flows.prefetch(slot));
        }
        tracked.flow.id = self.next_id;
        self.next_id += 1;
        let (peer, first_ns) = (tracked.flow.peer(), tracked.flow.first_ns());
        let (hash, is_attempt) = (tracked.flow.name().tuple.hash(), tracked.has_handshake());
        let slot = self.flows.insert(tracked, queue);
        let hash_of = |slot: &u32| self.flows.get(*slot).map_or(0, |known| known.flow.name().tuple.hash());
        self.index.insert_unique(hash, slot, hash_of);
        self.chain(slot, peer);
        if is_attempt {
            let account = self.stats.open(peer, first_ns);
            let tracked = self.flows.get_mut(slot).expect("it was inserted");
            tracked.is_strangers = account == Account::Strangers;
        }
        self.arm(slot);
        Some(slot)
    }

    /// Counts a flow that is evicted, unless it has ended or its state was evicted in the source and counted there.
    fn count_evicted(&mut self, slot: u32) {
        let Some(tracked) = self.flows.get(slot).filter(|tracked| tracked.is_open() || tracked.is_up())
        else {
            return;
        };
        if tracked.is_open() && self.is_strangers(slot) {
            self.losses.evicted_strangers += 1;
        } else if !tracked.is_doubtful {
            self.losses.evicted_flows += 1;
        }
        self.has_evicted = true;
    }

    /// Whether it comes from an address outside that never completed a handshake.
    fn is_strangers(&self, slot: u32) -> bool {
        let is_new = |peer: PeerKey| peer.is_inbound() && !self.stats.is_proven(&peer);
        self.flows.get(slot).is_some_and(|tracked| tracked.is_strangers || is_new(tracked.flow.peer()))
    }

    /// The flow of a record that reports a connection which was open before, if it reports one and there is room for it.
    fn known_or_mid_stream(
        &mut self,
        known: Option<u32>,
        tuple: FlowTuple,
        record: &SegmentRecord,
    ) -> Option<u32> {
        known.or_else(|| {
            let mid_stream = Tracked::new(tuple, record, None, &self.locals);
            self.open_mid_stream(mid_stream, record.source, record.volumes)
        })
    }

    /// Adds a connection that was open before, with what `source` and the other end have sent.
    fn open_mid_stream(
        &mut self,
        mut tracked: Tracked,
        source: Endpoint,
        volumes: [Volume; 2],
    ) -> Option<u32> {
        let now_ns = tracked.flow.first_ns();
        if self.has_evicted {
            // It may have been evicted here: what it has sent was counted then.
            tracked.learn_volumes(source, volumes);
        }
        let slot = self.open(tracked)?;
        self.claim_sockets(slot);
        self.learn_volumes(slot, source, volumes, now_ns);
        Some(slot)
    }

    /// Whether a flow can be added without evicting a live one.
    fn has_room(&self) -> bool {
        self.flows.len() < self.limit || self.flows.len_of(FINISHED) > 0
    }

    /// The flow to be evicted for one that joins this queue: the oldest finished one, else the oldest unconfirmed one; else,
    /// while pending ones take more than their share, the oldest of these; else the oldest of those that last. A flood of SYNs
    /// thus leaves three quarters to the latter, and however many of them there are, a handshake has room to be completed.
    /// What this host opened is evicted only for what it opens, or where there is nothing else; and nothing but the first two
    /// for what may be forged.
    fn least_valuable(&self, queue: usize) -> Option<u32> {
        let is_crowded = |queue| self.flows.len_of(queue) > self.limit / PENDING_SHARE;
        let order = [
            Some(FINISHED),
            Some(UNCONFIRMED),
            Some(PENDING).filter(|queue| is_crowded(*queue)),
            Some(OWN_PENDING).filter(|own| *own == queue && is_crowded(*own)),
            Some(LASTING),
            Some(PENDING),
            Some(OWN_LASTING),
            Some(OWN_PENDING),
        ];
        let may_evict = |other: &usize| queue != UNCONFIRMED || *other <= UNCONFIRMED;
        order.into_iter().flatten().filter(may_evict).find_map(|queue| self.flows.oldest(queue))
    }

    /// Takes out a flow whose ports are reused.
    fn supersede(&mut self, slot: u32, now_ns: u64) {
        self.adopt_answers(slot);
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        if tracked.supersede(now_ns) {
            self.closed(slot);
        } else {
            self.report(slot, now_ns);
        }
        self.retire(slot, now_ns);
    }

    /// Takes a flow out; an outcome that is open is reported as it is.
    fn retire(&mut self, slot: u32, now_ns: u64) {
        self.adopt_answers(slot);
        self.forget_sightings(slot);
        if self.flows.get(slot).is_some_and(Tracked::is_open) {
            self.report(slot, now_ns);
        }
        self.unchain(slot);
        let Some(hash) = self.flow(slot).map(|flow| flow.name().tuple.hash()) else { return };
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        self.flows.discard(slot);
    }

    /// Reports the outcome of a handshake as it is at `now_ns`, unless there is none or that was done.
    fn report(&mut self, slot: u32, now_ns: u64) {
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        if !tracked.has_handshake() || core::mem::replace(&mut tracked.is_reported, true) {
            return;
        }
        // An outcome that replaces another one is no further handshake.
        self.reported += u64::from(tracked.told.is_none());
        self.alarms.cancel(slot);
        if tracked.is_doubtful || tracked.flow.first_ns() <= self.missed_until_ns {
            tracked.doubt();
        }
        tracked.era = self.stats.era();
        let flow = tracked.reported_at(now_ns);
        let (peer, outcome) = (flow.peer(), flow.outcome());
        let is_up = outcome == Outcome::Established;
        if is_up && core::mem::take(&mut tracked.is_strangers) {
            self.stats.keep(peer, tracked.is_waiting, now_ns);
        }
        let account = tracked.account();
        self.stats.count(account, PeerEvent::Ended(outcome), now_ns);
        if is_up {
            let latencies = Times { rtt: flow.rtt().and_then(Leg::exact), setup: flow.setup_ns() };
            self.stats.record(peer, latencies, now_ns);
        }
        if flow.is_aborted() {
            self.stats.abort(peer, self.stats.era(), now_ns);
        }
        if let Some(refusal) = flow.refusal() {
            self.stats.refuse(account, refusal, now_ns);
        }
        self.stats.note_reset(&flow);
        // After it was counted: that it waited and that it was given up is one series of trouble.
        self.set_waiting(slot, now_ns, false);
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        let is_own = tracked.is_own;
        match tracked.told.replace(outcome) {
            None => self.events.push(Event::Handshake(flow)),
            Some(told) if told != outcome => self.events.push(Event::Correction(flow, told)),
            Some(_) => {}
        }
        self.flows.requeue(slot, if is_up { lasting(is_own) } else { FINISHED });
    }

    /// A connection was aborted after its handshake.
    fn aborted(&mut self, slot: u32) {
        let Some(tracked) = self.flows.get(slot) else { return };
        if let Some(completed_ns) = tracked.flow.completed_ns() {
            self.stats.abort(tracked.flow.peer(), tracked.era, completed_ns);
            self.stats.note_reset(&tracked.flow);
        }
    }

    fn closed(&mut self, slot: u32) {
        self.end_seen(slot);
        self.compare_witnesses(slot);
        let Some(tracked) = self.flows.get(slot) else { return };
        self.events.push(Event::Close(tracked.at(tracked.flow.changed_ns())));
        self.flows.requeue(slot, FINISHED);
    }

    /// Nothing more of a flow can be seen.
    fn end_seen(&mut self, slot: u32) {
        if let Some(tracked) = self.flows.get_mut(slot)
            && tracked.is_stuck_at_end()
        {
            self.stats.count(tracked.account(), PeerEvent::Stuck, tracked.flow.changed_ns());
        }
    }

    /// An attempt counts as unanswered from now on, or no longer.
    fn set_waiting(&mut self, slot: u32, now_ns: u64, is_waiting: bool) {
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        let is_doubtful = tracked.is_doubtful || tracked.flow.first_ns() <= self.missed_until_ns;
        let is_waiting = is_waiting && tracked.is_unanswered() && !is_doubtful;
        if core::mem::replace(&mut tracked.is_waiting, is_waiting) != is_waiting {
            self.stats.count(tracked.account(), PeerEvent::Waits { begins: is_waiting }, now_ns);
        }
    }

    /// Looks at a slot whose alarm was due at `now_ns`. The slot may hold another flow by now.
    fn wake(&mut self, slot: u32, now_ns: u64) {
        self.adopt_answers(slot);
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        // What happens is dated to when it was due, so that it does not depend on how often time passes.
        if let Some(deadline_ns) = tracked.deadline_ns().filter(|&deadline_ns| deadline_ns <= now_ns) {
            tracked.give_up(deadline_ns);
            return self.report(slot, deadline_ns);
        }
        if let Some(silent_ns) = tracked.silent_at_ns().filter(|&silent_ns| silent_ns <= now_ns) {
            self.set_waiting(slot, silent_ns, true);
        }
        // Once it was silent, whether it waits or that is in doubt, there is nothing to wake for but the end of its patience.
        let due_ns =
            |tracked: &Tracked| tracked.due_ns().filter(|&due_ns| due_ns > now_ns).or(tracked.deadline_ns());
        if let Some(due_ns) = self.flows.get(slot).and_then(due_ns) {
            self.alarms.set_apart(slot, due_ns);
        }
    }

    fn arm(&mut self, slot: u32) {
        if let Some(due_ns) = self.flows.get(slot).and_then(Tracked::due_ns) {
            self.alarms.set(slot, due_ns);
        }
    }

    /// Counts what was sent since the last report to the peer.
    fn learn_volumes(&mut self, slot: u32, source: Endpoint, volumes: [Volume; 2], now_ns: u64) {
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        let new = tracked.learn_volumes(source, volumes);
        let account = tracked.account();
        let arrived = tracked.arrived(new.retransmits);
        self.own_retransmits.all += tracked.flow.sent_here(new.retransmits);
        // What this host has sent cannot be forged: it lasts like one whose handshake was seen.
        if tracked.is_up() && tracked.flow.volumes()[0].segments > 0 {
            let queue = lasting(tracked.is_own);
            self.flows.requeue(slot, queue);
        }
        self.count_volumes(account, &new, arrived, now_ns);
    }

    /// Counts segments with data, and how many of those that were retransmits had arrived before.
    fn count_volumes(&mut self, account: Account, new: &NewVolumes, arrived: u64, now_ns: u64) {
        if new.segments > 0 {
            self.stats.count(account, PeerEvent::Sent(new.segments), now_ns);
        }
        if new.retransmits != [0; 2] {
            self.stats.count(account, PeerEvent::Retransmitted { by: new.retransmits, arrived }, now_ns);
            for (cause, retransmits) in RetransmitCause::ALL.into_iter().zip(new.causes) {
                if retransmits > 0 {
                    self.stats.count(account, PeerEvent::Caused { cause, retransmits }, now_ns);
                }
            }
        }
    }

    /// Counts the retransmits that turn out to have been needless.
    fn learn_dsacks(&mut self, slot: u32, record: &SegmentRecord) {
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        let spurious = tracked.learn_dsacks(record);
        if spurious > 0 {
            // What is not accepted is known to have arrived already.
            let is_news = tracked.data_no_loss(tracked.sender(record)).is_none();
            self.stats.count(tracked.account(), PeerEvent::Spurious { spurious, is_news }, record.time_ns);
        }
    }
}

/// Flows are found.
impl FlowTable {
    /// How many flows are known.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// How many slots there are for flows, used or not.
    pub(crate) const fn slots(&self) -> usize {
        self.flows.slots()
    }

    /// The flows in some of the slots.
    pub(crate) fn in_slots(&self, slots: Range<usize>) -> impl Iterator<Item = &Tracked> {
        self.flows.range(slots)
    }

    /// The newest flows of each queue, so many of each: those that became pending, lasting or finished lately.
    pub(crate) fn latest(&self, each: usize) -> impl Iterator<Item = &Tracked> {
        let queues = (0..QUEUES).flat_map(move |queue| self.flows.newest(queue).take(each));
        queues.filter_map(|slot| self.flows.get(slot))
    }

    /// A flow, while it is known.
    pub(crate) fn look_up(&self, name: &FlowName) -> Option<&Tracked> {
        self.flows.get(self.find(&name.tuple)?).filter(|tracked| tracked.flow.id() == name.id)
    }

    /// The flows of `peer`, the newest first.
    pub(crate) fn flows_of(&self, peer: PeerKey) -> impl Iterator<Item = &Tracked> {
        let slots = self.chains.of(peer.hash(&self.hasher), move |slot| self.is_of(slot, &peer));
        slots.filter_map(|slot| self.flows.get(slot))
    }

    /// How many flows `peer` has.
    pub(crate) fn count_of(&self, peer: &PeerKey) -> usize {
        self.chains.len_of(peer.hash(&self.hasher), |slot| self.is_of(slot, peer))
    }

    fn chain(&mut self, slot: u32, peer: PeerKey) {
        let (flows, hasher) = (&self.flows, &self.hasher);
        let peer_of = |slot: u32| flows.get(slot).map(|tracked| tracked.flow.peer());
        let hash_of = |slot: u32| peer_of(slot).map_or(0, |peer| peer.hash(hasher));
        self.chains.join(slot, peer.hash(hasher), |other| peer_of(other) == Some(peer), hash_of);
    }

    fn unchain(&mut self, slot: u32) {
        let flows = &self.flows;
        let peer_of = |slot: u32| flows.get(slot).map(|tracked| tracked.flow.peer());
        let Some(peer) = peer_of(slot) else { return };
        self.chains.leave(slot, peer.hash(&self.hasher), |other| peer_of(other) == Some(peer));
    }

    fn is_of(&self, slot: u32, peer: &PeerKey) -> bool {
        self.flow(slot).is_some_and(|flow| flow.peer() == *peer)
    }

    fn flow(&self, slot: u32) -> Option<&Flow> {
        Some(&self.flows.get(slot)?.flow)
    }

    fn find(&self, tuple: &FlowTuple) -> Option<u32> {
        let is_it = |slot: &u32| self.flow(*slot).is_some_and(|flow| flow.name().tuple == *tuple);
        self.index.find(tuple.hash(), is_it).copied()
    }
}
