//! The SSH connection that tcptop itself runs in, so that it can be marked among the flows.

use std::fs;
use std::net::IpAddr;

use probe_common::Endpoint;

/// Set by sshd for its children (`ssh(1)`, ENVIRONMENT).
const VARIABLE: &str = "SSH_CONNECTION";
/// How many ancestors are searched: shells, sudo, multiplexers.
const MAX_ANCESTORS: usize = 16;

/// This host's end of the SSH session that tcptop runs in, and the other end.
#[must_use]
pub(super) fn find() -> Option<[Endpoint; 2]> {
    let own = std::env::var(VARIABLE).ok();
    own.or_else(|| ancestors().find_map(variable_of)).and_then(|value| ends(&value))
}

/// The processes that started this one, its parent first.
fn ancestors() -> impl Iterator<Item = u32> {
    let parent = |&id: &u32| parent_of(id);
    std::iter::successors(Some(std::process::id()), parent).skip(1).take(MAX_ANCESTORS)
}

/// `sudo` removes the variable; the shell that called it still has it.
fn variable_of(process: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
    let mut variables = environment.split(|&byte| byte == 0).filter_map(|text| str::from_utf8(text).ok());
    variables.find_map(|text| text.strip_prefix(VARIABLE)?.strip_prefix('=').map(str::to_owned))
}

/// The fourth field of `/proc/PID/stat` (`proc_pid_stat(5)`). The name before it is in parentheses and may contain some.
fn parent_of(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    (parent > 1).then_some(parent)
}

/// `192.0.2.7 50123 10.0.0.1 22`: the client's end and this host's.
fn ends(value: &str) -> Option<[Endpoint; 2]> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let [client, client_port, host, host_port] = words[..] else { return None };
    Some([endpoint(host, host_port)?, endpoint(client, client_port)?])
}

fn endpoint(address: &str, port: &str) -> Option<Endpoint> {
    // A link-local address has a zone: `fe80::1%eth0`.
    let address = match address.split('%').next()?.parse().ok()? {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    Some(Endpoint { address: address.octets(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_common::segment::mapped;

    #[test]
    fn both_ends_are_read() {
        let [host, client] = ends("192.0.2.7 50123 10.0.0.1 22").unwrap();
        assert_eq!(host, Endpoint { address: mapped([10, 0, 0, 1]), port: 22 });
        assert_eq!(client, Endpoint { address: mapped([192, 0, 2, 7]), port: 50_123 });
        assert_eq!(ends("fe80::1%eth0 50123 fe80::2 22").unwrap()[1].port, 50_123);
        assert!(ends("").is_none() && ends("a b c d").is_none() && ends("1.2.3.4 1 2.3.4.5").is_none());
    }

    #[test]
    fn parents_are_found_up_to_the_first_process() {
        let parents: Vec<u32> = ancestors().collect();
        assert_eq!(parents.first().copied(), Some(std::os::unix::process::parent_id()).filter(|&id| id > 1));
        assert!(!parents.contains(&1));
    }
}
