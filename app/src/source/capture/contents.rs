//! What the blocks of a capture say: interfaces, and packets with their times.

use pcap_parser::pcapng::{Block, EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{LegacyPcapBlock, PcapBlockOwned, PcapHeader, SPB_MAGIC};
use probe_common::Direction;

use super::link::LinkType;
use super::{CaptureError, Packet};

const NANO: u64 = 1_000_000_000;
const MICRO: u64 = 1_000_000;

/// An interface of a capture.
#[derive(Clone, Copy, Debug)]
struct Interface {
    /// `None` when its packets cannot be read.
    link: Option<LinkType>,
    /// Timestamp units per second.
    units_per_s: u64,
    /// Seconds to add to its timestamps.
    offset_s: i64,
}

/// What is known of a capture so far.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Those of the current section.
    interfaces: Vec<Interface>,
    /// How many there were in the sections before.
    earlier: usize,
    /// Names of all of them.
    pub(super) names: Vec<String>,
    /// Packets so far.
    pub(super) packets: u64,
    /// Those of them that could not be read.
    pub(super) unreadable: u64,
}

/// The packet block that pcapng had before the enhanced one (draft-ietf-opsawg-pcapng, appendix A).
const OBSOLETE_PACKET: u32 = 2;

impl Contents {
    /// Takes a block; gives the packet in it, if there is one that can be read.
    pub(super) fn tell<'a>(&mut self, block: PcapBlockOwned<'a>) -> Result<Option<Packet<'a>>, CaptureError> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => self.header(&header).map(|()| None),
            PcapBlockOwned::Legacy(frame) => Ok(self.frame(&frame)),
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.earlier += self.interfaces.len();
                self.interfaces.clear();
                Ok(None)
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
                self.description(&description);
                Ok(None)
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => Ok(self.enhanced(&packet)),
            // A simple packet has no time; the obsolete kind was given up in 2004.
            PcapBlockOwned::NG(block) if matches!(block.magic(), SPB_MAGIC | OBSOLETE_PACKET) => {
                self.packets += 1;
                self.unreadable += 1;
                Ok(None)
            }
            PcapBlockOwned::NG(_) => Ok(None),
        }
    }

    fn header(&mut self, header: &PcapHeader) -> Result<(), CaptureError> {
        let link = LinkType::new(header.network.0).ok_or(CaptureError::LinkType(header.network.0))?;
        let units_per_s = if header.is_nanosecond_precision() { NANO } else { MICRO };
        self.interfaces.push(Interface { link: Some(link), units_per_s, offset_s: 0 });
        self.names.push(String::new());
        Ok(())
    }

    fn description(&mut self, description: &InterfaceDescriptionBlock<'_>) {
        self.interfaces.push(Interface {
            link: LinkType::new(description.linktype.0),
            units_per_s: description.ts_resolution().filter(|&units| units > 0).unwrap_or(MICRO),
            offset_s: description.ts_offset(),
        });
        self.names.push(description.if_name().and_then(Result::ok).unwrap_or_default().to_owned());
    }

    fn frame<'a>(&mut self, frame: &LegacyPcapBlock<'a>) -> Option<Packet<'a>> {
        let units_per_s = self.interfaces.first().map_or(MICRO, |interface| interface.units_per_s);
        let units = u128::from(frame.ts_sec) * u128::from(units_per_s) + u128::from(frame.ts_usec);
        self.packet(0, units, Direction::Unknown, frame.data, frame.origlen)
    }

    fn enhanced<'a>(&mut self, packet: &EnhancedPacketBlock<'a>) -> Option<Packet<'a>> {
        let units = u128::from(packet.ts_high) << 32 | u128::from(packet.ts_low);
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
        self.packet(packet.if_id, units, direction, &packet.data[..captured], packet.origlen)
    }

    fn packet<'a>(
        &mut self,
        interface: u32,
        units: u128,
        direction: Direction,
        bytes: &'a [u8],
        wire_len: u32,
    ) -> Option<Packet<'a>> {
        self.packets += 1;
        let packet = self.read(interface, units, direction, bytes, wire_len);
        self.unreadable += u64::from(packet.is_none());
        packet
    }

    /// `None` when the interface is not described or of a link type that cannot be read, when the link header is
    /// cut off, or when the time is out of range.
    fn read<'a>(
        &self,
        interface: u32,
        units: u128,
        direction: Direction,
        bytes: &'a [u8],
        wire_len: u32,
    ) -> Option<Packet<'a>> {
        let index = usize::try_from(interface).ok()?;
        let Interface { link, units_per_s, offset_s } = *self.interfaces.get(index)?;
        let link = link?;
        let since_1970_ns = i128::try_from(units * u128::from(NANO) / u128::from(units_per_s)).ok()?;
        let time_ns = u64::try_from(since_1970_ns + i128::from(offset_s) * i128::from(NANO)).ok()?;
        let (skipped, layer, said) = link.read(bytes)?;
        Some(Packet {
            time_ns,
            interface: u32::try_from(self.earlier + index + 1).ok()?,
            direction: if direction == Direction::Unknown { said } else { direction },
            link: layer,
            bytes: bytes.get(skipped..)?,
            wire_len: wire_len.checked_sub(u32::try_from(skipped).ok()?)?,
        })
    }
}
