//! A parser that is made to misbehave: this test starts itself once more, confined as a run is, and tries what no run does.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Pid, Uid};
use tcptop::confine::Confinement;

const VARIABLE: &str = "TCPTOP_TEST_CONFINED";

/// What the child was able to do, of all that it tries.
fn done(how: &str) -> Vec<String> {
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "the_confined_child", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, how)
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.split_once("DONE ")).map(|(_, what)| what.to_owned()).collect()
}

/// What a parser does that an attacker has taken over, in the order of the answers.
fn misbehave() {
    let said = |what: &str, has_done: bool| {
        if has_done {
            println!("DONE {what}");
        }
    };
    let folder = std::env::temp_dir();
    said("write", fs::write(folder.join(format!("tcptop-confined-{}", std::process::id())), "x").is_ok());
    said("append", OpenOptions::new().append(true).open("/etc/passwd").is_ok());
    said("read", File::open(std::env::current_exe().expect("this test")).is_ok());
    said("udp", UdpSocket::bind("127.0.0.1:0").is_ok());
    said("tcp", TcpListener::bind("127.0.0.1:0").is_ok());
    said("exec", Command::new("/bin/true").status().is_ok());
    // Of a process that does not exist: who may ask is told that.
    let peeked = nix::sys::ptrace::read(Pid::from_raw(libc::pid_t::MAX), std::ptr::null_mut());
    said("ptrace", peeked == Err(Errno::ESRCH));
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).map(str::to_owned)
    };
    for name in ["CapEff:", "CapPrm:", "NoNewPrivs:", "Seccomp:"] {
        field(name).into_iter().for_each(|value| println!("DONE {name}{value}"));
    }
    println!("DONE all");
}

#[test]
fn the_confined_child() {
    let Ok(how) = std::env::var(VARIABLE) else { return };
    let of = |is_live, has_screen| Confinement { is_live, names_processes: false, has_screen };
    let kept = match how.as_str() {
        "capture" => of(false, false).enter(),
        "live" => of(true, false).enter(),
        "screen" => of(false, true).enter(),
        "names" => Confinement { is_live: true, names_processes: true, has_screen: false }.enter(),
        _ => Vec::new(),
    };
    assert_eq!(kept, [""; 0]);
    misbehave();
}

fn has_landlock() -> bool {
    /// `LANDLOCK_CREATE_RULESET_VERSION` (`linux/landlock.h`).
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no memory, and returns a number.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) > 0 }
}

#[test]
fn a_parser_that_misbehaves_opens_nothing() {
    let free = done("free");
    for what in ["write", "read", "udp", "tcp", "exec", "ptrace"] {
        assert!(free.iter().any(|done| done == what), "without confinement it can: {free:?}");
    }
    let confined = done("capture");
    let has = |what: &str| confined.iter().any(|done| done == what);
    assert!(has("all"), "{confined:?}");
    for what in ["udp", "tcp", "exec", "ptrace"] {
        assert!(!has(what), "{what}: {confined:?}");
    }
    assert!(!has("write") && !has("append"), "{confined:?}");
    assert!(!has_landlock() || !has("read"), "{confined:?}");
}

#[test]
fn a_live_run_keeps_what_attaching_takes_and_no_more() {
    let live = done("live");
    let has = |what: &str| live.iter().any(|done| done == what);
    for what in ["udp", "tcp", "exec", "ptrace"] {
        assert!(!has(what), "{what}: {live:?}");
    }
    assert!(has("NoNewPrivs:1") && has("Seccomp:2"), "{live:?}");
    assert!(!has("write") && !has("append"), "{live:?}");
    if Uid::effective().is_root() {
        // CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF.
        let kept = (1_u64 << 12) | (1 << 38) | (1 << 39);
        assert!(has(&format!("CapEff:{kept:016x}")) && has(&format!("CapPrm:{kept:016x}")), "{live:?}");
    }
}

/// Where processes are named, files are read, and none is written.
#[test]
fn a_live_run_that_names_processes_writes_no_file() {
    let live = done("names");
    let has = |what: &str| live.iter().any(|done| done == what);
    for what in ["write", "append", "udp", "tcp", "exec", "ptrace"] {
        assert!(!has(what), "{what}: {live:?}");
    }
    assert!(has("read") && has("NoNewPrivs:1") && has("Seccomp:2"), "{live:?}");
}

#[test]
fn with_a_screen_names_can_be_asked_for() {
    let screen = done("screen");
    let has = |what: &str| screen.iter().any(|done| done == what);
    assert!(has("udp") && has("CapEff:0000000000000000") && has("NoNewPrivs:1"), "{screen:?}");
    assert!(!has("ptrace"), "{screen:?}");
}

/// Of the program itself: every thread, as soon as it reads.
#[test]
fn a_replay_has_nothing_left() {
    let mut replay = Command::new(env!("CARGO_BIN_EXE_tcptop"))
        .args(["replay", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    // The header of a capture without a packet: it waits for one.
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_ne_bytes).concat();
    replay.stdin.as_mut().expect("a pipe").write_all(&header).expect("it reads");
    let tasks = format!("/proc/{}/task", replay.id());
    let is_confined = |status: &str| {
        ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
            .iter()
            .all(|line| status.lines().any(|one| one == *line))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let tasks = fs::read_dir(&tasks).expect("it runs").flatten();
        let all: Vec<String> =
            tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).collect();
        // The one that reads the capture is there.
        if all.len() > 1 && all.iter().all(|status| is_confined(status)) {
            break;
        }
        assert!(Instant::now() < deadline, "{all:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(replay.stdin.take());
    assert!(replay.wait().expect("it ends").success());
}
