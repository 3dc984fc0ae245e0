//! What is added up for each socket in the kernel while events are collected, and what is read of it there.

/// Defines numbered words with their names.
macro_rules! words {
    ($(#[$about:meta])* $name:ident: $($(#[$doc:meta])* $word:ident $text:literal,)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $name {
            $($(#[$doc])* $word,)*
        }

        impl $name {
            /// Every one, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name in formulas.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)*
                }
            }
        }
    };
}

words! {
    /// A sum of one socket: a word. All are 0 at first.
    Sum:
    /// When the connection was begun or accepted, in nanoseconds of the monotonic clock; 0 for one from before.
    Started "started_ns",
    /// 1 if this host opened it, 2 if it accepted it; 0 for one from before.
    Opened "opened_by",
    /// Round-trip times: the latest, in microseconds.
    RttLast "rtt_last",
    /// The shortest.
    RttMin "rtt_min",
    /// The longest.
    RttMax "rtt_max",
    /// All together.
    RttSum "rtt_sum",
    /// How many.
    RttCount "rtt_count",
    /// Retransmission timeouts as they are when a round-trip time is measured or a timer runs out, in the kernel's ticks: the shortest.
    RtoMin "rto_min",
    /// The longest.
    RtoMax "rto_max",
    /// Timers that ran out for the first time in a row.
    Timeouts "timeouts_first",
    /// Those that ran out again.
    TimeoutsMore "timeouts_more",
    /// Those that ran out while nothing else told of a loss.
    TimeoutsAbrupt "timeouts_abrupt",
    /// Congestion signals: entries into Recovery, Loss and CWR.
    Signals "cong_signals",
    /// Entries into Recovery.
    Recoveries "recovery_entries",
    /// Entries into CWR where ECN was negotiated.
    EcnSignals "ecn_entries",
    /// Entries into CWR where it was not: the local queue was full.
    Stalls "stall_entries",
    /// Congestion windows before the signals, in bytes.
    PreCwnd "pre_cwnd",
    /// The latest round-trip times before the signals.
    PreRtt "pre_rtt",
    /// The first ones after them.
    PostRtt "post_rtt",
    /// How many of the latter there are.
    PostCount "post_count",
    /// Whether one is awaited.
    PostAwaited "post_awaited",
    /// Times that Disorder ended without Recovery.
    Disorders "disorder_episodes",
    /// How far acknowledgements moved in them, in bytes.
    DisorderOctets "disorder_octets",
    /// The first number that was not acknowledged when the current one began.
    DisorderUna "disorder_una",
    /// Recoveries whose reduction was taken back.
    UndoneRecoveries "undone_recoveries",
    /// The same of losses.
    UndoneLosses "undone_losses",
    /// The same of all.
    Undone "undone_all",
    /// The congestion window when a round-trip time was last measured, in segments.
    CwndLast "cwnd_last",
    /// Whether a signal has come since.
    CwndSignalled "cwnd_signalled",
    /// Round trips in which it grew below the threshold.
    SlowStarts "grown_slow_start",
    /// Round trips in which it grew from the threshold on.
    Avoidances "grown_avoidance",
    /// Round trips in which it shrank without a signal.
    Reductions "shrunk_quietly",
    /// What limited the sender when a round-trip time was last measured: 1 the peer's window, 2 congestion, 3 the sender.
    Limit "limit_last",
    /// Times that it became the peer's window.
    LimitedPeer "limited_rwin",
    /// Times that it became the congestion window.
    LimitedCwnd "limited_cwnd",
    /// Times that it became the sender itself.
    LimitedSender "limited_sender",
    /// The callbacks that were switched on here, as bits.
    OwnsFlags "owns_flags",
    /// Segments that came in while the connection was established.
    SegmentsIn "segments_in",
    /// Duplicate acknowledgements of them.
    DupAcks "dup_acks",
    /// Those since the current Disorder began.
    DupAcksNow "dup_acks_now",
    /// Those of Disorder that ended without Recovery.
    DupAcksDisorder "disorder_acks",
    /// Times that the peer's window became 0.
    ZeroWindows "zero_windows",
    /// Whether it is.
    ZeroWindow "zero_window",
    /// Segments with SACK blocks.
    Sacks "sack_segments",
    /// SACK blocks.
    SackBlocks "sack_blocks",
    /// Time to live of the latest segment.
    Ttl "ttl_last",
    /// Its type of service.
    Tos "tos_last",
}

words! {
    /// A field of a socket, read when it is listed: a word.
    Fact:
    /// Its state.
    State "skc_state",
    /// The first number that is not acknowledged.
    SndUna "snd_una",
    /// The next number to be sent.
    SndNxt "snd_nxt",
    /// The next number to be received.
    RcvNxt "rcv_nxt",
    /// Numbers that the peer has acknowledged.
    BytesAcked "bytes_acked",
    /// Numbers that came in order.
    BytesReceived "bytes_received",
    /// The largest segment that the peer takes.
    MssClamp "mss_clamp",
    /// `TCP_MAXSEG`; 0 if it was not set.
    UserMss "user_mss",
    /// Whether Nagle's algorithm is off, in bit 0.
    Nonagle "nonagle",
    /// Limit of the congestion window, in segments.
    CwndClamp "snd_cwnd_clamp",
    /// Limit of the window that is offered.
    WindowClamp "window_clamp",
    /// Size of segments.
    MssCache "mss_cache",
    /// The retransmission timeout in the kernel's ticks.
    Rto "icsk_rto",
    /// Numbers from the next one to be received up to the end of the last segment that came out of order.
    Reassembly "reassembly_octets",
}

/// A field of a structure of the kernel that is read for sums. The loader finds its place in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Place {
    /// `struct sock_common`: the state.
    State = 0,
    /// `struct tcp_sock`, from here on.
    SndUna = 1,
    /// See [`Fact::SndNxt`].
    SndNxt = 2,
    /// See [`Fact::RcvNxt`].
    RcvNxt = 3,
    /// See [`Fact::BytesAcked`].
    BytesAcked = 4,
    /// See [`Fact::BytesReceived`].
    BytesReceived = 5,
    /// `struct tcp_options_received`, in `rx_opt`.
    Options = 6,
    /// There: see [`Fact::MssClamp`].
    MssClamp = 7,
    /// There: see [`Fact::UserMss`].
    UserMss = 8,
    /// See [`Fact::Nonagle`]: the lower 4 bits.
    Nonagle = 9,
    /// See [`Fact::CwndClamp`].
    CwndClamp = 10,
    /// See [`Fact::WindowClamp`].
    WindowClamp = 11,
    /// See [`Fact::MssCache`].
    MssCache = 12,
    /// `struct inet_connection_sock`: see [`Fact::Rto`].
    Rto = 13,
    /// There: the congestion state, the lower 5 bits.
    Congestion = 14,
    /// The queue of what came out of order: null while it is empty.
    OutOfOrder = 15,
    /// Its last segment.
    OutOfOrderLast = 16,
    /// The congestion window.
    Cwnd = 17,
    /// The threshold of slow start.
    Ssthresh = 18,
    /// The congestion window before it was reduced.
    PriorCwnd = 19,
    /// The number from which on a reduction can be taken back; 0 once it was, and where it cannot.
    UndoMarker = 20,
    /// What is waited for, the lower 2 bits.
    Chrono = 21,
    /// Whether ECN was negotiated, in bit 0.
    Ecn = 22,
    /// The window that the peer offers.
    SndWnd = 23,
    /// `struct sk_buff`: what TCP keeps of the segment, a `struct tcp_skb_cb`.
    Control = 24,
    /// There: the number behind the last one.
    EndSeq = 25,
    /// There: the first number.
    Seq = 26,
    /// There: the number that is acknowledged.
    Ack = 27,
    /// There: the type of service.
    Tos = 28,
    /// `struct sk_buff`: its memory.
    Head = 29,
    /// Where its IP header is.
    NetworkHeader = 30,
    /// Where its TCP header is.
    TransportHeader = 31,
    /// `struct tcp_options_received`: the shift of the peer's window, the lower 4 bits.
    SndScale = 32,
}

impl Place {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every place, at that of its number, with its structure and its name there.
    pub const ALL: [(Self, &'static str, &'static str); 33] = [
        (Self::State, "sock_common", "skc_state"),
        (Self::SndUna, "tcp_sock", "snd_una"),
        (Self::SndNxt, "tcp_sock", "snd_nxt"),
        (Self::RcvNxt, "tcp_sock", "rcv_nxt"),
        (Self::BytesAcked, "tcp_sock", "bytes_acked"),
        (Self::BytesReceived, "tcp_sock", "bytes_received"),
        (Self::Options, "tcp_sock", "rx_opt"),
        (Self::MssClamp, "tcp_options_received", "mss_clamp"),
        (Self::UserMss, "tcp_options_received", "user_mss"),
        (Self::Nonagle, "tcp_sock", "nonagle"),
        (Self::CwndClamp, "tcp_sock", "snd_cwnd_clamp"),
        (Self::WindowClamp, "tcp_sock", "window_clamp"),
        (Self::MssCache, "tcp_sock", "mss_cache"),
        (Self::Rto, "inet_connection_sock", "icsk_rto"),
        (Self::Congestion, "inet_connection_sock", "icsk_ca_state"),
        (Self::OutOfOrder, "tcp_sock", "out_of_order_queue"),
        (Self::OutOfOrderLast, "tcp_sock", "ooo_last_skb"),
        (Self::Cwnd, "tcp_sock", "snd_cwnd"),
        (Self::Ssthresh, "tcp_sock", "snd_ssthresh"),
        (Self::PriorCwnd, "tcp_sock", "prior_cwnd"),
        (Self::UndoMarker, "tcp_sock", "undo_marker"),
        (Self::Chrono, "tcp_sock", "chrono_type"),
        (Self::Ecn, "tcp_sock", "ecn_flags"),
        (Self::SndWnd, "tcp_sock", "snd_wnd"),
        (Self::Control, "sk_buff", "cb"),
        (Self::EndSeq, "tcp_skb_cb", "end_seq"),
        (Self::Seq, "tcp_skb_cb", "seq"),
        (Self::Ack, "tcp_skb_cb", "ack_seq"),
        (Self::Tos, "tcp_skb_cb", "ip_dsfield"),
        (Self::Head, "sk_buff", "head"),
        (Self::NetworkHeader, "sk_buff", "network_header"),
        (Self::TransportHeader, "sk_buff", "transport_header"),
        (Self::SndScale, "tcp_options_received", "snd_wscale"),
    ];
}

/// The sums of one socket, as the kernel keeps them with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sums(pub [u64; Sum::COUNT]);

impl Sums {
    /// Nothing was seen.
    pub const NONE: Self = Self([0; Sum::COUNT]);
}

/// A socket as the iterator writes it: words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawSocketSums {
    /// The socket's cookie.
    pub cookie: u64,
    /// Whether it has sums: 1, else 0.
    pub has_sums: u64,
    /// By the numbers of [`Fact`].
    pub facts: [u64; Fact::COUNT],
    /// By the numbers of [`Sum`].
    pub sums: Sums,
}

impl RawSocketSums {
    /// Reads one of the bytes that the iterator wrote.
    #[must_use]
    pub fn read(bytes: &[u8; size_of::<Self>()]) -> Self {
        // SAFETY: made of integers: any bytes are a value of it, and `read_unaligned` asks for no alignment.
        unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() }
    }
}

/// A change of a socket's state, as the program writes it: integers, 80 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawStateChange {
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// The socket's cookie.
    pub cookie: u64,
    /// The local address, in network order.
    pub local_v6: [u32; 4],
    /// The remote address, in network order.
    pub remote_v6: [u32; 4],
    /// The same of IPv4.
    pub local_v4: u32,
    /// The same of IPv4.
    pub remote_v4: u32,
    /// The address family.
    pub family: u32,
    /// The local port, in host order.
    pub local_port: u32,
    /// The remote port, in network order, in the upper half of a word of that order.
    pub remote_port: u32,
    /// The states before and after, in the lower two bytes.
    pub states: u32,
    /// The smoothed round-trip time, in eighths of a microsecond; 0 if none was measured.
    pub srtt: u32,
    /// Segments that were retransmitted.
    pub retransmits: u32,
}

const _: () = assert!(size_of::<RawStateChange>() == 80, "a padding byte would leak kernel memory");

impl RawStateChange {
    /// Reads one of the bytes that the program wrote; `None` of any other length.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; size_of::<Self>()] = bytes.try_into().ok()?;
        // SAFETY: made of integers: any bytes are a value of it, and `read_unaligned` asks for no alignment.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_at_their_numbers() {
        assert!(Place::ALL.iter().enumerate().all(|(number, (place, ..))| *place as usize == number));
    }

    #[test]
    fn every_word_has_a_name_of_its_own() {
        let all = Sum::ALL.iter().map(|sum| sum.name()).chain(Fact::ALL.iter().map(|fact| fact.name()));
        let names = || all.clone();
        assert!(
            names().enumerate().all(|(number, name)| names().position(|other| other == name) == Some(number))
        );
        assert_eq!(names().count(), Sum::COUNT + Fact::COUNT);
    }
}
