//! Connects that fail on this host, before any SYN has passed an interface that is watched.

/// A field of a structure of the kernel that is read of a socket whose connect fails. The loader finds its place in the kernel's
/// BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Place {
    /// `struct sock`: the address family.
    Family = 0,
    /// The local port, in network order; 0 where none was found. Not `skc_num`: a socket gives that back before its state changes.
    LocalPort = 1,
    /// The remote port, in network order.
    RemotePort = 2,
    /// The local address.
    LocalV4 = 3,
    /// The remote address.
    RemoteV4 = 4,
    /// The local IPv6 address.
    LocalV6 = 5,
    /// The remote IPv6 address.
    RemoteV6 = 6,
    /// The network namespace, a `struct net`.
    Namespace = 7,
    /// What the application is told (`errno`).
    Error = 8,
    /// The route, a `struct dst_entry`, if there is one.
    Route = 9,
    /// `struct net`: the number of the namespace, see [`NamespaceNumber`](Self::NamespaceNumber).
    NamespaceCommon = 10,
    /// `struct ns_common`: the number.
    NamespaceNumber = 11,
    /// `struct dst_entry`: the interface.
    Device = 12,
    /// `struct net_device`: its index.
    Index = 13,
    /// `struct sock`: the protocol.
    Protocol = 14,
}

impl Place {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every place, at that of its number, with its structure and its name there. `struct inet_sock` begins with its
    /// `struct sock`, and that with its `struct sock_common`.
    pub const ALL: [(Self, &'static str, &'static str); 15] = [
        (Self::Family, "sock_common", "skc_family"),
        (Self::LocalPort, "inet_sock", "inet_sport"),
        (Self::RemotePort, "sock_common", "skc_dport"),
        (Self::LocalV4, "sock_common", "skc_rcv_saddr"),
        (Self::RemoteV4, "sock_common", "skc_daddr"),
        (Self::LocalV6, "sock_common", "skc_v6_rcv_saddr"),
        (Self::RemoteV6, "sock_common", "skc_v6_daddr"),
        (Self::Namespace, "sock_common", "skc_net"),
        (Self::Error, "sock", "sk_err"),
        (Self::Route, "sock", "sk_dst_cache"),
        (Self::NamespaceCommon, "net", "ns"),
        (Self::NamespaceNumber, "ns_common", "inum"),
        (Self::Device, "dst_entry", "dev"),
        (Self::Index, "net_device", "ifindex"),
        (Self::Protocol, "sock", "sk_protocol"),
    ];
}

/// How far a connect had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum FailureStage {
    /// The kernel had not begun to connect: there is no route, or something forbids it. It does not say which.
    Route = 0,
    /// It had begun, and no SYN has passed.
    Sending = 1,
}

/// `EADDRNOTAVAIL`: every local port is in use towards that end.
pub const NO_PORT: u32 = 99;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_at_their_numbers() {
        for (number, (place, ..)) in Place::ALL.into_iter().enumerate() {
            assert_eq!(place as usize, number);
        }
    }
}
