//! What the kernel tells user space about one segment.

use crate::key::{Ends, Side};
use crate::parsed::ParsedPacket;
use crate::segment::{Endpoint, TcpFlags, Timestamps, bytes};
use crate::sequence::{SegmentClass, Volume};
use crate::state::FlowState;
use crate::verifier::assign_words;

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
    Retransmit = 5,
    /// Not a segment: the probe had to forget a flow that had not ended, for another one.
    Evicted = 6,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 7] =
        [Self::Syn, Self::SynAck, Self::Ack, Self::Rst, Self::Fin, Self::Retransmit, Self::Evicted];

    /// The word for it, as in `lost` of the JSON output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "syn_ack",
            Self::Ack => "ack",
            Self::Rst => "rst",
            Self::Fin => "fin",
            Self::Retransmit => "data",
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
    /// Is it a retransmit?
    pub class: SegmentClass,
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
    marks: u8,
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
    /// Room for one.
    pub const NOTHING: Self = Self {
        time_ns: 0,
        volumes: [Volume::NONE; 2],
        source: [0; 16],
        destination: [0; 16],
        interface: 0,
        seq: 0,
        ack: 0,
        payload_len: 0,
        ts_value: 0,
        ts_echo: 0,
        segments: 0,
        hole_age_us: 0,
        source_port: 0,
        destination_port: 0,
        kind: 0,
        direction: 0,
        flags: 0,
        marks: 0,
    };

    /// Becomes what is told of a segment that passed at `time_ns`. `kind` is the number of a [`Kind`], because the
    /// kernel's verifier does not know which ones there are; `state` is what is known of the flow.
    ///
    /// Field by field, because the kernel's stack has no room for all of them together.
    #[inline(always)]
    pub fn set(
        &mut self,
        packet: &ParsedPacket,
        kind: u32,
        time_ns: u64,
        class: SegmentClass,
        state: Option<&FlowState>,
    ) {
        let segment = &packet.segment;
        self.time_ns = time_ns;
        self.source = bytes(segment.source);
        self.destination = bytes(segment.destination);
        self.interface = packet.interface;
        self.seq = segment.seq;
        self.ack = segment.ack;
        self.payload_len = segment.payload_len;
        self.segments = packet.segments;
        self.hole_age_us = class.hole_age_us();
        self.source_port = segment.source_port;
        self.destination_port = segment.destination_port;
        self.kind = (kind & 0xff) as u8;
        self.direction = (packet.direction & 0xff) as u8;
        self.flags = segment.flags.0;
        // Whether data was sent before, its options do not tell.
        let is_stamped = packet.options == ParsedPacket::WITH_TIMESTAMPS && kind != Kind::Retransmit as u32;
        self.ts_value = if is_stamped { packet.ts_value } else { 0 };
        self.ts_echo = if is_stamped { packet.ts_echo } else { 0 };
        self.marks =
            (u8::from(is_stamped) * HAS_TIMESTAMPS) | (u8::from(class.is_retransmit()) * IS_RETRANSMIT);
        match state {
            Some(state) => self.set_volumes(state, packet.side()),
            None => assign_words(&mut self.volumes, &[Volume::NONE; 2]),
        }
    }

    #[inline(always)]
    fn set_volumes(&mut self, state: &FlowState, own: Side) {
        let trackers = &state.trackers;
        self.volumes[0] = trackers[own as usize].volume;
        self.volumes[1] = trackers[own.other() as usize].volume;
    }

    /// Becomes what is told of a flow that had to give way at `time_ns`. Its low end is the source; its direction is that
    /// of a flow that was [learned](FlowState::learned), else unknown.
    #[inline(always)]
    pub fn set_evicted(&mut self, time_ns: u64, ends: &Ends, state: &FlowState) {
        assign_words(self, &Self::NOTHING);
        self.time_ns = time_ns;
        self.set_volumes(state, Side::Low);
        self.source = bytes(ends.addresses[0]);
        self.destination = bytes(ends.addresses[1]);
        self.interface = ends.interface;
        self.source_port = ends.ports[0];
        self.destination_port = ends.ports[1];
        self.kind = Kind::Evicted as u8;
        self.direction = state.learned().unwrap_or(Direction::Unknown) as u8;
    }

    /// The bytes that lie in the ring buffer.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; size_of::<Self>()] {
        // SAFETY: a struct of integers without padding is as many initialised bytes, aligned for less.
        unsafe { &*core::ptr::from_ref(self).cast() }
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
                present: self.marks & HAS_TIMESTAMPS != 0,
            },
            segments: self.segments,
            class: match self.marks & IS_RETRANSMIT {
                0 => SegmentClass::NEW,
                _ => SegmentClass::retransmit(self.hole_age_us),
            },
            volumes: self.volumes,
        })
    }
}
