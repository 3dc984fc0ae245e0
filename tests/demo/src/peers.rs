//! The peers of the demo, and what the wire does to their packets.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lab::{Direction, Kind, Match, Rule, Script, far_v4, far_v6, near_v4, near_v6};

/// The port of the servers on the watched host.
const HERE: u16 = 443;
/// Loss of a lossy peer: of its first SYNs, and in each direction after the handshake.
const LOSS: f64 = 0.1;
/// Peers per line of the legend; two fit into 80 columns.
const PER_LINE: usize = 2;

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Behaviour {
    Healthy,
    Slow,
    Refusing,
    Unanswering,
    Lossy,
}

impl Behaviour {
    /// The letter of tcptop's verdict.
    fn verdict(self) -> char {
        match self {
            Self::Unanswering => 'N',
            Self::Refusing => 'R',
            Self::Slow => 'S',
            Self::Lossy => 'L',
            Self::Healthy => '-',
        }
    }
}

/// A remote host, and its connections with the watched host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its address and the service's port, as tcptop shows them.
    pub(super) name: SocketAddr,
    /// Whether it connects to the watched host, instead of the other way round.
    pub(super) comes_here: bool,
    pub(super) behaviour: Behaviour,
    /// Its description in the legend.
    words: &'static str,
    /// The name of the process of the watched host that connects to it or serves it.
    pub(super) process: &'static str,
    /// One-way delay.
    one_way: Duration,
    /// Connections per second of all clients together, if none has to wait.
    pub(super) per_s: u32,
    /// Number of clients: enough for the others to continue while one waits for a retransmitted SYN.
    pub(super) clients: u32,
}

impl Peer {
    /// The server's address: the peer's, or the watched host's in the same family.
    pub(super) fn server(&self) -> SocketAddr {
        match (self.comes_here, self.name) {
            (false, name) => name,
            (true, SocketAddr::V4(_)) => (near_v4(1), HERE).into(),
            (true, SocketAddr::V6(_)) => (near_v6(1), HERE).into(),
        }
    }

    /// Whether there is a server.
    pub(super) fn listens(&self) -> bool {
        self.behaviour != Behaviour::Refusing
    }
}

/// A healthy peer that this process of the watched host connects to.
const fn to(process: &'static str, address: IpAddr, port: u16) -> Peer {
    Peer {
        name: SocketAddr::new(address, port),
        comes_here: false,
        behaviour: Behaviour::Healthy,
        words: "healthy",
        process,
        one_way: Duration::from_millis(10),
        per_s: 8,
        clients: 3,
    }
}

/// A healthy peer that connects to the watched host.
const fn from(address: IpAddr) -> Peer {
    Peer { comes_here: true, ..to("web", address, HERE) }
}

/// All peers, worst first, as tcptop lists them.
pub(super) fn all() -> [Peer; 8] {
    let ms = Duration::from_millis;
    [
        Peer {
            behaviour: Behaviour::Unanswering,
            words: "never answers",
            per_s: 1,
            ..to("mailer", far_v6(23), 443)
        },
        Peer {
            behaviour: Behaviour::Refusing,
            words: "refuses",
            one_way: ms(1),
            per_s: 3,
            ..to("sessions", far_v4(16), 6379)
        },
        Peer {
            behaviour: Behaviour::Slow,
            words: "calls us, 250 ms",
            one_way: ms(125),
            per_s: 3,
            ..from(far_v6(41))
        },
        Peer {
            behaviour: Behaviour::Slow,
            words: "slow, 180 ms",
            one_way: ms(90),
            per_s: 5,
            clients: 6,
            ..to("reports", far_v4(14), 5432)
        },
        Peer {
            behaviour: Behaviour::Lossy,
            words: "loses 1 in 10",
            one_way: ms(5),
            per_s: 10,
            clients: 8,
            ..to("events", far_v6(33), 9092)
        },
        Peer { one_way: ms(1), per_s: 40, ..to("checkout", far_v4(10), 8080) },
        Peer { words: "calls us, healthy", one_way: ms(15), ..from(far_v4(40)) },
        Peer { one_way: ms(5), ..to("updater", far_v6(10), 443) },
    ]
}

/// The wire's script. Delays vary a little, but only in the handshake: later segments must not overtake each other.
pub(super) fn script(seed: u64) -> Script {
    let mut script = Script::seeded(seed);
    for peer in all() {
        let address = peer.name.ip();
        let answer = Match::syn_ack().address(address);
        script = script
            .with(Rule::delay(Match::any().address(address), peer.one_way))
            .with(Rule::reorder(answer, 0.3, peer.one_way / 4))
            .with(Rule::reorder(answer, 0.05, peer.one_way));
        script = match peer.behaviour {
            Behaviour::Unanswering => {
                script.with(Rule::drop(Match::syn().address(address).direction(Direction::ToFar)))
            }
            Behaviour::Lossy => lossy(script, address),
            Behaviour::Healthy | Behaviour::Slow | Behaviour::Refusing => script,
        };
    }
    script
}

/// In the handshake, only the first SYN is lost: an attempt that loses more waits for seconds, and counts as unanswered
/// meanwhile.
fn lossy(script: Script, address: IpAddr) -> Script {
    let later = [Kind::Ack, Kind::Data, Kind::Fin].map(|kind| Match::kind(kind).address(address));
    let first = script.with(Rule::lose(Match::syn().address(address).first(1), LOSS));
    later.into_iter().fold(first, |script, matching| script.with(Rule::lose(matching, LOSS)))
}

/// The legend that says which peer does what.
pub(super) fn legend() -> String {
    let mut text = "demo: real connections, in a network of their own that is gone at the end. What\n\
                    tcptop should find (N no answer, R refuses, S slow, L loses packets, - healthy):\n"
        .to_owned();
    for line in all().chunks(PER_LINE) {
        for peer in line {
            let Peer { name, words, .. } = peer;
            // Writing to a String cannot fail.
            let _ = write!(text, "  {} {:<16} {words:<18}", peer.behaviour.verdict(), name.to_string());
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_manner_both_roles_and_both_families_take_part() {
        let peers = all();
        let behaviours: HashSet<Behaviour> = peers.iter().map(|peer| peer.behaviour).collect();
        assert_eq!(behaviours.len(), 5);
        let kinds: HashSet<_> = peers.iter().map(|peer| (peer.comes_here, peer.name.is_ipv4())).collect();
        assert_eq!(kinds.len(), 4);
    }

    #[test]
    fn each_peer_has_an_address_of_its_own() {
        // The wire's rules match by address.
        let addresses: HashSet<_> = all().iter().map(|peer| peer.name.ip()).collect();
        assert_eq!(addresses.len(), all().len());
    }

    #[test]
    fn only_what_is_called_slow_is_slow_to_tcptop() {
        let threshold = Duration::from_millis(100);
        for peer in all() {
            let (least, most) = (peer.one_way * 2, peer.one_way * 4);
            match peer.behaviour {
                Behaviour::Slow => assert!(least > threshold, "{}", peer.name),
                _ => assert!(most < threshold, "{}", peer.name),
            }
        }
    }

    #[test]
    fn the_legend_names_all_within_80_columns() {
        let legend = legend();
        for peer in all() {
            let entry = format!("  {} {}", peer.behaviour.verdict(), peer.name);
            assert!(legend.contains(&entry), "{entry}\n{legend}");
        }
        assert!(legend.lines().all(|line| line.len() <= 80), "{legend}");
    }
}
