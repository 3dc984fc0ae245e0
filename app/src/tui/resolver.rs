//! Names of addresses, when somebody asks for them: looked up in a thread of their own, for a name server
//! that is slow or gone must not stall the screen.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

/// An address, IPv4 as a mapped one.
pub type Address = [u8; 16];

/// Addresses that wait to be looked up. What does not fit is asked for again with the next snapshot.
const WAITING: usize = 64;
/// Names that are remembered at the most: then all are forgotten, and those on the screen asked for anew.
const REMEMBERED: usize = 4_096;

/// The names that are known, and whether they are wanted.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Are they shown?
    pub on: bool,
    /// `None` for an address that was asked for and has none, or not yet.
    known: HashMap<Address, Option<String>>,
}

impl Names {
    /// The name of an address, where it is wanted and known.
    #[must_use]
    pub fn of(&self, address: &Address) -> Option<&str> {
        self.known.get(address).filter(|_| self.on)?.as_deref()
    }

    /// Was it never asked for?
    #[must_use]
    pub fn is_new(&self, address: &Address) -> bool {
        self.on && !self.known.contains_key(address)
    }

    /// It was asked for.
    pub fn ask(&mut self, address: Address) {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(address, None);
    }

    /// This is what it is called.
    pub fn learn(&mut self, address: Address, name: Option<String>) {
        self.known.insert(address, name);
    }
}

/// The thread that asks the system.
#[derive(Debug)]
pub struct Resolver {
    asked: SyncSender<Address>,
    told: Receiver<(Address, Option<String>)>,
}

impl Resolver {
    /// Starts it.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start() -> io::Result<Self> {
        let (asked, wanted) = mpsc::sync_channel::<Address>(WAITING);
        let (tell, told) = mpsc::channel();
        // Nobody waits for it at the end: a look-up can take longer than anybody's patience.
        thread::Builder::new().name("names".to_owned()).spawn(move || {
            for address in wanted {
                if tell.send((address, look_up(&address))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { asked, told })
    }

    /// Asks for a name. Gives whether there was room for the question.
    #[must_use]
    pub fn ask(&self, address: Address) -> bool {
        self.asked.try_send(address).is_ok()
    }

    /// The answers that have come.
    pub fn answers(&self) -> impl Iterator<Item = (Address, Option<String>)> {
        self.told.try_iter()
    }
}

fn look_up(address: &Address) -> Option<String> {
    let address: IpAddr = Ipv6Addr::from(*address).to_canonical();
    let name = dns_lookup::lookup_addr(&address).ok()?;
    // Where there is no name, the system gives the number.
    name.parse::<IpAddr>().is_err().then(|| plain(&name))
}

/// A name comes from outside, and whoever owns the address writes it: nothing but printable ASCII goes on.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').escape_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_common::segment::mapped;

    #[test]
    fn names_are_shown_only_when_they_are_wanted() {
        let (address, mut names) = (mapped([10, 0, 0, 1]), Names::default());
        assert!(!names.is_new(&address));
        names.on = true;
        assert!(names.is_new(&address));
        names.ask(address);
        assert_eq!((names.is_new(&address), names.of(&address)), (false, None));
        names.learn(address, Some("db.example".to_owned()));
        assert_eq!(names.of(&address), Some("db.example"));
        names.on = false;
        assert_eq!(names.of(&address), None);
    }

    #[test]
    fn a_flood_of_addresses_does_not_pile_up() {
        let mut names = Names { on: true, ..Names::default() };
        (0..100_000_u32).for_each(|n| names.ask(mapped(n.to_be_bytes())));
        assert!(names.known.len() <= REMEMBERED);
    }

    #[test]
    fn what_a_name_holds_never_reaches_the_terminal_raw() {
        assert_eq!(plain("db.example."), "db.example");
        assert_eq!(plain("\u{1b}]0;x\u{7}\u{202e}ü"), "\\u{1b}]0;x\\u{7}\\u{202e}\\u{fc}");
    }

    /// `localhost` is in every system's hosts file, and needs no server.
    #[test]
    fn the_system_is_asked() {
        let resolver = Resolver::start().unwrap();
        assert!(resolver.ask(mapped([127, 0, 0, 1])));
        let (address, name) = resolver.told.recv().unwrap();
        assert_eq!((address, name.as_deref()), (mapped([127, 0, 0, 1]), Some("localhost")));
    }
}
