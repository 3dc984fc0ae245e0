//! Which addresses are this host's, as said by a person.

use probe_common::{Direction, Endpoint};

use tcptop_core::Cidr;

/// The addresses of this host.
#[derive(Clone, Debug, Default)]
pub struct Locals(pub Vec<Cidr>);

impl Locals {
    /// Which way a segment between these addresses went past this host.
    #[must_use]
    pub fn direction(&self, source: [u8; 16], destination: [u8; 16]) -> Direction {
        let is_local = |address| self.0.iter().any(|cidr| cidr.contains(address));
        match (is_local(source), is_local(destination)) {
            (true, true) => Direction::Local,
            (true, false) => Direction::Egress,
            (false, true) => Direction::Ingress,
            (false, false) => Direction::Unknown,
        }
    }

    /// The same where a person has named some, or else `said` is not known; else that.
    #[must_use]
    pub fn known_direction(&self, said: Direction, source: Endpoint, destination: Endpoint) -> Direction {
        if said != Direction::Unknown && self.0.is_empty() {
            return said;
        }
        self.direction(source.address, destination.address)
    }
}
