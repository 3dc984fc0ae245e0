//! What the blocks of a capture say: interfaces, and packets with their times.

use pcap_parser::pcapng::{Block, EnhancedPacketBlock, OptionCode};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{LegacyPcapBlock, PcapBlockOwned, SPB_MAGIC};
use probe_common::Direction;

use super::interfaces::Interfaces;
use super::{CaptureError, Packet};

/// What is known of a capture so far.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) interfaces: Interfaces,
    units_per_s: u32,
    /// Packets so far.
    pub(super) packets: u64,
    /// Those of them that could not be read.
    pub(super) unreadable: u64,
}

/// A packet as its block has it.
#[derive(Clone, Copy)]
struct Frame<'a> {
    /// Index of its interface in the current section.
    interface: u32,
    /// Its timestamp, in the units of its interface.
    units: u64,
    direction: Direction,
    bytes: &'a [u8],
    wire_len: u32,
}

/// The packet block that pcapng had before the enhanced one (draft-ietf-opsawg-pcapng, appendix A).
const OBSOLETE_PACKET: u32 = 2;

impl Contents {
    /// Takes a block; returns the packet in it, if there is one that can be read.
    pub(super) fn take<'a>(&mut self, block: PcapBlockOwned<'a>) -> Result<Option<Packet<'a>>, CaptureError> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.units_per_s = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
                self.interfaces.add_header(&header).map(|()| None)
            }
            PcapBlockOwned::Legacy(frame) => self.legacy(&frame),
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.interfaces.begin_section();
                Ok(None)
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
                self.interfaces.add_description(&description, self.packets).map(|()| None)
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => self.enhanced(&packet),
            // A simple packet has no time; the obsolete kind was given up in 2004.
            PcapBlockOwned::NG(block) if matches!(block.magic(), SPB_MAGIC | OBSOLETE_PACKET) => {
                self.packets += 1;
                self.unreadable += 1;
                Ok(None)
            }
            PcapBlockOwned::NG(_) => Ok(None),
        }
    }

    /// A link type that cannot be read, when that is why no packet so far could be.
    pub(super) fn only_unsupported(&self) -> Option<u16> {
        self.interfaces.unsupported.filter(|_| self.packets > 0 && self.unreadable == self.packets)
    }

    fn legacy<'a>(&mut self, frame: &LegacyPcapBlock<'a>) -> Result<Option<Packet<'a>>, CaptureError> {
        self.packet(Frame {
            interface: 0,
            units: u64::from(frame.ts_sec) * u64::from(self.units_per_s) + u64::from(frame.ts_usec),
            direction: Direction::Unknown,
            bytes: frame.data,
            wire_len: frame.origlen,
        })
    }

    fn enhanced<'a>(&mut self, packet: &EnhancedPacketBlock<'a>) -> Result<Option<Packet<'a>>, CaptureError> {
        let captured = usize::try_from(packet.caplen).unwrap_or(usize::MAX).min(packet.data.len());
        let flags = packet.options.iter().find(|option| option.code == OptionCode(2));
        let flags = flags.and_then(|flags| flags.value.first_chunk::<4>()).map(|bytes| {
            if packet.big_endian() { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) }
        });
        // Bits 0 and 1 of epb_flags (draft-ietf-opsawg-pcapng, 4.3.1).
        let direction = match flags.map(|flags| flags & 3) {
            Some(1) => Direction::Ingress,
            Some(2) => Direction::Egress,
            Some(_) | None => Direction::Unknown,
        };
        self.packet(Frame {
            interface: packet.if_id,
            units: u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low),
            direction,
            bytes: &packet.data[..captured],
            wire_len: packet.origlen,
        })
    }

    fn packet<'a>(&mut self, frame: Frame<'a>) -> Result<Option<Packet<'a>>, CaptureError> {
        self.packets += 1;
        let read = self.read(frame);
        self.unreadable += u64::from(read.is_none());
        let Some((mut packet, ifindex)) = read else { return Ok(None) };
        packet.interface = self.interfaces.number_within(packet.interface, ifindex, self.packets)?;
        Ok(Some(packet))
    }

    /// The packet, and the index of its interface on its host, where its link header says that. `None` when the interface is
    /// not described or of a link type that cannot be read, when the link header is cut off, or when the time is out of
    /// range.
    fn read<'a>(&self, frame: Frame<'a>) -> Option<(Packet<'a>, u32)> {
        let interface = self.interfaces.get(usize::try_from(frame.interface).ok()?)?;
        let time_ns = interface.time_ns(frame.units)?;
        let header = interface.link?.read(frame.bytes)?;
        let packet = Packet {
            time_ns,
            interface: interface.number,
            direction: match frame.direction {
                Direction::Unknown => header.direction,
                known => known,
            },
            first: header.layer,
            bytes: frame.bytes.get(header.len..)?,
            wire_len: frame.wire_len.checked_sub(u32::try_from(header.len).ok()?)?,
        };
        Some((packet, header.ifindex))
    }
}
