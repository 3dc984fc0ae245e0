//! What can go wrong, in words that say what to try, and the exit code for each.

use std::io;
use std::process::ExitCode;

use thiserror::Error;

use crate::source::capture::CaptureError;

/// Everything that ends tcptop before its work is done.
#[derive(Debug, Error)]
pub enum Error {
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// The process may not load or attach the probe.
    #[error(
        "tcptop needs {} to load its probe and to attach it\n  try: sudo tcptop ...\n  or:  sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep {binary}",
        listed(missing)
    )]
    Privilege {
        /// The capabilities that are missing, by name.
        missing: Vec<&'static str>,
        /// Path of this program.
        binary: String,
    },
    /// There is no interface of that name.
    #[error("there is no interface `{name}` here\n  there are: {}{hint}", present.join(", "))]
    NoInterface {
        /// What was asked for.
        name: String,
        /// What there is.
        present: Vec<String>,
        /// What may have been meant.
        hint: String,
    },
    /// No interface was named and no default route tells which one is meant.
    #[error("there is no default route to choose an interface by\n  name one: {}", present.join(", "))]
    NoDefaultRoute {
        /// What there is.
        present: Vec<String>,
    },
    /// The interface carries frames that tcptop cannot read.
    #[error(
        "interface `{name}` has link type {hardware}, which tcptop cannot read (Ethernet, loopback, tun, ppp and wireguard it can)"
    )]
    LinkType {
        /// Its name.
        name: String,
        /// Its ARPHRD number (`linux/if_arp.h`).
        hardware: u16,
    },
    /// Every interface that was watched is gone.
    #[error("the interface is gone: {}", names.join(", "))]
    InterfaceGone {
        /// What was watched.
        names: Vec<String>,
    },
    /// The kernel lacks something.
    #[error("this kernel ({release}) has no TCX hooks: they came with Linux 6.6")]
    NoTcx {
        /// `uname -r`.
        release: String,
    },
    /// The kernel does not let this process do it, whatever its capabilities say.
    #[error(
        "cannot {what}: the kernel does not allow it\n  the capabilities must be those of the host: not of a rootless container, and not taken away by lockdown or seccomp"
    )]
    Forbidden {
        /// What was tried.
        what: String,
    },
    /// The kernel refused the probe.
    #[error("cannot {what}: {}", chain(source.as_ref()))]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A capture could not be read to its end.
    #[error("cannot read {path}: {source}")]
    Capture {
        /// Its path, escaped.
        path: String,
        /// What is wrong with it.
        source: CaptureError,
    },
    /// Output could not be written.
    #[error("cannot write {target}: {source}")]
    Output {
        /// Where it goes, escaped.
        target: String,
        /// What came of it.
        source: io::Error,
    },
    /// The terminal could not be used.
    #[error("cannot use the terminal: {0}\n  try: --text")]
    Terminal(io::Error),
    /// Something else in the operating system.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What came of it.
        source: io::Error,
    },
}

impl Error {
    /// 1 failure, 2 usage, 3 privilege, 4 kernel or interface.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Capture { .. } | Self::Output { .. } | Self::Terminal(_) | Self::System { .. } => 1,
            Self::Usage(_) => 2,
            Self::Privilege { .. } | Self::Forbidden { .. } => 3,
            Self::NoInterface { .. }
            | Self::NoDefaultRoute { .. }
            | Self::LinkType { .. }
            | Self::InterfaceGone { .. }
            | Self::NoTcx { .. }
            | Self::Kernel { .. } => 4,
        })
    }
}

/// `A`, `A and B`, `A, B and C`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Lines of a long message that are shown: the verifier's log has thousands, and its end tells why.
const SHOWN_LINES: usize = 8;

/// An error with its causes: the libraries put what the kernel said last.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut said: Vec<String> = Vec::new();
    for cause in causes.map(ToString::to_string) {
        if !said.iter().any(|before| before.contains(&cause)) {
            said.push(cause);
        }
    }
    abridged(&said.join(": "))
}

fn abridged(message: &str) -> String {
    let lines: Vec<&str> = message.trim_end().lines().collect();
    if lines.len() <= SHOWN_LINES {
        return lines.join("\n");
    }
    let (first, rest) = lines.split_at(1);
    let end = &rest[rest.len() - (SHOWN_LINES - 2)..];
    [first, &["..."], end].concat().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_keeps_its_beginning_and_its_end() {
        let log: String = (0..1_000).map(|line| format!("line {line}\n")).collect();
        let shown = abridged(&log);
        assert_eq!(shown.lines().count(), SHOWN_LINES);
        assert!(shown.starts_with("line 0\n...\n") && shown.ends_with("line 999"));
        assert_eq!(abridged("short\n"), "short");
    }

    #[test]
    fn a_cause_is_said_once() {
        let inner = io::Error::other("no such thing");
        let outer = Error::System { what: "do it", source: inner };
        assert_eq!(chain(&outer), "cannot do it: no such thing");
    }
}
