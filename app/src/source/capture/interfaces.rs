//! The interfaces of a capture: what their packets look like, and which number each has.

use std::collections::HashMap;

use pcap_parser::pcapng::{InterfaceDescriptionBlock, OptionCode};
use pcap_parser::{IDB_MAGIC, PcapHeader};

use super::CaptureError;
use super::link::LinkType;

/// A capture has no more interfaces than this. It costs next to nothing to write more into one, and each is remembered.
pub(super) const MAX_INTERFACES: usize = 65_536;
/// As many interfaces are shown, should there be packets of none: describing more is cheap, reading their names is not.
const SHOWN: usize = 256;
/// Longer names are cut. Linux's have 15 bytes at the most, Windows' some 50.
const MAX_NAME: usize = 128;
const NANO: u128 = 1_000_000_000;

/// One interface of the current section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    /// Its number in the whole capture, from 1.
    pub(super) number: u32,
    /// `None` when its packets cannot be read.
    pub(super) link: Option<LinkType>,
    resolution: Resolution,
    /// Seconds to add to its timestamps.
    offset_s: i64,
}

/// How long a unit of timestamps is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// `10^-n` seconds.
    Decimal(u8),
    /// `2^-n` seconds.
    Binary(u8),
}

impl Resolution {
    const MICROSECONDS: Self = Self::Decimal(6);
    const NANOSECONDS: Self = Self::Decimal(9);

    /// That of `if_tsresol` (draft-ietf-opsawg-pcapng, 4.2).
    const fn new(tsresol: u8) -> Self {
        if tsresol & 0x80 == 0 { Self::Decimal(tsresol) } else { Self::Binary(tsresol & 0x7f) }
    }

    /// So many units in nanoseconds, rounded down. `None` when that is too much for any time.
    fn ns(self, units: u64) -> Option<i128> {
        let units = u128::from(units);
        let ns = match self {
            Self::Decimal(digits) => match digits.checked_sub(9) {
                None => units.checked_mul(10_u128.pow(9 - u32::from(digits)))?,
                // 10^39 is more than all units there can be.
                Some(more) => units.checked_div(10_u128.checked_pow(more.into())?)?,
            },
            Self::Binary(digits) => (units * NANO) >> digits,
        };
        i128::try_from(ns).ok()
    }
}

impl Interface {
    /// Nanoseconds since 1970 for a timestamp, or `None` when that is before 1970 or after 2554.
    pub(super) fn time_ns(&self, units: u64) -> Option<u64> {
        let ns = self.resolution.ns(units)? + i128::from(self.offset_s) * 1_000_000_000;
        u64::try_from(ns).ok()
    }
}

/// What makes an interface of one section the same as one of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identity {
    /// A described one, by its name, link type, and how many of the same came before it in its section.
    Described(String, u16, u32),
    /// The one with this index on the host that captured it, within one that stands for all of them.
    Index(u32, u32),
}

/// All interfaces of a capture.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// Those of the current section.
    current: Vec<Interface>,
    /// How many of them have the same name and link type.
    alike: HashMap<(String, u16), u32>,
    numbers: HashMap<Identity, u32>,
    /// Names of all of them, by number, from 1.
    names: Vec<String>,
    /// The highest number that a packet had.
    used: u32,
    /// A link type that cannot be read, if there was one.
    pub(super) unsupported: Option<u16>,
}

impl Interfaces {
    /// Another section describes its own.
    pub(super) fn begin_section(&mut self) {
        self.current.clear();
        self.alike.clear();
    }

    /// The one with this index in the current section.
    pub(super) fn get(&self, index: usize) -> Option<Interface> {
        self.current.get(index).copied()
    }

    /// Their names, by number, from 1; empty where there is none. Beyond the first 256 those that have no packet are left
    /// out.
    pub(super) fn names(&self) -> &[String] {
        &self.names[..self.names.len().min(SHOWN.max(self.used as usize))]
    }

    /// The interface of a pcap file.
    pub(super) fn add_header(&mut self, header: &PcapHeader) -> Result<(), CaptureError> {
        // The upper bits say whether and how long a frame check sequence is (draft-ietf-opsawg-pcap, 4).
        let [low, high, ..] = header.network.0.to_le_bytes();
        let number = u16::from_le_bytes([low, high]);
        let link = LinkType::new(number).ok_or(CaptureError::LinkType(number))?;
        let nanoseconds = header.is_nanosecond_precision();
        let resolution = if nanoseconds { Resolution::NANOSECONDS } else { Resolution::MICROSECONDS };
        let number = self.number(Identity::Described(String::new(), number, 0), 0)?;
        self.current.push(Interface { number, link: Some(link), resolution, offset_s: 0 });
        Ok(())
    }

    /// An interface that a section describes, after so many packets.
    pub(super) fn add_description(
        &mut self,
        description: &InterfaceDescriptionBlock<'_>,
        packets: u64,
    ) -> Result<(), CaptureError> {
        if self.current.len() == MAX_INTERFACES {
            return Err(CaptureError::Interfaces { packets });
        }
        let link_type = u16::try_from(description.linktype.0).unwrap_or(u16::MAX);
        let link = LinkType::new(link_type);
        if link.is_none() {
            self.unsupported.get_or_insert(link_type);
        }
        let name = description.if_name().and_then(Result::ok).unwrap_or_default();
        let name = name[..name.floor_char_boundary(MAX_NAME)].to_owned();
        let alike = self.alike.entry((name.clone(), link_type)).or_default();
        *alike += 1;
        let nth = *alike;
        let number = self.number(Identity::Described(name, link_type, nth), packets)?;
        let resolution = Resolution::new(description.if_tsresol);
        self.current.push(Interface { number, link, resolution, offset_s: offset_s(description) });
        Ok(())
    }

    /// The number of the interface with this index on its host, within one that stands for several.
    pub(super) fn number_within(
        &mut self,
        number: u32,
        ifindex: u32,
        packets: u64,
    ) -> Result<u32, CaptureError> {
        let number =
            if ifindex == 0 { number } else { self.number(Identity::Index(number, ifindex), packets)? };
        self.used = self.used.max(number);
        Ok(number)
    }

    fn number(&mut self, identity: Identity, packets: u64) -> Result<u32, CaptureError> {
        if let Some(&number) = self.numbers.get(&identity) {
            return Ok(number);
        }
        if self.names.len() == MAX_INTERFACES {
            return Err(CaptureError::Interfaces { packets });
        }
        self.names.push(match &identity {
            Identity::Described(name, ..) => name.clone(),
            Identity::Index(_, ifindex) => format!("if{ifindex}"),
        });
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert(identity, number);
        Ok(number)
    }
}

/// `if_tsoffset`, in the byte order of its section.
fn offset_s(description: &InterfaceDescriptionBlock<'_>) -> i64 {
    let option = description.options.iter().find(|option| option.code == OptionCode::IfTsoffset);
    let Some(&bytes) = option.and_then(|option| option.value.first_chunk()) else { return 0 };
    let is_little_endian = description.block_type == IDB_MAGIC;
    if is_little_endian { i64::from_le_bytes(bytes) } else { i64::from_be_bytes(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_every_length_are_exact() {
        for (tsresol, units, ns) in [
            (6, 1_500_000, Some(1_500_000_000)),
            (9, 7, Some(7)),
            (0, 3, Some(3_000_000_000)),
            (12, 1_999, Some(1)),
            (0x80, 3, Some(3_000_000_000)),
            (0x80 | 10, 1_025, Some(1_000_976_562)),
            (0x80 | 20, 1, Some(953)),
            (0x80 | 63, u64::MAX, Some(1_999_999_999)),
            (0x80 | 127, u64::MAX, Some(0)),
            (20, u64::MAX, Some(184_467_440)),
            (127, 1, None),
        ] {
            assert_eq!(Resolution::new(tsresol).ns(units), ns, "{units} units of {tsresol:#x}");
        }
    }

    #[test]
    fn times_before_1970_are_none() {
        let interface =
            |offset_s| Interface { number: 1, link: None, resolution: Resolution::MICROSECONDS, offset_s };
        assert_eq!(interface(-1).time_ns(1_500_000), Some(500_000_000));
        assert_eq!(interface(-2).time_ns(1_500_000), None);
        assert_eq!(interface(i64::MAX).time_ns(u64::MAX), None);
    }
}
