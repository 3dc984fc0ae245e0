//! Whose connections they are, of processes that are too short for any look at `/proc`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::{Mode, Namespace, Object, Server, Tcptop};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, accept, connect, socket};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, write};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);
const PROCESSES: usize = 1_000;
const WORKERS: usize = 4;

/// What the probe says while `task` runs.
fn watched(namespace: &Namespace, arguments: &[&str], task: impl FnOnce(&Tcptop)) -> Vec<Object> {
    let tcptop = Tcptop::spawn(namespace, arguments).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    task(&tcptop);
    let missing = tcptop.stderr().lines().filter(|line| line.contains("not known")).count();
    assert_eq!(missing, 0, "this kernel says all: {}", tcptop.stderr());
    tcptop.stop(PATIENCE).expect("it ends")
}

fn of_kind<'o>(objects: &'o [Object], kind: &str) -> Vec<&'o Object> {
    objects.iter().filter(|object| object.kind() == kind).collect()
}

fn address(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, last), port)
}

/// Starts a process that runs `task` in the namespace. Only system calls are allowed in it: this process has threads.
fn start(namespace: &Namespace, name: &str, task: impl Fn() -> i32 + Send + Sync) -> Pid {
    let mut bytes = [0_u8; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    namespace.run(|| {
        // SAFETY: the child makes system calls only, and allocates nothing.
        match unsafe { fork() }.expect("there is room for one more") {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                // SAFETY: the name ends with a 0.
                unsafe { libc::prctl(libc::PR_SET_NAME, bytes.as_ptr(), 0, 0, 0) };
                let code = task();
                // SAFETY: ends the process without running anything of the parent's.
                unsafe { libc::_exit(code) }
            }
        }
    })
}

/// Connects and returns at once, whatever becomes of it. Returns 0 if it is connected. What this process has of the test's
/// sockets is closed first: it would hold the server's, too.
fn connect_once(remote: SocketAddrV4) -> i32 {
    // SAFETY: nothing of the parent's runs here that could use one of them.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    let tcp = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None);
    let connected = tcp.and_then(|tcp| connect(tcp.as_raw_fd(), &SockaddrIn::from(remote)).map(|()| tcp));
    // Closed by the kernel, when the process ends.
    connected.map_or(1, |tcp| i32::from(tcp.into_raw_fd() < 0))
}

/// Accepts connections for ever: writes the number of this process to each, and closes it.
fn work(listener: RawFd) -> i32 {
    while let Ok(descriptor) = accept(listener) {
        // SAFETY: it was accepted just now, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let written = write(&socket, &getpid().as_raw().to_ne_bytes());
        if written.is_err() {
            return 1;
        }
    }
    2
}

fn ends_well(pid: Pid) {
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
}

fn owner(object: &Object, field: &str) -> (u64, String, String) {
    let owner = object.object(field);
    let text = |field: &str| owner.text(field).expect("it is known").to_owned();
    assert!(!owner.flag("is_thread_name"), "{object:?}");
    (owner.number("pid").expect("it is known"), text("process"), text("evidence"))
}

/// Processes that connect and exit at once: each is named, by its number and its name.
#[test]
fn a_thousand_of_a_thousand_processes_that_connect_and_exit_at_once_are_named() {
    lab::needs_root!();
    let [here, there] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
    here.veth_pair("eth0", &there, "eth0").expect("a cable");
    here.add_address("eth0", "10.1.0.1/24".parse().unwrap()).unwrap();
    there.add_address("eth0", "10.1.0.2/24".parse().unwrap()).unwrap();
    let server = Server::bind(&there, address(2, 80).into(), Mode::CloseAtOnce).expect("a server");
    let mut names = HashMap::new();
    let objects = watched(&here, &["eth0", "--json"], |tcptop| {
        for number in 0..PROCESSES {
            let name = format!("client-{number}");
            let pid = start(&here, &name, || connect_once(address(2, 80)));
            ends_well(pid);
            names.insert(u64::try_from(pid.as_raw()).unwrap(), name);
        }
        tcptop.wait_objects("handshake", PROCESSES, PATIENCE).unwrap();
    });
    drop(server);
    let handshakes = of_kind(&objects, "handshake");
    assert_eq!((handshakes.len(), names.len()), (PROCESSES, PROCESSES));
    for handshake in handshakes {
        let (pid, name, evidence) = owner(handshake, "owner");
        assert_eq!((names.remove(&pid).as_ref(), evidence.as_str()), (Some(&name), "acts"), "{handshake:?}");
    }
    assert!(names.is_empty(), "not named: {names:?}");
    let peer = of_kind(&objects, "peer")[0];
    assert!(format!("{peer:?}").contains("client-999"), "{peer:?}");
}

/// Workers of a prefork server that answer and close: of each connection the one that had it is named.
#[test]
fn a_thousand_of_a_thousand_workers_that_answer_and_close_are_named() {
    lab::needs_root!();
    let here = Namespace::new().expect("a namespace");
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let listener = here.run(|| TcpListener::bind(address)).expect("a listener");
    let descriptor = listener.as_raw_fd();
    let workers: Vec<Pid> =
        (0..WORKERS).map(|number| start(&here, &format!("worker-{number}"), || work(descriptor))).collect();
    let mut answered = HashMap::new();
    let objects = watched(&here, &["lo", "--json"], |tcptop| {
        for _ in 0..PROCESSES {
            let mut client = here.run(|| TcpStream::connect(address)).expect("it accepts");
            let mut answer = [0; 4];
            client.read_exact(&mut answer).expect("it answers");
            let port = client.local_addr().expect("it is connected").port();
            answered.insert(port, u64::from(u32::from_ne_bytes(answer)));
        }
        tcptop.wait_objects("close", PROCESSES, PATIENCE).unwrap();
    });
    for worker in &workers {
        kill(*worker, Signal::SIGKILL).expect("it runs");
        waitpid(*worker, None).expect("it is ours");
    }
    let closes = of_kind(&objects, "close");
    assert_eq!((closes.len(), answered.len()), (PROCESSES, PROCESSES), "every port is used once");
    let mut busy = HashSet::new();
    for close in closes {
        let (pid, name, evidence) = owner(close, "remote_owner");
        assert_eq!(answered.get(&close.local().port()), Some(&pid), "{close:?}");
        let number = workers.iter().position(|worker| u64::try_from(worker.as_raw()) == Ok(pid));
        assert_eq!((Some(name), evidence.as_str()), (number.map(|n| format!("worker-{n}")), "acts"));
        let (client, _, _) = owner(close, "owner");
        assert_eq!(client, u64::from(std::process::id()), "{close:?}");
        busy.insert(pid);
    }
    assert_eq!(busy.len(), WORKERS, "all of them work");
}

/// A control group of version 2 that looks like a container's, and goes with this.
struct Container(PathBuf);

/// The identifier of a container that does not exist.
const CONTAINER: &str = "7c9e0000aaaa0000bbbb0000cccc0000dddd0000eeee0000ffff000011112222";

impl Container {
    fn new() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("it can be read");
        let root = mounts.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [_, path, "cgroup2", ..] => Some(path),
            _ => None,
        });
        let folder =
            Path::new(root.expect("control groups of version 2")).join(format!("docker-{CONTAINER}.scope"));
        // One that a killed test has left.
        drop(fs::remove_dir(&folder));
        fs::create_dir(&folder).expect("root may");
        Self(folder)
    }

    fn take(&self, pid: Pid) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("it runs");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// At the host's end of a veth: the container's socket is named by its cookie, and nothing enters its namespace.
#[test]
fn the_process_of_a_container_is_named_at_the_host_end_of_its_veth() {
    lab::needs_root!();
    let [host, inside] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
    host.veth_pair("veth7", &inside, "eth0").expect("a cable");
    host.add_address("veth7", "10.1.0.1/24".parse().unwrap()).unwrap();
    inside.add_address("eth0", "10.1.0.2/24".parse().unwrap()).unwrap();
    let server = Server::bind(&host, address(1, 80).into(), Mode::CloseAtOnce).expect("a server");
    let container = Container::new();
    let mut pid = Pid::from_raw(0);
    let objects = watched(&host, &["veth7", "--json"], |tcptop| {
        pid = start(&inside, "contained", || {
            // SAFETY: waits until it is where it belongs.
            unsafe { libc::raise(libc::SIGSTOP) };
            connect_once(address(1, 80))
        });
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED));
        assert_eq!(stopped, Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)));
        container.take(pid);
        kill(pid, Signal::SIGCONT).expect("it waits");
        ends_well(pid);
        tcptop.wait_objects("handshake", 1, PATIENCE).unwrap();
    });
    drop(server);
    let [handshake] = of_kind(&objects, "handshake")[..] else { panic!("one: {objects:?}") };
    let (number, name, evidence) = owner(handshake, "remote_owner");
    assert_eq!((number, name.as_str()), (u64::try_from(pid.as_raw()).unwrap(), "contained"));
    assert_eq!(evidence, "acts");
    let owner = handshake.object("remote_owner");
    assert_eq!(owner.text("container_id"), Some(CONTAINER));
    assert_eq!(owner.text("container"), Some(&CONTAINER[..12]));
}

/// What `/proc` says is enough for connections that last, and costs others nothing.
#[test]
fn without_the_kernels_help_processes_of_lasting_connections_are_found_in_proc() {
    lab::needs_root!();
    let here = Namespace::new().expect("a namespace");
    let remote = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
    let listener = here.run(|| TcpListener::bind(SocketAddr::from(remote))).expect("a listener");
    let descriptor = listener.as_raw_fd();
    let mut pids = Vec::new();
    let objects = watched(&here, &["lo", "--json", "--owners=proc"], |tcptop| {
        ends_well(start(&here, "short", || connect_once(remote)));
        pids.push(start(&here, "lasting", || {
            let connected = connect_once(remote);
            // SAFETY: waits for the signal that ends this process.
            unsafe { libc::pause() };
            connected
        }));
        // SAFETY: they were accepted just now, and nobody else has them.
        let own = |accepted: RawFd| unsafe { OwnedFd::from_raw_fd(accepted) };
        let accepted = [(); 2].map(|()| own(accept(descriptor).expect("it connects")));
        tcptop.wait_objects("handshake", 2, PATIENCE).unwrap();
        std::thread::sleep(Duration::from_millis(2_500));
        kill(pids[0], Signal::SIGKILL).expect("it waits");
        waitpid(pids[0], None).expect("it was ours");
        drop(accepted);
        tcptop.wait_objects("close", 2, PATIENCE).unwrap();
    });
    let lasting = u64::try_from(pids[0].as_raw()).unwrap();
    let naming = |name: &str| -> Vec<&Object> {
        let closes = of_kind(&objects, "close").into_iter();
        closes.filter(|close| format!("{close:?}").contains(name)).collect()
    };
    let [close] = naming("lasting")[..] else { panic!("{objects:?}") };
    assert_eq!(owner(close, "owner"), (lasting, "lasting".to_owned(), "holds".to_owned()));
    assert!(naming("short").is_empty(), "it was closed before: {objects:?}");
}

#[test]
fn a_filter_by_process_chooses_what_belongs_to_it() {
    lab::needs_root!();
    let here = Namespace::new().expect("a namespace");
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let server = Server::bind(&here, address, Mode::CloseAtOnce).expect("a server");
    let remote = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
    let chosen = |filter: &str| {
        let objects = watched(&here, &["lo", "--json", "--filter", filter], |tcptop| {
            let pids = ["wanted", "other"].map(|name| start(&here, name, || connect_once(remote)));
            pids.into_iter().for_each(ends_well);
            tcptop.wait_objects("handshake", 1, PATIENCE).unwrap();
        });
        let handshakes = of_kind(&objects, "handshake").len();
        let names: HashSet<String> =
            of_kind(&objects, "handshake").iter().map(|one| owner(one, "owner").1).collect();
        (handshakes, names.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(chosen("proc:wanted"), (1, vec!["wanted".to_owned()]));
    assert_eq!(chosen("!proc:wanted"), (1, vec!["other".to_owned()]));
    let objects = watched(&here, &["lo", "--json", "--owners=off"], |tcptop| {
        ends_well(start(&here, "wanted", || connect_once(remote)));
        tcptop.wait_objects("handshake", 1, PATIENCE).unwrap();
    });
    assert_eq!(of_kind(&objects, "handshake")[0].text("owner"), None);
    drop(server);
}
