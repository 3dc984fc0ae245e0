//! The bytes of a capture: unpacked from gzip where they are packed, and all of them before an error.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::bufread::GzDecoder;

/// First bytes of a gzip member (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why reading failed, once it has. Readers of captures know only that there is an error, and give up what they hold:
/// they get the end of the stream instead, and whoever asks here gets the error.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// The error, if there was one since the last call.
    pub(super) fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// A source that ends where reading it fails.
pub(super) struct Fused<R> {
    source: R,
    failure: Failure,
    is_over: bool,
}

impl<R> Fused<R> {
    pub(super) fn new(source: R, failure: &Failure) -> Self {
        Self { source, failure: failure.clone(), is_over: false }
    }
}

impl<R: Read> Read for Fused<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.is_over {
            match self.source.read(buffer) {
                Ok(len) => return Ok(len),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure.set(error);
                    self.is_over = true;
                }
            }
        }
        Ok(0)
    }
}

/// Whether these are the first bytes of gzip.
pub(super) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&GZIP)
}

/// Unpacks gzip: one member or several, with zeros behind them (tapes and block devices pad), as gzip(1) does.
pub(super) fn unpack(source: impl Read) -> impl Read {
    Members { state: State::Between(BufReader::new(source)), is_first: true }
}

struct Members<R> {
    state: State<R>,
    is_first: bool,
}

enum State<R> {
    /// Before a member, or its padding, or the end.
    Between(R),
    Within(GzDecoder<R>),
    End,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match mem::replace(&mut self.state, State::End) {
                State::Within(mut decoder) => match decoder.read(buffer) {
                    Ok(0) => self.state = State::Between(decoder.into_inner()),
                    Ok(len) => {
                        self.state = State::Within(decoder);
                        return Ok(len);
                    }
                    Err(error) => {
                        let is_transient = error.kind() == io::ErrorKind::Interrupted;
                        self.state = if is_transient { State::Within(decoder) } else { State::End };
                        return Err(named(error));
                    }
                },
                State::Between(mut source) => {
                    let member = mem::take(&mut self.is_first) || begins_member(&mut source)?;
                    if member {
                        self.state = State::Within(GzDecoder::new(source));
                    }
                }
                State::End => return Ok(0),
            }
        }
    }
}

/// Skips zeros. Returns whether another member follows; if not, there is nothing.
fn begins_member(source: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        match bytes.get(zeros) {
            Some(&byte) if byte == GZIP[0] => {
                source.consume(zeros);
                return Ok(true);
            }
            Some(_) => return Err(io::Error::other("what follows its gzip data is not gzip")),
            None if zeros == 0 => return Ok(false),
            None => source.consume(zeros),
        }
    }
}

/// The same error in words that name gzip.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "its gzip data ends too early"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            io::Error::new(error.kind(), format!("its gzip data is damaged ({error})"))
        }
        _ => error,
    }
}

/// A pcap file older than version 2.4, with the two lengths of each packet in today's order: the captured one first.
pub(super) struct OldLengths<R> {
    source: R,
    order: LengthOrder,
    is_big_endian: bool,
    /// Bytes that pass as they are: first the file's header, then those of each packet.
    passing: u64,
    head: Vec<u8>,
    /// How much of the head was given away.
    given: usize,
}

/// Which of a packet's two lengths comes first (libpcap's `lengths_swapped`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LengthOrder {
    /// The captured one.
    Captured,
    /// The larger one is the original one, wherever it stands: writers of version 2.3 did not agree.
    Guessed,
    /// The original one.
    Original,
}

/// Length of the header of a pcap file, in bytes.
pub(super) const PCAP_HEADER: u64 = 24;
const PACKET_HEADER: usize = 16;

impl LengthOrder {
    /// That of the pcap file which begins with these bytes, and whether its numbers are big-endian.
    pub(super) fn of(head: &[u8]) -> (Self, bool) {
        let is_big_endian = head.starts_with(&[0xa1, 0xb2]);
        let number = |at: usize| {
            let bytes = [0, 1].map(|byte| head.get(at + byte).copied().unwrap_or(0));
            if is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
        };
        let order = match (number(4), number(6)) {
            (2, 0..=2) | (543, _) => Self::Original,
            (2, 3) => Self::Guessed,
            _ => Self::Captured,
        };
        (order, is_big_endian)
    }
}

impl<R: Read> OldLengths<R> {
    pub(super) fn new(source: R, order: LengthOrder, is_big_endian: bool) -> Self {
        Self { source, order, is_big_endian, passing: PCAP_HEADER, head: Vec::new(), given: 0 }
    }

    fn read_head(&mut self) -> io::Result<()> {
        self.given = 0;
        self.head.clear();
        self.source.by_ref().take(PACKET_HEADER as u64).read_to_end(&mut self.head)?;
        let Some(&[first, second]) =
            self.head.get(8..).and_then(|lengths| lengths.as_chunks().0.first_chunk())
        else {
            return Ok(());
        };
        let number =
            |bytes| if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        let is_swapped = self.order == LengthOrder::Original || number(first) > number(second);
        if is_swapped {
            self.head[8..].rotate_left(4);
        }
        self.passing = number(if is_swapped { second } else { first }).into();
        Ok(())
    }
}

impl<R: Read> Read for OldLengths<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.head.len() {
            if self.passing > 0 {
                let len = self.source.by_ref().take(self.passing).read(buffer)?;
                self.passing -= len as u64;
                return Ok(len);
            }
            self.read_head()?;
        }
        let len = (&self.head[self.given..]).read(buffer)?;
        self.given += len;
        Ok(len)
    }
}
