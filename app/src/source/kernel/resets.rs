//! Why this host sends RSTs, as the kernel says it.
//!
//! The program is loaded apart from the classifiers: where the kernel refuses it, all else goes on, and a sentence says what is
//! missing.

use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader};
use probe_common::ResetReason;
use probe_common::reset::{KERNEL_REASONS, Place};
use probe_ebpf::names;

use super::btf;
use super::load::{is_since, release};
use super::owners::{first_line, program, words};

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

impl Layout {
    /// As this kernel describes it.
    pub(super) fn of_kernel() -> Self {
        let mut layout = Self { places: None, reasons: [0; KERNEL_REASONS] };
        let Some((offsets, reasons)) = btf::read(|types| {
            let offsets = Place::ALL.map(|(_, structure, field)| types.offset(structure, field));
            (offsets, types.enumerators(REASONS))
        }) else {
            return layout;
        };
        for (number, name) in reasons {
            if let Some(place) = layout.reasons.get_mut(number as usize) {
                *place = ResetReason::of_kernel(&name).map_or(0, |reason| reason as u8);
            }
        }
        if offsets.iter().all(Option::is_some) {
            layout.places = Some(offsets.map(Option::unwrap_or_default));
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

    const fn is_known(&self) -> bool {
        self.places.is_some() && has_any(&self.reasons)
    }
}

const fn has_any(reasons: &[u8; KERNEL_REASONS]) -> bool {
    let mut place = 0;
    while place < KERNEL_REASONS {
        if reasons[place] != 0 {
            return true;
        }
        place += 1;
    }
    false
}

/// Loads and attaches the program.
///
/// # Errors
/// Why reasons are not known: a sentence.
pub(super) fn attach(ebpf: &mut Ebpf, layout: &Layout) -> Result<(), String> {
    let attached = if layout.is_known() {
        attach_to(ebpf).map_err(|error| refused(&release(), first_line(&error)))
    } else {
        Err(refused(&release(), "the kernel does not describe its reasons"))
    };
    attached.map_err(|error| format!("why this host sends RSTs is not known: {error}"))
}

fn attach_to(ebpf: &mut Ebpf) -> Result<(), String> {
    let btf = Btf::from_sys_fs().map_err(words)?;
    let program: &mut BtfTracePoint = program(ebpf, names::RESET_SENT)?;
    program.load(TRACEPOINT, &btf).map_err(words)?;
    program.attach().map(drop).map_err(words)
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
    use super::*;

    #[test]
    fn only_of_an_older_kernel_the_version_is_the_reason() {
        assert_eq!(refused("6.8.0-40-generic", "no BTF"), "Linux 6.10 or later says it (no BTF)");
        assert_eq!(refused("6.12.3-arch1-1", "Operation not permitted"), "Operation not permitted");
    }

    #[test]
    fn this_kernel_names_its_reasons() {
        if std::fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false) && is_since(&release(), [6, 10]) {
            let layout = Layout::of_kernel();
            assert!(layout.is_known(), "{layout:?}");
            for reason in [ResetReason::NoSocket, ResetReason::ClosedUnread, ResetReason::KeepaliveTimeout] {
                assert!(layout.reasons.contains(&(reason as u8)), "{reason:?}");
            }
        }
    }
}
