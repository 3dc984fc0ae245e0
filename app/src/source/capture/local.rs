//! Which addresses are this host's, as said by a person.

use probe_common::Direction;

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
}
