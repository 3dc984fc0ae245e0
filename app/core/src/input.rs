//! What the engine handles: one enum, so that a new kind of input is a new variant and no new method.

use std::collections::BTreeMap;

use probe_common::PassedOver;
use probe_common::Record;
use probe_common::counter::Counters;
use probe_common::retransmit::KernelRetransmit;

use crate::drops::Dropped;
use crate::engine::ReaderId;
use crate::host::HostCounters;
use crate::locals::Locals;
use crate::owner::{SocketHolder, SocketOwner};
use crate::socket::Socket;
use crate::table::FlowVolumes;

/// One input of the [`Engine`](crate::Engine). All times are nanoseconds of one clock, the one that records carry.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// Records in the order in which the source emitted them. A longer slice is cheaper per record than a shorter one.
    ///
    /// Timers do not run with the records: records of two processors may overtake each other. Send [`Time`](Self::Time)
    /// once every record up to a moment was handled.
    Records(&'a [Record]),
    /// A process uses a socket. It comes before the records of the segments that it sends by it.
    Owner(&'a SocketOwner),
    /// Every TCP socket that a process holds, as of now, each once, in any order. Who listened before and is not in it no longer
    /// does.
    Holders(&'a [SocketHolder]),
    /// TCP sockets of this network namespace, as the kernel describes them: any number of inputs with some of them each.
    Sockets {
        /// Any number of sockets.
        sockets: &'a [Socket],
        /// When the kernel described them.
        now_ns: u64,
        /// Whether all have been passed: who listened before and is not among them no longer does.
        is_last: bool,
    },
    /// What both ends of flows have sent so far, as the source's flow states have it.
    Volumes {
        /// Any number of flows.
        flows: &'a [FlowVolumes],
        /// When the states were read.
        now_ns: u64,
    },
    /// The probe's counters since the start. Where they say that records were missed, what is open is in doubt: they come before
    /// the records and the time that decide it.
    Counters {
        /// Everything that is counted.
        counters: &'a Counters,
        /// When they were read.
        now_ns: u64,
    },
    /// What the kernel counts for the whole host. The first ones are those of the start of the run.
    Host {
        /// The kernel's counters.
        counters: &'a HostCounters,
        /// Names of interfaces that are up and not watched.
        unwatched: &'a [String],
        /// When they were read.
        now_ns: u64,
    },
    /// What this host itself has dropped since the start: all of it.
    Drops {
        /// By reason and port.
        drops: &'a [Dropped],
        /// When they were read.
        now_ns: u64,
    },
    /// What the kernel itself says that it retransmitted since the last time, in the network namespace whose interfaces are watched.
    /// It comes before the records of what was sent later. Without any such input nobody asks the kernel.
    KernelRetransmits {
        /// Any number of retransmits, in order.
        records: &'a [KernelRetransmit],
        /// How many were missed since the start.
        missed: u64,
    },
    /// How many records could not be decoded since the start.
    Undecodable(u64),
    /// How many packets of a capture could not be read since the start.
    Unreadable(u64),
    /// How many packets of a capture were copies of others since the start.
    Copies(u64),
    /// What packets were that hold no TCP, and how many of each kind there were since the start, the most
    /// frequent kind first; `None` stands for all further kinds.
    PassedOver(&'a [(Option<PassedOver>, u64)]),
    /// How many lines a reader's output has dropped since the start, because whoever reads the output is too slow.
    Unwritten {
        /// Whose output it is.
        reader: ReaderId,
        /// Lines since the start.
        lines: u64,
    },
    /// The names of all interfaces by index, whenever one comes or is renamed. Names of interfaces that are gone stay in it
    /// while their flows may be asked for.
    Interfaces(&'a BTreeMap<u32, String>),
    /// The addresses of the watched host, at first and whenever they change. The role of a flow is decided when its first segment
    /// is seen, and stays.
    Locals(&'a Locals),
    /// Both directions of an interface are seen from a moment on, and no record is from before. Of a handshake that is seen
    /// only in part, because it began earlier, nothing is reported.
    Watched {
        /// Index of the interface.
        interface: u32,
        /// The moment.
        since_ns: u64,
    },
    /// Time has passed: every record up to `now_ns` was handled.
    Time {
        /// Now.
        now_ns: u64,
    },
    /// The run ends: time passes, then open handshakes are reported as they are.
    End {
        /// Now.
        now_ns: u64,
    },
}
