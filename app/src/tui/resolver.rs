//! Host names of addresses, looked up only when asked for, in a thread of their own: a name server that is slow or gone
//! must not stall the screen.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

/// An address, IPv4 mapped into IPv6.
pub type Address = [u8; 16];

/// Length of the queue of look-ups. What does not fit is asked for again with the next snapshot.
const QUEUE: usize = 64;
/// How many names are cached. Beyond that the cache is emptied, and the names on the screen are looked up again.
const MAX_NAMES: usize = 4_096;

/// The cache of names, and whether names are shown.
#[derive(Clone, Debug, Default)]
pub struct HostNames {
    /// Whether names are shown.
    pub on: bool,
    /// `None` for an address that has no name, or none yet.
    cache: HashMap<Address, Option<String>>,
}

impl HostNames {
    /// The name of an address, if names are shown and it is known.
    #[must_use]
    pub fn of(&self, address: &Address) -> Option<&str> {
        self.cache.get(address).filter(|_| self.on)?.as_deref()
    }

    /// Returns whether the address has to be looked up.
    #[must_use]
    pub fn is_new(&self, address: &Address) -> bool {
        self.on && !self.cache.contains_key(address)
    }

    /// Notes that the address is being looked up.
    pub fn ask(&mut self, address: Address) {
        if self.cache.len() >= MAX_NAMES {
            self.cache.clear();
        }
        self.cache.insert(address, None);
    }

    /// Stores the result of a look-up.
    pub fn learn(&mut self, address: Address, name: Option<String>) {
        self.cache.insert(address, name);
    }
}

/// The thread that asks the system's resolver.
#[derive(Debug)]
pub struct Resolver {
    queries: SyncSender<Address>,
    answers: Receiver<(Address, Option<String>)>,
}

impl Resolver {
    /// Starts it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start() -> io::Result<Self> {
        let (queries, queue) = mpsc::sync_channel::<Address>(QUEUE);
        let (send, answers) = mpsc::channel();
        // The thread is not joined at the end: a look-up can take half a minute.
        thread::Builder::new().name("names".to_owned()).spawn(move || {
            for address in queue {
                if send.send((address, look_up(&address))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { queries, answers })
    }

    /// Queues a look-up. Returns whether there was room.
    #[must_use]
    pub fn ask(&self, address: Address) -> bool {
        self.queries.try_send(address).is_ok()
    }

    /// The answers that have arrived.
    pub fn answers(&self) -> impl Iterator<Item = (Address, Option<String>)> {
        self.answers.try_iter()
    }
}

fn look_up(address: &Address) -> Option<String> {
    let address: IpAddr = Ipv6Addr::from(*address).to_canonical();
    let name = dns_lookup::lookup_addr(&address).ok()?;
    // Without a name the system returns the address.
    name.parse::<IpAddr>().is_err().then(|| plain(&name))
}

/// Whoever owns the address chooses the name: only printable ASCII is passed on.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').escape_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_common::segment::mapped;

    #[test]
    fn names_are_shown_only_when_they_are_wanted() {
        let (address, mut names) = (mapped([10, 0, 0, 1]), HostNames::default());
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
        let mut names = HostNames { on: true, ..HostNames::default() };
        (0..100_000_u32).for_each(|n| names.ask(mapped(n.to_be_bytes())));
        assert!(names.cache.len() <= MAX_NAMES);
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
        let (address, name) = resolver.answers.recv().unwrap();
        assert_eq!((address, name.as_deref()), (mapped([127, 0, 0, 1]), Some("localhost")));
    }
}
