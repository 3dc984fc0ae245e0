//! What the socket that sends a segment says of it: whether it is sent for the first time, and if not, why.
//!
//! At the egress hook of the socket's own interface the kernel is still within `tcp_transmit_skb`: `snd_nxt` moves on only
//! after it. There a segment that begins before `snd_nxt` is a retransmit, exactly. Everywhere else nothing is said, and
//! the wire tells.

/// Why a segment is retransmitted, by the kernel's own words for it (`TcpExt` in `/proc/net/netstat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The retransmission timer ran out (`TCPTimeouts`).
    Timeout,
    /// The rest of what was in flight when the timer ran out (`TCPSlowStartRetrans`).
    SlowStart,
    /// Acknowledgements say that it was lost (`TCPFastRetrans`).
    Fast,
    /// Nothing was acknowledged for two round-trip times: the last segment asks whether it arrived (`TCPLossProbes`).
    TailLossProbe,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Timeout, Self::SlowStart, Self::Fast, Self::TailLossProbe];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::SlowStart => "slow-start",
            Self::Fast => "fast",
            Self::TailLossProbe => "tail-loss-probe",
        }
    }

    /// Its name for programs: JSON values.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SlowStart => "slow_start",
            Self::TailLossProbe => "tail_loss_probe",
            Self::Timeout | Self::Fast => self.name(),
        }
    }
}

/// What a sending socket knows, as the kernel's fields.
#[derive(Clone, Copy, Debug)]
pub struct SenderState {
    /// `snd_nxt`: the next number.
    pub snd_nxt: u32,
    /// `snd_una`: the first number that is not acknowledged.
    pub snd_una: u32,
    /// `icsk_retransmits`: how often the timer has run out since anything was acknowledged.
    pub timeouts: u32,
    /// `lost_out`: segments that are taken for lost.
    pub lost: u32,
    /// `icsk_ca_state`, or [`UNKNOWN_STATE`](Self::UNKNOWN_STATE).
    pub congestion: u32,
}

impl SenderState {
    /// Where the congestion state cannot be read.
    pub const UNKNOWN_STATE: u32 = u32::MAX;
    /// `TCP_CA_Loss` (`include/uapi/linux/tcp.h`).
    const LOSS: u32 = 4;
}

/// Whether a segment is sent for the first time, as its sender says. A word, because it lies in structures that are passed to
/// functions of the kernel's byte code: what it is in the lowest byte, how often the timer ran out in the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Transmission(u32);

const WHAT: u32 = 0xff;
const TIMEOUTS_SHIFT: u32 = 8;
const RETRANSMIT: u32 = 2;
const TIMEOUT: u32 = 3;
const SLOW_START: u32 = 4;
const FAST: u32 = 5;
const PROBE: u32 = 6;

impl Transmission {
    /// The sender is not here, or says nothing.
    pub const UNKNOWN: Self = Self(0);
    /// It is sent for the first time.
    pub const FIRST: Self = Self(1);
    /// It was sent before, and nothing says why it is sent again.
    pub const RETRANSMIT: Self = Self(RETRANSMIT);

    /// What the sender says of the segment that begins with `seq`.
    #[inline(always)]
    #[must_use]
    pub const fn of(seq: u32, sender: &SenderState) -> Self {
        // Before it, in numbers that wrap.
        if seq.wrapping_sub(sender.snd_nxt) < 1 << 31 {
            return Self::FIRST;
        }
        if sender.timeouts > 0 && seq == sender.snd_una {
            let timeouts = if sender.timeouts > 0xff { 0xff } else { sender.timeouts };
            return Self(TIMEOUT | timeouts << TIMEOUTS_SHIFT);
        }
        // What is not taken for lost is only sent again as a probe.
        Self(match (sender.lost, sender.timeouts, sender.congestion) {
            (0, 0, _) => PROBE,
            (0, _, _) | (_, _, SenderState::UNKNOWN_STATE) => RETRANSMIT,
            (_, _, SenderState::LOSS) => SLOW_START,
            _ => FAST,
        })
    }

    /// The word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// The same of a word that comes from somewhere else. What it should not be is unknown.
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        let (what, timeouts) = (word & WHAT, word >> TIMEOUTS_SHIFT);
        match what {
            1..=PROBE if (timeouts > 0) == (what == TIMEOUT) && timeouts <= 0xff => Self(word),
            _ => Self::UNKNOWN,
        }
    }

    /// Whether it was sent before; `None` where nothing says so.
    #[inline(always)]
    #[must_use]
    pub const fn is_retransmit(self) -> Option<bool> {
        if self.0 == 0 { None } else { Some(self.0 & WHAT >= RETRANSMIT) }
    }

    /// Whether the sender said anything.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0 != 0
    }

    /// The same without a cause.
    #[inline(always)]
    #[must_use]
    pub const fn without_cause(self) -> Self {
        if self.0 & WHAT > RETRANSMIT { Self::RETRANSMIT } else { self }
    }

    /// Why it is sent again.
    #[inline(always)]
    #[must_use]
    pub const fn cause(self) -> Option<Cause> {
        match self.0 & WHAT {
            TIMEOUT => Some(Cause::Timeout),
            SLOW_START => Some(Cause::SlowStart),
            FAST => Some(Cause::Fast),
            PROBE => Some(Cause::TailLossProbe),
            _ => None,
        }
    }

    /// Of a [`Cause::Timeout`], how often the timer ran out since anything was acknowledged: at least 1; 255 stands for more, too.
    #[must_use]
    pub fn timeouts(self) -> Option<u32> {
        let timeouts = self.0 >> TIMEOUTS_SHIFT;
        (timeouts > 0).then_some(timeouts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: SenderState =
        SenderState { snd_nxt: 1_000, snd_una: 100, timeouts: 0, lost: 0, congestion: 0 };
    const RECOVERY: u32 = 3;

    #[test]
    fn only_what_is_before_the_next_number_is_a_retransmit() {
        for (seq, is_retransmit) in [(1_000, false), (1_001, false), (999, true), (100, true)] {
            assert_eq!(Transmission::of(seq, &OPEN).is_retransmit(), Some(is_retransmit), "{seq}");
        }
        let wrapped = SenderState { snd_nxt: 10, snd_una: u32::MAX - 10, ..OPEN };
        assert_eq!(Transmission::of(u32::MAX, &wrapped).is_retransmit(), Some(true));
        assert_eq!(Transmission::of(10, &wrapped), Transmission::FIRST);
    }

    #[test]
    fn the_cause_is_what_the_kernel_counts_it_as() {
        let lost = SenderState { lost: 2, ..OPEN };
        let cases = [
            (
                100,
                SenderState { timeouts: 3, lost: 5, congestion: SenderState::LOSS, ..OPEN },
                Some(Cause::Timeout),
            ),
            (
                300,
                SenderState { timeouts: 1, lost: 5, congestion: SenderState::LOSS, ..OPEN },
                Some(Cause::SlowStart),
            ),
            (100, SenderState { congestion: SenderState::LOSS, ..lost }, Some(Cause::SlowStart)),
            (100, SenderState { congestion: RECOVERY, ..lost }, Some(Cause::Fast)),
            (100, lost, Some(Cause::Fast)),
            (900, OPEN, Some(Cause::TailLossProbe)),
            // Nothing says which of two it is.
            (100, SenderState { congestion: SenderState::UNKNOWN_STATE, ..lost }, None),
            (300, SenderState { timeouts: 1, ..OPEN }, None),
        ];
        for (seq, sender, cause) in cases {
            let said = Transmission::of(seq, &sender);
            assert_eq!((said.cause(), said.is_retransmit()), (cause, Some(true)), "{sender:?}");
            assert_eq!(Transmission::from_word(said.word()), said);
            assert_eq!(said.timeouts(), (cause == Some(Cause::Timeout)).then_some(sender.timeouts));
            assert_eq!(
                (said.without_cause().cause(), said.without_cause().is_retransmit()),
                (None, Some(true))
            );
        }
        assert_eq!(Transmission::FIRST.without_cause(), Transmission::FIRST);
    }

    #[test]
    fn words_that_nobody_wrote_say_nothing() {
        for word in [7, 0xff, 3, 4 | 1 << 8, 1 << 8, 3 | 1 << 16, u32::MAX] {
            assert!(!Transmission::from_word(word).is_known(), "{word:#x}");
        }
    }
}
