//! A router in the middle of a wire that gives connections another source address and port, as NAT does (RFC 3022).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::script::Direction;

/// The first port that connections get.
const FIRST_PORT: u16 = 50_001;
const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const TCP: u8 = 6;

/// What the near side is called at the far side. TCP over IPv4 on Ethernet; all else passes as it is.
#[derive(Debug)]
pub(crate) struct Masquerade {
    outside: Ipv4Addr,
    /// By address and port of the near side, the port at the far side.
    ports: BTreeMap<([u8; 4], u16), u16>,
}

impl Masquerade {
    /// The near side has this address at the far side.
    pub(crate) const fn new(outside: Ipv4Addr) -> Self {
        Self { outside, ports: BTreeMap::new() }
    }

    /// Translates a frame. Towards the near side one of a connection that is not known passes as it is.
    pub(crate) fn translate(&mut self, direction: Direction, frame: &mut [u8]) {
        let Some((ip, tcp)) = places(frame) else { return };
        match direction {
            Direction::ToFar => {
                let Some(inside) = end(frame, ip + 12, tcp) else { return };
                let next = FIRST_PORT.saturating_add(u16::try_from(self.ports.len()).unwrap_or(u16::MAX));
                let port = *self.ports.entry(inside).or_insert(next);
                rewrite(frame, ip, tcp, (ip + 12, self.outside.octets()), (tcp, port));
            }
            Direction::ToNear => {
                let Some((address, port)) = end(frame, ip + 16, tcp + 2) else { return };
                let inside = self.ports.iter().find(|(_, outside)| **outside == port);
                if let (Some(((inside, port), _)), true) = (inside, address == self.outside.octets()) {
                    rewrite(frame, ip, tcp, (ip + 16, *inside), (tcp + 2, *port));
                }
            }
        }
    }
}

/// Where the IPv4 and the TCP header begin, if it has them whole.
fn places(frame: &[u8]) -> Option<(usize, usize)> {
    let ip = ETHERNET;
    let is_tcp = frame.get(ip - 2..ip)? == IPV4 && *frame.get(ip + 9)? == TCP;
    let tcp = ip + usize::from(frame.get(ip)? & 0x0f) * 4;
    (is_tcp && frame.len() >= tcp + 20).then_some((ip, tcp))
}

fn end(frame: &[u8], address: usize, port: usize) -> Option<([u8; 4], u16)> {
    let address = frame.get(address..address + 4)?.try_into().ok()?;
    Some((address, u16::from_be_bytes(frame.get(port..port + 2)?.try_into().ok()?)))
}

/// Writes an address and a port, and mends both checksums.
fn rewrite(frame: &mut [u8], ip: usize, tcp: usize, address: (usize, [u8; 4]), port: (usize, u16)) {
    for (place, new) in [
        (address.0, [address.1[0], address.1[1]]),
        (address.0 + 2, [address.1[2], address.1[3]]),
        (port.0, port.1.to_be_bytes()),
    ] {
        let old = [frame[place], frame[place + 1]];
        frame[place..place + 2].copy_from_slice(&new);
        mend(frame, tcp + 16, old, new);
        if place < tcp {
            mend(frame, ip + 10, old, new);
        }
    }
}

/// A checksum after two bytes were replaced (RFC 1624, equation 3).
fn mend(frame: &mut [u8], place: usize, old: [u8; 2], new: [u8; 2]) {
    let number = |bytes: [u8; 2]| u32::from(u16::from_be_bytes(bytes));
    let complement = |sum: u32| !sum & 0xffff;
    let checksum = number([frame[place], frame[place + 1]]);
    let mut sum = complement(checksum) + complement(number(old)) + number(new);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let mended = u16::try_from(complement(sum)).unwrap_or(0);
    frame[place..place + 2].copy_from_slice(&mended.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of RFC 1071 over a header and what precedes it.
    fn sum(parts: &[&[u8]]) -> u32 {
        let mut sum: u32 = 0;
        for pair in parts.iter().flat_map(|part| part.chunks(2)) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum
    }

    fn is_right(frame: &[u8]) -> bool {
        let (ip, tcp) = (&frame[14..34], &frame[34..54]);
        sum(&[ip]) == 0xffff && sum(&[&frame[26..34], &[0, 6, 0, 20], tcp]) == 0xffff
    }

    fn frame() -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[12..14].copy_from_slice(&IPV4);
        (frame[14], frame[17], frame[23]) = (0x45, 40, TCP);
        frame[26..34].copy_from_slice(&[10, 9, 0, 1, 10, 9, 0, 11]);
        frame[34..38].copy_from_slice(&[0x80, 0x01, 0, 80]);
        frame[46] = 0x50;
        let ip = !u16::try_from(sum(&[&frame[14..34]])).unwrap();
        frame[24..26].copy_from_slice(&ip.to_be_bytes());
        let tcp = !u16::try_from(sum(&[&frame[26..34], &[0, 6, 0, 20], &frame[34..54]])).unwrap();
        frame[50..52].copy_from_slice(&tcp.to_be_bytes());
        frame
    }

    #[test]
    fn what_goes_out_comes_back_with_right_checksums() {
        let mut masquerade = Masquerade::new(Ipv4Addr::new(10, 9, 0, 5));
        let (mut sent, original) = (frame(), frame());
        assert!(is_right(&sent));
        masquerade.translate(Direction::ToFar, &mut sent);
        assert_eq!(sent[26..30], [10, 9, 0, 5]);
        assert_eq!(sent[34..36], FIRST_PORT.to_be_bytes());
        assert!(is_right(&sent));
        let mut answer = sent.clone();
        answer[26..30].copy_from_slice(&sent[30..34]);
        answer[30..34].copy_from_slice(&sent[26..30]);
        answer[34..36].copy_from_slice(&sent[36..38]);
        answer[36..38].copy_from_slice(&sent[34..36]);
        assert!(is_right(&answer));
        masquerade.translate(Direction::ToNear, &mut answer);
        assert_eq!((&answer[30..34], &answer[36..38]), (&original[26..30], &original[34..36]));
        assert!(is_right(&answer));
    }
}
