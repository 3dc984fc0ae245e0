//! The records that the probe submits to user space: a header, and a body for each kind.
//!
//! A new kind of record is one more variant of [`RecordKind`] and of [`Record`], a body, and an arm of
//! [`Record::decode`]: the compiler points at each of them.

use crate::encapsulation::Encapsulation;
use crate::icmp_error::ParsedIcmp;
use crate::key::{Ends, Side};
use crate::packet::{Direction, ParsedPacket};
use crate::process::SegmentKind;
use crate::reset::ResetReason;
use crate::segment::{Endpoint, Family, TcpFlags, Timestamps, bytes};
use crate::sequence::{SegmentClass, Volume};
use crate::state::FlowState;
use crate::transmission::Transmission;
use crate::verifier::assign_words;

/// Version of the layout. It changes with the meaning of any byte, so that a reader of other records refuses these.
pub const VERSION: u8 = 4;

/// What a record is about, and so which body it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A segment, and why it makes a record.
    Segment(SegmentKind),
    /// A flow that the probe no longer remembers.
    EvictedFlow,
    /// The process that connects, listens on or closes a socket.
    Owner,
    /// An ICMP error about a segment that is in flight.
    Icmp,
    /// Why a socket has just sent a RST.
    Reset,
}

impl RecordKind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every kind, at the place of its number.
    pub const ALL: [Self; 10] = [
        Self::Segment(SegmentKind::Syn),
        Self::Segment(SegmentKind::SynAck),
        Self::Segment(SegmentKind::Ack),
        Self::Segment(SegmentKind::Rst),
        Self::Segment(SegmentKind::Fin),
        Self::Segment(SegmentKind::Retransmit),
        Self::EvictedFlow,
        Self::Owner,
        Self::Icmp,
        Self::Reset,
    ];

    /// The number of this kind in the header of its records.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Segment(kind) => kind as u8,
            Self::EvictedFlow => 6,
            Self::Owner => 7,
            Self::Icmp => 8,
            Self::Reset => 9,
        }
    }

    /// The word for it, as in `lost` of the JSON output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segment(SegmentKind::Syn) => "syn",
            Self::Segment(SegmentKind::SynAck) => "syn_ack",
            Self::Segment(SegmentKind::Ack) => "ack",
            Self::Segment(SegmentKind::Rst) => "rst",
            Self::Segment(SegmentKind::Fin) => "fin",
            Self::Segment(SegmentKind::Retransmit) => "data",
            Self::EvictedFlow => "evicted",
            Self::Owner => "owner",
            Self::Icmp => "icmp",
            Self::Reset => "reset_reason",
        }
    }
}

const _: () = {
    let mut number = 0;
    while number < RecordKind::COUNT {
        assert!(RecordKind::ALL[number].number() as usize == number, "a kind that is not at its place");
        number += 1;
    }
};

/// What the probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A segment passed.
    Segment(SegmentRecord),
    /// A flow that had not ended was evicted from the probe's memory.
    EvictedFlow(EvictedFlowRecord),
    /// A process connects, listens on or closes a socket.
    Owner(OwnerRecord),
    /// An ICMP error passed.
    Icmp(IcmpRecord),
    /// A socket has sent a RST, and this is why.
    Reset(ResetRecord),
}

impl From<SegmentRecord> for Record {
    fn from(segment: SegmentRecord) -> Self {
        Self::Segment(segment)
    }
}

/// One segment that made a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRecord {
    /// When it passed, in nanoseconds of the kernel's monotonic clock (`bpf_ktime_get_ns`).
    pub time_ns: u64,
    /// Index of the interface that it passed.
    pub interface: u32,
    /// Why it makes a record.
    pub kind: SegmentKind,
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
    /// How many segments it stands for (GSO, GRO): 1 to 65,535.
    pub segments: u32,
    /// Whether it is a retransmit.
    pub class: SegmentClass,
    /// What its sender has sent so far in this flow, and what the other end has. Of a SYN that opens another
    /// connection: what was sent in the one before.
    pub volumes: [Volume; 2],
    /// What carried its IP packet.
    pub encapsulation: Encapsulation,
    /// The cookie of the socket that sent it; 0 where the kernel knows none: the sender is another host, or the segment is
    /// neither SYN nor FIN nor data, nor a RST that the connection's socket sends by itself. See [`OwnerRecord::cookie`].
    pub cookie: u64,
    /// What its sender says of it.
    pub said: Transmission,
    /// Segments of which the other end has said that they arrived twice (D-SACK, RFC 2883), since the connection began; as its
    /// sender says, so only where [`said`](Self::said) is known.
    pub dsacks: Option<u32>,
    /// Time to live of the IPv4 packet that carried it, hop limit of the IPv6 packet.
    pub ttl: Option<u8>,
    /// Of a RST of this host, why it is sent, where the kernel has said it before: it answers a segment. Of one that a socket sends
    /// by itself a [`ResetRecord`] says it, with the same [`cookie`](Self::cookie).
    pub reset: Option<ResetReason>,
    /// Times compare only within one time base. In a live run there is one, 0; a capture may have several clocks, of which
    /// nobody knows how far they are apart.
    pub timebase: u32,
}

/// A flow that had not ended and was evicted for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictedFlowRecord {
    /// When it was evicted, in nanoseconds of the kernel's monotonic clock.
    pub time_ns: u64,
    /// Index of its interface.
    pub interface: u32,
    /// Its ends, the low one first.
    pub ends: [Endpoint; 2],
    /// What each of them had sent.
    pub volumes: [Volume; 2],
    /// See [`FlowState::learned`].
    pub learned: Option<Direction>,
}

/// Who uses a socket.
///
/// The probe takes it in the context of the process, before the segment that the process sends by it: before the SYN of a
/// connection that it opens, and before the FIN or the RST of one that it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerRecord {
    /// When, in nanoseconds of the kernel's monotonic clock.
    pub time_ns: u64,
    /// The socket's cookie (`SO_COOKIE`, `sk` in `ss -e`): unique on this host, in all its namespaces, until it restarts.
    pub cookie: u64,
    /// The control group of the process in cgroup v2: the number of its directory's inode. 1 is the root.
    pub cgroup: u64,
    /// The process (`tgid`), in the initial PID namespace.
    pub process: u32,
    /// The thread (`pid` in the kernel).
    pub thread: u32,
    /// Its user, in the initial user namespace.
    pub user: u32,
    /// The name of the thread, up to the first 0: any bytes.
    pub name: [u8; 16],
    /// What the process does.
    pub action: OwnerAction,
}

/// What a process does with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum OwnerAction {
    /// It connects: the SYN follows.
    Connect = 0,
    /// It listens.
    Listen = 1,
    /// It closes the last descriptor: the FIN follows, unless one was sent before. Of a connection whose opener was emitted it may
    /// be left out.
    Close = 2,
}

/// An ICMP error about a segment that was in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpRecord {
    /// When it passed, in nanoseconds of the kernel's monotonic clock.
    pub time_ns: u64,
    /// Index of the interface that it passed.
    pub interface: u32,
    /// Which way it went.
    pub direction: Direction,
    /// The IP version, on which the meaning of type and code depends.
    pub family: Family,
    /// Type: one of the constants of [`icmp`](crate::icmp).
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// The largest packet that fits, in bytes, where it says so.
    pub mtu: Option<u32>,
    /// The address of who sent it, IPv4 mapped.
    pub sender: [u8; 16],
    /// Who sent the segment.
    pub source: Endpoint,
    /// Who it was for.
    pub destination: Endpoint,
    /// The segment's sequence number.
    pub seq: u32,
    /// See [`SegmentRecord::timebase`].
    pub timebase: u32,
}

/// Why a socket has sent a RST by itself. The record of the RST comes just before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRecord {
    /// When, in nanoseconds of the kernel's monotonic clock.
    pub time_ns: u64,
    /// The socket's cookie, see [`OwnerRecord::cookie`].
    pub cookie: u64,
    /// Why; `None` where the kernel does not say.
    pub reason: Option<ResetReason>,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not as long as a record of this kind, or as its header says.
    Length(usize),
    /// Another version of the layout.
    Version(u8),
    /// A kind that this version does not know.
    Kind(u8),
    /// A direction that this version does not know.
    Direction(u8),
    /// An encapsulation that this version does not know.
    Encapsulation(u8),
    /// An action of a process that this version does not know.
    Action(u32),
    /// An IP version that this version does not know.
    Family(u8),
}

impl Record {
    /// Reads a record out of ring buffer bytes. Nothing about them is trusted.
    ///
    /// # Errors
    /// When the bytes are not exactly one record of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let length = DecodeError::Length(bytes.len());
        let header: Header = bytes.get(..size_of::<Header>()).and_then(read).ok_or(length)?;
        if header.version != VERSION {
            return Err(DecodeError::Version(header.version));
        }
        if usize::from(header.length) != bytes.len() {
            return Err(length);
        }
        let kind = RecordKind::ALL.get(usize::from(header.kind)).ok_or(DecodeError::Kind(header.kind))?;
        match *kind {
            RecordKind::Segment(kind) => {
                let raw: RawSegment = read(bytes).ok_or(length)?;
                raw.typed(kind).map(Self::Segment)
            }
            RecordKind::EvictedFlow => {
                let raw: RawEvictedFlow = read(bytes).ok_or(length)?;
                raw.typed().map(Self::EvictedFlow)
            }
            RecordKind::Owner => {
                let raw: RawOwner = read(bytes).ok_or(length)?;
                raw.typed().map(Self::Owner)
            }
            RecordKind::Icmp => {
                let raw: RawIcmp = read(bytes).ok_or(length)?;
                raw.typed().map(Self::Icmp)
            }
            RecordKind::Reset => {
                let raw: RawReset = read(bytes).ok_or(length)?;
                Ok(Self::Reset(raw.typed()))
            }
        }
    }

    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> RecordKind {
        match self {
            Self::Segment(segment) => RecordKind::Segment(segment.kind),
            Self::EvictedFlow(_) => RecordKind::EvictedFlow,
            Self::Owner(_) => RecordKind::Owner,
            Self::Icmp(_) => RecordKind::Icmp,
            Self::Reset(_) => RecordKind::Reset,
        }
    }

    /// When it was made, in nanoseconds of the kernel's monotonic clock.
    #[must_use]
    pub const fn time_ns(&self) -> u64 {
        match self {
            Self::Segment(SegmentRecord { time_ns, .. })
            | Self::EvictedFlow(EvictedFlowRecord { time_ns, .. })
            | Self::Owner(OwnerRecord { time_ns, .. })
            | Self::Icmp(IcmpRecord { time_ns, .. })
            | Self::Reset(ResetRecord { time_ns, .. }) => *time_ns,
        }
    }
}

/// A type that is made of integers without padding: each of its bytes is initialised, and any bytes are a value of it.
///
/// # Safety
/// That must be so.
unsafe trait Plain: Copy {}

/// The value that these bytes are, if they are as many as it has.
fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the length is checked, any bytes are a value, and `read_unaligned` asks for no alignment.
    (bytes.len() == size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// What each record begins with: integers in host order, 16 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Header {
    /// The number of a [`RecordKind`].
    kind: u8,
    version: u8,
    /// Of the whole record, in bytes.
    length: u16,
    interface: u32,
    time_ns: u64,
}

// SAFETY: the fields are integers, and fill it.
unsafe impl Plain for Header {}
const _: () = assert!(size_of::<Header>() == 16, "a padding byte would leak kernel memory");

impl Header {
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a record has some hundred bytes")]
    fn set<T>(&mut self, kind: u8, interface: u32, time_ns: u64) {
        self.kind = kind;
        self.version = VERSION;
        self.length = size_of::<T>() as u16;
        self.interface = interface;
        self.time_ns = time_ns;
    }
}

/// A [`SegmentRecord`] as it lies in the ring buffer: integers in host order, 160 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawSegment {
    header: Header,
    volumes: [Volume; 2],
    cookie: u64,
    /// The word of a [`Transmission`] in the lower half, then the time to live, 0 for none, and the number of a [`ResetReason`],
    /// 0 for none.
    said: u32,
    dsacks: u32,
    source: [u8; 16],
    destination: [u8; 16],
    seq: u32,
    ack: u32,
    payload_len: u32,
    ts_value: u32,
    ts_echo: u32,
    hole_age_us: u32,
    source_port: u16,
    destination_port: u16,
    segments: u16,
    flags: u8,
    /// The number of a [`Direction`], [`HAS_TIMESTAMPS`], [`IS_RETRANSMIT`], and the number of an [`Encapsulation`] in the
    /// upper half.
    bits: u8,
}

const TRANSMISSION: u32 = 0xffff;
const TTL_SHIFT: u32 = 16;
const RESET_SHIFT: u32 = 24;
const DIRECTION_BITS: u8 = 3;
const HAS_TIMESTAMPS: u8 = 4;
const IS_RETRANSMIT: u8 = 8;
const ENCAPSULATION_SHIFT: u32 = 4;
/// In the place of the age of a hole, of what is no retransmit: [`SegmentClass::OUT_OF_WINDOW`].
const OUT_OF_WINDOW: u32 = u32::MAX;

// SAFETY: the fields are integers, or made of them, and fill it.
unsafe impl Plain for RawSegment {}
const _: () = assert!(size_of::<RawSegment>() == 160, "a padding byte would leak kernel memory");

impl RawSegment {
    /// Becomes the record of a segment that passed at `time_ns`; `state` is what is known of its flow. `kind` is the
    /// number of a [`SegmentKind`], because the kernel's verifier does not know which ones there are.
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
        self.header.set::<Self>((kind & 0xff) as u8, packet.interface, time_ns);
        self.cookie = packet.cookie;
        let (ttl, reset) = (u32::from(segment.ttl), u32::from(packet.reset) & 0xff);
        self.said = packet.said.word() & TRANSMISSION | ttl << TTL_SHIFT | reset << RESET_SHIFT;
        self.dsacks = packet.dsacks;
        self.source = bytes(segment.source);
        self.destination = bytes(segment.destination);
        self.seq = segment.seq;
        self.ack = segment.ack;
        self.payload_len = segment.payload_len;
        self.hole_age_us = if class.is_out_of_window() { OUT_OF_WINDOW } else { class.hole_age_us() };
        self.source_port = segment.source_port;
        self.destination_port = segment.destination_port;
        self.segments = (packet.segments & 0xffff) as u16;
        self.flags = segment.flags.0;
        // Nobody needs those of retransmitted data.
        let is_stamped =
            packet.options == ParsedPacket::WITH_TIMESTAMPS && kind != SegmentKind::Retransmit as u32;
        self.ts_value = if is_stamped { packet.ts_value } else { 0 };
        self.ts_echo = if is_stamped { packet.ts_echo } else { 0 };
        self.bits = (packet.direction & 3) as u8
            | (u8::from(is_stamped) * HAS_TIMESTAMPS)
            | (u8::from(class.is_retransmit()) * IS_RETRANSMIT)
            | (packet.encapsulation() << ENCAPSULATION_SHIFT);
        match state {
            Some(state) => set_volumes(&mut self.volumes, state, packet.side()),
            None => assign_words(&mut self.volumes, &[Volume::NONE; 2]),
        }
    }

    fn typed(&self, kind: SegmentKind) -> Result<SegmentRecord, DecodeError> {
        let said = Transmission::from_word(self.said & TRANSMISSION);
        let [_, _, ttl, reset] = self.said.to_le_bytes();
        let encapsulation = self.bits >> ENCAPSULATION_SHIFT;
        let encapsulation = *Encapsulation::ALL
            .get(usize::from(encapsulation))
            .ok_or(DecodeError::Encapsulation(encapsulation))?;
        Ok(SegmentRecord {
            time_ns: self.header.time_ns,
            interface: self.header.interface,
            kind,
            direction: direction(self.bits & DIRECTION_BITS)?,
            source: Endpoint { address: self.source, port: self.source_port },
            destination: Endpoint { address: self.destination, port: self.destination_port },
            seq: self.seq,
            ack: self.ack,
            flags: TcpFlags(self.flags),
            payload_len: self.payload_len,
            timestamps: Timestamps {
                value: self.ts_value,
                echo: self.ts_echo,
                present: self.bits & HAS_TIMESTAMPS != 0,
            },
            segments: self.segments.into(),
            class: match self.bits & IS_RETRANSMIT {
                0 if self.hole_age_us == OUT_OF_WINDOW => SegmentClass::OUT_OF_WINDOW,
                0 => SegmentClass::NEW,
                _ => SegmentClass::retransmit(self.hole_age_us),
            },
            volumes: self.volumes,
            encapsulation,
            cookie: self.cookie,
            said,
            dsacks: said.is_known().then_some(self.dsacks),
            ttl: Some(ttl).filter(|&ttl| ttl > 0),
            reset: ResetReason::of_number(reset),
            timebase: 0,
        })
    }
}

/// An [`EvictedFlowRecord`] as it lies in the ring buffer: integers in host order, 120 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawEvictedFlow {
    header: Header,
    volumes: [Volume; 2],
    addresses: [[u8; 16]; 2],
    ports: [u16; 2],
    /// One more than the number of a [`Direction`]; 0 for none.
    learned: u32,
}

// SAFETY: the fields are integers, or made of them, and fill it.
unsafe impl Plain for RawEvictedFlow {}
const _: () = assert!(size_of::<RawEvictedFlow>() == 120, "a padding byte would leak kernel memory");

impl RawEvictedFlow {
    /// Becomes the record of a flow that is evicted at `time_ns`.
    #[inline(always)]
    pub fn set(&mut self, time_ns: u64, ends: &Ends, state: &FlowState) {
        self.header.set::<Self>(RecordKind::EvictedFlow.number(), ends.interface, time_ns);
        set_volumes(&mut self.volumes, state, Side::Low);
        self.addresses[0] = bytes(ends.addresses[0]);
        self.addresses[1] = bytes(ends.addresses[1]);
        self.ports = ends.ports;
        self.learned = match state.learned() {
            Some(direction) => direction as u32 + 1,
            None => 0,
        };
    }

    fn typed(&self) -> Result<EvictedFlowRecord, DecodeError> {
        let [low, high] = self.addresses;
        let learned = match self.learned {
            0 => None,
            number => Some(direction(u8::try_from(number - 1).unwrap_or(u8::MAX))?),
        };
        Ok(EvictedFlowRecord {
            time_ns: self.header.time_ns,
            interface: self.header.interface,
            ends: [
                Endpoint { address: low, port: self.ports[0] },
                Endpoint { address: high, port: self.ports[1] },
            ],
            volumes: self.volumes,
            learned,
        })
    }
}

/// An [`OwnerRecord`] as it lies in the ring buffer: integers in host order, 64 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawOwner {
    header: Header,
    cookie: u64,
    cgroup: u64,
    process: u32,
    thread: u32,
    user: u32,
    /// The number of an [`OwnerAction`].
    action: u32,
    /// Bytes: words are written at once.
    name: [u64; 2],
}

// SAFETY: the fields are integers, and fill it.
unsafe impl Plain for RawOwner {}
const _: () = assert!(size_of::<RawOwner>() == 64, "a padding byte would leak kernel memory");

/// Who runs, as the kernel's functions say it.
#[derive(Clone, Copy, Debug)]
pub struct Current {
    /// `bpf_get_current_pid_tgid`: the process in the upper half, the thread in the lower.
    pub process_thread: u64,
    /// `bpf_get_current_uid_gid`: the user in the lower half.
    pub group_user: u64,
    /// `bpf_get_current_cgroup_id`.
    pub cgroup: u64,
    /// `bpf_get_current_comm`: 16 bytes.
    pub name: [u64; 2],
}

impl RawOwner {
    /// Becomes the record of what `current` does with the socket of this cookie at `time_ns`.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "halves of words")]
    pub fn set(&mut self, current: &Current, action: OwnerAction, cookie: u64, time_ns: u64) {
        self.header.set::<Self>(RecordKind::Owner.number(), 0, time_ns);
        self.cookie = cookie;
        self.cgroup = current.cgroup;
        self.process = (current.process_thread >> 32) as u32;
        self.thread = current.process_thread as u32;
        self.user = current.group_user as u32;
        self.action = action as u32;
        self.name = current.name;
    }

    fn typed(&self) -> Result<OwnerRecord, DecodeError> {
        let action = match self.action {
            0 => OwnerAction::Connect,
            1 => OwnerAction::Listen,
            2 => OwnerAction::Close,
            other => return Err(DecodeError::Action(other)),
        };
        Ok(OwnerRecord {
            time_ns: self.header.time_ns,
            cookie: self.cookie,
            cgroup: self.cgroup,
            process: self.process,
            thread: self.thread,
            user: self.user,
            name: name_bytes(self.name),
            action,
        })
    }
}

/// An [`IcmpRecord`] as it lies in the ring buffer: integers in host order, 80 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawIcmp {
    header: Header,
    sender: [u8; 16],
    source: [u8; 16],
    destination: [u8; 16],
    seq: u32,
    /// 0 for none.
    mtu: u32,
    source_port: u16,
    destination_port: u16,
    icmp_type: u8,
    code: u8,
    /// The number of a [`Direction`].
    direction: u8,
    /// 4 or 6.
    version: u8,
}

// SAFETY: the fields are integers, or made of them, and fill it.
unsafe impl Plain for RawIcmp {}
const _: () = assert!(size_of::<RawIcmp>() == 80, "a padding byte would leak kernel memory");

impl RawIcmp {
    /// Becomes the record of an ICMP error that passed at `time_ns`.
    #[inline(always)]
    pub fn set(&mut self, icmp: &ParsedIcmp, time_ns: u64) {
        let quoted = &icmp.quoted;
        self.header.set::<Self>(RecordKind::Icmp.number(), icmp.interface, time_ns);
        self.sender = bytes(icmp.sender);
        self.source = bytes(quoted.source);
        self.destination = bytes(quoted.destination);
        self.seq = quoted.seq;
        self.mtu = icmp.mtu;
        self.source_port = quoted.source_port;
        self.destination_port = quoted.destination_port;
        self.icmp_type = (icmp.icmp_type & 0xff) as u8;
        self.code = (icmp.code & 0xff) as u8;
        self.direction = (icmp.direction & 3) as u8;
        self.version = match quoted.family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
    }

    fn typed(&self) -> Result<IcmpRecord, DecodeError> {
        Ok(IcmpRecord {
            time_ns: self.header.time_ns,
            interface: self.header.interface,
            direction: direction(self.direction)?,
            family: match self.version {
                4 => Family::V4,
                6 => Family::V6,
                other => return Err(DecodeError::Family(other)),
            },
            icmp_type: self.icmp_type,
            code: self.code,
            mtu: Some(self.mtu).filter(|&mtu| mtu > 0),
            sender: self.sender,
            source: Endpoint { address: self.source, port: self.source_port },
            destination: Endpoint { address: self.destination, port: self.destination_port },
            seq: self.seq,
            timebase: 0,
        })
    }
}

/// A [`ResetRecord`] as it lies in the ring buffer: integers in host order, 32 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawReset {
    header: Header,
    cookie: u64,
    /// The number of a [`ResetReason`]; 0 for none.
    reason: u64,
}

// SAFETY: the fields are integers, or made of them, and fill it.
unsafe impl Plain for RawReset {}
const _: () = assert!(size_of::<RawReset>() == 32, "a padding byte would leak kernel memory");

impl RawReset {
    /// Becomes the record of the reason with this number, for which the socket with this cookie has sent a RST at `time_ns`.
    #[inline(always)]
    pub fn set(&mut self, cookie: u64, reason: u32, time_ns: u64) {
        self.header.set::<Self>(RecordKind::Reset.number(), 0, time_ns);
        self.cookie = cookie;
        self.reason = reason.into();
    }

    fn typed(&self) -> ResetRecord {
        let reason = u8::try_from(self.reason).ok().and_then(ResetReason::of_number);
        ResetRecord { time_ns: self.header.time_ns, cookie: self.cookie, reason }
    }
}

macro_rules! raw {
    ($raw:ty) => {
        impl $raw {
            /// Room for one.
            // SAFETY: any bytes are a value of it.
            pub const ROOM: Self = unsafe { core::mem::zeroed() };

            /// The bytes that lie in the ring buffer.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; size_of::<Self>()] {
                // SAFETY: each of its bytes is initialised, and bytes need no alignment.
                unsafe { &*core::ptr::from_ref(self).cast() }
            }
        }
    };
}

raw!(RawSegment);
raw!(RawEvictedFlow);
raw!(RawOwner);
raw!(RawIcmp);
raw!(RawReset);

#[inline(always)]
fn set_volumes(volumes: &mut [Volume; 2], state: &FlowState, first: Side) {
    volumes[0] = state.trackers[first as usize].volume;
    volumes[1] = state.trackers[first.other() as usize].volume;
}

fn name_bytes([first, second]: [u64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_ne_bytes());
    bytes[8..].copy_from_slice(&second.to_ne_bytes());
    bytes
}

fn direction(number: u8) -> Result<Direction, DecodeError> {
    match number {
        0 => Ok(Direction::Ingress),
        1 => Ok(Direction::Egress),
        2 => Ok(Direction::Local),
        3 => Ok(Direction::Unknown),
        other => Err(DecodeError::Direction(other)),
    }
}
