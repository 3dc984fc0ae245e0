//! One TCP connection attempt and what follows it: its identity, its handshake, what has become of it.

mod cause;
mod event;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod flow;
mod handshake;
mod icmp;
mod key;
mod leg;
mod of_socket;
mod outcome;
mod oversized;
mod reset;
mod sighting;
mod tracked;
mod traffic;
mod witness;

pub(crate) use cause::CauseTerm;
pub use cause::{RetransmitCause, RetransmitCauses};
pub use event::{Event, NoLoss, Retransmit, RetransmitKind, SentAgain};
pub(crate) use flow::ABORT_NS;
pub use flow::{Flow, FlowName};
pub(crate) use handshake::Handshake;
pub use icmp::{IcmpError, IcmpReason, PathMtu};
pub(crate) use key::{EndpointHasher, FlowTuple};
pub use key::{PeerKey, ShownEndpoint};
pub use leg::Leg;
pub use outcome::{Outcome, Party, Role};
pub(crate) use reset::ResetSign;
pub use reset::{Reset, ResetStage};
pub use sighting::Sighting;
pub(crate) use tracked::{Ack, Icmp, NewVolumes, Syn, SynAck, Tracked};
pub use traffic::Traffic;
pub use witness::RetransmitWitnesses;
