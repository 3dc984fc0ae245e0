//! What the kernel itself counts of a connection.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::libc;

/// What one end of a connection has sent and received so far, by its socket's own count (`TCP_INFO`, tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketCounts {
    /// Segments with data, those that were sent again included (`tcpi_data_segs_out`).
    pub sent_segments: u64,
    /// Bytes of data, those that were sent again included (`tcpi_bytes_sent`).
    pub sent_bytes: u64,
    /// Segments that were sent again: SYNs, SYN-ACKs and FINs, too (`tcpi_total_retrans`).
    pub resent_segments: u64,
    /// Bytes of data that were sent again (`tcpi_bytes_retrans`).
    pub resent_bytes: u64,
    /// Segments with data that came, all copies of them (`tcpi_data_segs_in`).
    pub received_segments: u64,
    /// Bytes of data that came, each once (`tcpi_bytes_received`).
    pub received_bytes: u64,
    /// Segments that were sent and not acknowledged (`tcpi_unacked`).
    pub unacknowledged: u64,
    /// Bytes that were not sent yet (`tcpi_notsent_bytes`).
    pub unsent_bytes: u64,
}

impl SocketCounts {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When it does not tell.
    pub fn of(stream: &TcpStream) -> io::Result<Self> {
        // SAFETY: a structure of integers, for which zeros are a value. A kernel that knows fewer fields leaves those.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = libc::socklen_t::try_from(size_of_val(&info)).expect("a few hundred bytes");
        let (to, length) = ((&raw mut info).cast(), &raw mut length);
        // SAFETY: the descriptor is open, and the kernel writes at most `length` bytes to where there is room for
        // as many.
        let result =
            unsafe { libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, length) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            sent_segments: info.tcpi_data_segs_out.into(),
            sent_bytes: info.tcpi_bytes_sent,
            resent_segments: info.tcpi_total_retrans.into(),
            resent_bytes: info.tcpi_bytes_retrans,
            received_segments: info.tcpi_data_segs_in.into(),
            received_bytes: info.tcpi_bytes_received,
            unacknowledged: info.tcpi_unacked.into(),
            unsent_bytes: info.tcpi_notsent_bytes.into(),
        })
    }

    /// Is there nothing left that would be sent by itself?
    fn is_at_rest(&self) -> bool {
        self.unacknowledged == 0 && self.unsent_bytes == 0
    }
}

/// What both ends have counted once all is acknowledged, and no copy of anything is under way any more: for as long
/// as `quiet`, which has to be longer than the wire takes, neither has changed.
///
/// # Errors
/// When that is not so within `timeout`, or the kernel does not tell.
pub fn settled(ends: [&TcpStream; 2], quiet: Duration, timeout: Duration) -> io::Result<[SocketCounts; 2]> {
    let both = || Ok::<_, io::Error>([SocketCounts::of(ends[0])?, SocketCounts::of(ends[1])?]);
    let deadline = Instant::now() + timeout;
    let mut before = both()?;
    while Instant::now() < deadline {
        std::thread::sleep(quiet);
        let now = both()?;
        if now == before && now.iter().all(SocketCounts::is_at_rest) {
            return Ok(now);
        }
        before = now;
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("still at work: {before:?}")))
}
