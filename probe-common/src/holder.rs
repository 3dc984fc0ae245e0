//! Which process holds which socket, as the iterator over open files writes it.

use crate::segment::{Endpoint, mapped};

/// A field of a structure of the kernel that the iterator reads. The loader finds its place in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// `struct socket`: the `struct sock`.
    Sock = 0,
    /// `struct task_struct`: the process.
    Process = 1,
    /// `struct sock`: the protocol.
    Protocol = 2,
    /// The address family.
    Family = 3,
    /// The state.
    State = 4,
    /// The local port, in host order.
    LocalPort = 5,
    /// The remote port, in network order.
    RemotePort = 6,
    /// The local address.
    LocalV4 = 7,
    /// The remote address.
    RemoteV4 = 8,
    /// The local IPv6 address.
    LocalV6 = 9,
    /// The remote IPv6 address.
    RemoteV6 = 10,
}

impl Field {
    /// Every field, at the place of its number, with its structure and its name there (`include/net/sock.h`).
    pub const ALL: [(Self, &'static str, &'static str); 11] = [
        (Self::Sock, "socket", "sk"),
        (Self::Process, "task_struct", "tgid"),
        (Self::Protocol, "sock", "sk_protocol"),
        (Self::Family, "sock_common", "skc_family"),
        (Self::State, "sock_common", "skc_state"),
        (Self::LocalPort, "sock_common", "skc_num"),
        (Self::RemotePort, "sock_common", "skc_dport"),
        (Self::LocalV4, "sock_common", "skc_rcv_saddr"),
        (Self::RemoteV4, "sock_common", "skc_daddr"),
        (Self::LocalV6, "sock_common", "skc_v6_rcv_saddr"),
        (Self::RemoteV6, "sock_common", "skc_v6_daddr"),
    ];
}

/// Where each [`Field`] is: bytes from the beginning of its structure. `struct sock` begins with its `struct sock_common`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Fields(pub [u32; Field::ALL.len()]);

impl Fields {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self([0; Field::ALL.len()]);

    /// The place of a field.
    #[inline(always)]
    #[must_use]
    pub const fn of(&self, field: Field) -> usize {
        self.0[field as usize] as usize
    }
}

/// A [`Holder`] as the iterator writes it: integers, 64 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RawHolder {
    /// The socket's cookie.
    pub cookie: u64,
    /// The local address, in network order.
    pub local_v6: [u64; 2],
    /// The remote address, in network order.
    pub remote_v6: [u64; 2],
    /// The same of IPv4.
    pub local_v4: u32,
    /// The same of IPv4.
    pub remote_v4: u32,
    /// The process.
    pub process: u32,
    /// The local port, in host order.
    pub local_port: u16,
    /// The remote port, in host order.
    pub remote_port: u16,
    /// The address family.
    pub family: u32,
    /// The state.
    pub state: u32,
}

const _: () = assert!(size_of::<RawHolder>() == 64, "a padding byte would leak kernel memory");

/// A process that holds a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The socket's cookie, see [`OwnerRecord::cookie`](crate::OwnerRecord::cookie).
    pub cookie: u64,
    /// The process, in the initial PID namespace.
    pub process: u32,
    /// The socket's own end; of a listener on all addresses all of them are 0.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// Whether it listens.
    pub listens: bool,
}

impl RawHolder {
    /// Room for one.
    pub const ROOM: Self = Self {
        cookie: 0,
        local_v6: [0; 2],
        remote_v6: [0; 2],
        local_v4: 0,
        remote_v4: 0,
        process: 0,
        local_port: 0,
        remote_port: 0,
        family: 0,
        state: 0,
    };
    /// `AF_INET6`.
    const INET6: u32 = 10;
    /// `TCP_LISTEN`.
    const LISTEN: u32 = 10;

    /// Reads one of the bytes that the iterator wrote.
    #[must_use]
    pub fn read(bytes: &[u8; size_of::<Self>()]) -> Self {
        // SAFETY: made of integers: any bytes are a value of it, and `read_unaligned` asks for no alignment.
        unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() }
    }

    /// What it means.
    #[must_use]
    pub fn typed(&self) -> Holder {
        let address = |v6: [u64; 2], v4: u32| {
            if self.family == Self::INET6 { words(v6) } else { mapped(v4.to_ne_bytes()) }
        };
        let local = Endpoint { address: address(self.local_v6, self.local_v4), port: self.local_port };
        let remote = Endpoint { address: address(self.remote_v6, self.remote_v4), port: self.remote_port };
        Holder {
            cookie: self.cookie,
            process: self.process,
            local,
            remote,
            listens: self.state == Self::LISTEN,
        }
    }
}

fn words([first, second]: [u64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_ne_bytes());
    bytes[8..].copy_from_slice(&second.to_ne_bytes());
    bytes
}
