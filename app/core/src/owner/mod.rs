//! Whose connections they are: processes, and the sockets that join connections with them.
//!
//! A source says which process uses which socket, a segment which socket sent it: the socket's cookie joins the two. Names
//! come with the process; they are text from outside, and escaped by whoever passes them in.

mod processes;
mod row_owner;
mod sockets;
mod table;

use std::sync::Arc;

use probe_common::Endpoint;
pub use probe_common::OwnerAction;

pub use processes::Processes;
pub(crate) use row_owner::PeerOwners;
pub use row_owner::RowOwner;
pub use sockets::KernelSocket;
pub(crate) use sockets::Sockets;
pub(crate) use table::OwnerTable;

/// A process, as far as it is known. All text is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number (`tgid`), in the PID namespace of whoever reads the kernel: the initial one, unless it runs in a container.
    pub pid: u32,
    /// Its name (`/proc/PID/comm`), or that of its thread.
    pub name: String,
    /// Whether the name is that of a thread: the process had ended before it could be asked for its own.
    pub is_thread_name: bool,
    /// The path of its executable, if it could be read.
    pub executable: Option<String>,
    /// Its arguments with spaces between, cut to some hundred characters, if they could be read.
    pub command: Option<String>,
    /// Its user.
    pub user: u32,
    /// What it runs in, if that is known.
    pub workload: Option<Arc<Workload>>,
}

/// What a process runs in, by its control group. All text is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// The systemd unit: `nginx.service`, `session-1.scope`.
    pub unit: Option<String>,
    /// The container's name, or the first 12 digits of its identifier where the name is not known.
    pub container: Option<String>,
    /// The container's identifier.
    pub container_id: Option<String>,
    /// The Kubernetes pod's name, or its UID where the name is not known.
    pub pod: Option<String>,
    /// The pod's namespace.
    pub namespace: Option<String>,
}

/// A process uses a socket: an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOwner {
    /// The socket's cookie.
    pub cookie: u64,
    /// What it does.
    pub action: OwnerAction,
    /// Which process.
    pub process: Arc<Process>,
}

/// A process holds a TCP socket: an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketHolder {
    /// The socket's cookie.
    pub cookie: u64,
    /// The socket's own end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// Whether it listens.
    pub listens: bool,
    /// Whether it is in the network namespace of the interfaces that are watched: only there do equal addresses mean the same
    /// connection.
    pub is_here: bool,
    /// Of the processes that hold it, the one that was started last.
    pub process: Arc<Process>,
    /// How many others hold it.
    pub others: u32,
}

/// The process at one end of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Which process.
    pub process: Arc<Process>,
    /// How many other processes hold the socket.
    pub others: u32,
    /// Why it is known.
    pub evidence: Evidence,
}

/// Why an owner is known, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// It listens on the port. Which process accepted the connection is not known yet.
    Listens,
    /// It held the socket when that was last looked at.
    Holds,
    /// It opened the connection, or closed it.
    Acts,
}

impl Evidence {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Listens, Self::Holds, Self::Acts];

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listens => "listens",
            Self::Holds => "holds",
            Self::Acts => "acts",
        }
    }
}

impl Process {
    /// The name as it is shown: with `~` before that of a thread.
    #[must_use]
    pub fn shown_name(&self) -> String {
        if self.is_thread_name { format!("~{}", self.name) } else { self.name.clone() }
    }

    /// The last part of the path of its executable.
    pub(crate) fn executable_name(&self) -> Option<&str> {
        self.executable.as_deref()?.rsplit('/').next()
    }

    /// Whether both are shown as the same: two processes of one program in one container.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.name == other.name && self.workload == other.workload
    }
}

impl Workload {
    /// The container, with its pod before it, as `pod/container`; `None` outside of containers.
    #[must_use]
    pub fn shown_container(&self) -> Option<String> {
        match (&self.pod, &self.container) {
            (Some(pod), Some(container)) => Some(format!("{pod}/{container}")),
            (pod, container) => pod.as_ref().or(container.as_ref()).cloned(),
        }
    }
}
