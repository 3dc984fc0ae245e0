//! The command line: messages and exit codes.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{Mode, Namespace, Output, Server, Tcptop, connect, connect_many};
use nix::libc;

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// `linux/capability.h`
const CAP_NET_ADMIN: u8 = 12;
const CAP_SYS_ADMIN: u8 = 21;
const CAP_PERFMON: u8 = 38;
const CAP_BPF: u8 = 39;

fn tcptop(namespace: &Namespace, arguments: &[&str]) -> Output {
    Tcptop::spawn(namespace, arguments).expect("it starts").wait(PATIENCE).expect("it ends")
}

fn command() -> Command {
    Command::new(lab::tcptop::binary().expect("it is built"))
}

/// Asserts the exit code, that standard error contains all of `said`, and that standard output is empty.
fn assert_failed(output: &Output, code: i32, said: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    for words in said {
        assert!(output.stderr.contains(words), "`{words}` is not in:\n{}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}

/// The kernel is asked for what the probe needs before anything is loaded: the verifier would take seconds, and its words
/// would not help.
#[test]
fn what_the_kernel_lacks_is_said_in_one_sentence() {
    /// What is hidden from the command, and what it says then.
    const HIDDEN: [(&str, &str); 2] = [
        ("/sys/kernel/btf", "CONFIG_DEBUG_INFO_BTF"),
        ("/sys/devices/system", "/sys/devices/system/cpu/possible"),
    ];
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    for (folder, said) in HIDDEN {
        let mut command = Command::new("unshare");
        let hide = format!("mount -t tmpfs none {folder} && exec \"$0\" lo --json");
        command.args(["--mount", "sh", "-c", &hide]).arg(lab::tcptop::binary().unwrap());
        let started = Instant::now();
        let output = Tcptop::spawn_command(&namespace, command).unwrap().wait(PATIENCE).unwrap();
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        assert!(matches!(output.status.code(), Some(1 | 4)), "{output:?}");
        // Behind the sentence stands, at most, what works all the same.
        let mut lines = output.stderr.lines();
        assert!(lines.next().is_some_and(|line| line.contains(said)), "{}", output.stderr);
        assert!(lines.all(|line| line.contains("what works: ")), "{}", output.stderr);
    }
}

#[test]
fn an_unknown_interface_lists_the_existing_ones() {
    lab::needs_root!();
    let [here, there] = [(); 2].map(|()| Namespace::new().unwrap());
    here.veth_pair("uplink0", &there, "eth0").unwrap();
    let output = tcptop(&here, &["eth7"]);
    assert_failed(&output, 4, &["no interface `eth7`", "lo", "uplink0"]);
    assert!(!output.stderr.contains("interval"), "{}", output.stderr);
    // Hard case `escape-sequences`: an argument is text from outside.
    let output = tcptop(&here, &["\u{1b}[31m"]);
    assert_failed(&output, 4, &["\\u{1b}[31m"]);
    assert!(!output.stderr.contains('\u{1b}'), "{:?}", output.stderr);
}

#[test]
fn a_number_gets_a_hint() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    let output = tcptop(&namespace, &["5"]);
    assert_failed(&output, 4, &["no interface `5`", "--duration 5s"]);
}

#[test]
fn wrong_arguments_are_usage_errors() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    for arguments in [
        &["--no-such-option"][..],
        &["lo", "--duration", "5"],
        &["lo", "--duration", "0s"],
        &["lo", "--count", "0"],
        &["lo", "--count", "many"],
        &["lo", "--window", "2h"],
        &["lo", "--json", "--text"],
        &["lo", "--json", "--report"],
        &["lo", "--max-flows", "0"],
    ] {
        let output = tcptop(&namespace, arguments);
        assert_failed(&output, 2, &["error:", "--help"]);
    }
}

/// Options of bcc's tcptop and of tcpdump are usage errors that name what does the same here.
#[test]
fn habits_of_other_tools_get_a_hint() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    for (arguments, right) in [
        (&["-i", "eth0"][..], "tcptop eth0"),
        (&["-P", "443"], "tcptop --filter"),
        (&["-C", "1"], "tcptop --text"),
    ] {
        assert_failed(&tcptop(&namespace, arguments), 2, &["error:", "tip:", right]);
    }
}

#[test]
fn help_and_version() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    for (argument, expected) in [
        ("--help", &["Usage: tcptop", "INTERFACE", "--json", "--duration", "Exit codes:", "CAP_BPF"][..]),
        ("-h", &["Usage: tcptop"]),
        ("-V", &[concat!("tcptop ", env!("CARGO_PKG_VERSION"))]),
        ("--version", &[concat!("tcptop ", env!("CARGO_PKG_VERSION")), "\nkernel object sha256 "]),
    ] {
        let output = tcptop(&namespace, &[argument]);
        assert_eq!((output.status.code(), output.stderr.as_str()), (Some(0), ""), "{argument}");
        let shown: String = output.stdout.iter().map(|line| line.text.clone() + "\n").collect();
        for words in expected {
            assert!(shown.contains(words), "{argument}: `{words}` is not in:\n{shown}");
        }
        assert!(!shown.contains("guard"), "internal: {shown}");
    }
}

/// What `--version` says of the kernel object can be checked by anybody who has the source.
#[test]
fn the_version_names_the_kernel_object() {
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../probe-ebpf/object/tcptop.bpf.o");
    let hash = Command::new("sha256sum").arg(object).output().unwrap().stdout;
    let version = command().arg("--version").output().unwrap().stdout;
    let (hash, version) = (String::from_utf8(hash).unwrap(), String::from_utf8(version).unwrap());
    let shown = version.trim_end().rsplit(' ').next().unwrap();
    assert!(shown.len() == 12 && hash.starts_with(shown), "{version} of {hash}");
}

/// Hard case `missing-privileges`, for a user who is not root. The binary is copied, because others may not be
/// allowed to read the folder that it was built into.
#[test]
fn without_root_the_capabilities_and_the_command_are_named() {
    lab::needs_root!();
    let folder = std::env::temp_dir().join(format!("tcptop-unprivileged-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let copy = folder.join("tcptop");
    fs::copy(lab::tcptop::binary().unwrap(), &copy).unwrap();
    for path in [&folder, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(&copy).arg("lo").uid(65_534).gid(65_534).output();
    fs::remove_dir_all(&folder).unwrap();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{said}");
    for words in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "sudo tcptop", "setcap", copy.to_str().unwrap()]
    {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
}

/// tcptop as root without some capabilities, as in a container.
fn without(namespace: &Namespace, capabilities: &'static [u8]) -> Tcptop {
    let mut command = command();
    command.args(["lo", "--duration", "100ms", "--text"]);
    let drop_them = move || {
        for capability in capabilities {
            // SAFETY: a system call on numbers; exec drops what is not in the bounding set.
            let result =
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(*capability), 0, 0, 0) };
            if result < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: these are system calls.
    unsafe { command.pre_exec(drop_them) };
    Tcptop::spawn_command(namespace, command).expect("it starts")
}

/// Hard case `missing-privileges`: the missing capability is named, and the capabilities that tcptop asks for suffice.
#[test]
fn the_missing_capability_is_named() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    for (dropped, named, not_named) in [
        (&[CAP_SYS_ADMIN, CAP_BPF][..], "CAP_BPF", ["CAP_NET_ADMIN", "CAP_PERFMON"]),
        (&[CAP_SYS_ADMIN, CAP_PERFMON], "CAP_PERFMON", ["CAP_BPF", "CAP_NET_ADMIN"]),
        (&[CAP_SYS_ADMIN, CAP_NET_ADMIN], "CAP_NET_ADMIN", ["CAP_BPF", "CAP_PERFMON"]),
    ] {
        let output = without(&namespace, dropped).wait(PATIENCE).unwrap();
        assert_failed(&output, 3, &[named, "sudo", "setcap"]);
        let first = output.stderr.lines().next().unwrap();
        assert!(not_named.iter().all(|other| !first.contains(other)), "{first}");
    }
    // CAP_SYS_ADMIN includes the others.
    for dropped in [&[CAP_SYS_ADMIN][..], &[CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON]] {
        let output = without(&namespace, dropped).wait(PATIENCE).unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

/// Two hosts on a cable, one of which has a default route.
fn routed() -> [Namespace; 2] {
    let [here, there] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
    here.veth_pair("eth0", &there, "eth0").expect("a cable");
    here.add_address("eth0", "10.1.0.1/24".parse().expect("an address")).expect("it is free");
    there.add_address("eth0", "10.1.0.2/24".parse().expect("an address")).expect("it is free");
    here.add_route("0.0.0.0/0".parse().expect("all"), [10, 1, 0, 2].into()).expect("a gateway");
    [here, there]
}

#[test]
fn without_a_name_all_that_carry_traffic_are_watched_and_the_list_says_why_not() {
    lab::needs_root!();
    let [here, there] = routed();
    let server = Server::bind(&there, SocketAddr::from(([10, 1, 0, 2], 80)), Mode::CloseAtOnce).unwrap();
    here.add_bridge("br0").unwrap();
    here.veth_pair("port0", &there, "port0").unwrap();
    here.join("port0", "br0").unwrap();
    let listed = tcptop(&here, &["--interfaces", "list"]);
    let lines: Vec<Vec<&str>> =
        listed.stdout.iter().map(|line| line.text.split_whitespace().collect()).collect();
    let of = |name: &str| lines.iter().find(|line| line[0] == name).unwrap()[2..].join(" ");
    assert_eq!(of("lo"), "watched carries traffic");
    assert_eq!(of("eth0"), "watched carries traffic");
    assert_eq!(of("br0"), "- its ports are watched: port0");
    let tcptop = Tcptop::spawn(&here, ["--json", "--count", "1"]).unwrap();
    let line = tcptop.wait_stderr(PATIENCE, |line| line.starts_with("watching")).unwrap();
    assert!(line.text.contains("lo eth0 port0 (") && line.text.contains("which carry traffic"), "{line:?}");
    connect(&here, None, server.address(), PATIENCE).unwrap();
    let output = tcptop.wait(PATIENCE).unwrap();
    assert_eq!(lab::objects(&output.stdout)[0].text("interface"), Some("eth0"));
}

/// Hard case `several-interfaces`: flows of different interfaces are different flows.
#[test]
fn several_interfaces() {
    lab::needs_root!();
    let [here, there] = routed();
    let far = Server::bind(&there, SocketAddr::from(([10, 1, 0, 2], 80)), Mode::CloseAtOnce).unwrap();
    let own = Server::bind(&here, SocketAddr::from(([127, 0, 0, 1], 80)), Mode::CloseAtOnce).unwrap();
    // An interface that is named twice is watched once.
    let tcptop = Tcptop::spawn(&here, ["eth0", "lo", "eth0", "--json"]).unwrap();
    let line = tcptop.wait_stderr(PATIENCE, |line| line.starts_with("watching")).unwrap();
    assert!(line.text.contains("eth0") && line.text.contains("lo"), "{line:?}");
    assert_eq!(connect_many(&here, far.address(), 5, PATIENCE).unwrap(), 5);
    assert_eq!(connect_many(&here, own.address(), 3, PATIENCE).unwrap(), 3);
    tcptop.wait_objects("handshake", 8, PATIENCE).unwrap();
    let objects = tcptop.stop(PATIENCE).unwrap();
    for (interface, role, count) in [("eth0", "client", 5), ("lo", "local", 3)] {
        let of = objects.iter().filter(|o| o.kind() == "handshake" && o.text("interface") == Some(interface));
        let roles: Vec<_> = of.map(|object| object.text("role")).collect();
        assert_eq!(roles, vec![Some(role); count], "{interface}");
    }
}

/// Hard case `interface-changes`.
#[test]
fn the_removal_of_one_interface_leaves_the_others_watched() {
    lab::needs_root!();
    let [here, _there] = routed();
    let own = Server::bind(&here, SocketAddr::from(([127, 0, 0, 1], 80)), Mode::CloseAtOnce).unwrap();
    let tcptop = Tcptop::spawn(&here, ["eth0", "lo", "--json"]).unwrap();
    tcptop.wait_ready(PATIENCE).unwrap();
    here.delete_link("eth0").unwrap();
    tcptop.wait_stderr(PATIENCE, |line| line.contains("the interface is gone: eth0")).unwrap();
    connect(&here, None, own.address(), PATIENCE).unwrap();
    tcptop.wait_objects("handshake", 1, PATIENCE).unwrap();
    tcptop.stop(PATIENCE).unwrap();
}
