//! What the rows of the first table are: peers, or groups of peers.

use core::fmt;
use core::str::FromStr;
use std::net::Ipv6Addr;

use crate::cidr::Cidr;
use crate::flow::{PeerKey, Role};
use crate::owner::{PeerOwners, RowOwner};

/// Length of a subnet's prefix.
const V4_SUBNET_BITS: u8 = 24;
const V6_SUBNET_BITS: u8 = 64;

/// How peers are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// Not at all: remote address, service port and who connects to whom.
    #[default]
    Peer,
    /// Remote address.
    Host,
    /// Service port and role.
    Service,
    /// The remote address's network: 24 bits of IPv4, 64 of IPv6.
    Subnet,
    /// What this host is to the connections.
    Role,
    /// Interface.
    Interface,
    /// The process on this host that the connections belong to.
    Process,
    /// The container that it runs in.
    Container,
}

/// One row of the first table. Interfaces are never added up: a packet that passes two of them would count twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKey {
    /// One peer.
    Peer(PeerKey),
    /// One remote address.
    Host {
        /// Index of the interface.
        interface: u32,
        /// IPv4 mapped into IPv6, in network order.
        address: [u8; 16],
    },
    /// One service.
    Service {
        /// Index of the interface.
        interface: u32,
        /// Local port for a service of this host, else the remote one.
        port: u16,
        /// What this host is to their connections.
        role: Role,
    },
    /// One network.
    Subnet {
        /// Index of the interface.
        interface: u32,
        /// Which one.
        network: Cidr,
    },
    /// All to whose connections this host is the same.
    Role {
        /// Index of the interface.
        interface: u32,
        /// What it is.
        role: Role,
    },
    /// All of one interface.
    Interface(u32),
    /// All whose connections belong to the same process.
    Process {
        /// Index of the interface.
        interface: u32,
        /// Which one.
        owner: RowOwner,
    },
    /// All whose connections belong to processes in the same container.
    Container {
        /// Index of the interface.
        interface: u32,
        /// Which one.
        owner: RowOwner,
    },
}

impl Group {
    /// Every way to group, in the order in which a key switches them.
    pub const ALL: [Self; 8] = [
        Self::Peer,
        Self::Host,
        Self::Service,
        Self::Subnet,
        Self::Role,
        Self::Interface,
        Self::Process,
        Self::Container,
    ];

    /// Its name on the command line and on the screen.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Host => "host",
            Self::Service => "service",
            Self::Subnet => "subnet",
            Self::Role => "role",
            Self::Interface => "interface",
            Self::Process => "process",
            Self::Container => "container",
        }
    }

    /// The one after it; after the last, the first.
    #[must_use]
    pub fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    /// The row that a peer belongs to; `None` where that depends on more than its key.
    #[must_use]
    pub fn row(self, peer: &PeerKey) -> Option<RowKey> {
        (!self.is_of_owners()).then(|| self.row_with(peer, PeerOwners::default()))
    }

    /// Whether rows are those of processes or of containers: a peer may belong to another row than before.
    pub(crate) const fn is_of_owners(self) -> bool {
        matches!(self, Self::Process | Self::Container)
    }

    /// The row that a peer with these owners belongs to.
    pub(crate) fn row_with(self, peer: &PeerKey, owners: PeerOwners) -> RowKey {
        let PeerKey { interface, service, role } = *peer;
        match self {
            Self::Peer => RowKey::Peer(*peer),
            Self::Host => RowKey::Host { interface, address: service.address },
            Self::Service => RowKey::Service { interface, port: service.port, role },
            Self::Subnet => {
                let network = Cidr::around(service.address, V4_SUBNET_BITS, V6_SUBNET_BITS);
                RowKey::Subnet { interface, network }
            }
            Self::Role => RowKey::Role { interface, role },
            Self::Interface => RowKey::Interface(interface),
            Self::Process => RowKey::Process { interface, owner: owners.process },
            Self::Container => RowKey::Container { interface, owner: owners.container },
        }
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|group| group.name() == text);
        known.ok_or_else(|| format!("must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl RowKey {
    /// What kind of row it is.
    #[must_use]
    pub const fn group(&self) -> Group {
        match self {
            Self::Peer(_) => Group::Peer,
            Self::Host { .. } => Group::Host,
            Self::Service { .. } => Group::Service,
            Self::Subnet { .. } => Group::Subnet,
            Self::Role { .. } => Group::Role,
            Self::Interface(_) => Group::Interface,
            Self::Process { .. } => Group::Process,
            Self::Container { .. } => Group::Container,
        }
    }

    /// Index of the interface.
    #[must_use]
    pub const fn interface(&self) -> u32 {
        match self {
            Self::Peer(peer) => peer.interface,
            Self::Host { interface, .. }
            | Self::Service { interface, .. }
            | Self::Subnet { interface, .. }
            | Self::Role { interface, .. }
            | Self::Process { interface, .. }
            | Self::Container { interface, .. }
            | Self::Interface(interface) => *interface,
        }
    }

    /// Whether this peer is one of the row's. `owners` returns whose its connections are.
    #[must_use]
    pub(crate) fn holds(&self, peer: &PeerKey, owners: impl FnOnce(&PeerKey) -> PeerOwners) -> bool {
        let group = self.group();
        let owners = if group.is_of_owners() { owners(peer) } else { PeerOwners::default() };
        group.row_with(peer, owners) == *self
    }
}

/// As people write it: `10.20.3.14:5432`, `10.20.3.14→:443`, `10.20.3.0/24`. An interface is `#` and its index, and a process or
/// a container what it is: their names are not known here.
impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => write!(f, "{peer}"),
            Self::Host { address, .. } => write!(f, "{}", Ipv6Addr::from(*address).to_canonical()),
            Self::Service { port, role: Role::Server, .. } => write!(f, "*→:{port}"),
            Self::Service { port, role: Role::Forwarded, .. } => write!(f, "→*:{port}"),
            Self::Service { port, role: Role::Client | Role::Local | Role::Observer, .. } => {
                write!(f, "*:{port}")
            }
            Self::Subnet { network, .. } => write!(f, "{network}"),
            Self::Role { role, .. } => f.write_str(role.name()),
            Self::Interface(index) => write!(f, "#{index}"),
            Self::Process { owner: RowOwner::One(_), .. } => f.write_str("a process"),
            Self::Process { owner: RowOwner::Several, .. } => f.write_str("several processes"),
            Self::Container { owner: RowOwner::One(_), .. } => f.write_str("a container"),
            Self::Container { owner: RowOwner::Several, .. } => f.write_str("several containers"),
            Self::Process { owner: RowOwner::Unknown, .. }
            | Self::Container { owner: RowOwner::Unknown, .. } => f.write_str("process not known"),
        }
    }
}
