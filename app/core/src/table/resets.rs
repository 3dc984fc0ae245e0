//! Why sockets of this host send RSTs, where the kernel says it after the RST.

use std::collections::VecDeque;

use probe_common::{ResetRecord, SegmentRecord};

use super::FlowTable;

/// RSTs whose reason may follow. It does so within microseconds.
const KEPT: usize = 64;

/// Flows whose sockets have sent a RST: a cookie, a slot, and the number of the flow, the latest last.
#[derive(Debug, Default)]
pub(super) struct Resetting(VecDeque<(u64, u32, u64)>);

impl Resetting {
    fn note(&mut self, cookie: u64, slot: u32, id: u64) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back((cookie, slot, id));
    }

    fn take(&mut self, cookie: u64) -> Option<(u32, u64)> {
        let place = self.0.iter().rposition(|(known, ..)| *known == cookie)?;
        self.0.remove(place).map(|(_, slot, id)| (slot, id))
    }
}

impl FlowTable {
    /// A socket of this host has sent the RST that ended a flow: why may follow.
    pub(super) fn await_reason(&mut self, slot: u32, rst: &SegmentRecord) {
        if rst.cookie != 0
            && let Some(flow) = self.flow(slot)
        {
            let id = flow.id();
            self.resetting.note(rst.cookie, slot, id);
        }
    }

    /// The kernel says why a socket has sent the RST that was seen last of it. What was reported of that and was not polled yet
    /// says so, too.
    pub(super) fn explain_reset(&mut self, said: &ResetRecord) {
        let Some((slot, id)) = self.resetting.take(said.cookie) else { return };
        let tracked = self.flows.get_mut(slot).filter(|tracked| tracked.flow.id() == id);
        if let (Some(tracked), Some(reason)) = (tracked, said.reason)
            && tracked.learn_reset_reason(reason)
        {
            self.stats.note_reset(&tracked.flow);
            let reported = self.events.iter_mut().rev().map(|event| event.flow_mut());
            reported.filter(|flow| flow.id() == id).for_each(|flow| _ = flow.learn_reset_reason(reason));
        }
    }
}
