//! The interfaces of this network namespace.

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nameindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use probe_common::LinkLayer;

use crate::error::Error;

/// Link types (`linux/if_arp.h`) with an Ethernet header.
const WITH_ETHERNET: [u16; 2] = [1, 772];
/// Link types whose packets begin with the IP header: ppp, raw IP, ipip and its IPv6 kin, sit, gre, and
/// "none" (tun, wireguard).
const WITHOUT_LINK_HEADER: [u16; 8] = [512, 519, 768, 769, 776, 778, 823, 0xfffe];

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, as the kernel has it. Can hold control characters: escape it before it is shown.
    pub name: String,
    /// Its index, from 1.
    pub index: u32,
    /// Whether it is loopback.
    pub loopback: bool,
    /// Whether it is administratively up.
    pub up: bool,
    /// Its ARPHRD number.
    pub hardware: u16,
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
}

/// All interfaces, in the order of their index.
///
/// # Errors
/// When the kernel does not tell.
pub fn all() -> Result<Vec<Interface>, Error> {
    let failed = |errno: Errno| Error::System { what: "list the interfaces", source: errno.into() };
    let names = if_nameindex().map_err(failed)?;
    let asking =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
    let mut found = Vec::new();
    for entry in &names {
        let name = entry.name().to_string_lossy().into_owned();
        // One that went away since is none.
        let (Ok(flags), Ok(hardware)) = (flags(&asking, entry.name()), hardware(&asking, entry.name()))
        else {
            continue;
        };
        found.push(Interface {
            name,
            index: entry.index(),
            loopback: flags & libc::IFF_LOOPBACK != 0,
            up: flags & libc::IFF_UP != 0,
            hardware,
        });
    }
    found.sort_by_key(|interface| interface.index);
    Ok(found)
}

nix::ioctl_read_bad!(
    /// Asks for the flags of the interface that the request names (netdevice(7)).
    get_flags,
    libc::SIOCGIFFLAGS,
    libc::ifreq
);
nix::ioctl_read_bad!(
    /// Asks for its hardware address, whose family is the link type (netdevice(7)).
    get_hardware_address,
    libc::SIOCGIFHWADDR,
    libc::ifreq
);

fn flags(asking: &OwnedFd, name: &CStr) -> nix::Result<i32> {
    let mut request = request(name);
    // SAFETY: the descriptor is a socket, and the request names an interface.
    unsafe { get_flags(asking.as_raw_fd(), &raw mut request) }?;
    // SAFETY: this is the member that the kernel has filled in.
    Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags }))
}

/// The list of addresses (`getifaddrs`) does not tell it of interfaces without a hardware address: tun,
/// ppp, wireguard.
fn hardware(asking: &OwnedFd, name: &CStr) -> nix::Result<u16> {
    let mut request = request(name);
    // SAFETY: as above.
    unsafe { get_hardware_address(asking.as_raw_fd(), &raw mut request) }?;
    // SAFETY: as above; its address family is the link type.
    Ok(unsafe { request.ifr_ifru.ifru_hwaddr }.sa_family)
}

fn request(name: &CStr) -> libc::ifreq {
    // SAFETY: a structure of integers and characters, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One character less than there is room for, so that the name ends with a zero.
    let room = &mut request.ifr_name[..libc::IFNAMSIZ - 1];
    for (to, from) in room.iter_mut().zip(name.to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request
}

/// The interfaces of these names, each once; without names, the one of the default route.
///
/// # Errors
/// When there is none of that name, or no default route.
pub fn choose(names: &[String]) -> Result<Vec<Interface>, Error> {
    let present = all()?;
    let listed = || present.iter().map(|interface| interface.name.escape_debug().to_string()).collect();
    if names.is_empty() {
        let chosen = default_route().and_then(|name| present.iter().find(|i| i.name == name).cloned());
        return chosen.map(|i| vec![i]).ok_or_else(|| Error::NoDefaultRoute { present: listed() });
    }
    let mut chosen: Vec<Interface> = Vec::new();
    for name in names {
        let interface = present.iter().find(|interface| interface.name == *name).ok_or_else(|| {
            let hint = hint(name);
            Error::NoInterface { name: name.escape_debug().to_string(), present: listed(), hint }
        })?;
        if !chosen.contains(interface) {
            chosen.push(interface.clone());
        }
    }
    Ok(chosen)
}

/// Another tool of this name takes an interval in seconds.
fn hint(name: &str) -> String {
    if name.parse::<f64>().is_ok() {
        format!("\n  an interval is not needed; to stop after a time: --duration {name}s")
    } else {
        String::new()
    }
}

/// The interface of the default route with the lowest metric, IPv4 before IPv6.
fn default_route() -> Option<String> {
    let v4 = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    default_v4(&v4).or_else(|| default_v6(&v6))
}

/// Columns: interface, destination, gateway, flags, reference count, use, metric, mask, ...
fn default_v4(table: &str) -> Option<String> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let defaults = rows.filter(|row| row.get(1) == Some(&"00000000") && row.get(7) == Some(&"00000000"));
    let by_metric =
        defaults.filter_map(|row| Some((row.get(6)?.parse::<u32>().ok()?, (*row.first()?).to_owned())));
    by_metric.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// Columns: destination, its prefix length, source, its prefix length, next hop, metric, reference count,
/// use, flags, interface; numbers are hexadecimal. The kernel's own reject route at `lo` is not a way out.
fn default_v6(table: &str) -> Option<String> {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let defaults =
        rows.filter(|row| row.get(1) == Some(&"00") && row.get(9).is_some_and(|name| *name != "lo"));
    let by_metric = defaults
        .filter_map(|row| Some((u32::from_str_radix(row.get(5)?, 16).ok()?, (*row.get(9)?).to_owned())));
    by_metric.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_lowest_metric_wins() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(default_v4(table).as_deref(), Some("eth0"));
        assert_eq!(default_v4("Iface\tDestination\n"), None);
    }

    #[test]
    fn an_ipv6_only_host_has_a_default_route_too() {
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        );
        assert_eq!(default_v6(&table).as_deref(), Some("eth0"));
    }

    #[test]
    fn a_number_is_taken_for_an_interval() {
        assert!(hint("5").contains("--duration 5s"));
        assert_eq!(hint("eth9"), "");
    }

    #[test]
    fn loopback_is_found() {
        let interfaces = all().unwrap();
        let lo = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(lo.loopback && lo.index > 0);
        assert_eq!(lo.link_layer().unwrap(), LinkLayer::Ethernet);
    }
}
