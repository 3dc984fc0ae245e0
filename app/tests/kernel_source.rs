//! The probe in a real kernel, attached and detached while it runs.

use std::net::SocketAddr;
use std::time::Duration;

use lab::bpf::{self, Hook};
use lab::{Mode, Namespace, Server, connect_many};
use probe_common::Record;
use tcptop::source::interface;
use tcptop::source::kernel::{AttachWanted, Change, KernelSource, Settings, What};
use tcptop::source::netlink::LinkNews;

const PATIENCE: Duration = Duration::from_secs(20);
const FLOWS: u32 = 100;
const NAMES: [&str; 2] = ["lo", "eth0"];

/// Two hosts on a cable, of which the first also has a server of its own.
struct Hosts {
    here: Namespace,
    there: Namespace,
    servers: [Server; 2],
}

impl Hosts {
    fn new() -> Self {
        let [here, there] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
        here.veth_pair("eth0", &there, "eth0").expect("a cable");
        here.add_address("eth0", "10.1.0.1/24".parse().expect("an address")).expect("it is free");
        there.add_address("eth0", "10.1.0.2/24".parse().expect("an address")).expect("it is free");
        let own = Server::bind(&here, SocketAddr::from(([127, 0, 0, 1], 80)), Mode::CloseAtOnce);
        let far = Server::bind(&there, SocketAddr::from(([10, 1, 0, 2], 80)), Mode::CloseAtOnce);
        Self { here, there, servers: [own.expect("a server"), far.expect("a server")] }
    }

    /// A connection through each interface. Returns through which of them a SYN was seen.
    fn seen(&self, source: &mut KernelSource) -> Vec<&'static str> {
        for server in &self.servers {
            assert_eq!(connect_many(&self.here, server.address(), 1, PATIENCE).expect("a socket"), 1);
        }
        let mut interfaces = Vec::new();
        source.drain(usize::MAX, |records| {
            interfaces.extend(records.iter().filter_map(|record| match record {
                Record::Segment(segment) if segment.kind == probe_common::SegmentKind::Syn => {
                    Some(segment.interface)
                }
                _ => None,
            }));
            true
        });
        let index = |name| self.here.link_index(name).expect("it is there");
        NAMES.into_iter().filter(|name| interfaces.contains(&index(name))).collect()
    }

    /// How many programs are attached to the hooks of an interface.
    fn attached(&self, name: &str) -> usize {
        let index = self.here.link_index(name).expect("it is there");
        let is_there = |hook| self.here.run(|| bpf::first_attached(index, hook)).is_ok();
        [Hook::Ingress, Hook::Egress].into_iter().filter(|hook| is_there(*hook)).count()
    }
}

fn check(source: &mut KernelSource) -> Vec<Change> {
    source.check(&LinkNews::default(), true, 1).0
}

fn load() -> KernelSource {
    let settings =
        Settings { flows: FLOWS, decap: false, attach: AttachWanted::Auto, causes: true, retransmits: false };
    let (source, lacking) = KernelSource::load(&settings).expect("it loads");
    assert_eq!(lacking, [""; 0], "this kernel says all");
    source
}

/// The source's reactor, and its interfaces: all that it does is done in the namespace of `here`.
fn with_source(test: impl FnOnce(&Hosts, KernelSource, [interface::Interface; 2]) + Send) {
    if !lab::require_root() {
        return;
    }
    let hosts = Hosts::new();
    hosts.here.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a reactor");
        let _inside = runtime.enter();
        let present = interface::all().expect("the kernel says");
        let of = |name| present.iter().find(|interface| interface.name == name).expect("it is there").clone();
        test(&hosts, load(), NAMES.map(of));
    });
}

#[test]
fn interfaces_are_attached_to_and_detached_from_at_any_time() {
    with_source(|hosts, mut source, [lo, eth0]| {
        assert_eq!(hosts.seen(&mut source), [""; 0]);
        let since = source.watch(&lo).expect("it attaches");
        assert_eq!((since.interface, hosts.attached("lo"), hosts.attached("eth0")), (lo.index, 1, 0));
        assert_eq!(hosts.seen(&mut source), ["lo"]);
        source.watch(&eth0).expect("it attaches");
        assert_eq!((hosts.attached("lo"), hosts.attached("eth0")), (1, 2));
        assert_eq!(hosts.seen(&mut source), ["lo", "eth0"]);
        assert!(source.unwatch(lo.index) && !source.unwatch(lo.index));
        assert_eq!((hosts.attached("lo"), hosts.attached("eth0")), (0, 2));
        assert_eq!(hosts.seen(&mut source), ["eth0"]);
        source.watch(&lo).expect("it attaches");
        assert!(source.unwatch(eth0.index));
        assert_eq!(hosts.seen(&mut source), ["lo"]);
        drop(source);
        assert_eq!((hosts.attached("lo"), hosts.attached("eth0")), (0, 0));
    });
}

/// An interface that is made again has another index. Its flows are known by the one that it had first.
#[test]
fn an_interface_keeps_its_first_index() {
    with_source(|hosts, mut source, [_, eth0]| {
        let first = source.watch(&eth0).expect("it attaches");
        assert_eq!(check(&mut source), []);
        hosts.here.delete_link("eth0").expect("it is there");
        assert_eq!(
            check(&mut source).into_iter().map(|change| change.what).collect::<Vec<_>>(),
            [What::Missing]
        );
        assert_eq!(check(&mut source), [], "it is said once");
        hosts.here.veth_pair("eth0", &hosts.there, "eth0").expect("a cable");
        assert_ne!(hosts.here.link_index("eth0").expect("it is there"), first.interface);
        let [change] = &check(&mut source)[..] else { panic!("one change") };
        let since = change.since().expect("it is back");
        assert!(matches!(change.what, What::Back(_)) && since.interface == first.interface, "{change:?}");
        assert!(since.time_ns > first.time_ns);
        assert!(source.unwatch(first.interface));
        assert_eq!(hosts.attached("eth0"), 0);
    });
}
