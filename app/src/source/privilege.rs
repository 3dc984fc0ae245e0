//! Whether this process may load and attach the probe.

use caps::{CapSet, Capability, CapsHashSet};

use crate::error::Error;

/// Loading takes `CAP_BPF`, programs that see packets `CAP_NET_ADMIN`, and pointers into packets `CAP_PERFMON`.
const NEEDED: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Checks before anything is loaded, because the kernel would only say `EPERM`.
///
/// # Errors
/// Names the capabilities that are missing.
pub fn check() -> Result<(), Error> {
    // A kernel that does not say is left to judge by itself.
    let Ok(effective) = caps::read(None, CapSet::Effective) else { return Ok(()) };
    let missing = missing(&effective);
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.iter().map(ToString::to_string).collect();
    let binary = std::env::current_exe().map_or_else(|_| "tcptop".to_owned(), |p| p.display().to_string());
    Err(Error::Privilege { missing, binary })
}

/// `CAP_SYS_ADMIN` stands for all three (`bpf_token_capable`, `bpf_net_capable`).
fn missing(effective: &CapsHashSet) -> Vec<Capability> {
    if effective.contains(&Capability::CAP_SYS_ADMIN) {
        return Vec::new();
    }
    NEEDED.into_iter().filter(|needed| !effective.contains(needed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let missing = |effective: &[Capability]| {
            super::missing(&effective.iter().copied().collect())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(missing(&[]), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(missing(&[Capability::CAP_NET_ADMIN, Capability::CAP_BPF]), ["CAP_PERFMON"]);
        assert_eq!(missing(&[Capability::CAP_SYS_ADMIN]), [""; 0]);
        assert_eq!(missing(&NEEDED), [""; 0]);
    }
}
