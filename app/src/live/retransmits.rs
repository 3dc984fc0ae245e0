//! What the kernel itself says of retransmits, beside the wire.

use probe_common::retransmit::KernelRetransmit;
use tcptop_core::Input;

use crate::error::Error;
use crate::session::Session;
use crate::source::kernel::{KernelRetransmits, KernelSource};
use crate::source::own_network_namespace;

/// Retransmits that are handed on together.
const BATCH: usize = 1_024;

/// Hands retransmits of the own network namespace to the engine.
pub(super) struct Retransmits {
    kernel: Option<KernelRetransmits>,
    own: Option<u32>,
    records: Vec<KernelRetransmit>,
}

impl Retransmits {
    /// Asks the kernel, if that is wanted. Returns also why it does not say although it is: a sentence.
    pub(super) fn new(wanted: bool, source: &mut KernelSource) -> (Self, Option<String>) {
        let (kernel, lacking) = match wanted.then(|| source.watch_retransmits()) {
            Some(Ok(kernel)) => (Some(kernel), None),
            Some(Err(reason)) => (None, Some(reason)),
            None => (None, None),
        };
        (Self { kernel, own: own_network_namespace(), records: Vec::new() }, lacking)
    }

    /// Hands on what the kernel has told since the last time.
    ///
    /// # Errors
    /// When its counters cannot be read.
    pub(super) fn drain(&mut self, session: &mut Session<'_>) -> Result<(), Error> {
        let Self { kernel: Some(kernel), own, records } = self else { return Ok(()) };
        loop {
            records.clear();
            let taken = kernel.drain(BATCH, |record| {
                if Some(record.namespace) == *own {
                    records.push(*record);
                }
            });
            let missed = kernel.retold()?.missed_records;
            session.handle(Input::KernelRetransmits { records, missed });
            if taken < BATCH {
                return Ok(());
            }
        }
    }
}
