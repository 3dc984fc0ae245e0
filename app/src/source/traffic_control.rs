//! Filters of the clsact queueing discipline (tc(8), tc-bpf(8)), over rtnetlink(7).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHeader, TcMessage, TcOption,
};
use nix::libc;
use probe_common::Direction;

use super::netlink::{Check, HEADER, attributes, exchange};

/// Handle of the discipline, where it is attached, and where its two chains of filters are (`linux/pkt_sched.h`).
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// All protocols (`ETH_P_ALL`), in network order.
const ALL_PROTOCOLS: u32 = 0x0003_u16.to_be() as u32;
/// Where the fields of `struct tcmsg` are in a message, and where its attributes begin.
const HANDLE: usize = HEADER + 8;
const INFO: usize = HEADER + 16;
const ATTRIBUTES: usize = HEADER + 20;
const INTERFACE: usize = HEADER + 4;
const PARENT: usize = HEADER + 12;
/// Attributes: the kind, options of a filter, and among them the name of a BPF filter.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;

/// A chain of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Index of its interface.
    pub(super) interface: u32,
    /// Which way its packets pass. Those of loopback are looked at on their way out.
    pub(super) direction: Direction,
}

/// A filter, or the head of those of one priority, which has no handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    handle: u32,
    /// Priority and protocol.
    info: u32,
    /// The name of a BPF filter.
    pub(super) name: Option<String>,
}

impl Filter {
    /// Whether it is a filter, not a head.
    pub(super) const fn is_one(&self) -> bool {
        self.handle != 0
    }
}

/// The kind of the discipline that has both chains of filters.
const KIND: &str = "clsact";

/// Gives the interface its clsact discipline. Returns false when it has one.
///
/// # Errors
/// When another discipline is in its place, or the kernel refuses.
pub(super) fn add_clsact(interface: u32) -> io::Result<bool> {
    let message = RouteNetlinkMessage::NewQueueDiscipline(clsact(interface));
    match exchange(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, Check::Lenient, |_| {}) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => match kind_in_place(interface)? {
            // A kernel that does not say has added none, either.
            Some(other) if other != KIND => Err(in_the_way(&other)),
            _ => Ok(false),
        },
        added => added.map(|()| true),
    }
}

/// Filters at both places of an older discipline would be those of incoming packets: each would pass twice.
fn in_the_way(other: &str) -> io::Error {
    io::Error::other(format!(
        "its queueing discipline `{}` is in the place of {KIND} (see `tc qdisc show`)",
        other.escape_debug()
    ))
}

/// The kind of the discipline that is where clsact would be.
fn kind_in_place(interface: u32) -> io::Result<Option<String>> {
    let mut message = TcMessage::default();
    message.header = header(interface, 0, 0, 0);
    let mut kind = None;
    // The kernel lists the disciplines of all interfaces.
    exchange(RouteNetlinkMessage::GetQueueDiscipline(message), NLM_F_DUMP, Check::Lenient, |bytes| {
        if word(bytes, INTERFACE) == Some(interface) && word(bytes, PARENT) == Some(CLSACT) {
            kind = bytes.get(ATTRIBUTES..).and_then(|attributes| attribute(attributes, TCA_KIND)).map(text);
        }
    })?;
    Ok(kind)
}

/// Removes the clsact discipline of the interface.
///
/// # Errors
/// When it has none, or the kernel refuses.
pub(super) fn remove_clsact(interface: u32) -> io::Result<()> {
    exchange(RouteNetlinkMessage::DelQueueDiscipline(clsact(interface)), NLM_F_ACK, Check::Lenient, |_| {})
}

fn clsact(interface: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header = header(interface, CLSACT_HANDLE, CLSACT, 0);
    message.attributes = vec![TcAttribute::Kind(KIND.to_owned())];
    message
}

fn header(interface: u32, handle: u32, parent: u32, info: u32) -> TcHeader {
    TcHeader {
        index: interface.cast_signed(),
        handle: handle.into(),
        parent: parent.into(),
        info,
        ..TcHeader::default()
    }
}

impl Chain {
    /// Both chains of an interface.
    pub(super) fn both(interface: u32) -> [Self; 2] {
        [Direction::Ingress, Direction::Egress].map(|direction| Self { interface, direction })
    }

    const fn parent(self) -> u32 {
        match self.direction {
            Direction::Ingress => INGRESS,
            Direction::Egress | Direction::Local | Direction::Unknown => EGRESS,
        }
    }

    /// Its filters, in the order in which packets pass them. None where there is no such chain.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(super) fn filters(self) -> io::Result<Vec<Filter>> {
        let mut message = TcMessage::default();
        message.header = header(self.interface, 0, self.parent(), 0);
        let mut filters = Vec::new();
        let asked =
            exchange(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP, Check::Lenient, |bytes| {
                filters.extend(filter(bytes));
            });
        match asked.map_err(|error| (error.raw_os_error(), error)) {
            Ok(()) => Ok(filters),
            // Before Linux 5.6 or so an interface without the discipline is an error.
            Err((Some(libc::EINVAL | libc::ENOENT | libc::ENODEV), _)) => Ok(Vec::new()),
            Err((_, error)) => Err(error),
        }
    }

    /// Adds a program as a filter that decides by itself, ahead of the others of its priority; the lowest number goes first.
    ///
    /// # Errors
    /// When another kind of filter has the priority, or the kernel refuses.
    pub(super) fn add(self, priority: u16, program: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        let options = vec![
            TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned()),
            TcFilterBpfOption::ProgName(name.to_owned()),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let mut message = TcMessage::default();
        message.header = header(self.interface, 0, self.parent(), u32::from(priority) << 16 | ALL_PROTOCOLS);
        message.attributes = vec![
            TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
            TcAttribute::Options(options.into_iter().map(TcOption::Bpf).collect()),
        ];
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        exchange(RouteNetlinkMessage::NewTrafficFilter(message), flags, Check::Lenient, |_| {})
    }

    /// Removes a BPF filter.
    ///
    /// # Errors
    /// When it is gone, or the kernel refuses.
    pub(super) fn remove(self, filter: &Filter) -> io::Result<()> {
        let mut message = TcMessage::default();
        message.header = header(self.interface, filter.handle, self.parent(), filter.info);
        message.attributes = vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned())];
        exchange(RouteNetlinkMessage::DelTrafficFilter(message), NLM_F_ACK, Check::Lenient, |_| {})
    }
}

/// What a message says of a filter. Of the many kinds the library knows only some, and none may be overlooked.
fn filter(message: &[u8]) -> Option<Filter> {
    let options = attribute(message.get(ATTRIBUTES..)?, TCA_OPTIONS);
    let name = options.and_then(|options| attribute(options, TCA_BPF_NAME)).map(text);
    Some(Filter { handle: word(message, HANDLE)?, info: word(message, INFO)?, name })
}

fn word(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

/// A text that ends with a zero.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// The value of the first attribute of this kind.
fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(this, _)| *this == kind).map(|(_, value)| value)
}
