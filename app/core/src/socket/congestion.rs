//! The congestion control of a socket, and what it tells of itself.

/// A congestion control by its name (`net.ipv4.tcp_available_congestion_control`), at most 15 characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Algorithm {
    bytes: [u8; 15],
    length: u8,
}

impl Algorithm {
    /// The algorithm of this name, which ends at the first 0; `None` for what is no such name.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
        let is_plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte));
        let mut bytes = [0; 15];
        bytes.get_mut(..name.len()).filter(|_| is_plain)?.copy_from_slice(name);
        Some(Self { bytes, length: u8::try_from(name.len()).ok()? })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length.into()]).unwrap_or_default()
    }
}

impl core::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// The congestion control of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CongestionControl {
    /// Which it is.
    pub algorithm: Algorithm,
    /// What it tells of itself, if it does.
    pub details: Option<CongestionDetails>,
}

/// What a congestion control tells of itself (`union tcp_cc_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CongestionDetails {
    /// `struct tcp_bbr_info`.
    Bbr {
        /// Estimated bandwidth, in bytes per second.
        bandwidth: u64,
        /// Shortest round-trip time of the last seconds, in microseconds; `None` before the first sample.
        min_rtt_us: Option<u32>,
        /// Pacing gain, in 256ths.
        pacing_gain: u32,
        /// Gain of the congestion window, in 256ths.
        cwnd_gain: u32,
    },
    /// `struct tcpvegas_info`, also of Illinois, Veno and YeAH.
    Vegas {
        /// Whether it is at work.
        is_enabled: bool,
        /// Round-trip times that were measured since the window last changed.
        rtt_count: u32,
        /// The latest or the mean, in microseconds.
        rtt_us: u32,
        /// The shortest of them, in microseconds; `None` before the first sample.
        min_rtt_us: Option<u32>,
    },
    /// `struct tcp_dctcp_info`.
    Dctcp {
        /// Whether it is at work: ECN was negotiated.
        is_enabled: bool,
        /// Whether the latest segment that was received was marked.
        is_marked: bool,
        /// Share of marked bytes, in 1,024ths.
        alpha: u32,
        /// Bytes of the current window that were acknowledged as marked.
        marked_bytes: u32,
        /// All bytes of it that were acknowledged.
        acked_bytes: u32,
    },
}

impl CongestionDetails {
    /// Of the structure's words: `struct tcp_bbr_info`.
    #[must_use]
    pub fn bbr([low, high, min_rtt, pacing_gain, cwnd_gain]: [u32; 5]) -> Self {
        let bandwidth = u64::from(high) << 32 | u64::from(low);
        Self::Bbr { bandwidth, min_rtt_us: sampled(min_rtt), pacing_gain, cwnd_gain }
    }

    /// Of the structure's words: `struct tcpvegas_info`.
    #[must_use]
    pub fn vegas([enabled, rtt_count, rtt_us, min_rtt]: [u32; 4]) -> Self {
        // Vegas starts from the largest number of a signed word, Illinois from that of an unsigned one.
        let min_rtt_us = sampled(min_rtt).filter(|us| *us != i32::MAX.cast_unsigned());
        Self::Vegas { is_enabled: enabled != 0, rtt_count, rtt_us, min_rtt_us }
    }

    /// Of the structure's words: `struct tcp_dctcp_info`, whose first word is two of 16 bits.
    #[must_use]
    pub fn dctcp([flags, alpha, marked_bytes, acked_bytes]: [u32; 4]) -> Self {
        let [a, b, c, d] = flags.to_ne_bytes();
        let [is_enabled, is_marked] = [[a, b], [c, d]].map(|half| half != [0; 2]);
        Self::Dctcp { is_enabled, is_marked, alpha, marked_bytes, acked_bytes }
    }
}

/// All bits are set before the first sample.
const fn sampled(value: u32) -> Option<u32> {
    if value == u32::MAX { None } else { Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_only_as_the_kernel_writes_them() {
        let name = |bytes: &[u8]| Algorithm::new(bytes).map(|algorithm| algorithm.name().to_owned());
        assert_eq!(name(b"cubic\0").as_deref(), Some("cubic"));
        assert_eq!(name(b"bpf_cubic\0rest").as_deref(), Some("bpf_cubic"));
        assert_eq!(name(b"fifteen_letters").as_deref(), Some("fifteen_letters"));
        for wrong in [&b""[..], b"\0", b"sixteen_letters_", b"\x1b[2J\0", b"caf\xc3\xa9\0"] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn structures_are_read_word_by_word() {
        assert_eq!(
            CongestionDetails::bbr([1, 2, u32::MAX, 256, 512]),
            CongestionDetails::Bbr {
                bandwidth: (2 << 32) + 1,
                min_rtt_us: None,
                pacing_gain: 256,
                cwnd_gain: 512
            }
        );
        assert_eq!(
            CongestionDetails::vegas([1, 3, 40, 0x7fff_ffff]),
            CongestionDetails::Vegas { is_enabled: true, rtt_count: 3, rtt_us: 40, min_rtt_us: None }
        );
        let flags = u32::from_ne_bytes([1, 0, 0, 0]);
        let (alpha, marked_bytes, acked_bytes) = (1_024, 5, 6);
        assert_eq!(
            CongestionDetails::dctcp([flags, alpha, marked_bytes, acked_bytes]),
            CongestionDetails::Dctcp { is_enabled: true, is_marked: false, alpha, marked_bytes, acked_bytes }
        );
    }
}
