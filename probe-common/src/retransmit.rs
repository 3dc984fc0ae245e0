//! Segments that the kernel retransmits, as it says at its tracepoints: of every socket of the machine, in any network namespace.

use crate::segment::{Endpoint, mapped};
use crate::transmission::{SenderState, Transmission};

/// A field of a structure of the kernel that is read of a retransmit. The loader finds its place in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Place {
    /// `struct sock_common`, which sockets and requests for connections begin with: the address family.
    Family = 0,
    /// The state.
    State = 1,
    /// The local port, in host order.
    LocalPort = 2,
    /// The remote port, in network order.
    RemotePort = 3,
    /// The local address.
    LocalV4 = 4,
    /// The remote address.
    RemoteV4 = 5,
    /// The local IPv6 address.
    LocalV6 = 6,
    /// The remote IPv6 address.
    RemoteV6 = 7,
    /// The cookie; 0 if nobody has asked for it yet.
    Cookie = 8,
    /// The network namespace.
    Net = 9,
    /// `struct net`: its number, see [`NamespaceNumber`](Self::NamespaceNumber).
    Namespace = 10,
    /// `struct ns_common`: the number, which is the inode of `/proc/PID/ns/net`.
    NamespaceNumber = 11,
    /// `struct tcp_sock`: the next number.
    SndNxt = 12,
    /// The first number that is not acknowledged.
    SndUna = 13,
    /// Segments that are taken for lost.
    Lost = 14,
    /// `struct inet_connection_sock`, which `struct tcp_sock` begins with: how often the timer ran out in a row.
    Timeouts = 15,
    /// The congestion state, the lower 5 bits.
    Congestion = 16,
    /// `struct sk_buff`: what TCP keeps of the segment, a `struct tcp_skb_cb`.
    Control = 17,
    /// There: the first sequence number.
    Seq = 18,
    /// The number behind the last one.
    EndSeq = 19,
    /// How many segments it is on the wire.
    Segments = 20,
    /// The flags, as in the header.
    Flags = 21,
    /// `struct request_sock`: how often the SYN-ACK was retransmitted before.
    Repeats = 22,
}

impl Place {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every place, at that of its number, with its structure and its name there.
    pub const ALL: [(Self, &'static str, &'static str); 23] = [
        (Self::Family, "sock_common", "skc_family"),
        (Self::State, "sock_common", "skc_state"),
        (Self::LocalPort, "sock_common", "skc_num"),
        (Self::RemotePort, "sock_common", "skc_dport"),
        (Self::LocalV4, "sock_common", "skc_rcv_saddr"),
        (Self::RemoteV4, "sock_common", "skc_daddr"),
        (Self::LocalV6, "sock_common", "skc_v6_rcv_saddr"),
        (Self::RemoteV6, "sock_common", "skc_v6_daddr"),
        (Self::Cookie, "sock_common", "skc_cookie"),
        (Self::Net, "sock_common", "skc_net"),
        (Self::Namespace, "net", "ns"),
        (Self::NamespaceNumber, "ns_common", "inum"),
        (Self::SndNxt, "tcp_sock", "snd_nxt"),
        (Self::SndUna, "tcp_sock", "snd_una"),
        (Self::Lost, "tcp_sock", "lost_out"),
        (Self::Timeouts, "inet_connection_sock", "icsk_retransmits"),
        (Self::Congestion, "inet_connection_sock", "icsk_ca_state"),
        (Self::Control, "sk_buff", "cb"),
        (Self::Seq, "tcp_skb_cb", "seq"),
        (Self::EndSeq, "tcp_skb_cb", "end_seq"),
        (Self::Segments, "tcp_skb_cb", "tcp_gso_segs"),
        (Self::Flags, "tcp_skb_cb", "tcp_flags"),
        (Self::Repeats, "request_sock", "num_retrans"),
    ];
}

/// What is counted where retransmits are seen, by the place in the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Tally {
    /// Retransmits that were passed on.
    Records = 0,
    /// Segments of them.
    Segments = 1,
    /// Retransmits that were not, because the ring was full.
    MissedRecords = 2,
    /// Segments of them.
    MissedSegments = 3,
}

/// How many cells there are.
pub const TALLIES: usize = 4;

/// A retransmit as the programs write it: integers, 112 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawRetransmit {
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// The socket's cookie; of a SYN-ACK that of the connection to be, 0 while it has none.
    pub cookie: u64,
    /// Of a SYN-ACK, the cookie of the socket that listens; else 0.
    pub listener: u64,
    /// The local address, in network order.
    pub local_v6: [u64; 2],
    /// The remote address, in network order.
    pub remote_v6: [u64; 2],
    /// The same of IPv4.
    pub local_v4: u32,
    /// The same of IPv4.
    pub remote_v4: u32,
    /// The first sequence number.
    pub seq: u32,
    /// The number behind the last one.
    pub end_seq: u32,
    /// See [`SenderState`].
    pub snd_nxt: u32,
    /// See [`SenderState`].
    pub snd_una: u32,
    /// See [`SenderState`].
    pub lost: u32,
    /// How many segments it is on the wire.
    pub segments: u32,
    /// The number of the network namespace.
    pub namespace: u32,
    /// What the kernel's attempt to send it returned: 0, or an error number below 0.
    pub error: i32,
    /// The address family.
    pub family: u16,
    /// The local port, in host order.
    pub local_port: u16,
    /// The remote port, in network order.
    pub remote_port: u16,
    /// The TCP flags.
    pub flags: u8,
    /// The state of the socket.
    pub state: u8,
    /// How often the timer ran out in a row; of a SYN-ACK, how often it was retransmitted before.
    pub timeouts: u8,
    /// See [`SenderState`].
    pub congestion: u8,
    /// Whether it is a SYN-ACK of a connection that has no socket yet: 1, else 0.
    pub is_request: u8,
    /// Whether the kernel says [`error`](Self::error): 1, else 0.
    pub has_error: u8,
    /// Nothing.
    pub reserved: u32,
}

const _: () = assert!(size_of::<RawRetransmit>() == 112, "a padding byte would leak kernel memory");

/// A segment that the kernel retransmits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelRetransmit {
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// The socket's cookie. `None` for a SYN-ACK of a connection that has none yet.
    pub cookie: Option<u64>,
    /// Of a SYN-ACK of such a connection, the cookie of the socket that listens.
    pub listener: Option<u64>,
    /// The socket's own end. Addresses of IPv4 are mapped.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// The number of the socket's state (`include/net/tcp_states.h`).
    pub state: u8,
    /// The number of its network namespace.
    pub namespace: u32,
    /// What is retransmitted.
    pub what: What,
    /// Its first sequence number. `None` for the SYN-ACK of a connection that has no socket yet.
    pub seq: Option<u32>,
    /// Bytes of payload.
    pub len: u32,
    /// How many segments it is on the wire, at least 1.
    pub segments: u32,
    /// Why, as the socket says.
    pub transmission: Transmission,
    /// Of a SYN-ACK of a connection that has no socket yet, how often it was retransmitted, this time included.
    pub repeats: Option<u32>,
    /// What the attempt to send it returned: 0, or an error number above 0. `None` where the kernel does not say.
    pub error: Option<u32>,
}

/// What is retransmitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A SYN.
    Syn,
    /// A SYN-ACK.
    SynAck,
    /// Data.
    Data,
    /// A FIN without data.
    Fin,
}

impl RawRetransmit {
    /// `AF_INET6`.
    const INET6: u16 = 10;
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const ACK: u8 = 16;

    /// Reads one of the bytes that a program wrote; `None` of any other length.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; size_of::<Self>()] = bytes.try_into().ok()?;
        // SAFETY: made of integers: any bytes are a value of it, and `read_unaligned` asks for no alignment.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }

    /// What it means.
    #[must_use]
    pub fn typed(&self) -> KernelRetransmit {
        let address = |v6: [u64; 2], v4: u32| {
            if self.family == Self::INET6 { words(v6) } else { mapped(v4.to_ne_bytes()) }
        };
        let local = Endpoint { address: address(self.local_v6, self.local_v4), port: self.local_port };
        let remote = Endpoint {
            address: address(self.remote_v6, self.remote_v4),
            port: u16::from_be(self.remote_port),
        };
        let is_request = self.is_request != 0;
        let some = |number: u64| Some(number).filter(|number| *number != 0);
        KernelRetransmit {
            time_ns: self.time_ns,
            cookie: some(self.cookie),
            listener: some(self.listener).filter(|_| is_request),
            local,
            remote,
            state: self.state,
            namespace: self.namespace,
            what: self.what(),
            seq: Some(self.seq).filter(|_| !is_request),
            len: self.len(),
            segments: self.segments.max(1),
            transmission: if is_request { Transmission::RETRANSMIT } else { self.transmission() },
            repeats: is_request.then(|| u32::from(self.timeouts) + 1),
            error: (self.has_error != 0).then(|| self.error.unsigned_abs()),
        }
    }

    fn what(&self) -> What {
        match self.flags & (Self::SYN | Self::ACK) {
            _ if self.is_request != 0 => What::SynAck,
            Self::SYN => What::Syn,
            flags if flags & Self::SYN != 0 => What::SynAck,
            _ if self.len() == 0 && self.flags & Self::FIN != 0 => What::Fin,
            _ => What::Data,
        }
    }

    /// Bytes of payload: SYN and FIN take a number each.
    fn len(&self) -> u32 {
        if self.is_request != 0 {
            return 0;
        }
        let numbers = self.end_seq.wrapping_sub(self.seq);
        let flags = u32::from(self.flags & Self::SYN != 0) + u32::from(self.flags & Self::FIN != 0);
        numbers.saturating_sub(flags)
    }

    fn transmission(&self) -> Transmission {
        let said = Transmission::of(
            self.seq,
            &SenderState {
                snd_nxt: self.snd_nxt,
                snd_una: self.snd_una,
                timeouts: self.timeouts.into(),
                lost: self.lost,
                congestion: self.congestion.into(),
            },
        );
        // The kernel says that it is one.
        if said.is_retransmit() == Some(true) { said } else { Transmission::RETRANSMIT }
    }
}

fn words([first, second]: [u64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_ne_bytes());
    bytes[8..].copy_from_slice(&second.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transmission::Cause;

    const V4: u16 = 2;

    fn raw() -> RawRetransmit {
        RawRetransmit {
            time_ns: 1,
            cookie: 2,
            listener: 0,
            local_v6: [0; 2],
            remote_v6: [1 << 56, 3],
            local_v4: u32::from_ne_bytes([10, 0, 0, 1]),
            remote_v4: u32::from_ne_bytes([10, 0, 0, 2]),
            seq: 100,
            end_seq: 1_100,
            snd_nxt: 5_000,
            snd_una: 100,
            lost: 1,
            segments: 0,
            namespace: 7,
            error: -105,
            family: V4,
            local_port: 40_000,
            remote_port: 443_u16.to_be(),
            flags: 0x18,
            state: 1,
            timeouts: 3,
            congestion: 4,
            is_request: 0,
            has_error: 1,
            reserved: 0,
        }
    }

    #[test]
    fn places_are_at_their_numbers() {
        assert!(Place::ALL.iter().enumerate().all(|(number, (place, ..))| *place as usize == number));
    }

    #[test]
    fn a_retransmit_of_data_has_its_ends_its_cause_and_its_error() {
        let typed = raw().typed();
        assert_eq!((typed.local.port, typed.remote.port), (40_000, 443));
        assert_eq!(typed.remote.address, mapped([10, 0, 0, 2]));
        assert_eq!((typed.what, typed.len, typed.segments, typed.error), (What::Data, 1_000, 1, Some(105)));
        assert_eq!(typed.transmission.cause(), Some(Cause::Timeout));
        assert_eq!(RawRetransmit { has_error: 0, ..raw() }.typed().error, None);
        let v6 = RawRetransmit { family: 10, ..raw() }.typed();
        assert_eq!(v6.remote.address[..8], (1_u64 << 56).to_ne_bytes());
    }

    #[test]
    fn what_it_is_follows_from_flags_and_numbers() {
        let what = |flags, end_seq| {
            let typed = RawRetransmit { flags, end_seq, ..raw() }.typed();
            (typed.what, typed.len)
        };
        assert_eq!(what(0x02, 101), (What::Syn, 0));
        assert_eq!(what(0xc2, 101), (What::Syn, 0), "with ECN");
        assert_eq!(what(0x12, 101), (What::SynAck, 0));
        assert_eq!(what(0x11, 101), (What::Fin, 0));
        assert_eq!(what(0x19, 201), (What::Data, 100));
    }

    #[test]
    fn a_syn_ack_of_a_request_is_its_listeners() {
        let request = RawRetransmit { is_request: 1, listener: 9, cookie: 0, timeouts: 1, ..raw() }.typed();
        assert_eq!((request.cookie, request.listener), (None, Some(9)));
        assert_eq!((request.what, request.seq, request.len), (What::SynAck, None, 0));
        assert_eq!((request.repeats, request.transmission.cause()), (Some(2), None));
    }

    #[test]
    fn only_whole_records_are_read() {
        assert_eq!(RawRetransmit::read(&[0; 111]), None);
        assert!(RawRetransmit::read(&[0; 112]).is_some_and(|raw| raw.typed().segments == 1));
    }
}
