//! What the kernel tells user space about one segment.

use crate::half::{Arrival, Volume};
use crate::key::{Ends, Side};
use crate::observe::{Hook, Sighting};
use crate::segment::{Endpoint, TcpFlags, Timestamps, bytes};
use crate::state::FlowState;

/// Why a segment was worth a record. The numbers are the wire format between kernel and user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// SYN without ACK: a connection is being opened.
    Syn = 0,
    /// SYN with ACK: it is being answered.
    SynAck = 1,
    /// The ACK that completes a handshake.
    Ack = 2,
    /// RST, whatever it answers.
    Rst = 3,
    /// FIN: one side is done sending.
    Fin = 4,
    /// Data that was sent before.
    Data = 5,
    /// Not a segment: the probe had to forget a flow that had not ended, for another one.
    Evicted = 6,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 7] =
        [Self::Syn, Self::SynAck, Self::Ack, Self::Rst, Self::Fin, Self::Data, Self::Evicted];

    /// The word for it, as in `lost` of the JSON output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "syn_ack",
            Self::Ack => "ack",
            Self::Rst => "rst",
            Self::Fin => "fin",
            Self::Data => "data",
            Self::Evicted => "evicted",
        }
    }
}

/// Which way a segment passed the interface. The numbers are the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Into this host.
    Ingress = 0,
    /// Out of this host.
    Egress = 1,
    /// Loopback: both ends are this host, and each packet is looked at once.
    Local = 2,
    /// Not known: a capture does not always tell. Never said by the kernel.
    Unknown = 3,
}

/// One segment that was worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it passed, in nanoseconds of the kernel's monotonic clock (`bpf_ktime_get_ns`).
    pub time_ns: u64,
    /// Index of the interface it passed.
    pub interface: u32,
    /// Why it is worth a record.
    pub kind: Kind,
    /// Which way it went.
    pub direction: Direction,
    /// Who sent it.
    pub source: Endpoint,
    /// Who it is for.
    pub destination: Endpoint,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; means nothing without [`TcpFlags::ACK`].
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Bytes of payload.
    pub payload_len: u32,
    /// The timestamp option.
    pub timestamps: Timestamps,
    /// How many segments it stands for (GSO, GRO).
    pub segments: u32,
    /// Was it sent before?
    pub arrival: Arrival,
    /// What its sender has sent so far in this flow, and what the other end has. Of a SYN that opens another
    /// connection: what was sent in the one before.
    pub volumes: [Volume; 2],
}

/// A [`Record`] as it lies in the ring buffer: integers in host order, no padding, 128 bytes.
///
/// Kernel bytes are not trusted to be a valid [`Kind`] or [`Direction`]: [`RawRecord::decode`] checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawRecord {
    time_ns: u64,
    volumes: [Volume; 2],
    source: [u8; 16],
    destination: [u8; 16],
    interface: u32,
    seq: u32,
    ack: u32,
    payload_len: u32,
    ts_value: u32,
    ts_echo: u32,
    segments: u32,
    hole_age_us: u32,
    source_port: u16,
    destination_port: u16,
    kind: u8,
    direction: u8,
    flags: u8,
    /// [`HAS_TIMESTAMPS`] and [`IS_RETRANSMIT`].
    facts: u8,
}

const HAS_TIMESTAMPS: u8 = 1;
const IS_RETRANSMIT: u8 = 2;

const _: () = assert!(size_of::<RawRecord>() == 128, "a padding byte would leak kernel stack");

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not 128 bytes long.
    Length(usize),
    /// A kind that this version does not know.
    Kind(u8),
    /// A direction that this version does not know.
    Direction(u8),
}

impl RawRecord {
    /// The record of a sighting at `hook`.
    #[inline(always)]
    #[must_use]
    pub fn new(hook: &Hook, sighting: &Sighting) -> Self {
        let (segment, timestamps) = (&sighting.segment, sighting.timestamps());
        Self {
            time_ns: sighting.time_ns,
            hole_age_us: sighting.arrival.hole_age_us(),
            volumes: sighting.volumes,
            source: bytes(segment.source),
            destination: bytes(segment.destination),
            interface: hook.interface,
            seq: segment.seq,
            ack: segment.ack,
            payload_len: segment.payload_len,
            ts_value: timestamps.value,
            ts_echo: timestamps.echo,
            segments: sighting.segments,
            source_port: segment.source_port,
            destination_port: segment.destination_port,
            kind: (sighting.kind_number() & 0xff) as u8,
            direction: hook.direction as u8,
            flags: segment.flags.0,
            facts: (u8::from(timestamps.present) * HAS_TIMESTAMPS)
                | (u8::from(sighting.arrival.is_retransmit()) * IS_RETRANSMIT),
        }
    }

    /// The record of a flow that had to give way at `time_ns`. Its low end is the source; its direction is that of a
    /// flow that was [learned](FlowState::learned), else unknown.
    #[inline(always)]
    #[must_use]
    pub fn evicted(time_ns: u64, ends: &Ends, state: &FlowState) -> Self {
        Self {
            time_ns,
            volumes: state.volumes(Side::Low),
            source: bytes(ends.addresses[0]),
            destination: bytes(ends.addresses[1]),
            interface: ends.interface,
            seq: 0,
            ack: 0,
            payload_len: 0,
            ts_value: 0,
            ts_echo: 0,
            segments: 0,
            hole_age_us: 0,
            source_port: ends.ports[0],
            destination_port: ends.ports[1],
            kind: Kind::Evicted as u8,
            direction: state.learned().unwrap_or(Direction::Unknown) as u8,
            flags: 0,
            facts: 0,
        }
    }

    /// Reads the fields out of ring buffer bytes.
    ///
    /// # Errors
    /// When the length is not that of a record, or kind or direction are none that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
        if bytes.len() != size_of::<Self>() {
            return Err(DecodeError::Length(bytes.len()));
        }
        // SAFETY: the length was checked, every bit pattern is a valid value of this struct of integers,
        // and `read_unaligned` asks for no alignment.
        let raw = unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() };
        raw.typed()
    }

    /// The record that these integers stand for.
    ///
    /// # Errors
    /// When kind or direction are none that this version knows.
    pub fn typed(&self) -> Result<Record, DecodeError> {
        let kind = Kind::ALL.get(usize::from(self.kind)).copied().ok_or(DecodeError::Kind(self.kind))?;
        let direction = match self.direction {
            0 => Direction::Ingress,
            1 => Direction::Egress,
            2 => Direction::Local,
            3 => Direction::Unknown,
            other => return Err(DecodeError::Direction(other)),
        };
        Ok(Record {
            time_ns: self.time_ns,
            interface: self.interface,
            kind,
            direction,
            source: Endpoint { address: self.source, port: self.source_port },
            destination: Endpoint { address: self.destination, port: self.destination_port },
            seq: self.seq,
            ack: self.ack,
            flags: TcpFlags(self.flags),
            payload_len: self.payload_len,
            timestamps: Timestamps {
                value: self.ts_value,
                echo: self.ts_echo,
                present: self.facts & HAS_TIMESTAMPS != 0,
            },
            segments: self.segments,
            arrival: match self.facts & IS_RETRANSMIT {
                0 => Arrival::NEW,
                _ => Arrival::retransmit(self.hole_age_us),
            },
            volumes: self.volumes,
        })
    }
}
