//! Host side of the kernel programs: the built object, and the names in it.
//!
//! The object is committed, so that nobody who only builds or runs tcptop needs an eBPF toolchain;
//! `cargo xtask ebpf` rebuilds it, `cargo xtask ebpf --check` proves that it comes from this source.
#![no_std]

/// The names that user space asks the object for.
pub mod names {
    use probe_common::{Direction, LinkLayer};

    /// The ring buffer of records.
    pub const RECORDS: &str = "RECORDS";
    /// The per-processor array of counters.
    pub const COUNTERS: &str = "COUNTERS";
    /// The per-processor array of what was passed over, see [`probe_common::passed_over`].
    pub const PASSED_OVER: &str = "PASSED_OVER";
    /// The maps of flow states: arrays of buckets, for IPv4 and IPv6.
    pub const FLOWS: [&str; 2] = ["FLOWS_V4", "FLOWS_V6"];
    /// How many buckets each of them has: 32 bits.
    pub const BUCKETS: &str = "BUCKETS";
    /// What keys are hashed with: 64 bits that nobody can guess.
    pub const HASH_SEED: &str = "HASH_SEED";
    /// Whether tunnels and the like are looked into: 32 bits, 0 for no.
    pub const DECAP: &str = "DECAP";

    /// Where the kernel keeps what is asked of senders: a [`SenderPlaces`](probe_common::sender::SenderPlaces).
    pub const SENDER_PLACES: &str = "SENDER_PLACES";
    /// A program that only shows whether the kernel lets senders be asked.
    pub const SENDER_CHECK: &str = "sender_check";

    /// Where fields are in structures of the kernel: a [`Fields`](probe_common::holder::Fields).
    pub const FIELDS: &str = "FIELDS";
    /// The program at the tracepoint `inet_sock_set_state`: which process connects or listens.
    pub const SOCKET_STATE: &str = "socket_state";
    /// The program of the control group that runs when a socket is closed.
    pub const SOCKET_RELEASE: &str = "socket_release";
    /// The iterator over open files: which process holds which socket.
    pub const SOCKET_HOLDERS: &str = "socket_holders";

    /// Where fields are in the kernel's structures: the places of [`Place`](probe_common::drops::Place).
    pub const DROP_PLACES: &str = "DROP_PLACES";
    /// The numbers of the reasons that are treated by themselves: those of [`Special`](probe_common::drops::Special).
    pub const SPECIAL_REASONS: &str = "SPECIAL_REASONS";
    /// The number of the network namespace whose drops are counted: 32 bits.
    pub const NAMESPACE: &str = "NAMESPACE";
    /// The program at the tracepoint `kfree_skb`: what is dropped, and why.
    pub const SEGMENT_DROPPED: &str = "segment_dropped";
    /// What was dropped, by reason: see [`probe_common::drops`].
    pub const DROPS: &str = "DROPS";
    /// The same by reason and port: of those without a socket, and of all others.
    pub const PORT_DROPS: [&str; 2] = ["NO_SOCKET_DROPS", "PORT_DROPS"];

    /// Where fields are in the kernel's structures: the places of [`Place`](probe_common::retransmit::Place).
    pub const RETRANSMIT_PLACES: &str = "RETRANSMIT_PLACES";
    /// Whether the kernel says what its attempt to retransmit returned: 32 bits, 0 for no.
    pub const RETRANSMIT_ERRORS: &str = "RETRANSMIT_ERRORS";
    /// The programs at the tracepoints `tcp_retransmit_skb` and `tcp_retransmit_synack`.
    pub const RETRANSMIT_PROGRAMS: [&str; 2] = ["segment_retransmitted", "syn_ack_retransmitted"];
    /// The ring buffer of retransmits: each a [`RawRetransmit`](probe_common::retransmit::RawRetransmit).
    pub const RETRANSMITS: &str = "RETRANSMITS";
    /// How many were passed on and missed: see [`Tally`](probe_common::retransmit::Tally).
    pub const RETRANSMIT_TALLY: &str = "RETRANSMIT_TALLY";
    /// Where fields are in the kernel's structures: the places of [`Place`](probe_common::reset::Place).
    pub const RESET_PLACES: &str = "RESET_PLACES";
    /// Numbers of [`ResetReason`](probe_common::ResetReason), by the kernel's own numbers: 8 bits each.
    pub const RESET_REASONS: &str = "RESET_REASONS";
    /// The program at the tracepoint `tcp_send_reset`: why a RST is sent.
    pub const RESET_SENT: &str = "reset_sent";

    /// Every classifier in the object.
    pub const PROGRAMS: [&str; 5] =
        ["ethernet_ingress", "ethernet_egress", "bare_ingress", "bare_egress", "loopback"];

    /// The programs that go on with a classifier, in the same order; and the map of the classifiers, likewise.
    pub const STUBS: [&str; 5] = [
        "stub_ethernet_ingress",
        "stub_ethernet_egress",
        "stub_bare_ingress",
        "stub_bare_egress",
        "stub_loopback",
    ];
    /// See [`STUBS`].
    pub const SLOTS: &str = "SLOTS";

    /// The program for a hook, or `None` where there is none: loopback always has a link header, and the
    /// kernel always knows the direction.
    #[must_use]
    pub const fn program(link: LinkLayer, direction: Direction) -> Option<&'static str> {
        match (link, direction) {
            (LinkLayer::Ethernet, Direction::Ingress) => Some("ethernet_ingress"),
            (LinkLayer::Ethernet, Direction::Egress) => Some("ethernet_egress"),
            (LinkLayer::None, Direction::Ingress) => Some("bare_ingress"),
            (LinkLayer::None, Direction::Egress) => Some("bare_egress"),
            (LinkLayer::Ethernet, Direction::Local) => Some("loopback"),
            (LinkLayer::None, Direction::Local) | (_, Direction::Unknown) => None,
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
mod object {
    /// The ELF reader casts the bytes to structures that need this alignment.
    #[repr(C, align(32))]
    struct Aligned<T: ?Sized>(T);

    static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../object/tcptop.bpf.o"));

    /// The built kernel programs: an ELF object with BTF.
    pub static OBJECT: &[u8] = &ALIGNED.0;

    /// What `cargo xtask ebpf` wrote about it: the toolchain, a hash of the sources, and its SHA-256, a line each.
    pub static BUILD: &str = include_str!("../object/BUILD");
}

#[cfg(not(target_arch = "bpf"))]
pub use object::{BUILD, OBJECT};
