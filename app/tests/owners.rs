//! Which process a socket belongs to, as the kernel says it.

use std::net::SocketAddr;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use lab::{Mode, Namespace, Server, connect_many};
use probe_common::{OwnerAction, OwnerRecord, Record, SegmentKind, SegmentRecord};
use tcptop::source::interface;
use tcptop::source::kernel::{AttachWanted, KernelSource, Settings};

const PATIENCE: Duration = Duration::from_secs(20);

fn load() -> KernelSource {
    let settings =
        Settings { flows: 100, decap: false, attach: AttachWanted::Auto, causes: true, retransmits: false };
    let (source, lacking) = KernelSource::load(&settings).expect("it loads");
    assert_eq!(lacking, [""; 0], "this kernel says all");
    source
}

/// Connects to a server of this process through loopback, and returns what the probe has said of it.
fn with_source(test: impl FnOnce(&Namespace, &Server, KernelSource) + Send) {
    if !lab::require_root() {
        return;
    }
    let here = Namespace::new().expect("a namespace");
    here.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a reactor");
        let _inside = runtime.enter();
        let lo = interface::all().expect("the kernel says").into_iter().find(|interface| interface.loopback);
        let mut source = load();
        source.watch(&lo.expect("every namespace has it")).expect("it attaches");
        assert_eq!(source.watch_owners(), [""; 0], "this kernel says all");
        let server = Server::bind(&here, SocketAddr::from(([127, 0, 0, 1], 80)), Mode::CloseAtOnce);
        test(&here, &server.expect("a server"), source);
    });
}

/// What the probe has said until a socket of this process was closed by its last holder, or until nobody can wait longer.
fn drained(source: &mut KernelSource) -> Vec<Record> {
    let (mut all, begin) = (Vec::new(), Instant::now());
    while owners(&all, OwnerAction::Close).is_empty() && begin.elapsed() < PATIENCE {
        source.drain(usize::MAX, |records| {
            all.extend_from_slice(records);
            true
        });
        thread::yield_now();
    }
    all
}

fn segments(records: &[Record], kind: SegmentKind) -> Vec<SegmentRecord> {
    let of_kind = records.iter().filter_map(|record| match record {
        Record::Segment(segment) if segment.kind == kind => Some(*segment),
        _ => None,
    });
    of_kind.collect()
}

/// Owners of this process: other processes of this machine use sockets, too.
fn owners(records: &[Record], action: OwnerAction) -> Vec<(usize, OwnerRecord)> {
    let of_action = records.iter().enumerate().filter_map(|(place, record)| match record {
        Record::Owner(owner) if owner.action == action && owner.process == process::id() => {
            Some((place, *owner))
        }
        _ => None,
    });
    of_action.collect()
}

#[test]
fn the_owner_of_a_connection_is_said_before_its_syn_and_before_its_fin() {
    with_source(|here, server, mut source| {
        assert_eq!(connect_many(here, server.address(), 1, PATIENCE).expect("a socket"), 1);
        let records = drained(&mut source);
        let (syns, syn_acks) =
            (segments(&records, SegmentKind::Syn), segments(&records, SegmentKind::SynAck));
        let ([syn], [syn_ack]) = (&syns[..], &syn_acks[..]) else { panic!("one of each: {records:?}") };
        assert!(syn.cookie != 0 && syn_ack.cookie != 0 && syn.cookie != syn_ack.cookie);

        let place_of = |segment: &SegmentRecord| {
            records.iter().position(|record| *record == Record::Segment(*segment)).expect("it is one of them")
        };
        let opened = owners(&records, OwnerAction::Connect);
        let of_syn: Vec<_> = opened.iter().filter(|(_, owner)| owner.cookie == syn.cookie).collect();
        assert_eq!(of_syn.len(), 1);
        assert!(of_syn[0].0 < place_of(syn), "{records:?}");

        let closed = owners(&records, OwnerAction::Close);
        let of_server = |fin: &SegmentRecord| fin.cookie == syn_ack.cookie;
        let fins: Vec<SegmentRecord> = segments(&records, SegmentKind::Fin);
        assert!(fins.iter().all(|fin| of_server(fin) || fin.cookie == syn.cookie), "{records:?}");
        for fin in fins.into_iter().filter(of_server) {
            let before =
                closed.iter().any(|(place, owner)| owner.cookie == fin.cookie && *place < place_of(&fin));
            assert!(before, "{records:?}");
        }
        assert!(closed.iter().any(|(_, owner)| owner.cookie == syn_ack.cookie), "{records:?}");
        // Tests of this process that run meanwhile listen, too.
        assert!(!owners(&records, OwnerAction::Listen).is_empty());
        let names = opened.iter().chain(&closed).map(|(_, owner)| owner.name);
        assert!(names.clone().all(|name| name[0].is_ascii_graphic()), "{:?}", names.collect::<Vec<_>>());
    });
}

#[test]
fn every_holder_of_a_socket_is_listed() {
    with_source(|here, server, mut source| {
        let client = here.run(|| std::net::TcpStream::connect(server.address())).expect("it accepts");
        let own = client.local_addr().expect("it is connected");
        let mut holders = Vec::new();
        source.holders(|holder| holders.push(holder)).expect("the kernel says");
        holders.retain(|holder| holder.process == process::id());
        let of = |port: u16| holders.iter().find(|holder| holder.local.port == port);
        let listener = of(80).expect("it listens");
        assert!(listener.listens && listener.local.address.ends_with(&[127, 0, 0, 1]), "{listener:?}");
        let connected = of(own.port()).expect("it is held");
        assert!(!connected.listens && connected.cookie != 0, "{connected:?}");
        assert_eq!((connected.remote.port, &connected.remote.address[12..]), (80, &[127, 0, 0, 1][..]));
    });
}
