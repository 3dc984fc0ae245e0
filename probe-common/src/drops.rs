//! Segments that the host itself drops: which fields of the kernel say so, and what is counted of them.

/// A field of a structure of the kernel that is read of a dropped packet. The loader finds its place in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Place {
    /// `struct sk_buff`: the EtherType, in network order.
    Protocol = 0,
    /// Where its IP header is, from the beginning of its memory.
    NetworkHeader = 1,
    /// Its memory.
    Head = 2,
    /// Its interface, if it has one.
    Device = 3,
    /// The socket that it is of, if it has one.
    Socket = 4,
    /// `struct net_device`: its network namespace.
    DeviceNamespace = 5,
    /// `struct sock`: the same.
    SocketNamespace = 6,
    /// `struct net`: the number of the namespace, see [`NamespaceNumber`](Self::NamespaceNumber).
    Namespace = 7,
    /// `struct ns_common`: the number, which is the inode of `/proc/self/ns/net`.
    NamespaceNumber = 8,
    /// `struct sk_buff`: the index of the interface that it came in through; 0 if it did not come in.
    CameIn = 9,
}

impl Place {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every place, at that of its number, with its structure and its name there.
    pub const ALL: [(Self, &'static str, &'static str); 10] = [
        (Self::Protocol, "sk_buff", "protocol"),
        (Self::NetworkHeader, "sk_buff", "network_header"),
        (Self::Head, "sk_buff", "head"),
        (Self::Device, "sk_buff", "dev"),
        (Self::Socket, "sk_buff", "sk"),
        (Self::DeviceNamespace, "net_device", "nd_net"),
        (Self::SocketNamespace, "sock_common", "skc_net"),
        (Self::Namespace, "net", "ns"),
        (Self::NamespaceNumber, "ns_common", "inum"),
        (Self::CameIn, "sk_buff", "skb_iif"),
    ];
}

/// Up to this number a reason says nothing: not dropped, consumed, not specified (`enum skb_drop_reason`).
pub const UNSPECIFIED: u32 = 2;
/// Totals of reasons: one of each, but the last one is that of all further reasons, which are those of subsystems.
pub const REASONS: usize = 256;
/// Reasons and ports that are counted together, at most: so many of those without a socket, which one scan of closed ports may
/// fill, and so many of all others.
pub const PORTS: u32 = 512;

/// A reason that is not treated as all others are. The loader finds its number in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Special {
    /// Nothing listens, or the connection is gone.
    NoSocket = 0,
    /// A program that captures packets did not keep up: that loses a copy, not the segment.
    Capture = 1,
    /// The queue of a processor is full. What waits there has come in, though nothing is noted of that yet.
    Backlog = 2,
    /// A socket is closed, and what it had not read is freed, its peer's FIN among it: that was delivered.
    Purge = 3,
}

impl Special {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every one, at the place of its number, with the kernel's name of it.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::NoSocket, "NO_SOCKET"),
        (Self::Capture, "PACKET_SOCK_ERROR"),
        (Self::Backlog, "CPU_BACKLOG"),
        (Self::Purge, "QUEUE_PURGE"),
    ];
}

/// Where the total of a reason is.
#[inline(always)]
#[must_use]
pub const fn total_of(reason: u32) -> usize {
    let place = reason as usize;
    if place < REASONS { place } else { REASONS - 1 }
}

/// What is counted together: a reason, a port, and whether the segments are SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DropKey {
    /// The number of the reason.
    pub reason: u32,
    /// The port of the service: of a SYN where it goes to, of a SYN-ACK where it comes from, of other segments the lower of
    /// both ports.
    pub port: u16,
    /// Whether they are SYNs.
    pub is_syn: bool,
}

impl DropKey {
    /// The key of a segment, by the first words of its TCP header in host order (both ports) and by its flags.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "each is a half of the word")]
    pub const fn of(reason: u32, ports: u32, flags: u8) -> Self {
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        let (source, destination) = ((ports >> 16) as u16, ports as u16);
        let is_syn = flags & (SYN | ACK) == SYN;
        let port = if is_syn {
            destination
        } else if flags & SYN != 0 || source < destination {
            source
        } else {
            destination
        };
        Self { reason, port, is_syn }
    }

    /// As one word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.reason as u64) << 32 | (self.port as u64) << 16 | self.is_syn as u64
    }

    /// The key with this word.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "each is a part of the word")]
    pub const fn of_word(word: u64) -> Self {
        Self { reason: (word >> 32) as u32, port: (word >> 16) as u16, is_syn: word & 1 != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: u8 = 2;
    const SYN_ACK: u8 = 18;
    const ACK: u8 = 16;

    #[test]
    fn the_port_is_that_of_the_service() {
        let key = |source: u32, destination: u32, flags| {
            let DropKey { port, is_syn, .. } = DropKey::of(9, source << 16 | destination, flags);
            (port, is_syn)
        };
        assert_eq!(key(80, 50_000, SYN), (50_000, true), "a SYN goes to it, whatever the ports are");
        assert_eq!(key(50_000, 80, SYN), (80, true));
        assert_eq!(key(50_000, 80, SYN_ACK), (50_000, false));
        assert_eq!([key(50_000, 80, ACK), key(80, 50_000, ACK)], [(80, false); 2]);
    }

    #[test]
    fn a_key_is_a_word_and_back() {
        for key in [
            DropKey { reason: 3, port: 443, is_syn: true },
            DropKey { reason: 0x0003_0001, port: u16::MAX, is_syn: false },
            DropKey { reason: u32::MAX, port: 0, is_syn: true },
        ] {
            assert_eq!(DropKey::of_word(key.word()), key);
        }
        assert_eq!([total_of(3), total_of(255), total_of(256), total_of(0x3_0001)], [3, 255, 255, 255]);
    }

    #[test]
    fn places_are_at_their_numbers() {
        for (number, (place, ..)) in Place::ALL.into_iter().enumerate() {
            assert_eq!(place as usize, number);
        }
        for (number, (reason, _)) in Special::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
    }
}
