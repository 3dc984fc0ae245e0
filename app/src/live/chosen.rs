//! Which interfaces are watched at first, and which may be later.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::say;
use crate::config::Config;
use crate::error::Error;
use crate::output::RenderContext;
use crate::source::interface::Interface;
use crate::source::kernel::{KernelSource, Since};
use crate::source::selection::Selection;

/// So many interfaces are attached to before the run begins.
const AT_ONCE: usize = 8;
/// So many interfaces are announced by their names.
const NAMED: usize = 16;

/// The interfaces that are there at the start, and what chooses others.
pub(super) struct Chosen {
    pub(super) interfaces: Vec<Interface>,
    pub(super) selection: Selection,
}

/// What is still to be done for interfaces.
pub(super) struct Progress {
    /// Whether there are more to attach to.
    pub(super) is_attaching: bool,
    /// Whether there are programs to load for those that may appear.
    pub(super) is_preparing: bool,
    /// Whether those of the start are attached to: those that are new are reported from then on.
    pub(super) has_started: bool,
    /// Whether the kernel has reported a change.
    pub(super) has_news: bool,
}

impl Progress {
    /// That of the start.
    pub(super) fn new(chosen: &Chosen) -> Self {
        let is_preparing = !chosen.selection.is_of_names();
        Self { is_attaching: true, is_preparing, has_started: false, has_news: false }
    }
}

impl Chosen {
    /// Attaches to the first interfaces. The kernel takes some 30 ms for each: the others follow while the run goes on. Returns
    /// since when they are seen, and why those are not that nobody named: a sentence for each.
    pub(super) fn attach_first(&self, source: &mut KernelSource) -> Result<(Vec<Since>, Vec<String>), Error> {
        source.select(self.selection.clone());
        let (mut since, mut failed, mut first) = (Vec::new(), Vec::new(), None);
        for (number, interface) in self.interfaces.iter().enumerate() {
            let is_named = self.selection.names(interface);
            if !is_named && number >= AT_ONCE {
                break;
            }
            match source.watch_as(interface, is_named) {
                Ok(begun) => since.push(begun),
                Err(error) if is_named => return Err(error),
                Err(Error::InterfaceGone(_)) => {}
                Err(error @ (Error::Kernel { .. } | Error::System { .. })) => {
                    failed.push(format!("{} is not watched: {error}", interface.name.escape_debug()));
                    first = first.or(Some(error));
                }
                // Another interface would fail likewise.
                Err(error) => return Err(error),
            }
        }
        match first {
            Some(error) if since.is_empty() => Err(error),
            _ => Ok((since, failed)),
        }
    }

    /// Those that somebody asked for, by name or by pattern; none where the rule chooses, which leaves no port out.
    pub(super) fn asked_for(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(|_| !self.selection.is_by_rule())
    }

    /// The names of all, with spaces between; of many the first, and how many more there are.
    fn all(&self) -> String {
        let names = self.interfaces.iter().map(|interface| interface.name.escape_debug().to_string());
        let mut shown: Vec<String> = names.take(NAMED).collect();
        let more = self.interfaces.len().saturating_sub(NAMED);
        shown.extend((more > 0).then(|| format!("and {more} more")));
        shown.join(" ")
    }
}

/// Says on standard error what is watched.
pub(super) fn announce(config: &Config, chosen: &Chosen, context: &RenderContext) {
    for interface in chosen.asked_for().filter(|interface| !interface.up) {
        say(&format!("{} is down: nothing will be seen before it is up", interface.name.escape_debug()));
    }
    let how = if config.screen.is_some() { "" } else { "; Ctrl-C stops" };
    let why = match (chosen.selection.is_by_rule(), chosen.interfaces.is_empty()) {
        (_, true) => ": none is there now (tcptop --interfaces list says why)",
        (true, false) => ", which carry traffic",
        (false, false) => "",
    };
    let what = if chosen.interfaces.is_empty() { "for interfaces".to_owned() } else { chosen.all() };
    say(&format!("watching {what} ({}){why}{how}", context.source));
}

/// Each interface takes two descriptors, and the soft limit is often 1,024.
pub(super) fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // With fewer, some interfaces are not watched, which is said then.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
