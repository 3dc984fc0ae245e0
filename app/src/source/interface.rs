//! The interfaces of this network namespace.

use std::io;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use nix::libc;
use probe_common::LinkLayer;

use super::netlink::{Check, HEADER, attributes, exchange};
use crate::error::Error;

/// Link types (`linux/if_arp.h`) with an Ethernet header.
const WITH_ETHERNET: [u16; 2] = [1, 772];
/// Link types whose packets begin with the IP header: ppp, raw IP, ipip and its IPv6 kin, sit, gre, and
/// "none" (tun, wireguard).
const WITHOUT_LINK_HEADER: [u16; 8] = [512, 519, 768, 769, 776, 778, 823, 0xfffe];

/// Where the attributes begin in a message about an interface (`struct ifinfomsg`, `linux/rtnetlink.h`).
const ATTRIBUTES: usize = HEADER + 16;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name, as the kernel has it. Can hold control characters: escape it before it is shown.
    pub name: String,
    /// Further names that it can be called by. Likewise.
    pub altnames: Vec<String>,
    /// Its index, from 1.
    pub index: u32,
    /// Whether it is loopback.
    pub loopback: bool,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it can send: a cable is plugged in.
    pub has_carrier: bool,
    /// Its ARPHRD number.
    pub hardware: u16,
    /// What kind of virtual interface it is, such as `vlan`; none for hardware.
    pub kind: Option<String>,
    /// The index of the bridge, bond or VRF whose port it is.
    pub master: Option<u32>,
    /// The index of the interface in this namespace that it sends by, or that is the other end of its cable.
    pub lower: Option<u32>,
}

impl Interface {
    /// What stands before the IP header of its packets.
    ///
    /// # Errors
    /// When tcptop cannot read them.
    pub fn link_layer(&self) -> Result<LinkLayer, Error> {
        if WITH_ETHERNET.contains(&self.hardware) {
            Ok(LinkLayer::Ethernet)
        } else if WITHOUT_LINK_HEADER.contains(&self.hardware) {
            Ok(LinkLayer::None)
        } else {
            Err(Error::LinkType { name: self.name.escape_debug().to_string(), hardware: self.hardware })
        }
    }

    /// Its kind; the empty text for hardware.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or_default()
    }

    /// An interface as the kernel describes it in a message (rtnetlink(7)). The library's own reader gives up on attributes that
    /// it does not know.
    fn read(message: &[u8]) -> Option<Self> {
        // Attributes (`linux/if_link.h`).
        const NAME: u16 = 3;
        const LOWER: u16 = 5;
        const MASTER: u16 = 10;
        const LINK_INFO: u16 = 18;
        const INFO_KIND: u16 = 1;
        const LOWER_NAMESPACE: u16 = 37;
        const PROPERTIES: u16 = 52;
        const ALTNAME: u16 = 53;
        let header = message.get(HEADER..ATTRIBUTES)?;
        let [_, _, a, b, index @ .., c, d, e, f, _, _, _, _] = header else { return None };
        let flags = u32::from_ne_bytes([*c, *d, *e, *f]);
        let is = |flag: i32| flags & flag.cast_unsigned() != 0;
        let mut interface = Self {
            index: u32::from_ne_bytes(index.try_into().ok()?),
            hardware: u16::from_ne_bytes([*a, *b]),
            loopback: is(libc::IFF_LOOPBACK),
            up: is(libc::IFF_UP),
            has_carrier: is(libc::IFF_LOWER_UP),
            ..Self::default()
        };
        let mut is_lower_elsewhere = false;
        for (kind, value) in attributes(message.get(ATTRIBUTES..)?) {
            let number = || value.first_chunk().map(|word| u32::from_ne_bytes(*word));
            let find = |wanted: u16| attributes(value).filter(move |(kind, _)| *kind == wanted);
            match kind {
                NAME => interface.name = text(value),
                LOWER => interface.lower = number().filter(|index| *index != 0),
                MASTER => interface.master = number(),
                LOWER_NAMESPACE => is_lower_elsewhere = true,
                LINK_INFO => interface.kind = find(INFO_KIND).next().map(|(_, kind)| text(kind)),
                PROPERTIES => interface.altnames = find(ALTNAME).map(|(_, name)| text(name)).collect(),
                _ => {}
            }
        }
        interface.lower = interface.lower.filter(|_| !is_lower_elsewhere);
        (!interface.name.is_empty()).then_some(interface)
    }
}

/// A text that ends with a zero.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// All interfaces, in the order of their index.
///
/// # Errors
/// When the kernel does not tell.
pub fn all() -> Result<Vec<Interface>, Error> {
    list().map_err(|source| Error::System { what: "list the interfaces", source })
}

fn list() -> io::Result<Vec<Interface>> {
    let mut request = LinkMessage::default();
    // Counters are most of the answer.
    request.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    let mut found = Vec::new();
    exchange(RouteNetlinkMessage::GetLink(request), NLM_F_DUMP, Check::Lenient, |message| {
        found.extend(Interface::read(message));
    })?;
    found.sort_by_key(|interface| interface.index);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found() {
        let interfaces = all().unwrap();
        let lo = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(lo.loopback && lo.index > 0);
        assert_eq!(lo.link_layer().unwrap(), LinkLayer::Ethernet);
    }
}
