//! Messages of sock_diag(7) as sockets. Nothing in them is trusted but that they are bytes.

use nix::libc;
use probe_common::Endpoint;
use probe_common::segment::mapped;
use tcptop_core::{
    Algorithm, CongestionControl, CongestionDetails, Socket, SocketMemory, SocketOptions, SocketState,
    TcpInfo, Timer, TimerKind,
};

use super::BY_FAMILY;
use crate::source::netlink::{HEADER, attributes};

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Length of `struct inet_diag_msg`; attributes follow.
const FIXED: usize = 72;

/// What a message says.
pub(super) enum Message {
    Socket(Box<Socket>),
    /// All were listed, or not: an error number, or 0.
    End(i32),
    /// Not the description of a TCP socket, or one that is cut.
    Unreadable,
}

/// Reads a message, header included.
pub(super) fn message(bytes: &[u8]) -> Message {
    let kind = number(bytes, 4).map(u16::from_ne_bytes);
    let payload = bytes.get(HEADER..).unwrap_or_default();
    match kind {
        Some(BY_FAMILY) => {
            socket(payload).map_or(Message::Unreadable, |socket| Message::Socket(Box::new(socket)))
        }
        // The number is negative.
        Some(ERROR | DONE) => {
            Message::End(number(payload, 0).map(i32::from_ne_bytes).unwrap_or_default().saturating_abs())
        }
        _ => Message::Unreadable,
    }
}

/// Reads `struct inet_diag_msg` and its attributes.
fn socket(bytes: &[u8]) -> Option<Socket> {
    let (fixed, described) = bytes.split_at_checked(FIXED)?;
    let word = |offset| number(fixed, offset).map(u32::from_ne_bytes);
    let [family, state, timer, count] = number(fixed, 0)?;
    let expires_ms = word(52)?;
    let cookie = u64::from(word(48)?) << 32 | u64::from(word(44)?);
    let (local, remote) = (endpoint(fixed, family, 4, 8)?, endpoint(fixed, family, 6, 24)?);
    let mut socket = Socket {
        interface: word(40)?,
        timer: TimerKind::of(timer).map(|kind| Timer { kind, expires_ms, count }),
        receive_queue: word(56)?,
        send_queue: word(60)?,
        user: word(64)?,
        inode: word(68)?,
        ..Socket::new(cookie, local, remote, SocketState::of(state)?)
    };
    let mut details = None;
    attributes(described).for_each(|(kind, value)| learn(&mut socket, &mut details, kind, value));
    socket.congestion.iter_mut().for_each(|congestion| congestion.details = details);
    // Of a listener it is the queues once more, and nothing else.
    socket.info = socket.info.filter(|_| !socket.listens());
    Some(socket)
}

/// Takes an attribute over: the numbers are those of `linux/inet_diag.h`.
fn learn(socket: &mut Socket, details: &mut Option<CongestionDetails>, kind: u16, value: &[u8]) {
    match kind {
        2 => socket.info = Some(TcpInfo::new(value)),
        3 => *details = words(value).map(CongestionDetails::vegas).or(*details),
        4 => {
            let algorithm = Algorithm::new(value);
            socket.congestion = algorithm.map(|algorithm| CongestionControl { algorithm, details: None });
        }
        5 => socket.tos = value.first().copied(),
        6 => socket.traffic_class = value.first().copied(),
        7 => socket.memory = words(value).map(memory),
        8 => socket.shutdown = value.first().copied(),
        9 => *details = words(value).map(CongestionDetails::dctcp).or(*details),
        11 => socket.is_v6_only = value.first().map(|flag| *flag != 0),
        15 => socket.mark = number(value, 0).map(u32::from_ne_bytes),
        16 => *details = words(value).map(CongestionDetails::bbr).or(*details),
        21 => socket.cgroup = number(value, 0).map(u64::from_ne_bytes),
        22 => socket.options = number(value, 0).map(|bits| SocketOptions(u16::from_le_bytes(bits))),
        _ => {}
    }
}

/// An end, its port and its address at these places. Addresses of IPv4 are the first of four words.
fn endpoint(fixed: &[u8], family: u8, port: usize, address: usize) -> Option<Endpoint> {
    let port = u16::from_be_bytes(number(fixed, port)?);
    let address = match i32::from(family) {
        libc::AF_INET => mapped(number(fixed, address)?),
        libc::AF_INET6 => number(fixed, address)?,
        _ => return None,
    };
    Some(Endpoint { address, port })
}

/// `SK_MEMINFO_*`, in their order.
fn memory(words: [u32; 9]) -> SocketMemory {
    let [
        receive_alloc,
        receive_buffer,
        send_alloc,
        send_buffer,
        forward_alloc,
        send_queued,
        option_memory,
        backlog,
        drops,
    ] = words;
    SocketMemory {
        receive_alloc,
        receive_buffer,
        send_alloc,
        send_buffer,
        forward_alloc,
        send_queued,
        option_memory,
        backlog,
        drops,
    }
}

/// The bytes of a number at a place.
fn number<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// So many words.
fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let mut words = [0; N];
    for (offset, word) in (0..).step_by(4).zip(&mut words) {
        *word = u32::from_ne_bytes(number(bytes, offset)?);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use tcptop_core::InfoField;

    use super::*;

    fn with_attribute(mut bytes: Vec<u8>, kind: u16, value: &[u8]) -> Vec<u8> {
        bytes.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// An established connection of IPv4 as the kernel describes it, without attributes.
    fn fixed() -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[..4].copy_from_slice(&[2, 1, 1, 3]);
        bytes[4..8].copy_from_slice(&[0x9c, 0x40, 0x01, 0xbb]);
        bytes[8..12].copy_from_slice(&[10, 0, 0, 1]);
        bytes[24..28].copy_from_slice(&[10, 0, 0, 2]);
        for (place, word) in
            [(40, 3_u32), (44, 0x10), (48, 0x20), (52, 200), (56, 5), (60, 6), (64, 7), (68, 8)]
        {
            bytes[place..place + 4].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn complete() -> Vec<u8> {
        let mut bytes = fixed();
        let memory: Vec<u8> = (1..=9_u32).flat_map(u32::to_ne_bytes).collect();
        let bbr: Vec<u8> = [9, 0, 50, 256, 512_u32].into_iter().flat_map(u32::to_ne_bytes).collect();
        for (kind, value) in [
            (2, &[1; 232][..]),
            (16, &bbr),
            (4, b"bbr\0"),
            (5, &[0x10]),
            (7, &memory),
            (8, &[2]),
            (15, &77_u32.to_ne_bytes()),
            (21, &99_u64.to_ne_bytes()),
            (22, &[2, 0]),
            (0x3ff, b"of a newer kernel"),
        ] {
            bytes = with_attribute(bytes, kind, value);
        }
        bytes
    }

    #[test]
    fn a_socket_is_read_whole() {
        let socket = socket(&complete()).unwrap();
        let end = |last, port| Endpoint { address: mapped([10, 0, 0, last]), port };
        assert_eq!((socket.local, socket.remote), (end(1, 40_000), end(2, 443)));
        assert_eq!((socket.cookie, socket.interface), (0x20_0000_0010, 3));
        assert_eq!(socket.timer, Some(Timer { kind: TimerKind::Retransmit, expires_ms: 200, count: 3 }));
        assert_eq!((socket.receive_queue, socket.send_queue, socket.user, socket.inode), (5, 6, 7, 8));
        assert_eq!((socket.tos, socket.shutdown, socket.mark), (Some(0x10), Some(2), Some(77)));
        assert_eq!((socket.cgroup, socket.options), (Some(99), Some(SocketOptions(2))));
        let memory = socket.memory.unwrap();
        assert_eq!((memory.receive_alloc, memory.send_buffer, memory.drops), (1, 4, 9));
        let congestion = socket.congestion.unwrap();
        assert_eq!(congestion.algorithm.name(), "bbr");
        assert!(matches!(congestion.details, Some(CongestionDetails::Bbr { bandwidth: 9, .. })));
        let info = socket.info.unwrap();
        assert_eq!((info.get(InfoField::Rtt), info.get(InfoField::TotalRto)), (Some(0x0101_0101), None));
    }

    #[test]
    fn a_listener_has_queues_and_no_connection() {
        let mut bytes = with_attribute(complete(), 11, &[1]);
        (bytes[0], bytes[1], bytes[2]) = (10, 10, 0);
        let socket = socket(&bytes).unwrap();
        assert!(socket.listens() && socket.info.is_none() && socket.timer.is_none());
        assert_eq!(socket.is_v6_only, Some(true));
        assert_eq!(socket.local.address[..4], [10, 0, 0, 1]);
    }

    #[test]
    fn what_is_cut_or_strange_is_not_read_beyond_its_end() {
        let complete = complete();
        for length in 0..complete.len() {
            assert_eq!(socket(&complete[..length]).is_some(), length >= FIXED, "{length}");
        }
        // Lengths that lie.
        for length in [0_u16, 1, 3, 4, 5, 0xffff] {
            let mut bytes = fixed();
            bytes.extend(length.to_ne_bytes());
            bytes.extend([2, 0, 1, 1]);
            assert!(socket(&bytes).is_some_and(|socket| socket.tos.is_none()), "{length}");
        }
        for (place, wrong) in [(0, 1), (0, 255), (1, 0), (1, 200)] {
            let mut bytes = fixed();
            bytes[place] = wrong;
            assert_eq!(socket(&bytes), None, "family or state {wrong}");
        }
    }

    #[test]
    fn a_dump_ends_with_its_error() {
        let message = |kind: u16, payload: &[u8]| {
            let mut bytes = vec![0; HEADER];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend(payload);
            super::message(&bytes)
        };
        assert!(matches!(message(DONE, &0_i32.to_ne_bytes()), Message::End(0)));
        assert!(matches!(message(DONE, &[]), Message::End(0)));
        assert!(matches!(message(ERROR, &(-libc::ENOENT).to_ne_bytes()), Message::End(libc::ENOENT)));
        assert!(matches!(message(BY_FAMILY, &fixed()), Message::Socket(_)));
        assert!(matches!(message(BY_FAMILY, &[2; 10]), Message::Unreadable));
        assert!(matches!(message(16, &fixed()), Message::Unreadable));
        assert!(matches!(super::message(&[0; 3]), Message::Unreadable));
    }
}
