//! One TCP segment, as far as tcptop looks into it.

/// An IPv4 address is carried as `::ffff:a.b.c.d` wherever both families meet (RFC 4291, 2.5.5.2).
const MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The same in the lower half of an address, above the 32 bits of IPv4.
pub const MAPPED: u64 = 0xffff_0000_0000;

/// One end of a connection. The address is 16 bytes in network order, IPv4 mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address, in network order; IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// The TCP port, 0 to 65,535.
    pub port: u16,
}

/// The IP version of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Control bits of the TCP header (RFC 9293, 3.1), as they stand in its byte 13.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);

    /// Returns whether all bits of `other` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of bits together.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The timestamp option (RFC 7323, 3): 32-bit counters in the sender's own, unknown unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval: the sender's clock when this segment left.
    pub value: u32,
    /// TSecr: the TSval of the segment that this one answers. Means something only beside an ACK.
    pub echo: u32,
    /// Whether the segment carries the option. If not, both numbers are 0. Not an `Option`, for the reason
    /// stated at [`Segment`].
    pub present: bool,
}

impl Timestamps {
    /// TSval, where there is one.
    #[must_use]
    pub fn value(&self) -> Option<u32> {
        self.present.then_some(self.value)
    }

    /// TSecr, where there is one.
    #[must_use]
    pub fn echo(&self) -> Option<u32> {
        self.present.then_some(self.echo)
    }
}

/// One TCP segment: what its IP and TCP headers say.
///
/// Every byte of it is always written, whatever the packet, and nothing lies where a word may not: the kernel's
/// verifier lets nobody copy what was not written, and no word be written across another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Address of who sent it: two numbers, so that it is compared and hashed as words. IPv4 is mapped.
    pub source: [u64; 2],
    /// Address of who it is for.
    pub destination: [u64; 2],
    /// Sequence number of the first byte, or of the SYN.
    pub seq: u32,
    /// The next sequence number that the sender expects; means nothing without [`TcpFlags::ACK`].
    pub ack: u32,
    /// Bytes of payload. Can exceed an MTU: the kernel handles several segments as one (GSO, GRO).
    pub payload_len: u32,
    /// Port of who sent it.
    pub source_port: u16,
    /// Port of who it is for.
    pub destination_port: u16,
    /// Where the TCP options begin in the packet, in bytes.
    pub options_offset: u16,
    /// How long they are, 0 to 40 bytes and a multiple of 4, plus [`CLOSED`](Self::CLOSED) when the receive window of the sender is
    /// 0 bytes: there is room for no more bytes.
    pub options: u8,
    /// Time to live of the IPv4 packet, hop limit of the IPv6 packet; 0 where it is not known.
    pub ttl: u8,
    /// Control bits.
    pub flags: TcpFlags,
    /// The IP version that carried it.
    pub family: Family,
    /// Identification of the IPv4 packet, which its sender counts; 0 for IPv6, which has none.
    pub ident: u16,
}

const _: () = assert!(size_of::<Segment>() == 56, "a padding byte would not be written");

impl Segment {
    /// Room for one.
    pub const NOTHING: Self = Self {
        source: [0; 2],
        destination: [0; 2],
        source_port: 0,
        destination_port: 0,
        family: Family::V4,
        seq: 0,
        ack: 0,
        flags: TcpFlags(0),
        payload_len: 0,
        options_offset: 0,
        options: 0,
        ttl: 0,
        ident: 0,
    };

    /// See [`options`](Self::options).
    pub const CLOSED: u8 = 1;

    /// How long its TCP options are: 0 to 40 bytes.
    #[inline(always)]
    #[must_use]
    pub const fn options_len(&self) -> u8 {
        self.options & !Self::CLOSED
    }

    /// Whether the receive window of its sender is closed.
    #[inline(always)]
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.options & Self::CLOSED != 0
    }

    /// Who sent it.
    #[inline(always)]
    #[must_use]
    pub fn from(&self) -> Endpoint {
        Endpoint { address: bytes(self.source), port: self.source_port }
    }

    /// Who it is for.
    #[inline(always)]
    #[must_use]
    pub fn to(&self) -> Endpoint {
        Endpoint { address: bytes(self.destination), port: self.destination_port }
    }
}

/// An address of two numbers in network order.
#[inline(always)]
#[must_use]
pub fn bytes(address: [u64; 2]) -> [u8; 16] {
    let [high, low] = address;
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// An IPv4 address as two numbers.
#[inline(always)]
#[must_use]
pub const fn mapped_words(v4: u32) -> [u64; 2] {
    [0, MAPPED | v4 as u64]
}

/// `a.b.c.d` as `::ffff:a.b.c.d`.
#[inline(always)]
#[must_use]
pub fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    let (prefix, rest) = address.split_at_mut(MAPPED_PREFIX.len());
    prefix.copy_from_slice(&MAPPED_PREFIX);
    rest.copy_from_slice(&v4);
    address
}
