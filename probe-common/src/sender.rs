//! Where the kernel keeps what its helpers do not say of a sending socket.

/// A field of a structure of the kernel. The loader finds its place in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Place {
    /// `struct tcp_sock`, which begins with its `struct inet_connection_sock`: `icsk_ca_state`, the lower 5 bits.
    Congestion = 0,
    /// The same, which begins with its `struct sock_common`: the network namespace, a `struct net`.
    Namespace = 1,
    /// `struct net`: the number of the namespace.
    NamespaceNumber = 2,
}

/// The places of all of them: bytes from the beginning of the structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SenderPlaces {
    places: [u32; 3],
    /// The number of the network namespace that tcptop runs in, the inode of `/proc/thread-self/ns/net`: 0 where nobody is asked.
    own: u32,
}

impl SenderPlaces {
    /// Nothing is known, and nobody is asked.
    pub const UNKNOWN: Self = Self { places: [0; 3], own: 0 };

    /// These places, by their number, in the namespace with this number.
    #[must_use]
    pub const fn new(places: [u32; 3], own: u32) -> Self {
        Self { places, own }
    }

    /// The same as words.
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        let [congestion, namespace, number] = self.places;
        [congestion, namespace, number, self.own]
    }

    /// Whether senders are asked.
    #[inline(always)]
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.own != 0
    }

    /// The number of the own network namespace.
    #[inline(always)]
    #[must_use]
    pub const fn own(&self) -> u32 {
        self.own
    }

    /// The place of a field.
    #[inline(always)]
    #[must_use]
    pub const fn of(&self, place: Place) -> usize {
        self.places[place as usize] as usize
    }
}
