//! ICMP errors, byte by byte.

use std::net::IpAddr;

use probe_common::Endpoint;
use probe_common::segment::mapped;

/// An ICMP error: what it says, and who sends it.
#[derive(Clone, Copy, Debug)]
pub struct IcmpError {
    /// Address of the sender, of the family of what is quoted.
    pub sender: IpAddr,
    /// Its type.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// The MTU of the next link, for the errors that have it; 0 for the others.
    pub mtu: u32,
}

impl IcmpError {
    /// An error without an MTU.
    #[must_use]
    pub const fn new(sender: IpAddr, icmp_type: u8, code: u8) -> Self {
        Self { sender, icmp_type, code, mtu: 0 }
    }

    /// The IP packet of an error that quotes these bytes of another one, addressed to the sender of that.
    ///
    /// # Panics
    /// When the quotation is shorter than an IP header.
    #[must_use]
    pub fn packet(&self, quoted: &[u8]) -> Vec<u8> {
        let source = if quoted[0] >> 4 == 6 { &quoted[8..24] } else { &quoted[12..16] };
        self.packet_to(source, quoted, 0)
    }

    /// The same with the padding and the extensions of RFC 4884: the quotation is filled up to 128 bytes.
    ///
    /// # Panics
    /// When the quotation is longer than that, or shorter than an IP header.
    #[must_use]
    pub fn packet_with_extensions(&self, quoted: &[u8]) -> Vec<u8> {
        assert!(quoted.len() <= 128);
        let v6 = quoted[0] >> 4 == 6;
        let source = if v6 { &quoted[8..24] } else { &quoted[12..16] };
        let mut padded = quoted.to_vec();
        padded.resize(128, 0);
        // Version 2, and an object with an MPLS label (RFC 4950).
        padded.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0xff]);
        self.packet_to(source, &padded, if v6 { 128 / 8 } else { 128 / 4 })
    }

    /// The same, addressed to somebody else.
    #[must_use]
    pub fn packet_elsewhere(&self, quoted: &[u8], destination: Endpoint) -> Vec<u8> {
        let from = if quoted[0] >> 4 == 6 { 0 } else { 12 };
        self.packet_to(&destination.address[from..], quoted, 0)
    }

    fn packet_to(&self, destination: &[u8], quoted: &[u8], quoted_words: u8) -> Vec<u8> {
        let v6 = self.sender.is_ipv6();
        let mtu = self.mtu.to_be_bytes();
        let mut message = vec![self.icmp_type, self.code, 0, 0, mtu[0], mtu[1], mtu[2], mtu[3]];
        message[if v6 { 4 } else { 5 }] |= quoted_words;
        message.extend(quoted);
        let source = match self.sender {
            IpAddr::V4(v4) => mapped(v4.octets()),
            IpAddr::V6(v6) => v6.octets(),
        };
        let len = u16::try_from(message.len() + if v6 { 0 } else { 20 }).expect("short").to_be_bytes();
        if v6 {
            let head = [0x60, 0, 0, 0, len[0], len[1], 58, 64];
            [&head[..], &source, destination, &message].concat()
        } else {
            let head = [0x45, 0xc0, len[0], len[1], 0, 1, 0, 0, 64, 1, 0, 0];
            [&head[..], &source[12..], destination, &message].concat()
        }
    }
}
