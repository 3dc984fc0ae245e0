//! The sockets of this network namespace, listed again and again.

use std::time::Duration;

use tcptop_core::Input;

use crate::clock::monotonic_ns;
use crate::session::Session;
use crate::source::sock_diag::{CONNECTED_OR_LISTENING, SockDiag};

/// At most one part in this many of the time is spent with listing: with very many sockets they are listed less often.
const SHARE: u64 = 20;

/// Lists sockets for the engine.
#[derive(Debug)]
pub(super) struct Sockets {
    sock_diag: SockDiag,
    /// How often; `None` for never.
    interval: Option<Duration>,
    next_ns: u64,
}

impl Sockets {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self { sock_diag: SockDiag::default(), interval, next_ns: 0 }
    }

    /// Lists them, if it is time to. A kernel that does not list them is not asked again: the sentence to be said of that is
    /// returned.
    pub(super) fn list_if_due(&mut self, session: &mut Session<'_>, now_ns: u64) -> Option<String> {
        let interval = self.interval.filter(|_| now_ns >= self.next_ns)?;
        let result = self.sock_diag.dump(CONNECTED_OR_LISTENING, |sockets| {
            session.handle(Input::Sockets { sockets, now_ns, is_last: false });
        });
        let taken_ns = monotonic_ns().saturating_sub(now_ns);
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.next_ns = now_ns.saturating_add(interval_ns.max(SHARE * taken_ns));
        match result {
            Ok(()) => {
                session.handle(Input::Sockets { sockets: &[], now_ns, is_last: true });
                None
            }
            Err(error) => {
                self.interval = None;
                Some(format!("what the kernel knows of sockets is not shown: sock_diag(7) says: {error}"))
            }
        }
    }
}
