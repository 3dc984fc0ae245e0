//! Which interfaces the probe is attached to: they come, go, are renamed, made again with the same index or name, and moved to
//! another namespace, and others may detach what was attached.

use std::collections::BTreeMap;
use std::fmt;

use super::attach::{self, AttachMethod, Attachment};
use super::load::Programs;
use crate::clock::monotonic_ns;
use crate::error::Error;
use crate::source::interface::{self, Interface};
use crate::source::netlink::LinkNews;
use crate::source::selection::{Choice, Selection};

/// Names of so many interfaces that are gone are kept, for their flows.
const GONE: usize = 1_024;
/// The index of an interface that has one which the flows of another are known under. Those of the kernel begin at 1.
const FIRST_OTHER: u32 = 1 << 30;

/// What is attached, and how.
pub(super) struct Watcher {
    // Before the programs, so that they are detached first.
    watched: Vec<Watched>,
    method: Box<dyn AttachMethod>,
    selection: Selection,
    /// The names of all interfaces that were watched, by the indexes that their flows are known under.
    names: BTreeMap<u32, String>,
    /// Names of interfaces that are up, and whose packets are not seen.
    unwatched: Vec<String>,
}

/// An interface that is watched, or waited for.
struct Watched {
    name: String,
    /// The index that the first interface of its name had. Its flows keep it when the interface is made again and has another.
    id: u32,
    /// Whether a person has named it: it is waited for.
    is_named: bool,
    state: State,
}

enum State {
    Attached {
        index: u32,
        attachments: Vec<Box<dyn Attachment>>,
    },
    /// There is none of that name, or it cannot be attached to, for the reason that was given last.
    Waiting(Option<String>),
}

impl Watched {
    fn is_at(&self, interface: &Interface) -> bool {
        match self.state {
            State::Attached { index, .. } => index == interface.index,
            State::Waiting(_) => self.name == interface.name,
        }
    }
}

/// What happened to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name of the interface. Can hold control characters.
    pub name: String,
    /// What it is.
    pub what: What,
}

/// See [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The interface is gone, and is not waited for.
    Gone,
    /// One that was named is gone, and is waited for.
    Missing,
    /// There is an interface of that name again, and the probe is attached to it.
    Back(Since),
    /// The probe is attached to one more interface.
    New(Since),
    /// Someone else had detached the probe. It is attached again.
    Detached(Since),
    /// It has another name now, which is this.
    Renamed(String),
    /// It is not watched any more, for this reason.
    LeftOut(String),
    /// The probe cannot be attached, for this reason.
    Failed(String),
}

/// Since when all packets of an interface are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// The index under which its flows are known.
    pub interface: u32,
    /// The index that it has.
    pub index: u32,
    /// The time, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
}

impl Change {
    /// Since when all packets of the interface are seen, if that has begun anew.
    #[must_use]
    pub const fn since(&self) -> Option<Since> {
        match self.what {
            What::Back(since) | What::New(since) | What::Detached(since) => Some(since),
            What::Gone | What::Missing | What::Renamed(_) | What::LeftOut(_) | What::Failed(_) => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        match &self.what {
            What::Gone => write!(f, "the interface is gone: {name}"),
            What::Missing => write!(f, "the interface is gone: {name}; waiting for it"),
            What::Back(_) => write!(f, "{name} is back and watched again"),
            What::New(_) => write!(f, "{name} is watched, too"),
            What::Detached(_) => {
                write!(f, "the probe was detached from {name} by someone else, and is attached again")
            }
            What::Renamed(to) => write!(f, "{name} is called {} now", to.escape_debug()),
            What::LeftOut(reason) => write!(f, "{name} is no longer watched: {reason}"),
            What::Failed(reason) => write!(f, "{name} is not watched: {reason}"),
        }
    }
}

impl Watcher {
    /// Watches nothing yet.
    pub(super) fn new(method: Box<dyn AttachMethod>) -> Self {
        let (watched, selection) = (Vec::new(), Selection::new(&["!*".to_owned()]));
        Self { watched, method, selection, names: BTreeMap::new(), unwatched: Vec::new() }
    }

    pub(super) fn method(&self) -> &'static str {
        self.method.name()
    }

    /// Sets which interfaces [`check`](Self::check) attaches to.
    pub(super) fn select(&mut self, selection: Selection) {
        self.selection = selection;
    }

    /// The names of all interfaces that are or were watched, by the indexes that their flows are known under. They can hold control
    /// characters.
    pub(super) const fn names(&self) -> &BTreeMap<u32, String> {
        &self.names
    }

    pub(super) fn unwatched(&self) -> &[String] {
        &self.unwatched
    }

    /// Whether the interface that has this index now is attached to.
    pub(super) fn is_attached(&self, index: u32) -> bool {
        let is_it =
            |state: &State| matches!(state, State::Attached { index: attached, .. } if *attached == index);
        self.watched.iter().any(|watched| is_it(&watched.state))
    }

    pub(super) fn behind_others(&self) -> impl Iterator<Item = &str> {
        self.watched.iter().filter_map(|watched| match &watched.state {
            State::Attached { attachments, .. } => attachments
                .iter()
                .any(|attached| attached.is_behind_others())
                .then_some(watched.name.as_str()),
            State::Waiting(_) => None,
        })
    }

    /// Attaches the probe to an interface.
    ///
    /// # Errors
    /// When the interface carries nothing that tcptop can read, is gone, or the kernel refuses.
    pub(super) fn watch(
        &mut self,
        programs: &mut Programs,
        interface: &Interface,
        is_named: bool,
    ) -> Result<Since, Error> {
        let (name, id) = (interface.name.clone(), self.id_of(interface));
        let mut watched = Watched { name, id, is_named, state: State::Waiting(None) };
        let since = self.attach(programs, &mut watched, interface)?;
        self.watched.push(watched);
        Ok(since)
    }

    /// Detaches from the interface whose flows are known under this index. Returns whether it was watched.
    pub(super) fn unwatch(&mut self, id: u32) -> bool {
        let before = self.watched.len();
        self.watched.retain(|watched| watched.id != id);
        self.watched.len() < before
    }

    /// The index under which its flows are known: that of the first one of its name, if no other has it.
    fn id_of(&mut self, interface: &Interface) -> u32 {
        if let Some((id, _)) = self.names.iter().find(|(_, name)| **name == interface.name) {
            return *id;
        }
        let id = if self.names.contains_key(&interface.index) {
            self.names.last_key_value().map_or(FIRST_OTHER, |(last, _)| (last + 1).max(FIRST_OTHER))
        } else {
            interface.index
        };
        self.names.insert(id, interface.name.clone());
        id
    }

    fn attach(
        &mut self,
        programs: &mut Programs,
        watched: &mut Watched,
        interface: &Interface,
    ) -> Result<Since, Error> {
        let attachments = attach::attach(self.method.as_ref(), programs, interface)?;
        let since = Since { interface: watched.id, index: interface.index, time_ns: monotonic_ns() };
        watched.state = State::Attached { index: interface.index, attachments };
        Ok(since)
    }

    /// Looks at the interfaces: attaches to those that are back or new, of which `most`, and again where someone else has detached
    /// the probe, if it is to `look_closely`. Returns what has changed since the last call, and whether there are more to attach
    /// to.
    pub(super) fn check(
        &mut self,
        programs: &mut Programs,
        news: &LinkNews,
        look_closely: bool,
        most: usize,
    ) -> (Vec<Change>, bool) {
        // A kernel that does not say right now will the next time.
        let Ok(present) = interface::all() else { return (Vec::new(), false) };
        let choices = self.selection.choose(&present);
        let mut changes = Vec::new();
        for mut watched in std::mem::take(&mut self.watched) {
            let name = watched.name.clone();
            let (is_kept, whats) = self.check_one(programs, &mut watched, &present, news, look_closely);
            let is_kept = is_kept && self.is_still_chosen(&watched, &present, &choices, &mut changes);
            changes.extend(whats.into_iter().map(|what| Change { name: name.clone(), what }));
            if is_kept {
                self.watched.push(watched);
            }
        }
        let is_more = self.attach_new(programs, &present, &choices, most, &mut changes);
        self.unwatched = self.unwatched_of(&present, &choices);
        self.forget_names();
        (changes, is_more)
    }

    /// Whether an interface that was chosen by a rule or a pattern still is.
    fn is_still_chosen(
        &self,
        watched: &Watched,
        present: &[Interface],
        choices: &[Choice],
        changes: &mut Vec<Change>,
    ) -> bool {
        let choice = present.iter().zip(choices).find(|(interface, _)| watched.is_at(interface));
        match choice {
            Some((_, Choice::SeenElsewhere(reason) | Choice::LeftOut(reason))) if !watched.is_named => {
                let what = What::LeftOut(reason.clone());
                changes.push(Change { name: watched.name.clone(), what });
                false
            }
            _ => true,
        }
    }

    fn attach_new(
        &mut self,
        programs: &mut Programs,
        present: &[Interface],
        choices: &[Choice],
        most: usize,
        changes: &mut Vec<Change>,
    ) -> bool {
        let mut left = most;
        for (interface, _) in present.iter().zip(choices).filter(|(_, choice)| choice.is_watched()) {
            if self.watched.iter().any(|watched| watched.is_at(interface)) {
                continue;
            }
            if left == 0 {
                return true;
            }
            left -= 1;
            let name = interface.name.clone();
            let what = match self.watch(programs, interface, false) {
                Ok(since) => What::New(since),
                // It has gone again.
                Err(Error::InterfaceGone(_)) => continue,
                Err(error) => {
                    let (id, reason) = (self.id_of(interface), error.to_string());
                    let state = State::Waiting(Some(reason.clone()));
                    self.watched.push(Watched { name: name.clone(), id, is_named: false, state });
                    What::Failed(reason)
                }
            };
            changes.push(Change { name, what });
        }
        false
    }

    fn unwatched_of(&self, present: &[Interface], choices: &[Choice]) -> Vec<String> {
        let is_watched = |interface: &Interface| {
            self.watched.iter().any(
                |watched| matches!(watched.state, State::Attached { index, .. } if index == interface.index),
            )
        };
        let others = present.iter().zip(choices).filter(|(interface, choice)| {
            interface.up && !matches!(choice, Choice::SeenElsewhere(_)) && !is_watched(interface)
        });
        others.map(|(interface, _)| interface.name.escape_debug().to_string()).collect()
    }

    /// Forgets names of interfaces that are gone: on a host with containers they never end.
    fn forget_names(&mut self) {
        if self.names.len() > GONE + self.watched.len() {
            let is_gone = |id: &u32| self.watched.iter().all(|watched| watched.id != *id);
            let gone: Vec<u32> = self.names.keys().copied().filter(is_gone).collect();
            gone.iter().take(gone.len() / 2).for_each(|id| drop(self.names.remove(id)));
        }
    }

    fn check_one(
        &mut self,
        programs: &mut Programs,
        watched: &mut Watched,
        present: &[Interface],
        news: &LinkNews,
        look_closely: bool,
    ) -> (bool, Vec<What>) {
        let mut changes = Vec::new();
        let (candidate, outcome): (_, fn(Since) -> What) = match &watched.state {
            State::Attached { index, attachments } => {
                let is_removed = news.removed.contains(index);
                match present.iter().find(|interface| interface.index == *index && !is_removed) {
                    Some(interface)
                        if !look_closely || attachments.iter().all(|attachment| attachment.is_attached()) =>
                    {
                        changes.extend(self.renamed(watched, interface));
                        return (true, changes);
                    }
                    Some(interface) => (Some(interface), What::Detached),
                    None => {
                        changes.push(if watched.is_named { What::Missing } else { What::Gone });
                        (None, What::Back)
                    }
                }
            }
            State::Waiting(_) => (None, What::Back),
        };
        let reported = match std::mem::replace(&mut watched.state, State::Waiting(None)) {
            State::Waiting(reason) => reason,
            // What is left of the attachments ends here, so that no packet is seen twice.
            State::Attached { .. } => None,
        };
        let of_that_name = || present.iter().find(|interface| interface.name == watched.name);
        let Some(interface) = candidate.or_else(of_that_name).cloned() else {
            return (watched.is_named, changes);
        };
        match self.attach(programs, watched, &interface) {
            Ok(since) => changes.push(outcome(since)),
            Err(error) => {
                let reason = error.to_string();
                if reported.as_ref() != Some(&reason) {
                    changes.push(What::Failed(reason.clone()));
                }
                watched.state = State::Waiting(Some(reason));
            }
        }
        (true, changes)
    }

    fn renamed(&mut self, watched: &mut Watched, interface: &Interface) -> Option<What> {
        if watched.name == interface.name {
            return None;
        }
        self.names.insert(watched.id, interface.name.clone());
        watched.name.clone_from(&interface.name);
        Some(What::Renamed(interface.name.clone()))
    }
}
