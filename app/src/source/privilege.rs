//! May this process load and attach the probe?

use std::fs;

use crate::error::Error;

/// Numbers from `linux/capability.h`.
const CAP_NET_ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
const CAP_SYS_ADMIN: (u32, &str) = (21, "CAP_SYS_ADMIN");
const CAP_PERFMON: (u32, &str) = (38, "CAP_PERFMON");
const CAP_BPF: (u32, &str) = (39, "CAP_BPF");

/// Checks before anything is loaded, because the kernel would only say `EPERM`.
///
/// # Errors
/// Names the capabilities that are missing.
pub fn check() -> Result<(), Error> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|source| Error::System { what: "read the capabilities of this process", source })?;
    // A kernel that does not say is left to judge by itself.
    let Some(effective) = effective(&status) else { return Ok(()) };
    let missing = missing(effective);
    if missing.is_empty() {
        return Ok(());
    }
    let binary = std::env::current_exe().map_or_else(|_| "tcptop".to_owned(), |p| p.display().to_string());
    Err(Error::Privilege { missing, binary })
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Loading takes `CAP_BPF`, programs that see packets `CAP_NET_ADMIN`, and pointers into packets
/// `CAP_PERFMON`. `CAP_SYS_ADMIN` stands for all three (`bpf_token_capable`, `bpf_net_capable`).
fn missing(effective: u64) -> Vec<&'static str> {
    let has = |(bit, _): (u32, &str)| effective >> bit & 1 == 1;
    let lacking = [CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON].into_iter().filter(|&needed| !has(needed));
    if has(CAP_SYS_ADMIN) { Vec::new() } else { lacking.map(|(_, name)| name).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(0), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(missing(1 << 12 | 1 << 39), ["CAP_PERFMON"]);
        assert_eq!(missing(1 << 21), [""; 0]);
        assert_eq!(missing(1 << 12 | 1 << 38 | 1 << 39), [""; 0]);
    }

    #[test]
    fn the_status_file_is_understood() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
