//! Which interfaces are watched: those that a person names, or all that carry traffic, each path at one point.

use std::fmt;

use super::interface::Interface;
use crate::error::Error;

/// What is wanted, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    wanted: Vec<Term>,
    unwanted: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    /// All that can be read.
    Any,
    /// All whose name fits: `*` stands for any text, `?` for one character.
    Pattern(String),
    /// One, by its name, a further name of it, or its index.
    One(String),
}

/// What becomes of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is watched, because it was named.
    Named,
    /// It is watched, because its name fits a pattern.
    Fits,
    /// It is watched, because it carries traffic.
    Chosen,
    /// It is not watched: its packets are seen at other interfaces.
    SeenElsewhere(String),
    /// It is not watched, for this reason.
    LeftOut(String),
}

impl Choice {
    /// Whether it is watched.
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        matches!(self, Self::Named | Self::Fits | Self::Chosen)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => f.write_str("named"),
            Self::Fits => f.write_str("fits a pattern"),
            Self::Chosen => f.write_str("carries traffic"),
            Self::SeenElsewhere(reason) | Self::LeftOut(reason) => f.write_str(reason),
        }
    }
}

impl Term {
    fn new(text: &str) -> Self {
        match text {
            "any" => Self::Any,
            _ if text.contains(['*', '?']) => Self::Pattern(text.to_owned()),
            _ => Self::One(text.to_owned()),
        }
    }

    fn fits(&self, interface: &Interface) -> bool {
        let mut names = [&interface.name].into_iter().chain(&interface.altnames);
        match self {
            Self::Any => true,
            Self::Pattern(pattern) => names.any(|name| matches(pattern.as_bytes(), name.as_bytes())),
            // `ip link` prints a further interface behind the name; names of digits are names before they are indexes.
            Self::One(text) => {
                names.any(|name| name == text) || text.parse() == Ok(interface.index) || {
                    let first = text.split_once('@').map(|(first, _)| first);
                    first == Some(interface.name.as_str())
                }
            }
        }
    }
}

/// Whether a name fits a pattern.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            matches(rest, name) || name.split_first().is_some_and(|(_, name)| matches(pattern, name))
        }
        ([b'?', rest @ ..], [_, name @ ..]) => matches(rest, name),
        ([one, rest @ ..], [other, name @ ..]) => one == other && matches(rest, name),
        _ => false,
    }
}

impl Selection {
    /// What was typed: names, indexes, patterns, `any`, and each of these after `!` for what is not wanted. Nothing, or only what
    /// is not wanted, stands for all that carry traffic.
    #[must_use]
    pub fn new(typed: &[String]) -> Self {
        let mut selection = Self::default();
        for text in typed {
            match text.strip_prefix('!') {
                Some(text) => selection.unwanted.push(Term::new(text)),
                None => selection.wanted.push(Term::new(text)),
            }
        }
        selection
    }

    /// Whether a rule chooses: nothing is named.
    #[must_use]
    pub const fn is_by_rule(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether a person has named this interface, and not by a pattern.
    #[must_use]
    pub fn names(&self, interface: &Interface) -> bool {
        self.wanted.iter().any(|term| matches!(term, Term::One(_)) && term.fits(interface))
    }

    /// Whether only names choose: no other interface is watched later.
    #[must_use]
    pub fn is_of_names(&self) -> bool {
        !self.is_by_rule() && self.wanted.iter().all(|term| matches!(term, Term::One(_)))
    }

    /// What becomes of each interface, in their order.
    #[must_use]
    pub fn choose(&self, present: &[Interface]) -> Vec<Choice> {
        present.iter().map(|interface| self.choice(interface, present)).collect()
    }

    /// The interfaces that are watched: those that are named in the order in which they are, then the others by their index.
    ///
    /// # Errors
    /// When one that is named is not there, cannot be read, or there is none at all.
    pub fn watched<'a>(&self, present: &'a [Interface]) -> Result<Vec<&'a Interface>, Error> {
        let mut watched: Vec<&Interface> = Vec::new();
        for term in &self.wanted {
            let Term::One(text) = term else { continue };
            let interface = exact(text, present).ok_or_else(|| no_interface(text, present))?;
            interface.link_layer()?;
            if !watched.contains(&interface) {
                watched.push(interface);
            }
        }
        for (interface, choice) in present.iter().zip(self.choose(present)) {
            if choice.is_watched() && !watched.contains(&interface) {
                watched.push(interface);
            }
        }
        Ok(watched)
    }

    fn choice(&self, interface: &Interface, present: &[Interface]) -> Choice {
        let is_one = |term: &Term| matches!(term, Term::One(text) if exact(text, present) == Some(interface));
        let by_pattern = |term: &Term| !matches!(term, Term::One(_)) && term.fits(interface);
        if self.wanted.iter().any(is_one) {
            return Choice::Named;
        }
        if let Some(reason) = self.never(interface) {
            return Choice::LeftOut(reason);
        }
        if !self.is_by_rule() {
            let is_chosen = self.wanted.iter().any(by_pattern);
            return if is_chosen { Choice::Fits } else { Choice::LeftOut("not named".to_owned()) };
        }
        if let Some(reason) = idle(interface) {
            return Choice::LeftOut(reason);
        }
        self.elsewhere(interface, present).map_or(Choice::Chosen, Choice::SeenElsewhere)
    }

    /// Why it is never chosen by a rule or a pattern.
    fn never(&self, interface: &Interface) -> Option<String> {
        if self.unwanted.iter().any(|term| term.fits(interface)) {
            return Some("left out as asked".to_owned());
        }
        let hardware = interface.hardware;
        interface.link_layer().err().map(|_| format!("its link type {hardware} cannot be read"))
    }

    /// Where its packets are seen, if not only at itself. What an interface refers to has a lower index or is its port, so this ends.
    fn elsewhere(&self, interface: &Interface, present: &[Interface]) -> Option<String> {
        let of = |index: Option<u32>| present.iter().find(|other| Some(other.index) == index);
        let name = |other: &Interface| other.name.escape_debug().to_string();
        let is_usable = |other: &&Interface| self.never(other).is_none() && idle(other).is_none();
        let ports = || {
            let ports = present.iter().filter(|port| port.master == Some(interface.index));
            ports.filter(is_usable).map(name).collect::<Vec<_>>()
        };
        match interface.kind() {
            "bridge" | "vrf" if !ports().is_empty() => {
                let what = if interface.kind() == "vrf" { "interfaces" } else { "ports" };
                return Some(format!("its {what} are watched: {}", ports().join(" ")));
            }
            "vrf" => return Some("packets pass its interfaces, not itself".to_owned()),
            "ifb" => return Some("it repeats packets of other interfaces".to_owned()),
            _ => {}
        }
        if let Some(master) = of(interface.master).filter(is_usable)
            && matches!(master.kind(), "bond" | "team")
        {
            return Some(format!("a port of {}, which is watched", name(master)));
        }
        let lower = of(interface.lower).filter(is_usable)?;
        match interface.kind() {
            "vlan" => Some(format!("its packets pass {}, which is watched", name(lower))),
            "veth" if lower.index < interface.index && lower.kind() == "veth" => {
                Some(format!("the other end of {}, which is watched", name(lower)))
            }
            _ => None,
        }
    }
}

/// Why an interface carries nothing now.
fn idle(interface: &Interface) -> Option<String> {
    match interface {
        Interface { up: false, .. } => Some("is down".to_owned()),
        Interface { has_carrier: false, .. } => Some("has no carrier".to_owned()),
        _ => None,
    }
}

/// The interface of this name, further name or index: a name goes first.
fn exact<'a>(text: &str, present: &'a [Interface]) -> Option<&'a Interface> {
    let term = Term::One(text.to_owned());
    let by_name = present.iter().find(|interface| interface.name == text);
    by_name.or_else(|| present.iter().find(|interface| term.fits(interface)))
}

fn no_interface(name: &str, present: &[Interface]) -> Error {
    let present = present.iter().map(|interface| interface.name.escape_debug().to_string()).collect();
    Error::NoInterface { name: name.escape_debug().to_string(), present, hint: hint(name) }
}

/// Another tool of this name takes an interval in seconds.
fn hint(name: &str) -> String {
    if name.parse::<f64>().is_ok() {
        format!("\n  an interval is not needed; to stop after a time: --duration {name}s")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, name: &str, kind: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            index,
            up: true,
            has_carrier: true,
            hardware: 1,
            kind: (!kind.is_empty()).then(|| kind.to_owned()),
            ..Interface::default()
        }
    }

    fn host() -> Vec<Interface> {
        vec![
            Interface { loopback: true, hardware: 772, ..interface(1, "lo", "") },
            Interface { altnames: vec!["enp3s0".to_owned()], ..interface(2, "eth0", "") },
            Interface { up: false, ..interface(3, "eth1", "") },
            Interface { has_carrier: false, ..interface(4, "eth2", "") },
            interface(5, "docker0", "bridge"),
            Interface { master: Some(5), ..interface(6, "veth6", "veth") },
            interface(7, "bond0", "bond"),
            Interface { master: Some(7), ..interface(8, "eth3", "") },
            Interface { lower: Some(2), ..interface(9, "eth0.10", "vlan") },
            interface(10, "vrf1", "vrf"),
            Interface { master: Some(10), ..interface(11, "eth4", "") },
            Interface { hardware: 280, ..interface(12, "can0", "vcan") },
            interface(13, "u0", "veth"),
            Interface { lower: Some(13), ..interface(14, "u1", "veth") },
        ]
    }

    fn watched(typed: &[&str]) -> Vec<String> {
        let typed: Vec<String> = typed.iter().map(|&text| text.to_owned()).collect();
        let host = host();
        let watched = Selection::new(&typed).watched(&host).unwrap();
        watched.into_iter().map(|interface| interface.name.clone()).collect()
    }

    #[test]
    fn without_a_name_each_path_is_watched_at_one_point() {
        assert_eq!(watched(&[]), ["lo", "eth0", "veth6", "bond0", "eth4", "u0"]);
        assert_eq!(watched(&["!lo", "!veth*"]), ["eth0", "docker0", "bond0", "eth4", "u0"]);
        let host = host();
        let choices = Selection::new(&[]).choose(&host);
        let reason = |name: &str| {
            let (_, choice) = host.iter().zip(&choices).find(|(one, _)| one.name == name).unwrap();
            choice.to_string()
        };
        assert_eq!(reason("lo"), "carries traffic");
        assert_eq!(reason("eth1"), "is down");
        assert_eq!(reason("eth2"), "has no carrier");
        assert_eq!(reason("docker0"), "its ports are watched: veth6");
        assert_eq!(reason("eth3"), "a port of bond0, which is watched");
        assert_eq!(reason("eth0.10"), "its packets pass eth0, which is watched");
        assert_eq!(reason("vrf1"), "its interfaces are watched: eth4");
        assert_eq!(reason("can0"), "its link type 280 cannot be read");
        assert_eq!(reason("u1"), "the other end of u0, which is watched");
    }

    #[test]
    fn what_is_named_is_watched_in_that_order() {
        assert_eq!(watched(&["eth0.10", "eth1", "eth0"]), ["eth0.10", "eth1", "eth0"]);
        assert_eq!(watched(&["enp3s0", "6", "u1@u0", "eth0"]), ["eth0", "veth6", "u1"]);
        assert_eq!(watched(&["eth?"]), ["eth0", "eth1", "eth2", "eth3", "eth4"]);
        assert_eq!(watched(&["eth*", "!eth1", "lo"]), ["lo", "eth0", "eth2", "eth3", "eth0.10", "eth4"]);
        assert_eq!(watched(&["any"]).len(), host().len() - 1, "all but those that cannot be read");
        assert!(watched(&["nothing*"]).is_empty());
        let wrong = |name: &str| Selection::new(&[name.to_owned()]).watched(&host()).unwrap_err().to_string();
        assert!(wrong("eth9").starts_with("there is no interface `eth9`"));
        assert!(wrong("99").contains("--duration 99s"));
        assert!(wrong("can0").contains("link type 280"));
    }

    #[test]
    fn a_pattern_fits_whole_names() {
        for (pattern, name, fits) in [
            ("veth*", "veth1", true),
            ("veth*", "myveth1", false),
            ("*", "", true),
            ("e?h*1", "eth0.1", true),
            ("e?h", "eth0", false),
            ("**a*", "bbab", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
