//! Packets out of a capture file or stream: pcap and pcapng, plain or gzip. Streaming: what is held is one
//! buffer, however long the capture.

mod contents;
mod interfaces;
mod link;
mod unpack;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{LegacyPcapReader, PcapError, PcapNGReader};
use probe_common::Direction;
use probe_common::encapsulation::Layer;

use contents::Contents;
use interfaces::MAX_INTERFACES;
use unpack::{Failure, Fused, LengthOrder, OldLengths, PCAP_HEADER, is_gzip, unpack};

/// Room for blocks. One that is longer makes it grow, up to [`MAX_BLOCK`].
const BUFFER: usize = 1 << 20;
/// No capture tool writes packets longer than 256 KiB; a length beyond this is damage.
const MAX_BLOCK: usize = 64 << 20;
/// Block type of a section header, the first block of each pcapng file (draft-ietf-opsawg-pcapng, 4.1).
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Why a capture could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Opening it failed.
    #[error("{0}")]
    Open(io::Error),
    /// Its bytes end before they should: reading fails, or its gzip data is cut off or damaged.
    #[error("{source}, after {packets} packets")]
    Read {
        /// What is wrong.
        source: io::Error,
        /// Packets that were read before.
        packets: u64,
    },
    /// Neither pcap nor pcapng.
    #[error("it is neither pcap nor pcapng (nor gzip of one)")]
    Format,
    /// It ends within a block.
    #[error("it ends in the middle of a packet, after {packets} whole ones")]
    Truncated {
        /// Packets that were read before.
        packets: u64,
    },
    /// A block contradicts itself.
    #[error("it is damaged after {packets} packets, near byte {byte}")]
    Damaged {
        /// Packets that were read before.
        packets: u64,
        /// About where, in bytes of what was unpacked.
        byte: usize,
    },
    /// No packet in it has a link type that can be read.
    #[error("its link type {0} cannot be read (Ethernet, raw IP, Linux cooked, null and loopback can)")]
    LinkType(u16),
    /// It describes more interfaces than any machine has.
    #[error("it describes more than {MAX_INTERFACES} interfaces, after {packets} packets")]
    Interfaces {
        /// Packets that were read before.
        packets: u64,
    },
}

/// One packet of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Nanoseconds since 1970 (UTC), as precise as the capture has them.
    pub time_ns: u64,
    /// Number of the interface, from 1.
    pub interface: u32,
    /// Which way it went, where the capture tells.
    pub direction: Direction,
    /// What `bytes` begin with.
    pub first: Layer,
    /// The packet from there on, as far as it was captured.
    pub bytes: &'a [u8],
    /// How long that was on the wire, in bytes.
    pub wire_len: u32,
}

/// What comes next in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// A packet, as it was taken.
    Packet(T),
    /// More bytes are needed first.
    Starved,
    /// The end.
    End,
}

/// A capture that is being read.
pub struct Capture {
    reader: Box<dyn PcapReaderIterator + Send>,
    /// What it is read from, where that is a file of the system.
    file: Option<OwnedFd>,
    failure: Failure,
    contents: Contents,
    capacity: usize,
}

impl Capture {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be opened, or is no capture.
    pub fn open(path: &str) -> Result<Self, CaptureError> {
        let file = match path {
            "-" => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            path => File::open(path),
        };
        let file = file.map_err(CaptureError::Open)?;
        let watched = file.try_clone().map_err(CaptureError::Open)?;
        Ok(Self { file: Some(watched.into()), ..Self::read(file)? })
    }

    /// Whether it is read while it is written: from a pipe, a socket or a terminal.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        let file = self.file.as_ref().and_then(|file| file.try_clone().ok());
        file.is_some_and(|file| !File::from(file).metadata().is_ok_and(|metadata| metadata.is_file()))
    }

    /// Waits until there are bytes to be read, but no longer than this. Returns whether there are none. A regular file is
    /// never silent.
    #[must_use]
    pub fn is_silent(&self, patience: Duration) -> bool {
        let Some(file) = &self.file else { return false };
        let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        poll(&mut polled, patience) == Ok(0)
    }

    /// Reads a capture from anything that gives bytes.
    ///
    /// # Errors
    /// When it is no capture, or cannot be read.
    pub fn read(source: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let failure = Failure::default();
        let (head, source) = peek(Fused::new(source, &failure))?;
        if is_gzip(&head) {
            let (head, unpacked) = peek(Fused::new(unpack(source), &failure))?;
            return Self::detect(&head, unpacked, failure);
        }
        Self::detect(&head, source, failure)
    }

    fn detect(
        head: &[u8],
        source: impl Read + Send + 'static,
        failure: Failure,
    ) -> Result<Self, CaptureError> {
        let reader = new_reader(head, source).map_err(|_| match failure.take() {
            Some(source) => CaptureError::Read { source, packets: 0 },
            None => CaptureError::Format,
        })?;
        Ok(Self { reader, file: None, failure, contents: Contents::default(), capacity: BUFFER })
    }

    /// Names of the interfaces seen so far, in the order of their numbers; empty where there is none, and of very many
    /// only those up to the last one that has packets. Can
    /// hold control characters: escape them before they are shown.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.contents.interfaces.names()
    }

    /// How many packets were read.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.contents.packets
    }

    /// How many of them were passed over: those of interfaces that are not described or whose link type cannot
    /// be read, those without a time, and those that end within their link header.
    #[must_use]
    pub const fn unreadable(&self) -> u64 {
        self.contents.unreadable
    }

    /// Hands the next packet to `take`, without waiting for more bytes. What cannot be read is passed over and
    /// counted.
    ///
    /// # Errors
    /// When the capture is damaged or ends within a packet.
    pub fn next<T>(&mut self, take: impl FnOnce(Packet<'_>) -> T) -> Result<Next<T>, CaptureError> {
        loop {
            match self.reader.next() {
                Ok((len, block)) => {
                    if let Some(packet) = self.contents.take(block)? {
                        let taken = take(packet);
                        self.reader.consume(len);
                        return Ok(Next::Packet(taken));
                    }
                    self.reader.consume(len);
                }
                Err(PcapError::Eof) => return self.end(),
                Err(PcapError::Incomplete(_)) => return Ok(Next::Starved),
                Err(PcapError::BufferTooSmall) => self.grow()?,
                Err(PcapError::UnexpectedEof | PcapError::ReadError) => return Err(self.cut_off()),
                Err(PcapError::HeaderNotRecognized) => return Err(CaptureError::Format),
                Err(PcapError::NomError(..) | PcapError::OwnedNomError(..)) => return Err(self.damaged()),
            }
        }
    }

    /// Waits for more bytes.
    ///
    /// # Errors
    /// When there are none although a packet is not whole, or they cannot be read.
    pub fn refill(&mut self) -> Result<(), CaptureError> {
        if self.reader.reader_exhausted() {
            return Err(self.cut_off());
        }
        match self.reader.refill() {
            Ok(()) => Ok(()),
            Err(PcapError::BufferTooSmall) => self.grow(),
            Err(_) => Err(self.cut_off()),
        }
    }

    fn grow(&mut self) -> Result<(), CaptureError> {
        self.capacity *= 2;
        if self.capacity > MAX_BLOCK || !self.reader.grow(self.capacity) {
            return Err(self.damaged());
        }
        self.refill()
    }

    /// There are no more bytes, and no packet has begun.
    fn end<T>(&self) -> Result<Next<T>, CaptureError> {
        match (self.failure.take(), self.contents.only_unsupported()) {
            (Some(source), _) => Err(CaptureError::Read { source, packets: self.contents.packets }),
            (None, Some(link_type)) => Err(CaptureError::LinkType(link_type)),
            (None, None) => Ok(Next::End),
        }
    }

    /// There are no more bytes, although a packet has begun.
    fn cut_off(&self) -> CaptureError {
        let packets = self.contents.packets;
        match self.failure.take() {
            Some(source) => CaptureError::Read { source, packets },
            None => CaptureError::Truncated { packets },
        }
    }

    fn damaged(&self) -> CaptureError {
        CaptureError::Damaged { packets: self.contents.packets, byte: self.reader.consumed() }
    }
}

fn new_reader(
    head: &[u8],
    source: impl Read + Send + 'static,
) -> Result<Box<dyn PcapReaderIterator + Send>, PcapError<&'static [u8]>> {
    if head.starts_with(&SECTION_HEADER) {
        return Ok(Box::new(PcapNGReader::new(BUFFER, source)?));
    }
    Ok(match LengthOrder::of(head) {
        (LengthOrder::Captured, _) => Box::new(LegacyPcapReader::new(BUFFER, source)?),
        (order, is_big_endian) => {
            Box::new(LegacyPcapReader::new(BUFFER, OldLengths::new(source, order, is_big_endian))?)
        }
    })
}

/// What was read of a source already, and the rest.
type Whole<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The first bytes of a source, and all of it. The readers want the whole first block at once, whatever
/// a pipe gives.
fn peek<R: Read>(mut source: R) -> Result<(Vec<u8>, Whole<R>), CaptureError> {
    let mut head = Vec::new();
    let mut read = |len, head: &mut Vec<u8>| {
        let read = source.by_ref().take(len).read_to_end(head);
        read.map_err(|source| CaptureError::Read { source, packets: 0 })
    };
    read(PCAP_HEADER, &mut head)?;
    if let Some(&[_, _, _, _, a, b, c, d, e, f, g, h]) =
        head.first_chunk().filter(|h| h.starts_with(&SECTION_HEADER))
    {
        // The byte-order magic tells how to read the length before it.
        let little = [e, f, g, h] == BYTE_ORDER_MAGIC.to_le_bytes();
        let len = if little { u32::from_le_bytes([a, b, c, d]) } else { u32::from_be_bytes([a, b, c, d]) };
        let rest = u64::from(len).min(BUFFER as u64).saturating_sub(PCAP_HEADER);
        read(rest, &mut head)?;
    }
    Ok((head.clone(), Cursor::new(head).chain(source)))
}
