//! A packet that passes several of the watched interfaces is of one flow, and counts once: at the interface where the flow was
//! seen first. What the others show are its [`Sighting`](crate::Sighting)s.
//!
//! Two flows are one if they have the same ends and the same initial sequence number, or, where addresses are translated in
//! between, a SYN of one socket (its cookie) with the same number. Of a connection that was open before, the number is not
//! known: the ends must do. A record of an answer may come from a further interface before it comes from the one that counts,
//! as answers pass them in the reverse order, and it may not come from there at all, where the way back is another one. So it is
//! kept, and handled when the opener goes on or time is up.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use probe_common::{Endpoint, SegmentKind, SegmentRecord, Volume};

use super::FlowTable;
use crate::flow::{FlowTuple, Handshake, Syn, SynAck, Tracked};

/// Where what a record says is counted.
pub(super) enum Place {
    /// At its own interface, with the flow there, if one is known.
    Here(Option<u32>),
    /// At another interface, with this flow.
    Elsewhere(u32),
}

/// Flows with other ends at further interfaces.
#[derive(Debug, Default)]
pub(super) struct Translated {
    by_tuple: BTreeMap<FlowTuple, Alias>,
    /// The flow that a socket has opened last.
    by_cookie: HashMap<u64, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Alias {
    slot: u32,
    /// The end that opens it, there.
    opener: Endpoint,
}

impl FlowTable {
    /// Where what this segment says is counted. A flow whose ports it shows to be reused at another interface is taken out.
    pub(super) fn place(&mut self, tuple: &FlowTuple, record: &SegmentRecord) -> Place {
        let own = self.find(tuple);
        if !self.watched.are_several() {
            return Place::Here(own);
        }
        let is_opening = matches!(record.kind, SegmentKind::Syn | SegmentKind::SynAck);
        if own.is_some_and(|slot| !is_opening || self.is_continued(slot, record)) {
            return Place::Here(own);
        }
        if let Some(slot) = self.translated_slot(tuple, record, is_opening) {
            return Place::Elsewhere(slot);
        }
        if !is_opening {
            return self.elsewhere(tuple).map_or(Place::Here(None), Place::Elsewhere);
        }
        let same_ends = self.with_same_ends(tuple);
        if let Some(&slot) = same_ends.iter().find(|slot| self.is_continued(**slot, record)) {
            if let Some(own) = own.filter(|_| record.kind == SegmentKind::Syn) {
                self.supersede(own, record.time_ns);
            }
            // That may have made room by taking it out.
            return if self.flows.get(slot).is_some() { Place::Elsewhere(slot) } else { Place::Here(None) };
        }
        match (record.kind, own, same_ends.first()) {
            // It answers another SYN than that of the connection that is known, as where that is counted.
            (SegmentKind::SynAck, None, Some(&slot)) if !self.may_all_be_followed(&same_ends) => {
                Place::Elsewhere(slot)
            }
            _ => Place::Here(own),
        }
    }

    /// The flow with these ends at another interface, if there is one: the one that changed last, of those that go on.
    pub(super) fn elsewhere(&self, tuple: &FlowTuple) -> Option<u32> {
        if !self.watched.are_several() {
            return None;
        }
        let key = |slot: &u32| {
            let tracked = self.flows.get(*slot);
            tracked.map(|tracked| (tracked.is_open() || tracked.is_up(), tracked.flow.changed_ns()))
        };
        self.with_same_ends(tuple).into_iter().max_by_key(key)
    }

    fn with_same_ends(&self, tuple: &FlowTuple) -> Vec<u32> {
        let is_it = |slot: &&u32| {
            let known = self.flow(**slot).map(|flow| flow.name().tuple);
            known.is_some_and(|known| known.ends() == tuple.ends() && known.interface() != tuple.interface())
        };
        self.index.iter_hash(tuple.hash()).filter(is_it).copied().collect()
    }

    fn may_all_be_followed(&self, slots: &[u32]) -> bool {
        slots.iter().all(|slot| self.flows.get(*slot).is_none_or(Tracked::may_be_followed))
    }

    /// Whether this SYN or SYN-ACK is one of the flow, as far as its numbers show.
    fn is_continued(&self, slot: u32, record: &SegmentRecord) -> bool {
        let Some(tracked) = self.flows.get(slot) else { return false };
        let is_again = match record.kind {
            SegmentKind::Syn => {
                tracked.flow.client_isn() == Some(record.seq) && tracked.is_opener(record.source)
            }
            _ => tracked.flow.server_isn() == Some(record.seq) && !tracked.is_opener(record.source),
        };
        // What is open goes on with what fits it, and what is over with its own.
        let (mut trial, is_up) = (tracked.clone(), tracked.is_up());
        is_again
            || match record.kind {
                SegmentKind::Syn => trial.syn(record) != Syn::Opens,
                _ if is_up && !tracked.has_handshake() => false,
                _ => trial.after_refusal(record).is_some() || trial.syn_ack(record) != SynAck::Unmatched,
            }
    }

    /// The flow that has other ends where it is counted. A SYN of the same socket and with the same number shows it.
    fn translated_slot(
        &mut self,
        tuple: &FlowTuple,
        record: &SegmentRecord,
        is_opening: bool,
    ) -> Option<u32> {
        if let Some(alias) = self.translated.by_tuple.get(tuple).copied() {
            let there = self.as_counted(alias, record);
            if there.is_some_and(|there| !is_opening || self.is_continued(alias.slot, &there)) {
                return Some(alias.slot);
            }
            self.translated.by_tuple.remove(tuple);
        }
        if record.kind != SegmentKind::Syn || record.cookie == 0 {
            return None;
        }
        let slot = *self.translated.by_cookie.get(&record.cookie)?;
        let flow = self.flow(slot)?;
        let is_other = flow.name().tuple.ends() != tuple.ends() && flow.interface() != tuple.interface();
        let is_it = is_other && flow.client_isn() == Some(record.seq);
        is_it.then(|| {
            let alias = Alias { slot, opener: record.source };
            self.translated.by_tuple.insert(*tuple, alias);
            slot
        })
    }

    /// The segment with the ends that the flow has where it is counted.
    fn as_counted(&self, alias: Alias, record: &SegmentRecord) -> Option<SegmentRecord> {
        let tracked = self.flows.get(alias.slot)?;
        let ends = [tracked.flow.local(), tracked.flow.remote()];
        let (opener, responder) =
            if tracked.is_opener(ends[0]) { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
        let (source, destination) =
            if record.source == alias.opener { (opener, responder) } else { (responder, opener) };
        Some(SegmentRecord { source, destination, ..*record })
    }

    /// Remembers which flow a socket has opened.
    pub(super) fn note_opener(&mut self, tuple: &FlowTuple, record: &SegmentRecord) {
        let is_needed = record.kind == SegmentKind::Syn && record.cookie != 0 && self.watched.are_several();
        if is_needed && let Some(slot) = self.find(tuple) {
            self.translated.by_cookie.insert(record.cookie, slot);
        }
    }

    /// Learns from a segment at a further interface of a flow.
    pub(super) fn sighted(&mut self, slot: u32, tuple: FlowTuple, record: &SegmentRecord) {
        let alias = self.translated.by_tuple.get(&tuple).copied();
        let counted = alias.and_then(|alias| self.as_counted(alias, record)).unwrap_or(*record);
        let locals = &self.locals;
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        tracked.note_sighting(record, || {
            let handshake = match record.kind {
                SegmentKind::Syn => Some(Handshake::opened_by(record)),
                SegmentKind::SynAck => Some(Handshake::answered_by(record)),
                _ => None,
            };
            Tracked::new(tuple, record, handshake, locals)
        });
        tracked.keep_answer(&SegmentRecord { interface: tracked.flow.interface(), ..counted });
        // The socket may be known here only.
        self.learn_owner(slot, &counted);
    }

    /// Learns what both ends have sent at a further interface of a flow.
    pub(super) fn sighted_volumes(
        &mut self,
        slot: u32,
        interface: u32,
        source: Endpoint,
        volumes: [Volume; 2],
        begun: Option<Tracked>,
    ) {
        if let Some(tracked) = self.flows.get_mut(slot) {
            tracked.note_volumes_elsewhere(interface, source, volumes, begun);
        }
    }

    /// Handles what answered a flow at a further interface, where nothing answers it here.
    pub(super) fn adopt_answers(&mut self, slot: u32) {
        let Some(tracked) = self.flows.get_mut(slot).filter(|tracked| tracked.is_unanswered()) else {
            return;
        };
        let tuple = tracked.flow.name().tuple;
        for record in tracked.take_answers() {
            match record.kind {
                SegmentKind::SynAck => self.syn_ack(Some(slot), tuple, &record),
                SegmentKind::Ack => self.ack(Some(slot), &record),
                _ => self.rst(Some(slot), tuple, &record),
            }
        }
    }

    /// Before a segment of a flow is handled where it is counted: if its answer has passed by another way, that comes first.
    pub(super) fn adopt_before(&mut self, slot: u32, record: &SegmentRecord) {
        if !self.watched.are_several() {
            return;
        }
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        if tracked.is_opener(record.source) {
            self.adopt_answers(slot);
        } else if matches!(record.kind, SegmentKind::SynAck | SegmentKind::Rst) {
            tracked.take_answers();
        }
    }

    /// Forgets how a flow that is taken out can be found elsewhere.
    pub(super) fn forget_sightings(&mut self, slot: u32) {
        if !self.watched.are_several() {
            return;
        }
        let Some(flow) = self.flows.get(slot).map(|tracked| &tracked.flow) else { return };
        let translated = &mut self.translated;
        for sighting in flow.sightings() {
            let tuple = sighting.flow().name().tuple;
            if translated.by_tuple.get(&tuple).is_some_and(|alias| alias.slot == slot) {
                translated.by_tuple.remove(&tuple);
            }
        }
        let sockets = flow.sockets.iter();
        let cookies = sockets.flat_map(|sockets| {
            [probe_common::Side::Low, probe_common::Side::High].map(|side| sockets.cookie(side))
        });
        for cookie in cookies.flatten() {
            if translated.by_cookie.get(&cookie) == Some(&slot) {
                translated.by_cookie.remove(&cookie);
            }
        }
    }
}
