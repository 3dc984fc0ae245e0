//! The errors that end a run, with what to try, and their exit codes.

use std::fmt;
use std::io;
use std::process::ExitCode;

use nix::libc;
use thiserror::Error;

use crate::source::capture::CaptureError;

/// An error that ends a run.
#[derive(Debug, Error)]
pub enum Error {
    /// Options that cannot be combined.
    #[error("{0}")]
    Usage(String),
    /// A configuration file cannot be read, or says what tcptop does not accept.
    #[error("{path}: {reason}")]
    ConfigFile {
        /// Its path, escaped.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The process lacks capabilities that the probe needs.
    #[error(
        "tcptop needs {} to load its probe and to attach it\n  try: sudo tcptop ...\n  or:  sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep {binary}",
        listed(missing)
    )]
    Privilege {
        /// Names of the missing capabilities.
        missing: Vec<String>,
        /// Path of this program.
        binary: String,
    },
    /// There is no interface of that name. The list may be long, so it comes last.
    #[error("there is no interface `{name}`{hint}\n  interfaces: {}", present.join(", "))]
    NoInterface {
        /// The name, escaped.
        name: String,
        /// The interfaces that there are, escaped.
        present: Vec<String>,
        /// What may have been meant, on a line of its own; may be empty.
        hint: String,
    },
    /// There is no such network namespace, container or pod.
    #[error("there is no {what}")]
    NoNamespace {
        /// What was looked for, escaped.
        what: String,
    },
    /// The interface has another link layer than those that tcptop reads.
    #[error(
        "interface `{name}` has link type {hardware}, which is not supported (Ethernet, loopback, tun, ppp and wireguard are)"
    )]
    LinkType {
        /// Its name, escaped.
        name: String,
        /// Its ARPHRD number (`linux/if_arp.h`).
        hardware: u16,
    },
    /// The interface was removed while the probe was being attached.
    #[error("the interface is gone: {}", _0.escape_debug())]
    InterfaceGone(String),
    /// The kernel lacks something that the probe needs.
    #[error(
        "this kernel ({release}) {feature}\n  what works: ssh HOST tcpdump -U -w - tcp | tcptop replay -"
    )]
    KernelLacks {
        /// `uname -r`.
        release: String,
        /// What it lacks.
        feature: KernelFeature,
    },
    /// The kernel refuses permission although the process has the capabilities.
    #[error(
        "cannot {what}: the kernel does not allow it\n  capabilities do not help in a rootless container, nor where lockdown or seccomp forbid it"
    )]
    Forbidden {
        /// What was tried, as in "cannot ...".
        what: String,
    },
    /// The kernel refused something else.
    #[error("cannot {what}: {}", chain(source.as_ref()))]
    Kernel {
        /// What was tried, as in "cannot ...".
        what: String,
        /// Its error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A capture could not be read to the end.
    #[error("cannot read {path}: {source}")]
    Capture {
        /// Its path, escaped.
        path: String,
        /// Why.
        source: CaptureError,
    },
    /// An output could not be written.
    #[error("cannot write {target}: {source}")]
    Output {
        /// Its file, escaped, or standard output.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// It.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The terminal could not be used.
    #[error("cannot use the terminal: {0}\n  try: --text")]
    Terminal(io::Error),
    /// Another request to the operating system failed.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried, as in "cannot ...".
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// What the probe needs of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelFeature {
    /// Hooks for programs at an interface, which end with the process.
    Tcx,
    /// Functions of programs that take pointers.
    Functions,
    /// The way of records to user space.
    RingBuffer,
    /// The types of the kernel's own structures.
    Btf,
}

impl fmt::Display for KernelFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "has no TCX hooks: they came with Linux 6.6; --attach=clsact does without",
            Self::Functions => {
                "does not know functions of BPF programs that take pointers: they came with Linux 5.12"
            }
            Self::RingBuffer => "has no BPF ring buffer: it came with Linux 5.8",
            Self::Btf => {
                "does not describe its types (CONFIG_DEBUG_INFO_BTF): there is no /sys/kernel/btf/vmlinux"
            }
        })
    }
}

impl Error {
    /// The kernel refused what was tried.
    pub(crate) fn kernel(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        let what = what.to_owned();
        // The verifier says EACCES; EPERM is about who asks.
        if code_behind(&source) == Some(libc::EPERM) {
            return Self::Forbidden { what };
        }
        Self::Kernel { what, source: Box::new(source) }
    }

    /// 1 failure, 2 usage, 3 privilege, 4 kernel or interface.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Capture { .. }
            | Self::Output { .. }
            | Self::Listen { .. }
            | Self::Terminal(_)
            | Self::System { .. } => 1,
            Self::Usage(_) | Self::ConfigFile { .. } => 2,
            Self::Privilege { .. } | Self::Forbidden { .. } => 3,
            Self::NoInterface { .. }
            | Self::NoNamespace { .. }
            | Self::LinkType { .. }
            | Self::InterfaceGone { .. }
            | Self::KernelLacks { .. }
            | Self::Kernel { .. } => 4,
        })
    }
}

/// What the kernel said, behind what the libraries say.
fn code_behind(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let own = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    own.or_else(|| code_behind(error.source()?))
}

/// `A`, `A and B`, `A, B and C`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
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
