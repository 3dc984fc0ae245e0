//! Which process a connection belongs to, as the engine joins it: by cookies, by ends, and by who listens.

mod support;

use std::sync::Arc;

use probe_common::{Direction, Endpoint, FlowState, SegmentRecord, Side};
use support::{Connection, INTERFACE, MS, START, Watched, v4};
use tcptop_core::{
    Event, Evidence, Filter, Flow, Group, Input, OwnerAction, Party, Process, Query, Row, RowKey, Snapshot,
    SnapshotRequest, SocketHolder, SocketOwner, Span, What, Workload,
};

const OPENER: u64 = 0x11;
const ACCEPTED: u64 = 0x22;

fn process(pid: u32, name: &str) -> Arc<Process> {
    Arc::new(Process { pid, name: name.to_owned(), ..Process::default() })
}

fn owner(cookie: u64, action: OwnerAction, process: &Arc<Process>) -> SocketOwner {
    SocketOwner { cookie, action, process: Arc::clone(process) }
}

fn holder(cookie: u64, [local, remote]: [Endpoint; 2], process: &Arc<Process>) -> SocketHolder {
    let process = Arc::clone(process);
    SocketHolder { cookie, local, remote, listens: false, is_here: true, process, others: 0 }
}

fn listener(local: Endpoint, process: &Arc<Process>) -> SocketHolder {
    SocketHolder { listens: true, ..holder(1, [local, v4(0, 0, 0, 0, 0)], process) }
}

fn by(cookie: u64, segment: SegmentRecord) -> SegmentRecord {
    SegmentRecord { cookie, ..segment }
}

fn at(ms: u64) -> u64 {
    START + ms * MS
}

fn to() -> Connection {
    Connection::to(v4(10, 0, 0, 9, 443), 40_000)
}

fn from() -> Connection {
    Connection::from(v4(10, 0, 0, 9, 50_000), 80)
}

/// The process at an end, and why it is known.
fn owned(flow: &Flow, end: Party) -> Option<(u32, Evidence)> {
    flow.owner(end).map(|owner| (owner.process.pid, owner.evidence))
}

fn local(flow: &Flow) -> Option<(u32, Evidence)> {
    owned(flow, Party::Local)
}

#[test]
fn who_connects_is_known_from_the_syn_on() {
    let mut watched = Watched::new();
    let curl = process(7, "curl");
    watched.handle(Input::Owner(&owner(OPENER, OwnerAction::Connect, &curl)));
    watched.see([by(OPENER, to().syn(at(0)))]);
    assert_eq!(local(&watched.flows(at(1))[0]), Some((7, Evidence::Acts)));
    watched.see([to().syn_ack(at(2)), to().ack(at(3))]);
    assert_eq!(local(watched.only()), Some((7, Evidence::Acts)));
    assert_eq!(owned(watched.only(), Party::Remote), None, "it is another host's");
    // Whoever closes it: a child may hold the socket, too.
    watched.handle(Input::Owner(&owner(OPENER, OwnerAction::Close, &process(8, "child"))));
    watched.see([by(OPENER, to().fin_of_opener(at(4))), to().fin_of_responder(at(5))]);
    assert_eq!(local(watched.closes()[0]), Some((7, Evidence::Acts)));
}

#[test]
fn who_closes_an_accepted_connection_is_known_before_its_fin() {
    let mut watched = Watched::new();
    watched.see([from().syn(at(0)), by(ACCEPTED, from().syn_ack(at(1))), from().ack(at(2))]);
    assert_eq!(local(watched.only()), None);
    watched.handle(Input::Owner(&owner(ACCEPTED, OwnerAction::Close, &process(9, "worker"))));
    watched.see([by(ACCEPTED, from().fin_of_responder(at(3))), from().fin_of_opener(at(4))]);
    assert_eq!(local(watched.closes()[0]), Some((9, Evidence::Acts)));
}

/// A RST has no cookie: it may be the kernel's.
#[test]
fn who_closes_with_data_unread_is_known_by_the_cookie_of_the_syn_ack() {
    let mut watched = Watched::new();
    watched.see([from().syn(at(0)), by(ACCEPTED, from().syn_ack(at(1))), from().ack(at(2))]);
    watched.handle(Input::Owner(&owner(ACCEPTED, OwnerAction::Close, &process(9, "worker"))));
    watched.see([from().rst_of_responder(at(3))]);
    assert_eq!(local(watched.closes()[0]), Some((9, Evidence::Acts)));
}

#[test]
fn the_listener_is_the_owner_until_the_holder_is_known() {
    let mut watched = Watched::new();
    let (master, worker) = (process(1, "master"), process(2, "worker"));
    let listens = listener(v4(0, 0, 0, 0, 80), &master);
    watched.handle(Input::Holders(std::slice::from_ref(&listens)));
    watched.see([from().syn(at(0)), by(ACCEPTED, from().syn_ack(at(1))), from().ack(at(2))]);
    assert_eq!(local(watched.only()), Some((1, Evidence::Listens)));
    let connection = from();
    let mut held = holder(ACCEPTED, [connection.responder, connection.opener], &worker);
    held.others = 3;
    watched.handle(Input::Holders(&[listens.clone(), held.clone()]));
    let flow = watched.flows(at(3)).remove(0);
    assert_eq!(local(&flow), Some((2, Evidence::Holds)));
    assert_eq!(flow.owner(Party::Local).map(|owner| owner.others), Some(3));
    // The socket is passed on.
    held.process = process(3, "next");
    watched.handle(Input::Holders(&[listens, held]));
    assert_eq!(local(&watched.flows(at(4))[0]), Some((3, Evidence::Holds)));
    // Nobody listens any more.
    watched.handle(Input::Holders(&[]));
    let next = Connection::from(v4(10, 0, 0, 9, 50_001), 80);
    watched.see([next.syn(at(5)), by(0x33, next.syn_ack(at(6)))]);
    assert_eq!(local(&watched.flows(at(7))[0]), None);
}

/// A connection of another network namespace may have the same addresses.
#[test]
fn connections_that_were_open_before_are_found_by_their_ends() {
    let ends = |connection: Connection| [connection.opener, connection.responder];
    for (is_here, cookie, expected) in [
        (true, None, Some((7, Evidence::Holds))),
        (false, None, None),
        (false, Some(OPENER), Some((7, Evidence::Holds))),
        (true, Some(OPENER + 1), None),
    ] {
        let mut watched = Watched::new();
        let mut fin = to().fin_of_opener(at(0));
        fin.cookie = cookie.unwrap_or(0);
        watched.see([fin]);
        let held = SocketHolder { is_here, ..holder(OPENER, ends(to()), &process(7, "ssh")) };
        watched.handle(Input::Holders(&[held]));
        assert_eq!(local(&watched.flows(at(1))[0]), expected, "{is_here} {cookie:?}");
    }
    // One that no record was about is known by its state, and owned the second after.
    let mut watched = Watched::new();
    let [low, high] = ends(to());
    let words = |end: Endpoint| {
        [0, 8].map(|at| u64::from_be_bytes(end.address[at..at + 8].try_into().expect("8 bytes")))
    };
    let tuple = probe_common::key::Ends {
        interface: INTERFACE,
        addresses: [words(low), words(high)],
        ports: [low.port, high.port],
    };
    let mut state = FlowState::FREE;
    state.phase = probe_common::state::Phase::OPEN;
    state.flags = FlowState::learned_from(Direction::Egress, Side::Low);
    watched.sent(tcptop_core::FlowVolumes::of(tuple, &state), at(0));
    watched.handle(Input::Holders(&[holder(OPENER, ends(to()), &process(7, "ssh"))]));
    assert_eq!(local(&watched.flows(at(1))[0]), Some((7, Evidence::Holds)));
}

#[test]
fn both_ends_of_a_connection_on_loopback_have_owners() {
    let mut watched = Watched::new();
    let connection = Connection {
        opener: v4(127, 0, 0, 1, 40_000),
        responder: v4(127, 0, 0, 1, 80),
        out: Direction::Local,
        ..to()
    };
    watched.handle(Input::Holders(&[listener(v4(127, 0, 0, 1, 80), &process(2, "server"))]));
    watched.handle(Input::Owner(&owner(OPENER, OwnerAction::Connect, &process(1, "client"))));
    watched.see([
        by(OPENER, connection.syn(at(0))),
        by(ACCEPTED, connection.syn_ack(at(1))),
        connection.ack(at(2)),
    ]);
    assert_eq!(local(watched.only()), Some((1, Evidence::Acts)));
    assert_eq!(owned(watched.only(), Party::Remote), Some((2, Evidence::Listens)));
    watched.handle(Input::Owner(&owner(ACCEPTED, OwnerAction::Close, &process(3, "worker"))));
    watched
        .see([by(ACCEPTED, connection.fin_of_responder(at(3))), by(OPENER, connection.fin_of_opener(at(4)))]);
    assert_eq!(owned(watched.closes()[0], Party::Remote), Some((3, Evidence::Acts)));
}

/// At the host's end of a veth the container's packets come in with the cookie of its socket.
#[test]
fn what_comes_in_with_a_cookie_is_owned_at_the_remote_end() {
    let mut watched = Watched::new();
    watched.handle(Input::Holders(&[listener(v4(0, 0, 0, 0, 443), &process(1, "of the host"))]));
    watched.handle(Input::Owner(&owner(OPENER, OwnerAction::Connect, &process(7, "contained"))));
    watched.see([by(OPENER, from().syn(at(0)))]);
    let flow = watched.flows(at(1)).remove(0);
    assert_eq!((local(&flow), owned(&flow, Party::Remote)), (None, Some((7, Evidence::Acts))));
    // A listener of the host does not answer what comes in.
    watched.see([to().syn(at(2)), by(ACCEPTED, to().syn_ack(at(3)))]);
    let answered =
        watched.flows(at(4)).into_iter().find(|flow| flow.remote().port == 443).expect("it is known");
    assert_eq!((local(&answered), owned(&answered, Party::Remote)), (None, None));
    let named = &names(&snapshot(&mut watched, "", Group::Peer))[0].1;
    assert!(named.is_empty(), "who connects to a service is not whose service it is: {named:?}");
}

#[test]
fn a_connection_on_the_same_ports_has_an_owner_of_its_own() {
    let mut watched = Watched::new();
    watched.handle(Input::Owner(&owner(OPENER, OwnerAction::Connect, &process(1, "first"))));
    watched.see([by(OPENER, to().syn(at(0)))]);
    let next = Connection { isn: 77, ..to() };
    watched.see([by(0x33, next.syn(at(100)))]);
    let first: Vec<_> = watched.events.iter().map(|event| local(Event::flow(event))).collect();
    assert_eq!(first, [Some((1, Evidence::Acts))], "the first one was given up");
    assert_eq!(local(&watched.flows(at(101))[0]), None, "nobody said whose the next one is");
}

fn snapshot(watched: &mut Watched, filter: &str, group: Group) -> Snapshot {
    let filter: Filter = filter.parse().expect("valid");
    let query = Query { filter, group, ..Query::default() };
    let request =
        SnapshotRequest { query, rows: 100, flows: 100, ..SnapshotRequest::totals(Span::SinceStart) };
    watched.engine.snapshot(watched.reader, &request, at(1_000))
}

fn names(snapshot: &Snapshot) -> Vec<(RowKey, Vec<String>)> {
    let of = |key: &RowKey| snapshot.owners.rows.get(key).into_iter().flat_map(|processes| processes.iter());
    let names = |key: &RowKey| of(key).map(|process| process.name.clone()).collect();
    snapshot.rows.iter().map(|row| (row.key, names(&row.key))).collect()
}

fn contained(pid: u32, name: &str) -> Arc<Process> {
    let workload = Workload {
        unit: Some("docker.service".to_owned()),
        container: Some("web".to_owned()),
        container_id: Some("0123456789ab".to_owned()),
        pod: Some("shop-5f".to_owned()),
        namespace: None,
    };
    Arc::new(Process {
        pid,
        name: name.to_owned(),
        executable: Some("/usr/sbin/a-very-long-daemon-name".to_owned()),
        workload: Some(Arc::new(workload)),
        ..Process::default()
    })
}

#[test]
fn rows_name_their_processes_and_filters_choose_by_them() {
    let mut watched = Watched::new();
    let peers = [process(7, "curl"), contained(8, "a-very-long-dae"), process(9, "curl")];
    for (n, process) in (0..).zip(&peers) {
        let connection = Connection::to(v4(10, 0, 0, 9, 443 + n), 40_000 + n);
        let cookie = u64::from(n) + 1;
        watched.handle(Input::Owner(&owner(cookie, OwnerAction::Connect, process)));
        watched.see([by(cookie, connection.syn(at(u64::from(n))))]);
    }
    let of = |watched: &mut Watched, filter: &str, group| names(&snapshot(watched, filter, group));
    let by_peer: Vec<_> =
        of(&mut watched, "", Group::Peer).into_iter().flat_map(|(_, names)| names).collect();
    assert_eq!(by_peer.len(), 3);
    assert_eq!(of(&mut watched, "", Group::Host)[0].1.len(), 2, "two of one name are one");
    for (filter, expected) in [
        ("proc:curl", 2),
        ("proc:CURL,other", 2),
        ("proc:cur", 0),
        ("cur", 2),
        ("proc:a-very-long-daemon-name", 1),
        ("proc:a-very-long-dae", 1),
        ("!proc:curl", 1),
        ("pid:7,9", 2),
        ("pid:7 proc:curl", 1),
        ("container:web", 1),
        ("container:shop-5f", 1),
        ("container:shop-5f/web", 1),
        ("container:0123456789ab", 1),
        ("unit:docker", 1),
        ("unit:docker.service", 1),
        ("unit:dock", 0),
    ] {
        let taken = snapshot(&mut watched, filter, Group::Peer);
        assert_eq!(taken.rows.len(), expected, "rows: {filter}");
        assert_eq!(taken.flows.expect("asked for").rows.len(), expected, "flows: {filter}");
    }
}

/// Connections, each with a socket of its own and the process that opens it.
struct Opened {
    watched: Watched,
    cookie: u64,
}

impl Opened {
    fn open(&mut self, port: u16, process: Option<&Arc<Process>>) {
        self.cookie += 1;
        if let Some(process) = process {
            self.watched.handle(Input::Owner(&owner(self.cookie, OwnerAction::Connect, process)));
        }
        let local = 40_000 + u16::try_from(self.cookie).expect("few");
        let connection = Connection::to(v4(10, 0, 0, 9, port), local);
        self.watched.see([by(self.cookie, connection.syn(at(self.cookie)))]);
    }

    /// Rows by their names, with how many peers, attempts and processes each has.
    fn rows(&mut self, group: Group) -> Vec<(String, usize, u64, usize)> {
        let taken = snapshot(&mut self.watched, "", group);
        let names = |key: &RowKey| taken.owners.rows.get(key).map_or(0, |processes| processes.iter().len());
        let shown = |row: &Row| (row.key.to_string(), row.peers, row.figures.counts.opened, names(&row.key));
        let mut rows: Vec<_> = taken.rows.iter().map(shown).collect();
        rows.sort();
        rows
    }
}

/// A peer is in the row of the process, or of the container, that all of its connections belong to; peers of several are in one
/// row of such, so that no row has figures of others.
#[test]
fn peers_are_grouped_by_their_processes_and_containers() {
    let mut opened = Opened { watched: Watched::new(), cookie: 0 };
    let [curl, ssh, web] = [process(7, "curl"), process(8, "ssh"), contained(9, "curl")];
    let peers: [&[&Arc<Process>]; 4] = [&[&curl], &[&curl, &process(17, "curl")], &[&curl, &ssh], &[&web]];
    for (port, processes) in (443..).zip(peers) {
        processes.iter().for_each(|process| opened.open(port, Some(process)));
    }
    opened.open(447, None);
    let row = |name: &str, peers: usize, opened: u64, names: usize| (name.to_owned(), peers, opened, names);
    let of_one = row("a process", 1, 1, 1);
    let unknown = row("process not known", 1, 1, 0);
    assert_eq!(
        opened.rows(Group::Process),
        [of_one, row("a process", 2, 3, 1), unknown.clone(), row("several processes", 1, 2, 2)]
    );
    assert_eq!(
        opened.rows(Group::Container),
        [row("a container", 1, 1, 1), row("a container", 3, 5, 2), unknown.clone()]
    );
    // A peer of one process becomes one of several, and leaves its row.
    opened.open(443, Some(&ssh));
    assert_eq!(
        opened.rows(Group::Process)[1..],
        [row("a process", 1, 2, 1), unknown, row("several processes", 2, 4, 2)]
    );
    // The flows of a row are those of its peers, also where they have to be searched.
    let query =
        Query { group: Group::Process, filter: "!proc:ssh".parse().expect("valid"), ..Query::default() };
    let all =
        SnapshotRequest { query, rows: 100, selected_flows: 10, ..SnapshotRequest::totals(Span::SinceStart) };
    let Watched { engine, reader, .. } = &mut opened.watched;
    for row in engine.snapshot(*reader, &all, at(1_000)).rows {
        let request = SnapshotRequest { selected: Some(row.key), ..all.clone() };
        let selection = engine.snapshot(*reader, &request, at(1_000)).selection.expect("one");
        assert_eq!(selection.flows.len() as u64, row.figures.counts.opened, "{row:?}");
    }
}

/// The owner of a peer that is known already is learned, and the filter lets it pass from then on.
#[test]
fn an_owner_that_is_learned_late_changes_what_passes() {
    let mut watched = Watched::new();
    watched.see([from().syn(at(0)), by(ACCEPTED, from().syn_ack(at(1))), from().ack(at(2))]);
    assert_eq!(snapshot(&mut watched, "proc:worker", Group::Peer).rows.len(), 0);
    let connection = from();
    let ends = [connection.responder, connection.opener];
    watched.handle(Input::Holders(&[holder(ACCEPTED, ends, &process(2, "worker"))]));
    assert_eq!(snapshot(&mut watched, "proc:worker", Group::Peer).rows.len(), 1);
    assert_eq!(snapshot(&mut watched, "proc:worker", Group::Host).rows.len(), 1);
}

/// The change of a verdict is an event of the processes whose connections the peer has.
#[test]
fn changes_of_a_verdict_are_chosen_by_the_processes() {
    let mut watched = Watched::new();
    for (n, process) in (0..).zip([process(7, "curl"), process(8, "ssh")]) {
        let cookie = u64::from(n) + 1;
        watched.handle(Input::Owner(&owner(cookie, OwnerAction::Connect, &process)));
        for attempt in 0..3 {
            let refused = Connection::to(v4(10, 0, 0, 9, 443 + n), 40_000 + 10 * n + attempt);
            let began_ms = 10 * u64::from(attempt);
            watched.see([by(cookie, refused.syn(at(began_ms))), refused.rst_of_responder(at(began_ms + 1))]);
        }
    }
    let mut changes = |filter: &str| -> Vec<u16> {
        let query = Query { filter: filter.parse().expect("valid"), ..Query::default() };
        let request = SnapshotRequest { query, rows: 100, log: 100, ..SnapshotRequest::totals(Span::Window) };
        let log = watched.engine.snapshot(watched.reader, &request, at(1_000)).log.expect("asked for");
        let ports = log.rows.iter().filter_map(|entry| match &entry.what {
            What::Verdict { peer, .. } => Some(peer.service.port),
            _ => None,
        });
        ports.collect()
    };
    assert_eq!(changes("").len(), 2);
    for (filter, expected) in
        [("proc:curl", 443), ("!proc:curl", 444), ("pid:8", 444), ("verdict:R ssh", 444)]
    {
        assert_eq!(changes(filter), [expected], "{filter}");
    }
    assert!(changes("proc:other").is_empty() && changes("curl ssh").is_empty());
}
