//! What happens to sockets, added up with each of them in the kernel (`BPF_MAP_TYPE_SK_STORAGE`), or passed on one by one.
//!
//! The programs are loaded apart from the classifiers, which do not need them, and only where events are asked for. They read
//! structures of the kernel: the loader finds the places of their fields in the kernel's BTF. All that writes sums runs with the
//! socket locked.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{
    BPF_RB_NO_WAKEUP, BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RTO_CB, BPF_SOCK_OPS_RTO_CB_FLAG, BPF_SOCK_OPS_RTT_CB,
    BPF_SOCK_OPS_RTT_CB_FLAG, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB,
    bpf_sock_ops,
};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_getsockopt, bpf_probe_read_kernel, bpf_seq_write, bpf_setsockopt,
    bpf_sk_storage_get, bpf_skc_to_tcp_sock, bpf_sock_ops_cb_flags_set,
};
use aya_ebpf::macros::{btf_map, btf_tracepoint, map, sock_ops};
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use aya_ebpf::programs::{BtfTracePointContext, SockOpsContext};
use core::ffi::c_void;
use probe_common::sums::{Fact, Place, RawStateChange, Sum, Sums};

/// Where fields are in the kernel's structures; set by the loader. Each is read by itself: the verifier has to know it.
#[unsafe(no_mangle)]
static SUM_PLACES: [u32; Place::COUNT] = [0; Place::COUNT];

/// What is added up for each socket. The kernel frees it with the socket.
#[btf_map]
static SOCKET_STORAGE: SkStorage<Sums> = SkStorage::new();

/// 1 MiB: 11,915 changes. The loader makes it small where nobody reads it.
#[map]
static STATE_CHANGES: RingBuf = RingBuf::with_byte_size(1 << 20, 0);
/// How many were missed.
#[map]
static STATE_CHANGES_MISSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// What stands for the sums of a socket that has none.
static NO_SUMS: Sums = Sums::NONE;

/// Callbacks that sums need: of timers, and of each round trip.
const SUM_CALLBACKS: u32 = BPF_SOCK_OPS_RTO_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG;
/// `SOL_TCP`, and an option of the kernel's that only its programs know (`TCP_BPF_SOCK_OPS_CB_FLAGS`).
const SOL_TCP: i32 = 6;
const CALLBACKS: i32 = 1_008;
/// `icsk_ca_state` has 5 bits, and these values (`include/uapi/linux/tcp.h`).
const CONGESTION_MASK: u8 = 0x1f;
const OPEN: u8 = 0;
const DISORDER: u8 = 1;
const CWR: u8 = 2;
const RECOVERY: u8 = 3;
const LOSS: u8 = 4;
/// States of a socket (`include/net/tcp_states.h`).
const SYN_SENT: u32 = 2;
const CLOSE: u32 = 7;
const LISTEN: u8 = 10;
/// Words of options that are looked through for SACK blocks.
const OPTIONS: usize = 12;

/// The sums of a socket, and what is written to them.
#[derive(Clone, Copy)]
struct Room(*mut u64);

impl Room {
    #[inline(always)]
    fn of(socket: *mut c_void, flags: u64) -> Option<Self> {
        let map = (&raw const SOCKET_STORAGE).cast_mut().cast();
        // SAFETY: the kernel checks the socket, and the value is as large as the map's.
        let sums = unsafe { bpf_sk_storage_get(map, socket, core::ptr::null_mut(), flags) };
        (!sums.is_null()).then_some(Self(sums.cast()))
    }

    /// Those of a socket that may have none.
    #[inline(always)]
    fn known(socket: *mut c_void) -> Option<Self> {
        Self::of(socket, 0)
    }

    #[inline(always)]
    fn made(socket: *mut c_void) -> Option<Self> {
        Self::of(socket, BPF_SK_STORAGE_GET_F_CREATE.into())
    }

    #[inline(always)]
    fn get(self, sum: Sum) -> u64 {
        // SAFETY: within the value.
        unsafe { *self.0.add(sum as usize) }
    }

    #[inline(always)]
    fn set(self, sum: Sum, value: u64) {
        // SAFETY: within the value, and the socket is locked.
        unsafe { *self.0.add(sum as usize) = value }
    }

    #[inline(always)]
    fn add(self, sum: Sum, more: u64) {
        self.set(sum, self.get(sum).wrapping_add(more));
    }

    /// Where 0 stands for none.
    #[inline(always)]
    fn span(self, [least, most]: [Sum; 2], value: u64) {
        if value != 0 && (self.get(least) == 0 || value < self.get(least)) {
            self.set(least, value);
        }
        if value > self.get(most) {
            self.set(most, value);
        }
    }
}

/// Something has happened to a socket of the control group.
#[sock_ops]
pub fn socket_sums(context: SockOpsContext) -> u32 {
    let ops = context.ops;
    // SAFETY: the kernel passes a valid context.
    let (op, socket) = unsafe { ((*ops).op, (*ops).__bindgen_anon_2.sk) };
    if socket.is_null() {
        return 1;
    }
    let socket: *mut c_void = socket.cast();
    match op {
        BPF_SOCK_OPS_RTT_CB => round_trip(ops, socket),
        BPF_SOCK_OPS_RTO_CB => timed_out(ops, socket),
        BPF_SOCK_OPS_TCP_CONNECT_CB | BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => begin(ops, socket, 1),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => begin(ops, socket, 2),
        _ => {}
    }
    1
}

/// A connection is opened or accepted: its callbacks are switched on.
#[inline(always)]
fn begin(ops: *mut bpf_sock_ops, socket: *mut c_void, opened: u64) {
    let Some(room) = Room::made(socket) else { return };
    if room.get(Sum::Opened) != 0 {
        return;
    }
    room.set(Sum::Opened, opened);
    // SAFETY: the kernel passes a valid context.
    if unsafe { (*ops).op } != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB {
        // SAFETY: a helper without preconditions.
        room.set(Sum::Started, unsafe { bpf_ktime_get_ns() });
    }
    room.set(Sum::OwnsFlags, switch_on(ops, SUM_CALLBACKS).into());
}

/// Adds callbacks to those that are on. Returns which ones were not.
#[inline(always)]
fn switch_on(ops: *mut bpf_sock_ops, callbacks: u32) -> u32 {
    // SAFETY: the kernel passes a valid context.
    unsafe {
        let before = (*ops).bpf_sock_ops_cb_flags;
        bpf_sock_ops_cb_flags_set(ops, (before | callbacks) as i32);
        callbacks & !before
    }
}

/// A round-trip time was measured: the kernel calls once for each round trip. Before Linux 6.10 it does not say the time.
#[inline(always)]
fn round_trip(ops: *mut bpf_sock_ops, socket: *mut c_void) {
    // SAFETY: the kernel passes a valid context.
    let (us, cwnd, ssthresh) = unsafe {
        ((*ops).__bindgen_anon_1.args[0], u64::from((*ops).snd_cwnd), u64::from((*ops).snd_ssthresh))
    };
    let us = u64::from(us);
    // Others may have switched on callbacks of sockets that nobody asks for here.
    let Some(room) = Room::known(socket) else { return };
    if us != 0 {
        room.set(Sum::RttLast, us);
        room.add(Sum::RttSum, us);
        room.add(Sum::RttCount, 1);
        room.span([Sum::RttMin, Sum::RttMax], us);
        if room.get(Sum::PostAwaited) != 0 {
            room.set(Sum::PostAwaited, 0);
            room.add(Sum::PostRtt, us);
            room.add(Sum::PostCount, 1);
        }
    }
    let last = room.get(Sum::CwndLast);
    if last != 0 && cwnd > last {
        room.add(if cwnd <= ssthresh { Sum::SlowStarts } else { Sum::Avoidances }, 1);
    } else if cwnd < last && room.get(Sum::CwndSignalled) == 0 {
        room.add(Sum::Reductions, 1);
    }
    room.set(Sum::CwndLast, cwnd);
    room.set(Sum::CwndSignalled, 0);
    // SAFETY: the kernel checks the socket, and the verifier knows the types of the fields.
    unsafe {
        let tcp = bpf_skc_to_tcp_sock(socket).cast::<u8>();
        if tcp.is_null() {
            return;
        }
        let rto = *tcp.add(place(Place::Rto)).cast::<u32>();
        room.span([Sum::RtoMin, Sum::RtoMax], rto.into());
        let limit = match *tcp.add(place(Place::Chrono)) & 3 {
            // Busy, waiting for the peer's window, and for room in the send buffer or for the application.
            1 => (2, Sum::LimitedCwnd),
            2 => (1, Sum::LimitedPeer),
            _ => (3, Sum::LimitedSender),
        };
        if room.get(Sum::Limit) != limit.0 {
            room.set(Sum::Limit, limit.0);
            room.add(limit.1, 1);
        }
    }
}

/// The retransmission timer has run out: how often in a row before, and after how many ticks.
#[inline(always)]
fn timed_out(ops: *mut bpf_sock_ops, socket: *mut c_void) {
    // SAFETY: the kernel passes a valid context.
    let (before, rto) = unsafe { ((*ops).__bindgen_anon_1.args[0], (*ops).__bindgen_anon_1.args[1]) };
    let Some(room) = Room::known(socket) else { return };
    room.span([Sum::RtoMin, Sum::RtoMax], rto.into());
    if before > 0 {
        return room.add(Sum::TimeoutsMore, 1);
    }
    room.add(Sum::Timeouts, 1);
    // SAFETY: as above.
    unsafe {
        let tcp = bpf_skc_to_tcp_sock(socket).cast::<u8>();
        if !tcp.is_null() && *tcp.add(place(Place::Congestion)) & CONGESTION_MASK == OPEN {
            room.add(Sum::TimeoutsAbrupt, 1);
        }
    }
}

/// The congestion state of a socket of the machine changes: the socket, and its next state.
#[btf_tracepoint(function = "tcp_cong_state_set")]
pub fn congestion_sums(context: BtfTracePointContext) -> i32 {
    let (socket, next) = (context.arg::<*mut c_void>(0), context.arg::<u8>(1));
    let Some(room) = Room::known(socket) else { return 0 };
    // SAFETY: the socket is the tracepoint's, and the verifier knows the types of the fields.
    unsafe {
        let tcp = bpf_skc_to_tcp_sock(socket).cast::<u8>();
        if tcp.is_null() {
            return 0;
        }
        let state = *tcp.add(place(Place::Congestion)) & CONGESTION_MASK;
        if state == next {
            return 0;
        }
        let una = u64::from(*tcp.add(place(Place::SndUna)).cast::<u32>());
        disorder(room, state, next, una);
        if next == LOSS || (next == CWR || next == RECOVERY) && state < CWR {
            let prior = u64::from(*tcp.add(place(Place::PriorCwnd)).cast::<u32>());
            let mss = u64::from(*tcp.add(place(Place::MssCache)).cast::<u32>());
            signal(room, prior * mss);
        }
        if next == RECOVERY {
            room.add(Sum::Recoveries, 1);
        }
        if next == CWR {
            let has_ecn = *tcp.add(place(Place::Ecn)) & 1 != 0;
            room.add(if has_ecn { Sum::EcnSignals } else { Sum::Stalls }, 1);
        }
        let is_undone = *tcp.add(place(Place::UndoMarker)).cast::<u32>() == 0;
        if next == OPEN && is_undone && (state == RECOVERY || state == LOSS) {
            room.add(if state == LOSS { Sum::UndoneLosses } else { Sum::UndoneRecoveries }, 1);
            room.add(Sum::Undone, 1);
        }
    }
    0
}

/// A signal of congestion, with the window before it.
#[inline(always)]
fn signal(room: Room, cwnd: u64) {
    room.add(Sum::Signals, 1);
    room.add(Sum::PreCwnd, cwnd);
    room.add(Sum::PreRtt, room.get(Sum::RttLast));
    room.set(Sum::PostAwaited, 1);
    room.set(Sum::CwndSignalled, 1);
}

/// Disorder begins, or ends with or without a loss.
#[inline(always)]
fn disorder(room: Room, state: u8, next: u8, una: u64) {
    if next == DISORDER {
        room.set(Sum::DisorderUna, una);
    } else if state == DISORDER {
        if next == OPEN {
            room.add(Sum::Disorders, 1);
            // Numbers wrap.
            let moved = (una as u32).wrapping_sub(room.get(Sum::DisorderUna) as u32);
            room.add(Sum::DisorderOctets, moved.into());
            room.add(Sum::DupAcksDisorder, room.get(Sum::DupAcksNow));
        }
    }
    if next != DISORDER {
        room.set(Sum::DupAcksNow, 0);
    }
}

/// A segment has come in to an established connection of the machine, and nothing of it was taken yet: the socket, and the segment.
#[btf_tracepoint(function = "tcp_probe")]
pub fn segment_sums(context: BtfTracePointContext) -> i32 {
    let (socket, packet) = (context.arg::<*mut c_void>(0), context.arg::<*const u8>(1));
    let Some(room) = Room::known(socket) else { return 0 };
    let control = packet.wrapping_add(place(Place::Control));
    let head: *const u8 = read(packet, Place::Head);
    let header = head.wrapping_add(read::<u16>(packet, Place::TransportHeader).into());
    // The fourth word has the length of the header and the flags, and the window is behind it.
    let Some(words) = load::<[u8; 4]>(header.wrapping_add(12)) else { return 0 };
    room.add(Sum::SegmentsIn, 1);
    room.set(Sum::Tos, read::<u8>(control, Place::Tos).into());
    let ip = head.wrapping_add(read::<u16>(packet, Place::NetworkHeader).into());
    let Some(first) = load::<[u8; 9]>(ip) else { return 0 };
    room.set(Sum::Ttl, u64::from(if first[0] >> 4 == 4 { first[8] } else { first[7] }));
    let window = u32::from(u16::from_be_bytes([words[2], words[3]]));
    let is_zero = window == 0;
    if is_zero && room.get(Sum::ZeroWindow) == 0 {
        room.add(Sum::ZeroWindows, 1);
    }
    room.set(Sum::ZeroWindow, is_zero.into());
    let (seq, end): (u32, u32) = (read(control, Place::Seq), read(control, Place::EndSeq));
    // SAFETY: the socket is the tracepoint's, and the verifier knows the types of the fields.
    unsafe {
        let tcp = bpf_skc_to_tcp_sock(socket).cast::<u8>();
        if tcp.is_null() {
            return 0;
        }
        let una = *tcp.add(place(Place::SndUna)).cast::<u32>();
        let options = tcp.cast_const().wrapping_add(place(Place::Options));
        let scale = read::<u8>(options, Place::SndScale) & 0xf;
        let is_same = window << scale == *tcp.add(place(Place::SndWnd)).cast::<u32>();
        let in_flight = *tcp.add(place(Place::SndNxt)).cast::<u32>() != una;
        if seq == end && in_flight && is_same && read::<u32>(control, Place::Ack) == una {
            room.add(Sum::DupAcks, 1);
            room.add(Sum::DupAcksNow, 1);
        }
    }
    let length = usize::from(words[0] >> 4) * 4;
    // With nothing but timestamps, as nearly all segments have them, there are no blocks.
    let is_plain = length == 32 && load::<[u8; 4]>(header.wrapping_add(20)) == Some([1, 1, TIMESTAMPS, 10]);
    if length > 20 && !is_plain {
        sacks(room, header.wrapping_add(20), length - 20);
    }
    0
}

/// The kind of option that has timestamps (RFC 7323).
const TIMESTAMPS: u8 = 8;

/// Counts the SACK blocks among the options of a segment.
#[inline(always)]
fn sacks(room: Room, from: *const u8, length: usize) {
    const SACK: u8 = 5;
    let Some(options) = load::<[u8; 40]>(from) else { return };
    let mut at = 0;
    for _ in 0..OPTIONS {
        if at + 1 >= length || at + 1 >= 40 {
            return;
        }
        let (kind, len) = (options[at], usize::from(options[at + 1]));
        match kind {
            0 => return,
            1 => at += 1,
            _ if len < 2 => return,
            SACK => {
                room.add(Sum::Sacks, 1);
                room.add(Sum::SackBlocks, ((len - 2) / 8) as u64);
                return;
            }
            _ => at += len,
        }
    }
}

/// The state of a socket of the control group changes.
#[sock_ops]
pub fn socket_states(context: SockOpsContext) -> u32 {
    let ops = context.ops;
    // SAFETY: the kernel passes a valid context.
    let op = unsafe { (*ops).op };
    match op {
        BPF_SOCK_OPS_STATE_CB => {
            // SAFETY: as above.
            let [from, to] = unsafe { [(*ops).__bindgen_anon_1.args[0], (*ops).__bindgen_anon_1.args[1]] };
            changed(&context, from, to);
        }
        BPF_SOCK_OPS_TCP_CONNECT_CB => {
            switch_on(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
            // Before this nobody was called.
            changed(&context, CLOSE, SYN_SENT);
        }
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB | BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => {
            switch_on(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
        }
        _ => {}
    }
    1
}

#[inline(always)]
fn changed(context: &SockOpsContext, from: u32, to: u32) {
    let ops = context.ops;
    // SAFETY: the kernel passes a valid context.
    let change = unsafe {
        RawStateChange {
            time_ns: bpf_ktime_get_ns(),
            cookie: bpf_get_socket_cookie(context.as_ptr()),
            local_v6: [(*ops).local_ip6[0], (*ops).local_ip6[1], (*ops).local_ip6[2], (*ops).local_ip6[3]],
            remote_v6: [
                (*ops).remote_ip6[0],
                (*ops).remote_ip6[1],
                (*ops).remote_ip6[2],
                (*ops).remote_ip6[3],
            ],
            local_v4: (*ops).local_ip4,
            remote_v4: (*ops).remote_ip4,
            family: (*ops).family,
            local_port: (*ops).local_port,
            remote_port: (*ops).remote_port,
            states: from & 0xff | (to & 0xff) << 8,
            srtt: (*ops).srtt_us,
            retransmits: (*ops).total_retrans,
        }
    };
    if let Some(mut entry) = STATE_CHANGES.reserve::<RawStateChange>(0) {
        entry.write(change);
        entry.submit(BPF_RB_NO_WAKEUP.into());
    } else if let Some(missed) = STATE_CHANGES_MISSED.get_ptr_mut(0) {
        // SAFETY: the look-up returns a valid value, this processor's own.
        unsafe { *missed += 1 };
    }
}

/// `struct bpf_iter__tcp`: pointers, each in 64 bits.
#[repr(C)]
pub struct Tcp {
    meta: *const *mut c_void,
    socket: *mut c_void,
    user: u32,
}

/// The socket that an iterator is at, as one of TCP: connections only.
#[inline(always)]
unsafe fn connection(context: *mut Tcp) -> Option<(*mut c_void, *const u8)> {
    // SAFETY: the kernel passes a valid context; the verifier follows each pointer.
    unsafe {
        let socket = (*context).socket;
        if socket.is_null() {
            return None;
        }
        let tcp = bpf_skc_to_tcp_sock(socket).cast::<u8>();
        if tcp.is_null() {
            return None;
        }
        let state: u8 = read(tcp, Place::State);
        (state != LISTEN).then_some((tcp.cast(), tcp.cast_const()))
    }
}

/// Writes each connection of the network namespace with its sums, when somebody reads the iterator.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub fn socket_list(context: *mut Tcp) -> i32 {
    // SAFETY: as above; the lengths are those of what is written.
    unsafe {
        let Some((socket, tcp)) = connection(context) else { return 0 };
        let room = Room::known(socket);
        let begin = [bpf_get_socket_cookie(socket), room.is_some().into()];
        let facts = facts(tcp);
        let seq: *mut c_void = *(*context).meta;
        bpf_seq_write(seq.cast(), (&raw const begin).cast_mut().cast(), size_of_val(&begin) as u32);
        bpf_seq_write(seq.cast(), (&raw const facts).cast_mut().cast(), size_of_val(&facts) as u32);
        match room {
            Some(room) => bpf_seq_write(seq.cast(), room.0.cast(), size_of::<Sums>() as u32),
            None => {
                bpf_seq_write(seq.cast(), (&raw const NO_SUMS).cast_mut().cast(), size_of::<Sums>() as u32)
            }
        };
    }
    0
}

#[inline(always)]
fn facts(tcp: *const u8) -> [u64; Fact::COUNT] {
    let options = tcp.wrapping_add(place(Place::Options));
    let mut facts = [0; Fact::COUNT];
    facts[Fact::State as usize] = read::<u8>(tcp, Place::State).into();
    for (fact, field) in [
        (Fact::SndUna, Place::SndUna),
        (Fact::SndNxt, Place::SndNxt),
        (Fact::RcvNxt, Place::RcvNxt),
        (Fact::CwndClamp, Place::CwndClamp),
        (Fact::WindowClamp, Place::WindowClamp),
        (Fact::MssCache, Place::MssCache),
        (Fact::Rto, Place::Rto),
    ] {
        facts[fact as usize] = read::<u32>(tcp, field).into();
    }
    facts[Fact::BytesAcked as usize] = read(tcp, Place::BytesAcked);
    facts[Fact::BytesReceived as usize] = read(tcp, Place::BytesReceived);
    facts[Fact::MssClamp as usize] = read::<u16>(options, Place::MssClamp).into();
    facts[Fact::UserMss as usize] = read::<u16>(options, Place::UserMss).into();
    facts[Fact::Nonagle as usize] = (read::<u8>(tcp, Place::Nonagle) & 0xf).into();
    let queue: *const u8 = read(tcp, Place::OutOfOrder);
    if !queue.is_null() {
        let last: *const u8 = read(tcp, Place::OutOfOrderLast);
        let end: u32 = read(last.wrapping_add(place(Place::Control)), Place::EndSeq);
        let next: u32 = read(tcp, Place::RcvNxt);
        facts[Fact::Reassembly as usize] = end.wrapping_sub(next).into();
    }
    facts
}

/// Switches the callbacks of each connection of the network namespace on, when somebody reads the iterator. This writes to sockets.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub fn socket_wake(context: *mut Tcp) -> i32 {
    // SAFETY: as above.
    unsafe {
        let Some((socket, _)) = connection(context) else { return 0 };
        if let Some(before) = callbacks(socket)
            && let Some(room) = Room::made(socket)
            && set_callbacks(socket, before | SUM_CALLBACKS)
        {
            room.set(Sum::OwnsFlags, (SUM_CALLBACKS & !before).into());
        }
    }
    0
}

/// Switches off what was switched on, likewise.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub fn socket_rest(context: *mut Tcp) -> i32 {
    // SAFETY: as above.
    unsafe {
        let Some((socket, _)) = connection(context) else { return 0 };
        if let Some(room) = Room::known(socket)
            && room.get(Sum::OwnsFlags) != 0
            && let Some(now) = callbacks(socket)
        {
            set_callbacks(socket, now & !(room.get(Sum::OwnsFlags) as u32));
            room.set(Sum::OwnsFlags, 0);
        }
    }
    0
}

#[inline(always)]
unsafe fn callbacks(socket: *mut c_void) -> Option<u32> {
    let mut value = 0_u32;
    // SAFETY: the kernel checks the socket, and the room is as long as is said.
    let failed = unsafe {
        bpf_getsockopt(socket, SOL_TCP, CALLBACKS, (&raw mut value).cast(), size_of::<u32>() as i32)
    };
    (failed == 0).then_some(value)
}

#[inline(always)]
unsafe fn set_callbacks(socket: *mut c_void, mut callbacks: u32) -> bool {
    let value = (&raw mut callbacks).cast();
    // SAFETY: as above.
    unsafe { bpf_setsockopt(socket, SOL_TCP, CALLBACKS, value, size_of::<u32>() as i32) == 0 }
}

#[inline(always)]
fn place(place: Place) -> usize {
    // SAFETY: within the array. Volatile, or the compiler would take the number in the source for the one at run time.
    unsafe { core::ptr::read_volatile(&raw const SUM_PLACES[place as usize]) as usize }
}

/// The value of a field of a structure of the kernel; 0 where it cannot be read.
#[inline(always)]
fn read<T: Zero>(structure: *const u8, field: Place) -> T {
    let mut value = T::ZERO;
    let from = structure.wrapping_add(place(field));
    // SAFETY: the helper refuses what it cannot read, and the room is as long as what is read.
    let failed =
        unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from.cast()) };
    if failed == 0 { value } else { T::ZERO }
}

#[inline(always)]
fn load<T: Zero>(from: *const u8) -> Option<T> {
    let mut value = T::ZERO;
    // SAFETY: as above.
    let failed =
        unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from.cast()) };
    (failed == 0).then_some(value)
}

/// What of any bytes is a value, with the one that stands for none.
trait Zero: Copy {
    const ZERO: Self;
}

macro_rules! zero {
    ($($kind:ty => $zero:expr),*) => { $(impl Zero for $kind { const ZERO: Self = $zero; })* };
}

zero!(
    u8 => 0, u16 => 0, u32 => 0, u64 => 0, *const u8 => core::ptr::null(), [u8; 4] => [0; 4], [u8; 9] => [0; 9],
    [u8; 40] => [0; 40]
);
