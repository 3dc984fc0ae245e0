//! Which process each socket belongs to that retransmits, and whether it was accepted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use probe_common::retransmit::{KernelRetransmit, What};
use probe_common::{Endpoint, Record};

use crate::clock::monotonic_ns;
use crate::source::kernel::KernelSource;
use crate::source::owner::{Descriptors, OwnerSource, Owners};
use tcptop_core::{Evidence, Owner, OwnerAction, Role, SocketState, listening_end};

/// Sockets that are remembered of which somebody opened, closed or began to listen on them.
const ACTING: usize = 1 << 16;
/// Records of owners that are read at once.
const BATCH: usize = 4_096;
/// All holders of sockets are listed this long after the last time at the earliest, and at most one part in [`SHARE`] of the time is
/// spent with it.
const LIST_NS: u64 = 1_000_000_000;
const SHARE: u64 = 20;

/// What is known of owners.
pub(super) struct Senders {
    from: OwnerSource,
    owners: Owners,
    descriptors: Descriptors,
    acting: HashMap<u64, Owner>,
    /// Their cookies, the oldest first.
    order: VecDeque<u64>,
    /// Of the latest list of holders.
    holding: HashMap<u64, Owner>,
    listening: HashSet<Endpoint>,
    /// When holders were last listed, and how long that took.
    listed_ns: Option<(u64, u64)>,
}

impl Senders {
    /// Has the kernel say who uses sockets, as far as it can. Returns also what is not known although it is wanted: a sentence for
    /// each.
    pub(super) fn new(from: OwnerSource, source: &mut KernelSource) -> (Self, Vec<String>) {
        let owners = Owners::new();
        let mut lacking = if from == OwnerSource::Kernel { source.watch_owners() } else { Vec::new() };
        lacking.extend(owners.lacking().filter(|_| from != OwnerSource::None));
        let mut senders = Self {
            from,
            owners,
            descriptors: Descriptors::default(),
            acting: HashMap::new(),
            order: VecDeque::new(),
            holding: HashMap::new(),
            listening: HashSet::new(),
            listed_ns: None,
        };
        senders.list(source, monotonic_ns());
        (senders, lacking)
    }

    /// Learns who has opened and closed connections since the last time.
    pub(super) fn learn(&mut self, source: &mut KernelSource) {
        let Self { owners, acting, order, .. } = self;
        let mut learned = |records: &[Record]| {
            for record in records {
                let Record::Owner(record) = record else { continue };
                let named = owners.name(record);
                let is_known = acting.contains_key(&named.cookie);
                // Who opened a connection stays its owner, whoever closes it.
                if is_known && named.action == OwnerAction::Close {
                    continue;
                }
                let evidence = match named.action {
                    OwnerAction::Listen => Evidence::Listens,
                    OwnerAction::Connect | OwnerAction::Close => Evidence::Acts,
                };
                acting.insert(named.cookie, Owner { process: named.process, others: 0, evidence });
                if !is_known {
                    order.push_back(named.cookie);
                }
            }
            true
        };
        while source.drain(BATCH, &mut learned) == BATCH {}
        while order.len() > ACTING
            && let Some(oldest) = order.pop_front()
        {
            acting.remove(&oldest);
        }
    }

    /// Lists all holders of sockets, unless that was done lately.
    pub(super) fn list_if_due(&mut self, source: &mut KernelSource, now_ns: u64) {
        let is_due = self.listed_ns.is_none_or(|(listed_ns, taken_ns)| {
            now_ns.saturating_sub(listed_ns) >= LIST_NS.max(SHARE * taken_ns)
        });
        if is_due {
            self.list(source, now_ns);
        }
    }

    /// Lists all holders of sockets. Where neither the kernel nor `/proc` lists them, nobody is asked any more.
    pub(super) fn list(&mut self, source: &mut KernelSource, now_ns: u64) {
        let mut holders = Vec::new();
        let listed = match self.from {
            OwnerSource::None => return,
            OwnerSource::Kernel if source.has_holders() => {
                source.holders(|holder| holders.push(holder)).is_ok()
            }
            OwnerSource::Kernel | OwnerSource::Proc => {
                self.descriptors.holders().map(|listed| holders = listed).is_ok()
            }
        };
        if !listed {
            self.from = OwnerSource::None;
            return;
        }
        let held = self.owners.holders(&holders, now_ns);
        self.listening = held.iter().filter(|holder| holder.listens).map(|holder| holder.local).collect();
        self.holding = held
            .into_iter()
            .map(|holder| {
                let evidence = if holder.listens { Evidence::Listens } else { Evidence::Holds };
                (
                    holder.cookie,
                    Owner { process: Arc::clone(&holder.process), others: holder.others, evidence },
                )
            })
            .collect();
        self.listed_ns = Some((now_ns, monotonic_ns().saturating_sub(now_ns)));
    }

    /// The process that a retransmit's socket belongs to, if it is known: who opened or closed it, or else holds it. Of a SYN-ACK who
    /// listens.
    pub(super) fn owner(&self, record: &KernelRetransmit) -> Option<&Owner> {
        let cookie = record.listener.or(record.cookie)?;
        self.acting.get(&cookie).or_else(|| self.holding.get(&cookie))
    }

    /// Whether its process is not known, and holders were not listed since it was sent.
    pub(super) fn may_learn(&self, record: &KernelRetransmit) -> bool {
        self.from != OwnerSource::None
            && self.owner(record).is_none()
            && self.listed_ns.is_none_or(|(listed_ns, _)| listed_ns < record.time_ns)
    }

    /// Who opened its connection, as far as listeners say that.
    pub(super) fn role(&self, record: &KernelRetransmit) -> Role {
        // Whether one of them takes only IPv6 is not known here.
        let listening =
            listening_end(&record.local, |end| self.listening.contains(end).then_some(false)).is_some();
        let is_opener =
            record.what == What::Syn || SocketState::of(record.state) == Some(SocketState::SynSent);
        let is_server = record.what == What::SynAck || listening && !is_opener;
        if is_server { Role::Server } else { Role::Client }
    }
}
