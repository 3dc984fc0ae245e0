//! Which addresses are this host's, as said by a person.

use probe_common::segment::bytes;
use probe_common::{Direction, Segment};

use crate::flow::Cidr;

/// The addresses of this host.
#[derive(Clone, Debug, Default)]
pub struct Locals(pub Vec<Cidr>);

impl Locals {
    /// Which way a segment went past this host.
    #[must_use]
    pub fn direction(&self, segment: &Segment) -> Direction {
        let is_local = |address| self.0.iter().any(|cidr| cidr.contains(address));
        match (is_local(bytes(segment.source)), is_local(bytes(segment.destination))) {
            (true, true) => Direction::Local,
            (true, false) => Direction::Egress,
            (false, true) => Direction::Ingress,
            (false, false) => Direction::Unknown,
        }
    }
}
