//! The objects of the JSON output, field by field. The schema and the tables of `docs/json.md` are made from these
//! types: what stands here is what the documents say.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use probe_common::encapsulation::Encapsulation;

use super::kernel::{KernelRetransmit, KernelRetransmits};
use super::label::{Label, MissedPackets, MissedRecords};
use super::socket::Socket;
use super::states::{StateChange, StateChanges};
use super::stats::{Stats, StatsVariables};
use tcptop_core::{
    Evidence, FailureCause, IcmpReason, NoLoss, Outcome, Party, ResetReason, ResetStage, RetransmitCause,
    RetransmitKind, Role, Verdict,
};

/// The number of this format. It is raised when a field is renamed or removed, or changes its type or its meaning.
pub const SCHEMA: u32 = 2;

/// One object of the output of tcptop: one line.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Object<'a> {
    /// The outcome of a connection attempt. Once for each attempt: when it is decided, or at the end of the run. A second one, with
    /// `corrects`, where the outcome turns out to be another one.
    Handshake(Handshake<'a>),
    /// A segment that was retransmitted.
    Retransmit(Retransmit<'a>),
    /// The end of a connection that was established.
    Close(Close<'a>),
    /// One peer over the whole run: a remote address and a service port. At the end, in the order of
    /// `--sort`, and at most 1,000.
    Peer(Peer<'a>),
    /// All that was seen during the run, and what was missed. The last object.
    Summary(Summary<'a>),
    /// How each variable of RFC 4898 is had: the first object of `tcptop stats --json`.
    StatsVariables(StatsVariables),
    /// One socket of `tcptop stats --json`, with the variables of RFC 4898.
    Stats(Box<Stats<'a>>),
    /// A change of a socket's state, as `tcptop stats --events=state --json` writes it.
    StateChange(Box<StateChange<'a>>),
    /// How many there were. The last object.
    StateChanges(StateChanges<'a>),
    /// A segment that the kernel retransmitted, as `tcptop retransmits --json` writes it.
    KernelRetransmit(Box<KernelRetransmit<'a>>),
    /// All that the kernel retransmitted during a run of `tcptop retransmits --json`. The last object.
    KernelRetransmits(KernelRetransmits<'a>),
    /// The report of `--report=json`: the summary and the peers in one object.
    Report(Report<'a>),
}

/// The outcome of a connection attempt.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Handshake<'a> {
    /// Which connection.
    #[serde(flatten)]
    pub connection: Connection<'a>,
    /// The outcome that the attempt was reported with before, and that this object replaces: its SYN came again after it had
    /// been given up (only the last SYNs of a series were seen, 8 s, 16 s and 32 s apart). Null in the first object of an
    /// attempt; `summary` and `peer` count each attempt once, with its last outcome.
    pub corrects: Option<Label<Outcome>>,
    /// SYNs seen: 1 if none was retransmitted. Null if the SYN was not seen.
    pub tries: Option<u32>,
    /// SYN-ACKs seen. Null if none was.
    pub syn_acks: Option<u32>,
    /// Round-trip time across the network: the leg that this host does not answer itself; for `forwarded` and `observer` both
    /// legs.
    pub rtt_ns: Option<u64>,
    /// From the SYN that was answered to the SYN-ACK.
    pub server_leg_ns: Option<u64>,
    /// From the SYN-ACK that was acknowledged to the ACK.
    pub client_leg_ns: Option<u64>,
    /// The time that this host took to answer the SYN. Only for `server`.
    pub turnaround_ns: Option<u64>,
    /// From the first SYN to the ACK: what the application waits for.
    pub setup_ns: Option<u64>,
    /// From the SYN to the RST that refused it.
    pub refusal_ns: Option<u64>,
    /// From the SYN or SYN-ACK to the ICMP error that says that it was not delivered. Only for `unreachable`.
    pub unreachable_ns: Option<u64>,
    /// Of a `reset` one: the end that had answered with the SYN-ACK sent the RST, within a second. A connection that is aborted
    /// after the ACK has `aborted` in its `close`.
    pub aborted: bool,
    /// Retransmits leave open which segment was answered: one of the times above is null, and its bounds are below.
    pub ambiguous: bool,
    /// The shortest that the ambiguous server leg can be.
    pub server_leg_min_ns: Option<u64>,
    /// The longest that the ambiguous server leg can be.
    pub server_leg_max_ns: Option<u64>,
    /// The shortest that the ambiguous client leg can be.
    pub client_leg_min_ns: Option<u64>,
    /// The longest that the ambiguous client leg can be.
    pub client_leg_max_ns: Option<u64>,
    /// The shortest that the ambiguous refusal can be.
    pub refusal_min_ns: Option<u64>,
    /// The longest that the ambiguous refusal can be.
    pub refusal_max_ns: Option<u64>,
    /// The shortest that the ambiguous time to the ICMP error can be.
    pub unreachable_min_ns: Option<u64>,
    /// The longest that the ambiguous time to the ICMP error can be.
    pub unreachable_max_ns: Option<u64>,
    /// What further watched interfaces that it passes have shown by now. Null where no other has shown it.
    pub also_at: Option<Vec<AlsoAt<'a>>>,
}

/// A segment that was retransmitted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Retransmit<'a> {
    /// Which connection.
    #[serde(flatten)]
    pub connection: Connection<'a>,
    /// What was retransmitted.
    pub kind: Label<RetransmitKind>,
    /// Who sent it: this host (`local`) or the peer (`remote`).
    pub sent_by: Label<Party>,
    /// Its first sequence number.
    pub seq: u32,
    /// Bytes of payload.
    pub payload_bytes: u32,
    /// Segments that it is on the wire: this host's network card cuts a large one into several (GSO), or joins several
    /// (GRO).
    pub segments: u32,
    /// Of a SYN or SYN-ACK, the time since the one before; of data, the time since the hole opened that it fills. Null
    /// if it repeats bytes that were seen before.
    pub after_ns: Option<u64>,
    /// Why it is no sign of loss: `not_accepted_by_this_host` (the ACK passed here, and the listener does not accept the
    /// connection), `not_accepted_by_the_peer` (likewise, from the second time on), `challenged` (an ACK of an earlier
    /// connection answered the SYN), `refused` (a RST did, and Windows tries again) or `unreachable` (an ICMP error did).
    /// Null where nothing says so.
    pub no_loss: Option<Label<NoLoss>>,
    /// Why it was retransmitted, as the socket that sent it says: `timeout` (the retransmission timer ran out), `slow_start` (the
    /// rest of what was in flight then), `fast` (acknowledgements say that it was lost) or `tail_loss_probe`. Null where no socket
    /// of this network namespace sent it, or it does not say.
    pub cause: Option<Label<RetransmitCause>>,
    /// Of a `timeout`, how often the timer ran out since anything was acknowledged; 255 stands for more, too.
    pub timeouts: Option<u32>,
}

/// The end of a connection that was established.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Close<'a> {
    /// Which connection.
    #[serde(flatten)]
    pub connection: Connection<'a>,
    /// From the first SYN to the last FIN or the RST. Null if the SYN was not seen, or if the ports were used again
    /// before the end was seen.
    pub lifetime_ns: Option<u64>,
    /// Who sent the first FIN, or the RST: this host (`local`) or the peer (`remote`).
    pub closed_by: Option<Label<Party>>,
    /// The end that accepted the connection reset it within a second after the handshake, before it sent any data. False for
    /// openers that send nothing and close first, and where the RST comes after a FIN of each end: the `aborted` of the peer
    /// counts it then.
    pub aborted: bool,
    /// Segments with data that this host sent, retransmits included.
    pub sent_data_segments: u64,
    /// Segments of them that were retransmits.
    pub sent_data_retransmits: u64,
    /// Bytes of payload that this host sent, retransmits included.
    pub sent_bytes: u64,
    /// Segments with data that the peer sent, retransmits included.
    pub received_data_segments: u64,
    /// Segments of them that were retransmits.
    pub received_data_retransmits: u64,
    /// Bytes of payload that the peer sent, retransmits included.
    pub received_bytes: u64,
    /// What the wire and the kernel itself say of the retransmits of this host. Null unless `--retransmits` is `kernel` or `both`, and
    /// where no socket of this host is an end.
    pub retransmit_witnesses: Option<Witnesses>,
    /// Retransmits of both ends by cause: SYNs, SYN-ACKs and data. Null where no cause is known.
    pub retransmit_causes: Option<RetransmitCauses>,
    /// What the kernel knew of this host's socket when that was last looked at (see `--sockets`). Null if the connection was too
    /// short for that, and in other network namespaces.
    pub socket: Option<Socket<'a>>,
    /// What further watched interfaces that it passed have shown. Null where no other has shown it.
    pub also_at: Option<Vec<AlsoAt<'a>>>,
}

/// A connection as a further interface shows it. It is counted once, at the `interface` of its object; of nine further ones eight
/// are kept.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AlsoAt<'a> {
    /// The interface.
    pub interface: Cow<'a, str>,
    /// When it was first seen there.
    pub first_seen: Time,
    /// Address of the end that opened it, where addresses are translated in between. Null where both ends are the same.
    pub client_ip: Option<Ip>,
    /// Port of that end, likewise.
    pub client_port: Option<u16>,
    /// Address of the other end, likewise.
    pub server_ip: Option<Ip>,
    /// Port of the other end, likewise.
    pub server_port: Option<u16>,
    /// SYNs seen there. Null if none was.
    pub tries: Option<u32>,
    /// SYN-ACKs seen there. Null if none was.
    pub syn_acks: Option<u32>,
    /// From the SYN that was answered to the SYN-ACK, there. Null also where retransmits leave it open.
    pub server_leg_ns: Option<u64>,
    /// From the SYN-ACK to the ACK, there. Likewise.
    pub client_leg_ns: Option<u64>,
    /// From the SYN to the RST that refused it, there. Likewise.
    pub refusal_ns: Option<u64>,
    /// Segments with data that this host's end sent and that were seen there, retransmits included.
    pub sent_data_segments: u64,
    /// Segments of them that were retransmits.
    pub sent_data_retransmits: u64,
    /// Segments with data that the other end sent, likewise.
    pub received_data_segments: u64,
    /// Segments of them that were retransmits.
    pub received_data_retransmits: u64,
}

/// Segments that this host retransmitted in a connection, FINs aside, by two witnesses.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Witnesses {
    /// As they passed the interface.
    pub wire: u64,
    /// As the kernel itself says.
    pub kernel: u64,
}

/// Segments that this host retransmitted since the start, FINs included, by two witnesses.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct AllWitnesses {
    /// As they passed the interfaces.
    pub wire: u64,
    /// As the kernel itself says of this network namespace, whichever interface they pass.
    pub kernel: u64,
    /// Those of the kernel's that belong to a connection that was seen.
    pub kernel_of_connections: u64,
    /// Connections that have ended and of which the witnesses say something else.
    pub differing_connections: u64,
    /// Retransmits that the kernel told of and that were missed, those of other network namespaces included.
    pub missed: u64,
}

/// A remote address and a service port over the whole run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Peer<'a> {
    /// When and where.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// Interface where the connections passed.
    pub interface: Cow<'a, str>,
    /// `outbound`: this host connects to the peer, or an unknown one does. `inbound`: the peer connects to this host.
    /// `forwarded`: others connect to the peer through this host. One to which several of them apply is several peers.
    pub direction: Direction,
    /// The peer's address.
    pub remote_ip: Ip,
    /// Port of the service: this host's for `inbound`, else the peer's.
    pub service_port: u16,
    /// When the first segment of the peer was seen.
    pub first_seen: Time,
    /// What is wrong with the peer, the worst first, by the thresholds of the summary.
    pub verdicts: Vec<PeerVerdict>,
    /// What is behind the worst verdict, in a word: `own_queue_full`, `dropped_here`, `nothing_listens`, `no_ack`, `not_answered_here`,
    /// `large_segments`, `syns_only`, a `reset_reason`, `other_ttl` (of RSTs that a box in between may have sent), a `failure`, a cause of retransmits as in `retransmit`, or for `unreachable`
    /// what the ICMP error says, as in `icmp_error`. Null where nothing says so.
    pub why: Option<&'static str>,
    /// The same in sentences. Empty without a verdict.
    pub explanation: Vec<String>,
    /// What to try next.
    pub next_steps: Vec<String>,
    /// The queue of this host's listener that it connects to, when it was last full while an attempt of the peer waited. Null if
    /// it never was.
    pub accept_queue: Option<AcceptQueue>,
    /// Processes of its connections, the latest first, at most 4; of several with one name in one container the latest.
    pub processes: Vec<Process<'a>>,
    /// How much and how long.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Connections that a listener of this host has not accepted.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct AcceptQueue {
    /// How many waited.
    pub waiting: u32,
    /// How many may wait (`listen(2)`, `net.core.somaxconn`). It is full with one more than these.
    pub limit: u32,
    /// When that was so.
    pub time: Time,
}

/// Something that is wrong with a peer.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct PeerVerdict {
    /// What it is.
    pub verdict: Label<Verdict>,
    /// When the trouble began.
    pub since: Time,
}

/// All that was seen during the run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Summary<'a> {
    /// When and where.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// Version of tcptop.
    pub version: &'static str,
    /// Where the packets come from: `tcx` or `clsact`, how the probe is attached to live interfaces, or `replay`, a
    /// capture.
    pub source: &'a str,
    /// The interfaces that were watched, or those of the capture.
    pub interfaces: Vec<&'a str>,
    /// What the kernel did not let be known although it was wanted, such as processes or causes: a sentence for each.
    pub not_known: &'a [String],
    /// The filter, as `--filter` takes it. It restricts the other objects, not the figures of the summary.
    pub filter: Option<String>,
    /// When counting began.
    pub since: Time,
    /// How long was counted.
    pub duration_ns: u64,
    /// From where on something is wrong with a peer.
    pub thresholds: Thresholds,
    /// Peers that match the filter.
    pub peers: u64,
    /// Peers of them for which there is no object, because there are more than 1,000.
    pub peers_omitted: u64,
    /// How much and how long.
    #[serde(flatten)]
    pub figures: Figures,
    /// Records that were read: segments of interest, not packets, nor what is said of processes.
    pub records: u64,
    /// SYN-ACKs, ACKs and RSTs that match no connection attempt that was seen.
    pub unmatched: u64,
    /// ICMP errors about segments that were in flight.
    pub icmp_errors: u64,
    /// ICMP errors about TCP that quote nothing that was in flight: late, forged, or about what was not seen.
    pub icmp_unmatched: u64,
    /// ICMP errors within a tunnel, or about one. They are not looked into.
    pub icmp_tunnel: u64,
    /// What the kernel counts for the whole network namespace, whichever interfaces are watched. Null in a replay.
    pub host_counters: Option<HostCounters<'a>>,
    /// What the wire and the kernel itself say of the retransmits of this host. Null unless `--retransmits` is `kernel` or `both`.
    pub retransmit_witnesses: Option<AllWitnesses>,
    /// TCP segments that came in and that this host itself dropped, by the kernel's reason and by port, the most frequent first. Null in a replay, and
    /// where the kernel does not say.
    pub drops: Option<Vec<Drop<'a>>>,
    /// Packets of a capture that are copies of others (of a mirror port, or seen at several places), and copies of SYNs that
    /// arrive after the end of their connection. They are not counted elsewhere.
    pub copies: u64,
    /// Packets without TCP that can be read: other protocols, and tunnels that are not looked into (see `--decap`).
    pub passed_over: u64,
    /// What they were, the most frequent kind first.
    pub passed_over_by_kind: Vec<PassedOver>,
    /// Addresses outside that completed no handshake, as far as they are too many to have a `peer` object each.
    pub strangers: Strangers,
    /// The sum of all that was missed, by the counts below, but for `missed_records.evicted_flow`: those flows are counted by
    /// `missed_kernel_flows`. 0 if the figures are complete.
    pub missed: u64,
    /// Records that were missed because the ring buffer was full or they could not be decoded, by kind.
    pub missed_records: MissedRecords<'a>,
    /// Packets that could not be parsed, by reason.
    pub missed_packets: MissedPackets<'a>,
    /// Connections that were evicted from the table in user space before their end (see `--max-flows`), without the attempts
    /// of strangers.
    pub missed_flows: u64,
    /// Connections that were evicted from the kernel's table before their end, without the attempts of strangers and without
    /// those that are missed already.
    pub missed_kernel_flows: u64,
    /// Peers that were evicted with their figures, to stay within the memory.
    pub missed_peers: u64,
    /// Lines that this output's reader was too slow for.
    pub missed_lines: u64,
}

/// Addresses outside that completed no handshake. Up to 100 peers of this sort are kept one by one; further ones are added up
/// here while none of these is silent for a minute.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Strangers {
    /// How many addresses.
    pub addresses: u64,
    /// Whether `addresses` is exact. More than 4,095 are an estimate, off by 1.6% (one standard deviation).
    pub addresses_exact: bool,
    /// Their connection attempts.
    pub attempts: u64,
    /// Attempts of addresses that completed no handshake, of these and of peers, that were evicted before their end was known.
    /// They are not missed.
    pub evicted: u64,
}

/// What the kernel counted for the whole network namespace during the run, by its own counters, which are named here as `nstat`
/// and `conntrack -S` name them. Null where the kernel does not say.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HostCounters<'a> {
    /// Retransmitted segments of any kind (`TcpRetransSegs`).
    pub retransmitted_segments: Option<u64>,
    /// Those that are SYNs and SYN-ACKs (`TcpExtTCPSynRetrans`).
    pub syn_retransmits: Option<u64>,
    /// Of the first, since the start of the run: how many were sent by this host's sockets on the watched interfaces, as was
    /// seen. The difference is what passed other interfaces, was missed, or was first sent before the start.
    pub seen_retransmitted_segments: Option<u64>,
    /// The same of SYNs and SYN-ACKs.
    pub seen_syn_retransmits: Option<u64>,
    /// Interfaces that are up and not watched.
    pub unwatched_interfaces: &'a [String],
    /// Retransmission timers that ran out (`TcpExtTCPTimeouts`).
    pub timeouts: Option<u64>,
    /// Tail loss probes (`TcpExtTCPLossProbes`).
    pub loss_probes: Option<u64>,
    /// Fast retransmits (`TcpExtTCPFastRetrans`).
    pub fast_retransmits: Option<u64>,
    /// Connections that found their listener's accept queue full (`TcpExtListenOverflows`).
    pub listen_overflows: Option<u64>,
    /// Connections that a listener dropped, these included (`TcpExtListenDrops`).
    pub listen_drops: Option<u64>,
    /// SYN cookies sent (`TcpExtSyncookiesSent`).
    pub syn_cookies_sent: Option<u64>,
    /// Valid SYN cookies received (`TcpExtSyncookiesRecv`).
    pub syn_cookies_received: Option<u64>,
    /// Invalid SYN cookies received (`TcpExtSyncookiesFailed`).
    pub syn_cookies_failed: Option<u64>,
    /// SYNs that found the SYN queue full and were answered with a cookie (`TcpExtTCPReqQFullDoCookies`).
    pub syn_queue_full_cookies: Option<u64>,
    /// SYNs that found the SYN queue full and were dropped (`TcpExtTCPReqQFullDrop`).
    pub syn_queue_full_drops: Option<u64>,
    /// Segments dropped because a socket's backlog was full (`TcpExtTCPBacklogDrop`).
    pub backlog_drops: Option<u64>,
    /// Segments dropped because a receive buffer was full (`TcpExtTCPRcvQDrop`).
    pub receive_queue_drops: Option<u64>,
    /// Connections aborted for lack of memory (`TcpExtTCPAbortOnMemory`).
    pub memory_aborts: Option<u64>,
    /// Connections that could not be tracked (conntrack `insert_failed`).
    pub conntrack_insert_failed: Option<u64>,
    /// Packets that conntrack dropped (conntrack `drop`).
    pub conntrack_drops: Option<u64>,
    /// Entries that it evicted because its table was full (conntrack `early_drop`).
    pub conntrack_early_drops: Option<u64>,
    /// Connections that are tracked at the end (`nf_conntrack_count`).
    pub conntrack_entries: Option<u64>,
    /// How many can be (`nf_conntrack_max`).
    pub conntrack_max: Option<u64>,
}

/// TCP segments that this host itself dropped, in this network namespace.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Drop<'a> {
    /// The kernel's name of the reason (`enum skb_drop_reason`), such as `NETFILTER_DROP`; `other reasons` for those of
    /// subsystems that have no place by port.
    pub reason: &'a str,
    /// Port of the service: of SYNs where they go to, of SYN-ACKs where they come from, of other segments the lower of both
    /// ports. Null for all ports that are too many to be counted one by one: where there is such a count, a port that is not named
    /// may have some of it.
    pub port: Option<u16>,
    /// Whether they are SYNs.
    pub syn: bool,
    /// How many.
    pub count: u64,
}

/// Packets of one kind.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PassedOver {
    /// The kind, such as `EtherType 0x8864 (PPPoE)`, `IP protocol 50 (ESP)` or `UDP port 4789 (VXLAN)`. Null for all kinds
    /// beyond the first 64.
    pub what: Option<String>,
    /// How many packets.
    pub packets: u64,
}

/// The summary and the peers in one object.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Report<'a> {
    /// Number of this format.
    pub schema: SchemaNumber,
    /// As the last object of `--json`.
    pub summary: Summary<'a>,
    /// As the `peer` objects of `--json`.
    pub peers: Vec<Peer<'a>>,
}

/// What every object begins with.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Head<'a> {
    /// Number of this format.
    pub schema: SchemaNumber,
    /// When it happened, or was decided: RFC 3339 in UTC with nanoseconds.
    pub time: Time,
    /// Name of the host that tcptop ran on, or what `--host` says. Null in a replay without `--host`.
    pub host: Option<&'a str>,
    /// Number of the run of tcptop, which no other run has on any host: with `connection` it says which connection is meant.
    pub run: &'a str,
}

/// The connection that something happened to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Connection<'a> {
    /// When and where.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// Interface where it passed; in a replay the one that the capture names, or the file.
    pub interface: Cow<'a, str>,
    /// What carried its packets, when that is not plain Ethernet or nothing: PPPoE, MPLS or a tunnel. VLAN tags are not named.
    pub encapsulation: Option<Label<Encapsulation>>,
    /// Number of the connection, the same in all its objects. Means nothing beyond the run.
    pub connection: u64,
    /// What this host is to it: it opened the connection (`client`), the peer did (`server`), both ends are this host
    /// (`local`), neither is (`forwarded`: of a container, or routed or bridged through), or a capture does not say
    /// (`observer`). Decided when the first segment was seen. Null if the beginning was not seen.
    pub role: Option<Label<Role>>,
    /// Address of this host's end. For `local`, `forwarded` and `observer`, of the client.
    pub local_ip: Ip,
    /// Port of this host's end. For `local`, `forwarded` and `observer`, of the client. Null where a connect had none.
    pub local_port: Option<u16>,
    /// Address of the other end.
    pub remote_ip: Ip,
    /// Port of the other end.
    pub remote_port: u16,
    /// The process at the local end. Null if it is not known, as of every process of another host.
    pub owner: Option<Owner<'a>>,
    /// The process at the other end: on loopback, or in a container that is seen at the host's end of its interface. Null if it is
    /// not known.
    pub remote_owner: Option<Owner<'a>>,
    /// Initial sequence number of the client: of the end that opened the connection. With `server_isn` it names the
    /// connection on both hosts, also behind NAT. Null if its SYN was not seen.
    pub client_isn: Option<u32>,
    /// Initial sequence number of the server. Null if its SYN-ACK was not seen.
    pub server_isn: Option<u32>,
    /// What the latest ICMP error about it says, beside those about the size of packets. It is the reason of the outcome
    /// `unreachable`; for any other it is a note: an error ends no connection.
    pub icmp_error: Option<Label<IcmpReason>>,
    /// Its ICMP type: 3 or 11, of IPv6 1, 3 or 4.
    pub icmp_type: Option<u8>,
    /// Its ICMP code.
    pub icmp_code: Option<u8>,
    /// Address of who sent it: a router, a firewall, or the other end.
    pub icmp_from: Option<Ip>,
    /// How often it came.
    pub icmp_count: Option<u32>,
    /// The largest IP packet that fits the path, in bytes, as a router says (fragmentation needed, packet too big).
    pub path_mtu: Option<u32>,
    /// Address of that router.
    pub path_mtu_from: Option<Ip>,
    /// Bytes of payload of the full-size segments that are retransmitted again and again although smaller ones get
    /// through, and no router says why: the MTU of the path may be smaller than its ends know. Null where nothing
    /// shows it.
    pub stuck_segment_bytes: Option<u32>,
    /// Of a `failed_locally` one, why no SYN left this host: `no_route`, `unreachable_route`, `prohibited_route`, `blackhole_route`,
    /// `no_free_port`, `no_neighbour` (or a firewall of this host says that the host is unreachable), `rejected_here`, `forbidden_here`, `syn_not_sent` (a firewall or a queue of this host drops the SYNs), `connect_failed` (the kernel had not begun, and there is a route now) or `other_error`.
    pub failure: Option<Label<FailureCause>>,
    /// The error of it (`errno`), as the socket or the route says.
    pub errno: Option<u16>,
    /// Who sent the RST that ended it: this host (`local`) or the peer (`remote`). Null if none did.
    pub reset_by: Option<Label<Party>>,
    /// How far it was then: `syn` (the RST answers the SYN), `syn_ack` (the handshake was open after the SYN-ACK), `connected` (no
    /// data yet), `data`, `closing` (after a FIN) or `old_connection` (its beginning was not seen).
    pub reset_stage: Option<Label<ResetStage>>,
    /// Why this host sent the RST, as its kernel says: `no_socket` (nothing listens, or the connection is gone),
    /// `closed_with_unread_data`, `data_after_close`, `aborted_by_its_process`, `not_closed_by_the_peer`, `out_of_memory`, `keepalive_timeout`, `segment_after_close`,
    /// `wrong_acknowledgement`, `wrong_segment` or `other_reason`. Null where the kernel says nothing (see `--resets`), as of every
    /// RST of the peer.
    pub reset_reason: Option<Label<ResetReason>>,
    /// Time to live (hop limit) of the RST, if the end that it is from is not this host and its other segments have another: a box in between may have sent it.
    pub reset_ttl: Option<u8>,
    /// The one of these other segments.
    pub reset_usual_ttl: Option<u8>,
    /// The queue of this host's listener, if it was full while the attempt waited: this host then drops the SYN, or the ACK of the
    /// handshake. Null if it was not full whenever that was looked at (see `--sockets`).
    pub accept_queue: Option<AcceptQueue>,
    /// What became of it, as far as known at this time. A `handshake` has one of `established`, `refused` (a RST answered
    /// the SYN), `unreachable` (an ICMP error did), `failed_locally` (no SYN left this host), `unanswered`, `half_open` (the SYN-ACK was not acknowledged), `reset` (a RST ended the handshake after
    /// the SYN-ACK), `challenged` (an ACK of an earlier connection answered the SYN), `unknown` (only one SYN-ACK was seen,
    /// or records were missed) and `pending` (the run ended first); a `close` has `closed` or
    /// `reset`.
    pub outcome: Label<Outcome>,
}

/// The process that a connection belongs to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Owner<'a> {
    /// Why it is known: it opened or closed the connection (`acts`), held its socket when that was last looked at (`holds`), or
    /// listens on the port (`listens`), where nobody knows yet which process accepts the connection.
    pub evidence: Label<Evidence>,
    /// How many other processes hold the socket, as far as that was looked at. The one that was started last is named.
    pub others: u32,
    /// Which process.
    #[serde(flatten)]
    pub process: Process<'a>,
}

/// A process.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Process<'a> {
    /// Its number.
    pub pid: u32,
    /// Its name, at most 15 bytes of it. Bytes that are not printable ASCII are escaped, here and below.
    pub process: &'a str,
    /// The name is that of a thread: the process had ended before it could be asked for its own.
    pub is_thread_name: bool,
    /// Path of its executable. Null if it could not be read.
    pub executable: Option<&'a str>,
    /// Number of its user.
    pub uid: u32,
    /// The systemd unit that it runs in. Null outside of units and in containers.
    pub unit: Option<&'a str>,
    /// The container that it runs in: its name, or the first 12 digits of its identifier. Null outside of containers.
    pub container: Option<&'a str>,
    /// Identifier of the container.
    pub container_id: Option<&'a str>,
    /// Name of the Kubernetes pod, or its UID.
    pub pod: Option<&'a str>,
    /// Namespace of the pod.
    pub namespace: Option<&'a str>,
}

/// Retransmits by their cause, which the sockets of this network namespace say: the first five are all of them.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct RetransmitCauses {
    /// The retransmission timer ran out.
    pub timeout: u64,
    /// The rest of what was in flight when it ran out.
    pub slow_start: u64,
    /// Acknowledgements said that the segment was lost.
    pub fast: u64,
    /// Nothing was acknowledged for two round-trip times: the last segment asks whether it arrived.
    pub tail_loss_probe: u64,
    /// No socket says why: the peer sent them, or they are SYN-ACKs, or pass this host.
    pub unknown: u64,
    /// Those of them that turned out to be needless: the other end said that the segment arrived twice (D-SACK).
    pub spurious: u64,
}

/// Counts and latencies.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Figures {
    /// Connection attempts: the sum of the ten outcomes that follow.
    pub handshakes: u64,
    /// Attempts that were established.
    pub established: u64,
    /// Attempts that a RST answered.
    pub refused: u64,
    /// Attempts that an ICMP error answered.
    pub unreachable: u64,
    /// Attempts that failed on this host, before any SYN left it.
    pub failed_locally: u64,
    /// Attempts that nothing answered.
    pub unanswered: u64,
    /// Attempts whose SYN-ACK was not acknowledged.
    pub half_open: u64,
    /// Attempts that a RST ended after the SYN-ACK.
    pub reset: u64,
    /// Attempts that an ACK of an earlier connection on the same ports answered (challenge ACK, TIME-WAIT).
    pub challenged: u64,
    /// Attempts of which only one SYN-ACK was seen, or records were missed.
    pub unknown: u64,
    /// Attempts that were not decided when the run ended.
    pub pending: u64,
    /// Segments that can be retransmitted: SYNs, SYN-ACKs that were retransmitted, and segments with data, in both
    /// directions.
    pub segments: u64,
    /// Retransmits among them.
    pub retransmits: u64,
    /// Retransmits that this host sent.
    pub sent_retransmits: u64,
    /// Retransmits that the peer sent.
    pub received_retransmits: u64,
    /// Retransmits of segments that had arrived before, as far as is known. They are no sign of loss.
    pub arrived_retransmits: u64,
    /// Retransmits by cause.
    pub retransmit_causes: RetransmitCauses,
    /// Connections in which full-size segments did not get through although smaller ones did. See
    /// `stuck_segment_bytes`.
    pub stuck_connections: u64,
    /// Retransmits that are SYNs or SYN-ACKs.
    pub handshake_retransmits: u64,
    /// Segments with data, in both directions, retransmits included.
    pub data_segments: u64,
    /// Retransmits that have data.
    pub data_retransmits: u64,
    /// Round-trip times that the percentiles are of.
    pub rtt_samples: u64,
    /// Median of the round-trip times.
    pub rtt_p50_ns: Option<u64>,
    /// 90th percentile of the round-trip times.
    pub rtt_p90_ns: Option<u64>,
    /// 99th percentile of the round-trip times.
    pub rtt_p99_ns: Option<u64>,
    /// The longest round-trip time.
    pub rtt_max_ns: Option<u64>,
    /// Setup times that the percentiles are of: from the first SYN to the ACK, SYNs that were retransmitted included.
    pub setup_samples: u64,
    /// Median of the setup times.
    pub setup_p50_ns: Option<u64>,
    /// 90th percentile of the setup times.
    pub setup_p90_ns: Option<u64>,
    /// 99th percentile of the setup times.
    pub setup_p99_ns: Option<u64>,
    /// The longest setup time.
    pub setup_max_ns: Option<u64>,
    /// Established attempts whose setup time is `slow_setup_ns` of the thresholds, or more.
    pub slow_setups: u64,
    /// Attempts of those above that were aborted: the end that accepted the connection reset it within a second, before it
    /// sent any data. Those that were established by then count as `established`, others as `reset`.
    pub aborted: u64,
    /// The shortest time from a SYN to the RST that refused it.
    pub refusal_min_ns: Option<u64>,
    /// The longest time from a SYN to the RST that refused it.
    pub refusal_max_ns: Option<u64>,
}

/// From where on something is wrong with a peer.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Thresholds {
    /// Share of attempts that are unanswered or half-open, 0 to 1.
    pub unanswered_share: f64,
    /// Share of attempts that fail on this host, 0 to 1.
    pub failed_share: f64,
    /// Share of attempts that are answered by ICMP errors, 0 to 1.
    pub unreachable_share: f64,
    /// Share of attempts that are refused, 0 to 1.
    pub refused_share: f64,
    /// Share of attempts that are aborted, 0 to 1.
    pub aborted_share: f64,
    /// Share of segments that are retransmits, 0 to 1.
    pub loss_share: f64,
    /// From this setup time on, a handshake is slow to set up.
    pub slow_setup_ns: u64,
    /// Share of handshakes that are slow to set up, 0 to 1.
    pub slow_setup_share: f64,
    /// The smallest sample: with fewer attempts or round-trip times there is no verdict, nor with fewer retransmits for
    /// `loss` and fewer slow handshakes for `slow_setup`.
    pub min_attempts: u64,
    /// 90th percentile of the round-trip times. Null if it is a multiple of the peer's own median.
    pub slow_rtt_p90_ns: Option<u64>,
    /// The same as a multiple of the peer's own median. Null if it is a time.
    pub slow_rtt_p90_medians: Option<f64>,
}

/// Who connects to whom.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// This host connects to the peer.
    Outbound,
    /// The peer connects to this host.
    Inbound,
    /// Others connect to the peer through this host.
    Forwarded,
}

/// The number of this format.
#[derive(Clone, Copy, Debug)]
pub struct SchemaNumber;

/// A moment: `2026-01-02T03:04:05.000000006Z`.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub Timestamp);

/// An address: `192.0.2.7`, `2001:db8::7`.
#[derive(Clone, Copy, Debug)]
pub struct Ip(pub [u8; 16]);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.0)
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv6Addr::from(self.0).to_canonical().fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Ip {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SchemaNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(SCHEMA)
    }
}
