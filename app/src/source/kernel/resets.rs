//! Why this host sends RSTs, as the kernel says it.
//!
//! The program is loaded apart from the classifiers: where the kernel refuses it, all else goes on, and a sentence says what is
//! missing.

use aya::{Btf, Ebpf, EbpfLoader};
use probe_common::ResetReason;
use probe_common::reset::{KERNEL_REASONS, Place};
use probe_ebpf::names;

use super::btf::Types;
use super::load::{is_since, release};
use super::owners::{attach_tracepoint, first_line};

/// The tracepoint that tells of each RST that is sent (`include/trace/events/tcp.h`).
const TRACEPOINT: &str = "tcp_send_reset";
/// The kernel's reasons.
const REASONS: &str = "sk_rst_reason";

/// Where the kernel's fields are, and what its reasons mean.
#[derive(Debug)]
pub(super) struct Layout {
    /// By the numbers of [`Place`].
    places: Option<[u32; Place::COUNT]>,
    /// Numbers of [`ResetReason`] by the kernel's own; 0 where there is none.
    reasons: [u8; KERNEL_REASONS],
}

impl Default for Layout {
    fn default() -> Self {
        Self { places: None, reasons: [0; KERNEL_REASONS] }
    }
}

impl Layout {
    /// As this kernel describes it.
    pub(super) fn of(types: &Types<'_>) -> Self {
        let mut layout = Self { places: types.places(Place::ALL), ..Self::default() };
        for (number, name) in types.enumerators(REASONS) {
            if let Some(place) = layout.reasons.get_mut(number as usize) {
                *place = ResetReason::of_kernel(&name).map_or(0, |reason| reason as u8);
            }
        }
        layout
    }

    /// Tells the programs.
    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        if let Some(places) = &self.places {
            loader.override_global(names::RESET_PLACES, &places[..], true);
        }
        loader.override_global(names::RESET_REASONS, &self.reasons[..], true);
    }

    fn is_known(&self) -> bool {
        self.places.is_some() && self.reasons.iter().any(|reason| *reason != 0)
    }
}

/// Loads and attaches the program.
///
/// # Errors
/// Why reasons are not known: a sentence.
pub(super) fn attach(ebpf: &mut Ebpf, btf: &Result<Btf, String>, layout: &Layout) -> Result<(), String> {
    let attached = if layout.is_known() {
        btf.as_ref()
            .map_err(Clone::clone)
            .and_then(|btf| attach_tracepoint(ebpf, btf, names::RESET_SENT, TRACEPOINT))
    } else {
        Err("the kernel does not describe its reasons".to_owned())
    };
    attached.map_err(|error| {
        format!("why this host sends RSTs is not known: {}", refused(&release(), first_line(&error)))
    })
}

/// Why the kernel refuses it. Reasons are there since Linux 6.10.
fn refused(release: &str, error: &str) -> String {
    if is_since(release, [6, 10]) {
        return error.to_owned();
    }
    format!("Linux 6.10 or later says it ({error})")
}

#[cfg(test)]
mod tests {
    use super::super::btf;
    use super::*;

    #[test]
    fn only_of_an_older_kernel_the_version_is_the_reason() {
        assert_eq!(refused("6.8.0-40-generic", "no BTF"), "Linux 6.10 or later says it (no BTF)");
        assert_eq!(refused("6.12.3-arch1-1", "Operation not permitted"), "Operation not permitted");
    }

    #[test]
    fn this_kernel_names_its_reasons() {
        if std::fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false) && is_since(&release(), [6, 10]) {
            let layout = btf::read(Layout::of);
            assert!(layout.is_known(), "{layout:?}");
            for reason in [ResetReason::NoSocket, ResetReason::ClosedUnread, ResetReason::KeepaliveTimeout] {
                assert!(layout.reasons.contains(&(reason as u8)), "{reason:?}");
            }
        }
    }
}
