//! What a further interface shows of a flow that passes several of those that are watched.

use probe_common::{Endpoint, SegmentKind, SegmentRecord, Volume};

use super::flow::Flow;
use super::outcome::Role;
use super::tracked::{Syn, Tracked};
use super::traffic::Traffic;

/// Further interfaces of a flow whose own times are kept. Few packets pass more on their way through one host.
const MOST: usize = 8;
/// Answers that are kept until the interface that the flow is counted at has shown one.
const MOST_KEPT: usize = 4;

/// A flow as one further interface shows it: its times and volumes there. Nothing of it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting(Box<Tracked>);

impl Sighting {
    /// The flow as this interface alone shows it, with the ends that it has there: others, where addresses are translated in
    /// between.
    #[must_use]
    pub fn flow(&self) -> &Flow {
        &self.0.flow
    }

    /// What the local and the remote end of the flow, which is `counted` elsewhere, have sent here.
    #[must_use]
    pub fn volumes(&self, counted: &Flow) -> [Traffic; 2] {
        let here = self.flow();
        let is_opener_local = |flow: &Flow| flow.role() != Some(Role::Server);
        let is_same_way = match self.translated(counted) {
            Some(_) => is_opener_local(here) == is_opener_local(counted),
            None => here.local() == counted.local(),
        };
        let [one, other] = here.volumes();
        if is_same_way { [one, other] } else { [other, one] }
    }

    /// The ends that the flow, which is `counted` elsewhere, has here, the opener's first: if they are others.
    #[must_use]
    pub fn translated(&self, counted: &Flow) -> Option<[Endpoint; 2]> {
        let here = self.flow();
        let is_same = here.name().tuple.ends() == counted.name().tuple.ends();
        let ends = match here.role() {
            Some(Role::Server) => [here.remote(), here.local()],
            _ => [here.local(), here.remote()],
        };
        (!is_same).then_some(ends)
    }

    /// Learns from a segment. `begun` is the flow as it begins with it.
    fn note(&mut self, record: &SegmentRecord, begun: impl FnOnce() -> Tracked) {
        let seen = &mut *self.0;
        seen.learn_volumes(record.source, record.volumes);
        match record.kind {
            SegmentKind::Syn if seen.syn(record) == Syn::Opens => *seen = begun(),
            SegmentKind::Syn | SegmentKind::Retransmit => {}
            SegmentKind::SynAck => {
                seen.syn_ack(record);
            }
            SegmentKind::Ack => {
                seen.ack(record);
            }
            SegmentKind::Rst if seen.is_up() => seen.reset(record, 0),
            SegmentKind::Rst => {
                if seen.is_open() {
                    seen.early_rst(record);
                }
            }
            SegmentKind::Fin => {
                seen.fin_completes(record);
                seen.last_fin(record);
            }
        }
    }
}

/// What further interfaces have shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sightings {
    seen: Vec<Sighting>,
    /// Answers of the responder that passed elsewhere and not yet where the flow is counted, and what followed them.
    kept: Vec<SegmentRecord>,
}

impl Flow {
    /// What further interfaces show of it, in the order in which it came to them; of eight at most.
    #[must_use]
    pub fn sightings(&self) -> &[Sighting] {
        self.notes.as_ref().map_or(&[], |notes| &notes.sightings.seen)
    }
}

impl Tracked {
    /// Learns what a further interface shows. `begun` is the flow there, as it begins with this segment.
    pub(crate) fn note_sighting(&mut self, record: &SegmentRecord, begun: impl FnOnce() -> Self) {
        let sightings = &mut self.flow.notes.get_or_insert_default().sightings;
        let at = |sighting: &&mut Sighting| sighting.0.flow.interface() == record.interface;
        if let Some(sighting) = sightings.seen.iter_mut().find(at) {
            sighting.note(record, begun);
        } else if sightings.seen.len() < MOST {
            let mut first = begun();
            first.learn_volumes(record.source, record.volumes);
            sightings.seen.push(Sighting(Box::new(first)));
        }
    }

    /// Learns what both ends have sent at a further interface. `begun` is the flow there, if it is known how it begins.
    pub(crate) fn note_volumes_elsewhere(
        &mut self,
        interface: u32,
        source: Endpoint,
        volumes: [Volume; 2],
        begun: Option<Self>,
    ) {
        let sightings = &mut self.flow.notes.get_or_insert_default().sightings;
        let known = sightings.seen.iter_mut().find(|sighting| sighting.0.flow.interface() == interface);
        if let Some(sighting) = known {
            sighting.0.learn_volumes(source, volumes);
        } else if let Some(mut first) = begun.filter(|_| sightings.seen.len() < MOST) {
            first.learn_volumes(source, volumes);
            sightings.seen.push(Sighting(Box::new(first)));
        }
    }

    /// Keeps an answer that a further interface shows, with the ends that the flow has where it is counted: it is the flow's, if
    /// none comes there. Where the way back is another one, none does. Only what the responder sends is an answer: what the
    /// opener sends, as a RST when it gives up, says nothing of the other end.
    pub(crate) fn keep_answer(&mut self, record: &SegmentRecord) {
        if self.flow.syn_acks > 0 || !self.is_open() {
            return;
        }
        let kept = self.flow.notes.as_ref().map_or(0, |notes| notes.sightings.kept.len());
        let from_opener = self.is_opener(record.source);
        let is_answer = match record.kind {
            SegmentKind::SynAck => !from_opener && self.clone().syn_ack(record) == super::SynAck::Answers,
            SegmentKind::Rst => {
                !from_opener && !record.class.is_out_of_window() && self.clone().early_rst(record)
            }
            SegmentKind::Ack => from_opener && kept > 0,
            SegmentKind::Syn | SegmentKind::Fin | SegmentKind::Retransmit => false,
        };
        if is_answer && kept < MOST_KEPT {
            self.flow.notes.get_or_insert_default().sightings.kept.push(*record);
        }
    }

    /// Takes the answers that were kept.
    pub(crate) fn take_answers(&mut self) -> Vec<SegmentRecord> {
        self.flow.notes.as_mut().map(|notes| core::mem::take(&mut notes.sightings.kept)).unwrap_or_default()
    }
}
