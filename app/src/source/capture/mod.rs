//! Packets out of a capture file or stream: pcap and pcapng, plain or gzip. Streaming: what is held is one
//! buffer, however long the capture.

mod contents;
mod link;
mod local;

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{LegacyPcapReader, PcapError, PcapNGReader};
use probe_common::{Direction, LinkLayer};

use contents::Contents;
pub use local::Locals;

/// Room for blocks. One that is longer makes it grow, up to [`MAX_BLOCK`].
const BUFFER: usize = 1 << 20;
/// No capture tool writes packets longer than 256 KiB; a length beyond this is damage.
const MAX_BLOCK: usize = 64 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Block type of a section header, the first block of each pcapng file (draft-ietf-opsawg-pcapng, 4.1).
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Length of the header of a pcap file, in bytes.
const PCAP_HEADER: u64 = 24;

/// Why a capture could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Opening or reading failed.
    #[error("{0}")]
    Io(#[from] io::Error),
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
    LinkType(i32),
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
    /// What stands before the IP header in `bytes`.
    pub link: LinkLayer,
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
    contents: Contents,
    capacity: usize,
}

impl Capture {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be opened, or is no capture.
    pub fn open(path: &str) -> Result<Self, CaptureError> {
        if path == "-" {
            return Self::read(io::stdin());
        }
        Self::read(File::open(path)?)
    }

    /// Reads a capture from anything that gives bytes.
    ///
    /// # Errors
    /// When it is no capture, or cannot be read.
    pub fn read(source: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let (magic, source) = peek(source)?;
        if magic.starts_with(&GZIP) {
            let (magic, unpacked) = peek(MultiGzDecoder::new(BufReader::new(source)))?;
            return Self::detect(&magic, unpacked);
        }
        Self::detect(&magic, source)
    }

    fn detect(magic: &[u8], source: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let reader: Box<dyn PcapReaderIterator + Send> = if magic.starts_with(&SECTION_HEADER) {
            Box::new(PcapNGReader::new(BUFFER, source).map_err(|_| CaptureError::Format)?)
        } else {
            Box::new(LegacyPcapReader::new(BUFFER, source).map_err(|_| CaptureError::Format)?)
        };
        Ok(Self { reader, contents: Contents::default(), capacity: BUFFER })
    }

    /// Names of the interfaces seen so far, in the order of their numbers; empty where there is none. Can
    /// hold control characters: escape them before they are shown.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.contents.names
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
                    if let Some(packet) = self.contents.tell(block)? {
                        let taken = take(packet);
                        self.reader.consume(len);
                        return Ok(Next::Packet(taken));
                    }
                    self.reader.consume(len);
                }
                Err(PcapError::Eof) => return Ok(Next::End),
                Err(PcapError::Incomplete(_)) => return Ok(Next::Starved),
                Err(PcapError::BufferTooSmall) => self.grow()?,
                Err(PcapError::UnexpectedEof) => return Err(self.truncated()),
                Err(PcapError::HeaderNotRecognized) => return Err(CaptureError::Format),
                Err(PcapError::ReadError) => return Err(io::Error::other("it cannot be read on").into()),
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
            return Err(self.truncated());
        }
        match self.reader.refill() {
            Ok(()) => Ok(()),
            Err(PcapError::BufferTooSmall) => self.grow(),
            Err(_) => Err(io::Error::other("it cannot be read on").into()),
        }
    }

    fn grow(&mut self) -> Result<(), CaptureError> {
        self.capacity *= 2;
        if self.capacity > MAX_BLOCK || !self.reader.grow(self.capacity) {
            return Err(self.damaged());
        }
        self.refill()
    }

    fn truncated(&self) -> CaptureError {
        CaptureError::Truncated { packets: self.contents.packets }
    }

    fn damaged(&self) -> CaptureError {
        CaptureError::Damaged { packets: self.contents.packets, byte: self.reader.consumed() }
    }
}

/// The first bytes of a source, and all of it. The readers want the whole first block at once, whatever
/// a pipe gives.
fn peek(mut source: impl Read + Send + 'static) -> io::Result<(Vec<u8>, impl Read + Send + 'static)> {
    let mut head = Vec::new();
    source.by_ref().take(PCAP_HEADER).read_to_end(&mut head)?;
    if let Some(&[_, _, _, _, a, b, c, d, e, f, g, h]) =
        head.first_chunk().filter(|h| h.starts_with(&SECTION_HEADER))
    {
        // The byte-order magic tells how to read the length before it.
        let little = [e, f, g, h] == BYTE_ORDER_MAGIC.to_le_bytes();
        let len = if little { u32::from_le_bytes([a, b, c, d]) } else { u32::from_be_bytes([a, b, c, d]) };
        let rest = u64::from(len).min(BUFFER as u64).saturating_sub(PCAP_HEADER);
        source.by_ref().take(rest).read_to_end(&mut head)?;
    }
    Ok((head.clone(), Cursor::new(head).chain(source)))
}
