//! The labels that attempts, connections and retransmits have in common, each with a bound.

use std::fmt::{self, Write};
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::bounded::Bounded;
use crate::output::RenderContext;
use tcptop_core::{Flow, Outcome, Party, Workload};

/// The value of a label that stands for all that have no series of their own.
pub(super) const OTHER: &str = "other";
/// The most interfaces that have series of their own: on hosts of containers they come and go.
const INTERFACES: usize = 32;
/// For each port that may have series, so many combinations of interface, role, port and owner may.
const PLACES: usize = 4;

/// A label that says whose connections they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerLabel {
    /// The systemd unit.
    Unit,
    /// The container.
    Container,
    /// The namespace of the Kubernetes pod.
    Namespace,
    /// The Kubernetes pod.
    Pod,
}

impl OwnerLabel {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Unit, Self::Container, Self::Namespace, Self::Pod];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Namespace => "namespace",
            Self::Pod => "pod",
        }
    }

    fn of(self, workload: &Workload) -> Option<&str> {
        match self {
            Self::Unit => &workload.unit,
            Self::Container => &workload.container,
            Self::Namespace => &workload.namespace,
            Self::Pod => &workload.pod,
        }
        .as_deref()
    }
}

/// A service port, or all that have no series of their own.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PortLabel {
    Port(u16),
    Other,
}

impl EncodeLabelValue for PortLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(encoder, "{port}"),
            Self::Other => encoder.write_str(OTHER),
        }
    }
}

/// Whose connections they are, by the labels that were asked for.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OwnerLabels(Arc<[(&'static str, String)]>);

impl EncodeLabelSet for OwnerLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        (&self.0[..]).encode(encoder)
    }
}

/// Where a connection belongs, on every interface.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct Service {
    role: &'static str,
    port: PortLabel,
    #[prometheus(flatten)]
    owner: OwnerLabels,
}

/// Where a connection belongs.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct Place {
    interface: String,
    #[prometheus(flatten)]
    pub(super) service: Service,
}

/// What was folded into the value `other`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct FoldedLabels {
    pub(super) label: &'static str,
}

/// All places that have series.
#[derive(Debug)]
pub(super) struct Places {
    labels: Vec<OwnerLabel>,
    interfaces: Bounded<String>,
    ports: Bounded<u16>,
    owners: Bounded<OwnerLabels>,
    places: Bounded<Place>,
    pub(super) folded: Family<FoldedLabels, Counter>,
}

impl Places {
    /// None yet. Up to so many ports will have series of their own, and as many owners, of which these labels tell.
    pub(super) fn new(ports: usize, labels: Vec<OwnerLabel>) -> Self {
        Self {
            labels,
            interfaces: Bounded::new(INTERFACES),
            ports: Bounded::new(ports),
            owners: Bounded::new(ports),
            places: Bounded::new(PLACES * ports),
            folded: Family::default(),
        }
    }

    /// The place of an attempt that was decided.
    pub(super) fn of_attempt(&mut self, flow: &Flow, context: &RenderContext) -> Place {
        let (port, owner) = (flow.peer().service.port, self.owner(flow));
        let is_established = flow.outcome() == Outcome::Established;
        self.ports.has(&port, is_established);
        self.owners.has(&owner, is_established);
        let interface = context.interface(flow.interface());
        self.interfaces.has(&interface, true);
        let place = self.bound(interface, role(flow), port, owner, true);
        self.places.has(&place, true);
        self.or_other(place, true)
    }

    /// The place of what happens to a connection.
    pub(super) fn of(&self, flow: &Flow, context: &RenderContext) -> Place {
        let interface = context.interface(flow.interface());
        let place = self.bound(interface, role(flow), flow.peer().service.port, self.owner(flow), false);
        self.or_other(place, false)
    }

    /// The label of a port as it is.
    pub(super) fn port(&self, port: Option<u16>) -> PortLabel {
        port.filter(|port| self.ports.is_own(port)).map_or(PortLabel::Other, PortLabel::Port)
    }

    /// The labels, each that has no series of its own as `other`, and counted if that is to be.
    fn bound(
        &self,
        interface: String,
        role: &'static str,
        port: u16,
        owner: OwnerLabels,
        counts: bool,
    ) -> Place {
        let port = self.port(Some(port));
        let has_interface = self.interfaces.is_own(&interface);
        let has_owner = self.labels.is_empty() || self.owners.is_own(&owner);
        if counts {
            let other = port == PortLabel::Other;
            for (label, is_folded) in [("interface", !has_interface), ("port", other), ("owner", !has_owner)]
            {
                if is_folded {
                    self.folded.get_or_create(&FoldedLabels { label }).inc();
                }
            }
        }
        let interface = if has_interface { interface } else { OTHER.to_owned() };
        let owner = if has_owner { owner } else { self.other_owner() };
        Place { interface, service: Service { role, port, owner } }
    }

    fn or_other(&self, place: Place, counts: bool) -> Place {
        if self.places.is_own(&place) {
            return place;
        }
        if counts {
            self.folded.get_or_create(&FoldedLabels { label: "combination" }).inc();
        }
        let service = Service { role: place.service.role, port: PortLabel::Other, owner: self.other_owner() };
        Place { interface: OTHER.to_owned(), service }
    }

    /// A label is empty where there is no such thing, or it is not known.
    fn owner(&self, flow: &Flow) -> OwnerLabels {
        let owner = flow.owner(Party::Local);
        let workload = owner.and_then(|owner| owner.process.workload.as_deref());
        let value = |label: &OwnerLabel| workload.and_then(|workload| label.of(workload)).unwrap_or_default();
        OwnerLabels(self.labels.iter().map(|label| (label.name(), value(label).to_owned())).collect())
    }

    fn other_owner(&self) -> OwnerLabels {
        OwnerLabels(self.labels.iter().map(|label| (label.name(), OTHER.to_owned())).collect())
    }
}

pub(super) fn role(flow: &Flow) -> &'static str {
    flow.role().map_or("unknown", |role| role.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> OwnerLabels {
        OwnerLabels([("unit", name.to_owned())].into())
    }

    fn attempt(places: &mut Places, interface: &str, port: u16, name: &str) -> Place {
        places.ports.has(&port, true);
        places.owners.has(&owner(name), true);
        places.interfaces.has(&interface.to_owned(), true);
        let place = places.bound(interface.to_owned(), "client", port, owner(name), true);
        places.places.has(&place, true);
        places.or_other(place, true)
    }

    fn folded(places: &Places, label: &'static str) -> u64 {
        places.folded.get_or_create(&FoldedLabels { label }).get()
    }

    #[test]
    fn every_label_is_bounded_and_what_is_folded_is_counted() {
        let mut places = Places::new(2, vec![OwnerLabel::Unit]);
        let first = attempt(&mut places, "eth0", 443, "nginx.service");
        assert_eq!(
            (first.service.port, &first.service.owner),
            (PortLabel::Port(443), &owner("nginx.service"))
        );
        attempt(&mut places, "eth0", 80, "b.service");
        let third = attempt(&mut places, "eth0", 81, "c.service");
        assert_eq!((third.service.port, &third.service.owner), (PortLabel::Other, &owner(OTHER)));
        assert_eq!(["interface", "port", "owner"].map(|label| folded(&places, label)), [0, 1, 1]);
        for number in 0..INTERFACES + 5 {
            attempt(&mut places, &format!("veth{number}"), 443, "nginx.service");
        }
        assert_eq!(folded(&places, "interface"), 6, "eth0 is one of them");
        // 2 ports have 8 places: three were taken before.
        assert!(places.places.is_own(&first));
        assert_eq!(folded(&places, "combination"), u64::try_from(INTERFACES + 5 - 5).unwrap());
    }
}
