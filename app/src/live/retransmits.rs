//! What the kernel itself says of retransmits, beside the wire.

use std::collections::VecDeque;

use probe_common::Record;
use probe_common::retransmit::KernelRetransmit;
use tcptop_core::Input;

use crate::error::Error;
use crate::session::Session;
use crate::source::kernel::{KernelRetransmits, KernelSource};
use crate::source::own_network_namespace;

/// Retransmits that are read at once.
const BATCH: usize = 1_024;

/// Hands retransmits of the own network namespace to the engine, each between the records of before and those of after.
pub(super) struct Retransmits {
    kernel: Option<KernelRetransmits>,
    own: Option<u32>,
    /// Those that later records are waited for.
    waiting: VecDeque<KernelRetransmit>,
    missed: u64,
}

impl Retransmits {
    /// Asks the kernel, if that is wanted. Returns also why it does not say although it is: a sentence.
    pub(super) fn new(wanted: bool, source: &mut KernelSource) -> (Self, Option<String>) {
        let (kernel, lacking) = match wanted.then(|| source.watch_retransmits()) {
            Some(Ok(kernel)) => (Some(kernel), None),
            Some(Err(reason)) => (None, Some(reason)),
            None => (None, None),
        };
        let own = own_network_namespace();
        let unknown =
            "what the kernel retransmits is not known: /proc does not say which network namespace this is";
        let (kernel, lacking) = match (own, kernel) {
            (None, Some(_)) => (None, Some(unknown.to_owned())),
            (_, kernel) => (kernel, lacking),
        };
        (Self { kernel, own, waiting: VecDeque::new(), missed: 0 }, lacking)
    }

    /// Reads what the kernel has told since the last time, and how many it could not.
    ///
    /// # Errors
    /// When its counters cannot be read.
    pub(super) fn read(&mut self) -> Result<(), Error> {
        self.take();
        if let Some(kernel) = &self.kernel {
            self.missed = kernel.retold()?.missed_records;
        }
        Ok(())
    }

    fn take(&mut self) {
        let Self { kernel: Some(kernel), own, waiting, .. } = self else { return };
        let mut keep = |record: &KernelRetransmit| {
            if Some(record.namespace) == *own {
                waiting.push_back(*record);
            }
        };
        while kernel.drain(BATCH, &mut keep) == BATCH {}
    }

    /// Hands on records, and each retransmit before what came after it: a connection that ends has all of its own. Returns false
    /// once as many handshakes were reported as were asked for.
    pub(super) fn handle_with(&mut self, mut records: &[Record], session: &mut Session<'_>) -> bool {
        // What came before these records is told by now.
        self.take();
        while let Some(first) = self.waiting.front().copied() {
            let Some(before) = records.iter().position(|record| record.time_ns() > first.time_ns) else {
                break;
            };
            let (earlier, later) = records.split_at(before);
            if !session.handle(Input::Records(earlier)) {
                return false;
            }
            self.waiting.pop_front();
            session.handle(Input::KernelRetransmits { records: &[first], missed: self.missed });
            records = later;
        }
        session.handle(Input::Records(records))
    }

    /// Hands on those that are left: the records of what they retransmit were handled.
    pub(super) fn flush(&mut self, session: &mut Session<'_>) {
        if self.kernel.is_some() {
            let records = self.waiting.make_contiguous();
            session.handle(Input::KernelRetransmits { records, missed: self.missed });
            self.waiting.clear();
        }
    }
}
