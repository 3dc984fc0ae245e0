//! The peers of the demo, and what the wire does to their packets.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use lab::{Direction, IpNet, Kind, Link, Match, Rejection, Rule, Script, far_v4, far_v6, near_v4, near_v6};

/// The port of the servers on the watched host.
const HERE: u16 = 443;
/// Loss of a lossy peer: of its first SYNs, and in each direction after the handshake.
const LOSS: f64 = 0.1;
/// Loss of the first SYNs of a peer that loses nothing else.
const LOSS_OF_SYNS: f64 = 0.2;
/// Bytes of the longest packet that gets through where large segments do not; the MTU is 1500.
const LARGE: usize = 1_000;
/// Nothing routes there; this and the next one are for documentation (RFC 5737).
const UNROUTED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
/// A route of the watched host prohibits it.
const ROUTE_PROHIBITED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// The far host is the router to it, and answers by an ICMP error. With IPv4 that would be one a second to the same host
/// (`net/ipv4/route/error_cost`), and not of this namespace alone.
const PROHIBITED: Ipv6Addr = Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 0, 7);
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
    /// Its SYNs are lost now and then, and nothing else.
    LosingSyns,
    /// What fills a segment does not get through.
    LosingLargeSegments,
    /// Accepts and resets at once.
    Resetting,
    /// A router answers the SYNs by an ICMP error: prohibited.
    Prohibited,
    /// This host has no route to it.
    Unrouted,
    /// A route of this host prohibits it.
    RouteProhibited,
    /// Calls a port of this host that nothing listens at.
    CallingNobody,
    /// Calls a listener of this host that accepts nothing.
    CallingFullQueue,
    /// Calls a server of this host that closes with the request unread.
    CallingUnread,
}

impl Behaviour {
    /// The letter of tcptop's verdict.
    fn verdict(self) -> char {
        match self {
            Self::Unanswering | Self::CallingFullQueue => 'N',
            Self::Unrouted | Self::RouteProhibited => 'F',
            Self::Prohibited => 'U',
            Self::Refusing | Self::CallingNobody => 'R',
            Self::Resetting | Self::CallingUnread => 'A',
            Self::Slow => 'S',
            // Each SYN that is lost costs a second.
            Self::LosingSyns => 'W',
            Self::Lossy | Self::LosingLargeSegments => 'L',
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
    /// Bytes that a client sends and gets back.
    pub(super) exchange: usize,
}

impl Peer {
    /// The server's address: the peer's, or the watched host's in the same family.
    pub(super) fn server(&self) -> SocketAddr {
        let port = self.name.port();
        match (self.comes_here, self.name) {
            (false, name) => name,
            (true, SocketAddr::V4(_)) => (near_v4(1), port).into(),
            (true, SocketAddr::V6(_)) => (near_v6(1), port).into(),
        }
    }

    /// The same, but it connects to the watched host.
    const fn calling(self) -> Self {
        Self { comes_here: true, ..self }
    }

    /// Whether there is a server.
    pub(super) fn listens(&self) -> bool {
        use Behaviour::{CallingNobody, Prohibited, Refusing, RouteProhibited, Unrouted};
        !matches!(self.behaviour, Refusing | CallingNobody | Prohibited | RouteProhibited | Unrouted)
    }

    /// Whether the watched host has a process for it.
    pub(super) fn has_process(&self) -> bool {
        self.behaviour != Behaviour::CallingNobody
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
        exchange: 200,
    }
}

/// A healthy peer that connects to the watched host.
const fn from(address: IpAddr) -> Peer {
    Peer { comes_here: true, ..to("web", address, HERE) }
}

/// All peers, worst first, as tcptop lists them.
pub(super) fn all() -> Vec<Peer> {
    [&not_connecting()[..], &reset_or_slow(), &lossy_or_healthy()].concat()
}

/// Those whose connections fail before they are made.
fn not_connecting() -> [Peer; 7] {
    let ms = Duration::from_millis;
    [
        Peer {
            behaviour: Behaviour::Unanswering,
            words: "never answers",
            per_s: 1,
            ..to("mailer", far_v6(23), 443)
        },
        Peer {
            behaviour: Behaviour::CallingFullQueue,
            words: "own queue is full",
            per_s: 2,
            clients: 6,
            ..to("backend", far_v4(42), 8443)
        }
        .calling(),
        Peer {
            behaviour: Behaviour::Unrouted,
            words: "no route",
            per_s: 2,
            ..to("backup", UNROUTED.into(), 873)
        },
        Peer {
            behaviour: Behaviour::RouteProhibited,
            words: "prohibited route",
            per_s: 2,
            ..to("metrics", ROUTE_PROHIBITED.into(), 443)
        },
        Peer {
            behaviour: Behaviour::Prohibited,
            words: "prohibited by ICMP",
            per_s: 2,
            ..to("crawler", PROHIBITED.into(), 443)
        },
        Peer {
            behaviour: Behaviour::CallingNobody,
            words: "calls no server",
            per_s: 2,
            ..to("nobody", far_v4(43), 8081)
        }
        .calling(),
        Peer {
            behaviour: Behaviour::Refusing,
            words: "refuses",
            one_way: ms(1),
            per_s: 3,
            ..to("sessions", far_v4(16), 6379)
        },
    ]
}

/// Those that reset connections, and slow ones.
fn reset_or_slow() -> [Peer; 4] {
    let ms = Duration::from_millis;
    [
        Peer {
            behaviour: Behaviour::CallingUnread,
            words: "left unread by us",
            per_s: 3,
            ..to("upload", far_v6(44), 8082)
        }
        .calling(),
        Peer {
            behaviour: Behaviour::Resetting,
            words: "accepts and resets",
            per_s: 3,
            ..to("billing", far_v4(18), 8443)
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
    ]
}

/// Those that lose packets, and healthy ones.
fn lossy_or_healthy() -> [Peer; 6] {
    let ms = Duration::from_millis;
    [
        Peer {
            behaviour: Behaviour::Lossy,
            words: "loses 1 in 10",
            one_way: ms(5),
            per_s: 10,
            clients: 8,
            ..to("events", far_v6(33), 9092)
        },
        Peer {
            behaviour: Behaviour::LosingSyns,
            words: "loses SYNs",
            one_way: ms(5),
            per_s: 6,
            clients: 8,
            ..to("search", far_v4(20), 9200)
        },
        Peer {
            behaviour: Behaviour::LosingLargeSegments,
            words: "large segments",
            per_s: 2,
            clients: 8,
            exchange: 8_000,
            ..to("images", far_v4(22), 9000)
        },
        Peer { one_way: ms(1), per_s: 40, ..to("checkout", far_v4(10), 8080) },
        Peer { words: "calls us, healthy", one_way: ms(15), ..from(far_v4(40)) },
        Peer { one_way: ms(5), ..to("updater", far_v6(10), 443) },
    ]
}

/// The routes that some peers need, at both ends.
pub(super) fn add_routes(link: &Link) -> Result<()> {
    let [unreached, beyond] =
        [ROUTE_PROHIBITED.into(), PROHIBITED.into()].map(|address: IpAddr| IpNet::from(address));
    link.near.add_rejecting_route(unreached, Rejection::Prohibit)?;
    link.near.add_route(beyond, far_v6(10))?;
    link.far.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
    // An error for each SYN, however many there are.
    link.far.set_sysctl("net/ipv6/icmp/ratelimit", "0")?;
    link.far.add_rejecting_route(beyond, Rejection::Prohibit)
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
            Behaviour::LosingSyns => {
                script.with(Rule::lose(Match::syn().address(address).first(1), LOSS_OF_SYNS))
            }
            Behaviour::LosingLargeSegments => {
                script.with(Rule::drop(Match::any().address(address).longer_than(LARGE)))
            }
            _ => script,
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
                    tcptop should find (N no answer, F fails here, U unreachable, R refuses,\n\
                    A aborts, S slow, W slow to set up, L loses packets, - healthy):\n"
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
        assert_eq!(behaviours.len(), 14);
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
