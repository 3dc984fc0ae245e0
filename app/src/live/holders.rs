//! Which processes hold sockets, listed again and again: by the kernel's iterator, or by `/proc` where it is not there.

use tcptop_core::Input;

use crate::clock::monotonic_ns;
use crate::error::Error;
use crate::session::Session;
use crate::source::kernel::KernelSource;
use crate::source::owner::{Descriptors, OwnerSource, Owners};

/// At most one part in this many of the time is spent with reading `/proc`: with very many descriptors it is read less often.
const SHARE: u64 = 20;

/// Lists holders for the engine.
#[derive(Debug)]
pub(super) struct Holders {
    from: OwnerSource,
    descriptors: Descriptors,
    next_ns: u64,
    /// Whether a process has begun to listen since they were listed.
    pub(super) has_listener: bool,
}

impl Holders {
    pub(super) fn new(from: OwnerSource) -> Self {
        let has_listener = from != OwnerSource::None;
        Self { from, descriptors: Descriptors::default(), next_ns: 0, has_listener }
    }

    /// Whether they are to be listed: when somebody listens, and once a second where they are wanted, or where nothing else says
    /// all owners.
    pub(super) fn are_due(&self, is_second: bool, source: &KernelSource, session: &Session<'_>) -> bool {
        let is_only_source = || self.from != OwnerSource::None && !source.names_all_owners();
        self.has_listener || is_second && (session.needs_holders() || is_only_source())
    }

    /// Lists them. Returns the sentence to be said where `/proc` cannot be used.
    ///
    /// # Errors
    /// When the kernel's iterator cannot be read.
    pub(super) fn list(
        &mut self,
        source: &mut KernelSource,
        owners: &mut Owners,
        session: &mut Session<'_>,
        now_ns: u64,
    ) -> Result<Option<String>, Error> {
        let mut holders = Vec::new();
        if source.has_holders() {
            source.holders(|holder| holders.push(holder))?;
        } else if now_ns < self.next_ns || self.from == OwnerSource::None {
            return Ok(None);
        } else {
            match self.descriptors.holders() {
                Ok(listed) => holders = listed,
                Err(error) => {
                    (self.from, self.has_listener) = (OwnerSource::None, false);
                    return Ok(Some(format!("which processes hold sockets is not known: {error}")));
                }
            }
            let taken_ns = monotonic_ns().saturating_sub(now_ns);
            self.next_ns = now_ns.saturating_add(SHARE * taken_ns);
        }
        self.has_listener = false;
        session.handle(Input::Holders(&owners.holders(&holders, now_ns)));
        Ok(None)
    }
}
