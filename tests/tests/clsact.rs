//! Hard case `clsact`: without TCX, filters outlive the process. They do nothing then, the next start removes them, and those of
//! others stay as they are. `tc` of iproute2 is the judge.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use aya::maps::MapInfo;
use aya::programs::loaded_programs;
use lab::{Mode, Namespace, Object, Server, Tcptop, connect_many};
use nix::sys::signal::Signal;

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const NEAR: &str = "eth0";
const CONNECTIONS: usize = 50;

/// Two hosts on a cable, and a server at the far one.
struct Cable {
    near: Namespace,
    _far: Namespace,
    server: Server,
}

impl Cable {
    fn new() -> Self {
        let [near, far] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
        near.link_up("lo").expect("every namespace has it");
        near.veth_pair(NEAR, &far, "eth0").expect("a cable");
        near.add_address(NEAR, "10.1.0.1/24".parse().expect("an address")).expect("it is free");
        far.add_address("eth0", "10.1.0.2/24".parse().expect("an address")).expect("it is free");
        let server = Server::bind(&far, SocketAddr::from(([10, 1, 0, 2], 80)), Mode::CloseAtOnce);
        Self { near, _far: far, server: server.expect("a server") }
    }

    fn connect(&self) {
        let made = connect_many(&self.near, self.server.address(), CONNECTIONS, PATIENCE).expect("sockets");
        assert_eq!(made, CONNECTIONS);
    }

    fn watch(&self, interface: &str, attach: &str) -> Tcptop {
        let attach = format!("--attach={attach}");
        let tcptop = Tcptop::spawn(&self.near, [interface, "--json", &attach]).expect("it starts");
        tcptop.wait_ready(PATIENCE).expect("it attaches");
        tcptop
    }

    fn tc(&self, words: &str) -> String {
        let output = self.near.run(|| Command::new("tc").args(words.split(' ')).output());
        let output = output.expect("iproute2 is installed");
        assert!(output.status.success(), "tc {words}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn has_clsact(&self) -> bool {
        self.tc("qdisc show dev eth0").contains("clsact")
    }

    /// The filters of both chains, as lines of `tc`.
    fn filters(&self) -> Vec<String> {
        let shown = ["ingress", "egress"].map(|chain| self.tc(&format!("filter show dev eth0 {chain}")));
        let lines = shown.iter().flat_map(|shown| shown.lines());
        lines.filter(|line| line.contains("handle") || line.contains("fh ")).map(str::to_owned).collect()
    }

    fn own_filters(&self) -> Vec<String> {
        self.filters().into_iter().filter(|line| line.contains(" tcptop ")).collect()
    }
}

fn end(tcptop: Tcptop) -> Object {
    tcptop.wait_objects("handshake", CONNECTIONS, PATIENCE).expect("every one is reported");
    tcptop.stop(PATIENCE).expect("it ends well").pop().expect("a summary")
}

/// Whether the stub of this filter has a classifier to go on with.
fn is_armed(filter: &str) -> bool {
    let mut words = filter.split_whitespace().skip_while(|word| *word != "id");
    let id: u32 = words.nth(1).and_then(|id| id.parse().ok()).expect("a filter says its program");
    let stub = loaded_programs().flatten().find(|program| program.id() == id).expect("it is loaded");
    let slots = stub.map_ids().expect("it says").expect("it uses maps");
    let slots = slots.into_iter().map(|id| MapInfo::from_id(id).expect("it is there"));
    let slots: Vec<_> = slots.filter(|map| map.name_as_str() == Some("SLOTS")).collect();
    assert_eq!(slots.len(), 1, "{filter}");
    let slots = slots[0].fd().expect("it is there");
    (0..5).any(|slot| lab::bpf::has_program(&slots, slot).expect("it is an array of programs"))
}

#[test]
fn the_figures_are_those_of_tcx_and_nothing_stays() {
    lab::needs_root!();
    let cable = Cable::new();
    let watching = ["clsact", "tcx"].map(|attach| cable.watch(NEAR, attach));
    assert!(cable.has_clsact());
    cable.connect();
    let [clsact, tcx] = watching.map(end);
    assert_eq!(clsact.text("source"), Some("clsact"));
    for figure in ["handshakes", "established", "segments", "missed"] {
        assert!(tcx.number(figure).is_some(), "{tcx:?}");
        assert_eq!(clsact.number(figure), tcx.number(figure), "{figure}: {clsact:?}, {tcx:?}");
    }
    assert_eq!(clsact.number("established"), Some(CONNECTIONS as u64));
    assert!(!cable.has_clsact(), "{:?}", cable.filters());
}

#[test]
fn killed_it_leaves_what_does_nothing_and_the_next_start_removes() {
    lab::needs_root!();
    let cable = Cable::new();
    let tcptop = cable.watch(NEAR, "clsact");
    let filters = cable.own_filters();
    assert_eq!(filters.len(), 2, "{filters:?}");
    assert!(filters.iter().all(|filter| is_armed(filter)), "{filters:?}");
    tcptop.signal(Signal::SIGKILL).expect("it runs");
    tcptop.wait(PATIENCE).expect("it is dead");
    let left = cable.own_filters();
    assert_eq!(left, filters, "filters outlive their process");
    // The kernel empties the map when it has closed the last descriptor.
    let deadline = Instant::now() + PATIENCE;
    while left.iter().any(|filter| is_armed(filter)) {
        assert!(Instant::now() < deadline, "{left:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    cable.connect();
    // Whichever way it attaches, and wherever.
    let tcptop = cable.watch("lo", "auto");
    assert!(!cable.has_clsact(), "{:?}", cable.filters());
    tcptop.stop(PATIENCE).expect("it ends well");
}

#[test]
fn of_two_the_first_to_leave_leaves_the_discipline_to_the_other() {
    lab::needs_root!();
    let cable = Cable::new();
    let [first, second] = [(); 2].map(|()| cable.watch(NEAR, "clsact"));
    assert_eq!(cable.own_filters().len(), 4);
    cable.connect();
    let [first, second] = [end(first), {
        // What the first one has left is the other's only.
        assert_eq!(cable.own_filters().len(), 2, "{:?}", cable.filters());
        end(second)
    }];
    for summary in [first, second] {
        assert_eq!(summary.number("established"), Some(CONNECTIONS as u64), "{summary:?}");
    }
    assert!(!cable.has_clsact(), "{:?}", cable.filters());
}

#[test]
fn filters_of_others_stay_and_those_ahead_are_named() {
    lab::needs_root!();
    let cable = Cable::new();
    cable.tc("qdisc add dev eth0 clsact");
    cable.tc("filter add dev eth0 ingress prio 1 protocol all u32 match u32 0 0 classid 1:1");
    let foreign = cable.filters();
    assert!(!foreign.is_empty());
    let tcptop = cable.watch(NEAR, "clsact");
    let said = |line: &str| line == "eth0 has filters ahead of tcptop's: what they end is not seen";
    tcptop.wait_stderr(PATIENCE, said).expect("they are named");
    assert_eq!(cable.own_filters().len(), 2);
    tcptop.signal(Signal::SIGKILL).expect("it runs");
    tcptop.wait(PATIENCE).expect("it is dead");
    for attach in ["clsact", "tcx"] {
        cable.watch(NEAR, attach).stop(PATIENCE).expect("it ends well");
        assert!(cable.has_clsact(), "it was not tcptop's");
        assert_eq!(cable.filters(), foreign);
    }
}

/// It has one chain for both places: what is added at its way out would look at incoming packets once more.
#[test]
fn an_older_discipline_is_not_taken_for_clsact() {
    lab::needs_root!();
    let cable = Cable::new();
    // Another one's clsact is none of this one's.
    cable.tc("qdisc add dev lo clsact");
    cable.tc("qdisc add dev eth0 ingress");
    let tcptop = Tcptop::spawn(&cable.near, [NEAR, "--json", "--attach=clsact"]).expect("it starts");
    let said = |line: &str| line.contains("its queueing discipline `ingress` is in the place of clsact");
    tcptop.wait_stderr(PATIENCE, said).expect("it is named");
    assert!(cable.own_filters().is_empty(), "{:?}", cable.filters());
    assert!(cable.tc("qdisc show dev eth0").contains("ingress"), "it stays");
    cable.tc("qdisc del dev eth0 ingress");
    cable.watch(NEAR, "clsact").stop(PATIENCE).expect("it ends well");
    assert!(cable.tc("qdisc show dev lo").contains("clsact"), "it was not tcptop's");
}

/// As for TCX, see `interfaces`.
#[test]
fn a_filter_that_someone_else_removes_is_added_again() {
    lab::needs_root!();
    let cable = Cable::new();
    let tcptop = cable.watch(NEAR, "clsact");
    cable.tc("filter del dev eth0 egress");
    let said = |line: &str| line.contains("detached from eth0 by someone else");
    tcptop.wait_stderr(PATIENCE, said).expect("it is noticed");
    cable.connect();
    let summary = end(tcptop);
    assert_eq!(summary.number("established"), Some(CONNECTIONS as u64), "{summary:?}");
    assert!(!cable.has_clsact(), "{:?}", cable.filters());
}
