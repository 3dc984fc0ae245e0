//! What is to be said of interfaces that their own traffic does not pass.

use crate::output::RenderContext;
use crate::source::interface::Interface;
use crate::source::netlink::{Master, MasterKind, masters};

/// A sentence for each watched bridge or VRF some of whose ports are not watched, with the command that watches them.
pub(super) fn notices<'a>(
    watched: impl Iterator<Item = &'a Interface>,
    context: &RenderContext,
) -> Vec<String> {
    let watched: Vec<&Interface> = watched.collect();
    // A kernel that does not say has no ports to name.
    let masters = masters().unwrap_or_default();
    let of = |interface: &Interface| masters.iter().find(|master| master.index == interface.index);
    let is_watched = |port: &String| watched.iter().any(|interface| interface.name == *port);
    watched
        .iter()
        .filter_map(|interface| Some((*interface, of(interface)?)))
        .filter(|(_, master)| master.ports.is_empty() || !master.ports.iter().all(is_watched))
        .map(|(interface, master)| notice(&context.interface(interface.index), master))
        .collect()
}

fn notice(name: &str, Master { kind, ports, .. }: &Master) -> String {
    let what = match kind {
        MasterKind::Bridge => {
            format!("{name} is a bridge: packets from port to port do not pass {name} itself")
        }
        MasterKind::Vrf => format!("{name} is a VRF: packets pass its interfaces, not {name} itself"),
    };
    let ports: Vec<String> = ports.iter().map(|port| port.escape_debug().to_string()).collect();
    match (ports.join(" "), kind) {
        (ports, MasterKind::Bridge) if ports.is_empty() => format!("{what}; it has no ports now"),
        (ports, MasterKind::Vrf) if ports.is_empty() => format!("{what}; it has none now"),
        (ports, _) => format!("{what}; to watch them: tcptop {ports}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_as_they_are_typed() {
        let said = |kind, ports: &[&str]| {
            let ports = ports.iter().map(|&port| port.to_owned()).collect();
            notice("x0", &Master { index: 1, kind, ports })
        };
        assert_eq!(
            said(MasterKind::Bridge, &["veth1", "tap2"]),
            "x0 is a bridge: packets from port to port do not pass x0 itself; to watch them: tcptop veth1 tap2"
        );
        assert!(said(MasterKind::Bridge, &[]).ends_with("itself; it has no ports now"));
        assert!(said(MasterKind::Vrf, &["eth\u{1b}1"]).ends_with("to watch them: tcptop eth\\u{1b}1"));
        assert!(said(MasterKind::Vrf, &[]).ends_with("it has none now"));
    }
}
