//! What packets were that hold no TCP: found fast where it shows at once, and counted in a few cells.

use crate::bytes::{Load, Window};
use crate::parse::LinkLayer;
use crate::protocols::{AUTHENTICATION, IPV4, IPV6, PassedOver, TRUNCATED, UDP, udp_tunnel};

/// Cells that are counted in, for each processor: one for each IP protocol, then some that belong to the first kind that is
/// counted in them, then one for what finds its cell taken.
pub const CELLS: usize = TAKEN + TAKEABLE + 1;
const TAKEN: usize = 256;
const TAKEABLE: usize = 255;
const OTHERS: usize = CELLS - 1;
/// How many cells in a row a kind may take.
const PROBED: usize = 4;
/// The count in a cell that was taken. The upper bits say by what.
const COUNT_BITS: u32 = 44;

const _: () = assert!(CELLS.is_power_of_two(), "a mask bounds the index");

const ETHERNET_LEN: usize = 14;
/// An IPv4 header without options: version 4, 5 words.
const PLAIN_IPV4: u8 = 0x45;
/// Lengths of the IP headers, with the ports of UDP behind them.
const IPV4_AND_PORTS: usize = 20 + 4;
const IPV6_AND_PORTS: usize = 40 + 4;
/// IPv6 extension headers: hop-by-hop, routing, fragment, authentication, destination options.
const EXTENSIONS: [u8; 5] = [0, 43, 44, AUTHENTICATION, 60];

/// What a packet is in which [`fast_path`](crate::process::fast_path) has found no TCP, where that shows at once: an IP packet
/// without tags, options, extension headers and fragments. Otherwise [`locate`](crate::encapsulation::locate) finds it.
#[inline(always)]
pub fn usual<P: Load + ?Sized>(packet: &P, link: LinkLayer) -> Option<PassedOver> {
    match link {
        LinkLayer::Ethernet => match packet.window::<ETHERNET_LEN>(0)?.be16::<12>() {
            IPV4 => ipv4(packet, ETHERNET_LEN),
            IPV6 => ipv6(packet, ETHERNET_LEN),
            _ => None,
        },
        LinkLayer::None => match packet.window::<2>(0)?.byte::<0>() >> 4 {
            4 => ipv4(packet, 0),
            6 => ipv6(packet, 0),
            _ => None,
        },
    }
}

#[inline(always)]
fn ipv4<P: Load + ?Sized>(packet: &P, offset: usize) -> Option<PassedOver> {
    let header = packet.window::<IPV4_AND_PORTS>(offset)?;
    match header.byte::<9>() {
        AUTHENTICATION => None,
        UDP if header.byte::<0>() == PLAIN_IPV4 && header.be16::<6>() & 0x1fff == 0 => {
            Some(udp(header.be16::<22>()))
        }
        UDP => None,
        other => Some(PassedOver::Protocol(other)),
    }
}

#[inline(always)]
fn ipv6<P: Load + ?Sized>(packet: &P, offset: usize) -> Option<PassedOver> {
    let header = packet.window::<IPV6_AND_PORTS>(offset)?;
    match header.byte::<6>() {
        UDP => Some(udp(header.be16::<42>())),
        extension if EXTENSIONS.contains(&extension) => None,
        other => Some(PassedOver::Protocol(other)),
    }
}

#[inline(always)]
fn udp(port: u16) -> PassedOver {
    if udp_tunnel(port).is_some() { PassedOver::UdpPort(port) } else { PassedOver::Protocol(UDP) }
}

/// Counts one more packet of the kind with this [`PassedOver::word`].
#[inline(always)]
pub fn count(cells: &mut [u64; CELLS], word: u32) {
    let kind = word >> 16;
    if kind == 0 {
        return add(cells, (word & 0xff) as usize);
    }
    // What was cut off does not show what it would have been.
    if kind >= TRUNCATED {
        return add(cells, OTHERS);
    }
    let (first, tag) = (place(word), u64::from(word));
    for at in first..first + PROBED {
        let Some(cell) = cells.get_mut(at & (CELLS - 1)) else { return };
        if *cell == 0 {
            *cell = tag << COUNT_BITS | 1;
            return;
        }
        if *cell >> COUNT_BITS == tag {
            *cell += 1;
            return;
        }
    }
    add(cells, OTHERS);
}

#[inline(always)]
fn add(cells: &mut [u64; CELLS], at: usize) {
    if let Some(cell) = cells.get_mut(at & (CELLS - 1)) {
        *cell += 1;
    }
}

/// Which of the cells that can be taken it takes: as Fibonacci hashing does (Knuth, The Art of Computer Programming, 6.4).
#[inline(always)]
const fn place(word: u32) -> usize {
    let fraction = word.wrapping_mul(0x9e37_79b1) as u64;
    TAKEN + ((fraction * (TAKEABLE - PROBED + 1) as u64) >> 32) as usize
}

/// What was counted in these cells, by one processor. `None` stands for what found its cell taken.
pub fn counted(cells: &[u64; CELLS]) -> impl Iterator<Item = (Option<PassedOver>, u64)> {
    cells.iter().enumerate().filter(|(_, cell)| **cell > 0).map(|(at, &cell)| {
        let (tag, count) = (cell >> COUNT_BITS, cell & ((1 << COUNT_BITS) - 1));
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the number of a cell below 256, and a tag of 20 bits"
        )]
        match at {
            0..TAKEN => (Some(PassedOver::Protocol(at as u8)), cell),
            OTHERS => (None, cell),
            _ => (Some(PassedOver::of_word(tag as u32)), count),
        }
    })
}
