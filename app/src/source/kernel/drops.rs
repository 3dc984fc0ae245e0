//! What the host itself drops, as the kernel counts it by reason and port.
//!
//! The program is loaded apart from the classifiers: where the kernel refuses it, all else goes on, and a sentence says what is
//! missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use aya::maps::{MapData, PerCpuArray, PerCpuHashMap};
use aya::{Btf, Ebpf, EbpfLoader};
use probe_common::drops::{DropKey, Place, REASONS, Special, UNSPECIFIED, total_of};
use probe_ebpf::names;

use super::btf::Types;
use super::load::{is_since, release};
use super::owners::{attach_tracepoint, first_line, words};
use crate::error::Error;
use crate::source::own_network_namespace;
use tcptop_core::Dropped;

/// The tracepoint that tells of each packet that is dropped (`include/trace/events/skb.h`).
const TRACEPOINT: &str = "kfree_skb";
/// The reasons of subsystems, which have one total together.
const OTHERS: &str = "other reasons";
/// What the names of reasons begin with in the kernel.
const PREFIX: &str = "SKB_DROP_REASON_";

/// Where the kernel's fields are, and the names of its reasons.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// By the numbers of [`Place`].
    places: Option<[u32; Place::COUNT]>,
    reasons: BTreeMap<u32, Arc<str>>,
    /// By the numbers of [`Special`]; 0 for a reason that this kernel does not have.
    special: [u32; Special::COUNT],
    /// The number of the network namespace of this thread; 0 if it is not known.
    namespace: u32,
}

/// The counts of the program.
pub(super) struct Drops {
    totals: PerCpuArray<MapData, [u64; REASONS]>,
    ports: [PerCpuHashMap<MapData, u64, u64>; 2],
    reasons: BTreeMap<u32, Arc<str>>,
}

impl Layout {
    /// As this kernel describes it.
    pub(super) fn of(types: &Types<'_>) -> Self {
        let reasons: BTreeMap<u32, Arc<str>> = types
            .enumerators("skb_drop_reason")
            .into_iter()
            .map(|(number, name)| {
                let name = name.strip_prefix(PREFIX).unwrap_or(&name).escape_debug().to_string();
                (number, name.into())
            })
            .collect();
        let number =
            |wanted| reasons.iter().find(|(_, name)| &***name == wanted).map_or(0, |(number, _)| *number);
        let special = Special::ALL.map(|(_, name)| number(name));
        Self {
            places: types.places(Place::ALL),
            reasons,
            special,
            namespace: own_network_namespace().unwrap_or(0),
        }
    }

    /// Tells the program.
    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        if let Some(places) = &self.places {
            loader.override_global(names::DROP_PLACES, &places[..], true);
        }
        loader.override_global(names::SPECIAL_REASONS, &self.special[..], true);
        loader.override_global(names::NAMESPACE, &self.namespace, true);
    }
}

/// Loads and attaches the program.
///
/// # Errors
/// Why drops are not known: a sentence.
pub(super) fn attach(ebpf: &mut Ebpf, btf: &Result<Btf, String>, layout: &Layout) -> Result<Drops, String> {
    attach_to(ebpf, btf, layout).map_err(|error| format!("what this host drops is not known: {error}"))
}

fn attach_to(ebpf: &mut Ebpf, btf: &Result<Btf, String>, layout: &Layout) -> Result<Drops, String> {
    if layout.places.is_none() {
        return Err("the kernel does not describe its packets".to_owned());
    }
    if layout.namespace == 0 {
        return Err("/proc does not say which network namespace this is".to_owned());
    }
    attach_tracepoint(ebpf, btf.as_ref()?, names::SEGMENT_DROPPED, TRACEPOINT)
        .map_err(|error| refused(&release(), first_line(&error)))?;
    let mut map = |name: &str| ebpf.take_map(name).ok_or_else(|| format!("the built object has no `{name}`"));
    let totals = PerCpuArray::try_from(map(names::DROPS)?).map_err(words)?;
    let [first, second] = names::PORT_DROPS.map(|name| PerCpuHashMap::try_from(map(name)?).map_err(words));
    let ports = [first?, second?];
    Ok(Drops { totals, ports, reasons: layout.reasons.clone() })
}

/// Why the kernel refuses the program. The tracepoint has the socket that was to get a packet since Linux 6.11.
fn refused(release: &str, error: &str) -> String {
    if is_since(release, [6, 11]) {
        return error.to_owned();
    }
    format!("Linux 6.11 or later says it ({error})")
}

impl Drops {
    /// What was dropped since the start.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub(super) fn read(&self) -> Result<Vec<Dropped>, Error> {
        let failed = |error| Error::kernel("read the counters", error);
        let mut by_port: BTreeMap<DropKey, u64> = BTreeMap::new();
        for entry in self.ports.iter().flat_map(PerCpuHashMap::iter) {
            let (word, counts) = entry.map_err(failed)?;
            by_port.insert(DropKey::of_word(word), counts.iter().sum());
        }
        // After the ports: what is dropped meanwhile makes no total too small.
        let mut totals = [0; REASONS];
        for cells in self.totals.get(&0, 0).map_err(failed)?.iter() {
            totals.iter_mut().zip(cells).for_each(|(total, count)| *total += count);
        }
        Ok(listed(&by_port, &totals, |reason| self.name(reason)))
    }

    fn name(&self, reason: u32) -> Arc<str> {
        self.reasons.get(&reason).cloned().unwrap_or_else(|| format!("reason {reason:#x}").into())
    }
}

/// The counts by port, and what only the totals have.
fn listed(
    by_port: &BTreeMap<DropKey, u64>,
    totals: &[u64; REASONS],
    name: impl Fn(u32) -> Arc<str>,
) -> Vec<Dropped> {
    let mut others = *totals;
    let mut listed = Vec::new();
    for (key, count) in by_port {
        let other = &mut others[total_of(key.reason)];
        *other = other.saturating_sub(*count);
        let DropKey { reason, port, is_syn } = *key;
        listed.push(Dropped { reason: name(reason), port: Some(port), is_syn, count: *count });
    }
    for (reason, count) in (0..).zip(others).filter(|(reason, count)| *reason > UNSPECIFIED && *count > 0) {
        let reason = if total_of(reason) == REASONS - 1 { OTHERS.into() } else { name(reason) };
        listed.push(Dropped { reason, port: None, is_syn: false, count });
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_of_its_own_is_counted_without_a_port() {
        let mut totals = [0; REASONS];
        (totals[3], totals[8]) = (10, 4);
        let key = |reason, port| DropKey { reason, port, is_syn: true };
        let mut by_port = BTreeMap::from([(key(3, 80), 6), (key(3, 81), 1), (key(8, 443), 4)]);
        // Of reasons of subsystems, too.
        (totals[REASONS - 1], by_port) = (7, [(key(0x3_0001, 22), 5)].into_iter().chain(by_port).collect());
        let listed = listed(&by_port, &totals, |reason| reason.to_string().into());
        let listed: Vec<_> =
            listed.iter().map(|one| (&*one.reason, one.port, one.is_syn, one.count)).collect();
        let expected = [
            ("3", Some(80), true, 6),
            ("3", Some(81), true, 1),
            ("8", Some(443), true, 4),
            ("196609", Some(22), true, 5),
            ("3", None, false, 3),
            (OTHERS, None, false, 2),
        ];
        assert_eq!(listed, expected);
    }

    #[test]
    fn only_of_an_older_kernel_the_version_is_the_reason() {
        assert_eq!(refused("6.8.0-40-generic", "no BTF"), "Linux 6.11 or later says it (no BTF)");
        for release in ["6.11.0", "6.12.3-arch1-1", "7.0.1"] {
            assert_eq!(refused(release, "Operation not permitted"), "Operation not permitted");
        }
    }

    #[test]
    fn this_kernel_names_its_reasons() {
        if std::fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false) {
            let Layout { places, reasons, special, namespace } = super::super::btf::read(Layout::of);
            let names: Vec<&str> = reasons.values().map(|name| &**name).collect();
            assert!(places.is_some() && names.contains(&"NO_SOCKET") && names.contains(&"NETFILTER_DROP"));
            assert!(special.iter().all(|number| *number > UNSPECIFIED), "{special:?}");
            assert!(namespace > 0);
        }
    }
}
