//! Watches the addresses of this host, which the engine has to know before the records of connections with them.

use crate::error::Error;
use crate::session::Session;
use crate::source::netlink::Addresses;
use tcptop_core::{Cidr, HostAddresses, Input, Locals};

/// Every host's, whether loopback is up or not.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// What the engine is told of this host's addresses.
pub(super) struct AddressWatch {
    addresses: Addresses,
    /// Blocks that are this host's, whole.
    blocks: Vec<Cidr>,
    /// The indexes of watched interfaces, and those that their flows are known under.
    ids: Vec<(u32, u32)>,
    /// Whether the engine may not have all.
    is_stale: bool,
}

impl AddressWatch {
    /// Those of the network namespace, and those that a person has `named`.
    ///
    /// # Errors
    /// When the kernel reports no changes.
    pub(super) fn new(named: &[Cidr]) -> Result<Self, Error> {
        let addresses =
            Addresses::subscribe().map_err(|source| Error::System { what: "list the addresses", source })?;
        let loopback = LOOPBACK.iter().filter_map(|block| block.parse().ok());
        let blocks = loopback.chain(named.iter().copied()).collect();
        Ok(Self { addresses, blocks, ids: Vec::new(), is_stale: true })
    }

    /// The flows of interfaces with these indexes are known under these.
    pub(super) fn set_ids(&mut self, ids: Vec<(u32, u32)>) {
        (self.ids, self.is_stale) = (ids, true);
    }

    /// Tells the engine what has changed. Called when records were taken and before they are handled: the kernel reports an
    /// address before the first packet with it can pass. Where it does not list them now, it will the next time.
    pub(super) fn refresh(&mut self, session: &mut Session<'_>) {
        if !self.addresses.has_changed() && !self.is_stale {
            return;
        }
        let read = self.addresses.read().and_then(|known| Ok((known, self.addresses.read_routed()?)));
        self.is_stale = read.is_err();
        if let Ok((known, routed)) = read {
            let known = known.into_iter().map(|(index, address)| (self.id(index), address));
            let host = HostAddresses::new(known, self.blocks.iter().copied().chain(routed).collect());
            session.handle(Input::Locals(&Locals::Host(host)));
        }
    }

    fn id(&self, index: u32) -> u32 {
        self.ids.iter().find(|(known, _)| *known == index).map_or(index, |(_, id)| *id)
    }
}
