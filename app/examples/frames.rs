//! What a frame costs: with many flows and some new ones, four times a second a snapshot is taken and drawn.
//!
//! Prints one line of names and numbers: processor time of each part per frame in microseconds, and the bytes that a
//! frame sends to the terminal. `cargo xtask bench tui` runs this and compares with the limits.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use probe_common::segment::mapped;
use probe_common::{
    Direction, Endpoint, Record, SegmentClass, SegmentKind, SegmentRecord, TcpFlags, Timestamps, Transmission,
};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use tcptop::clock::Anchor;
use tcptop::output::RenderContext;
use tcptop::tui::model::{Action, Model, View};
use tcptop::tui::view;
use tcptop_core::{
    Engine, EngineConfig, Filter, FlowOrder, Group, Input, Query, ReaderConfig, ReaderId, SnapshotRequest,
    Sort, Span,
};

const S: u64 = 1_000_000_000;
const FRAME_NS: u64 = S / 4;
const START: u64 = 1_000 * S;
/// Snapshots until the window is full and slides.
const WARM_UP: u64 = 60;
const INTERFACE: u32 = 2;

/// Rows of each table, as the screen requests them.
const ROWS: usize = 500;

/// A view to measure: its name, group, filter, order of flows, and whether it shows the flows of all peers.
const LOOKS: [(&str, Group, &str, FlowOrder, bool); 9] = [
    ("first", Group::Peer, "", FlowOrder::Age, false),
    ("first-filtered", Group::Peer, "10. p99>20ms", FlowOrder::Age, false),
    ("hosts", Group::Host, "", FlowOrder::Age, false),
    ("subnets", Group::Subnet, "", FlowOrder::Age, false),
    ("services", Group::Service, "", FlowOrder::Age, false),
    ("roles", Group::Role, "", FlowOrder::Age, false),
    ("flows", Group::Peer, "", FlowOrder::Age, true),
    ("flows-slow", Group::Peer, "p99>20ms", FlowOrder::Rtt, true),
    ("flows-word", Group::Peer, "10.1.0", FlowOrder::Problem, true),
];

/// The arguments of a run.
struct Plan {
    flows: u64,
    peers: u64,
    new_per_s: u64,
    frames: u64,
    size: (u16, u16),
    request: SnapshotRequest,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = Plan::read(&arguments).unwrap_or_else(|wrong| {
        eprintln!("frames: {wrong}\n  wanted: FLOWS PEERS NEW/s FRAMES WIDTHxHEIGHT LOOK");
        std::process::exit(2);
    });
    let mut host = Host::new(&plan);
    let mut frames = Frames::new(&plan);
    for number in 0..WARM_UP + plan.frames {
        host.pass(FRAME_NS, plan.new_per_s / 4);
        if number == WARM_UP {
            frames.forget();
            host.cpu_ns = 0;
        }
        frames.take(&mut host, &plan.request);
    }
    println!("{}", frames.report(&host, plan.frames));
}

impl Plan {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let [flows, peers, new_per_s, frames, size, look] = arguments else {
            return Err(format!("{} arguments", arguments.len()));
        };
        let number = |text: &String| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        let (width, height) = size.split_once('x').ok_or("no size")?;
        let side = |text: &str| text.parse::<u16>().map_err(|error| error.to_string());
        Ok(Self {
            flows: number(flows)?,
            peers: number(peers)?.max(1),
            new_per_s: number(new_per_s)?,
            frames: number(frames)?.max(1),
            size: (side(width)?, side(height)?),
            request: request(look)?,
        })
    }
}

fn request(look: &str) -> Result<SnapshotRequest, String> {
    let known = LOOKS.iter().find(|(name, ..)| *name == look);
    let names = || LOOKS.map(|(name, ..)| name).join(", ");
    let &(_, group, filter, by, all_flows) = known.ok_or_else(|| format!("{look} is none of {}", names()))?;
    let filter: Filter = filter.parse().map_err(|error| format!("{filter}: {error}"))?;
    let query = Query { filter, group, flow_sort: Sort { by, reversed: false }, ..Query::default() };
    Ok(SnapshotRequest {
        query,
        rows: ROWS,
        selected_flows: ROWS,
        flows: if all_flows { ROWS } else { 0 },
        log: ROWS,
        timeline: true,
        ..SnapshotRequest::totals(Span::Window)
    })
}

/// A host with many connections.
struct Host {
    engine: Engine,
    reader: ReaderId,
    now_ns: u64,
    opened: u64,
    peers: u64,
    random: fastrand::Rng,
    cpu_ns: u64,
}

impl Host {
    fn new(plan: &Plan) -> Self {
        let max_flows = usize::try_from(plan.flows).unwrap_or(usize::MAX);
        let config = EngineConfig { max_flows, ..EngineConfig::default() };
        let mut engine = Engine::new(&config, START);
        engine.handle(Input::Interfaces(&interfaces()));
        let reader = engine.add_reader(ReaderConfig { events: None, log: true });
        let mut host = Self {
            engine,
            reader,
            now_ns: START,
            opened: 0,
            peers: plan.peers,
            random: fastrand::Rng::with_seed(1),
            cpu_ns: 0,
        };
        // They were opened within the last minutes, and stay open.
        for _ in 0..100 {
            host.pass(2 * S, plan.flows / 100);
        }
        host
    }

    /// Lets time pass, in which this many connections are opened.
    fn pass(&mut self, by_ns: u64, new: u64) {
        let mut records = Vec::new();
        for number in 0..new {
            self.open(self.now_ns + by_ns * number / new, &mut records);
        }
        self.now_ns += by_ns;
        let began_ns = cpu_ns();
        self.engine.handle(Input::Records(&records));
        self.engine.handle(Input::Time { now_ns: self.now_ns });
        self.cpu_ns += cpu_ns() - began_ns;
    }

    /// Of a hundred connections 95 are established, 5 of them with a retransmitted SYN; 3 are refused, 2 unanswered.
    fn open(&mut self, now_ns: u64, records: &mut Vec<Record>) {
        let number = self.opened;
        self.opened += 1;
        // Some peers are much busier than others.
        let share = self.random.f64();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a choice"
        )]
        let peer = (share * share * share * self.peers as f64) as u64;
        let rtt_ns = (200_000 + peer % 97 * 500_000) * (80 + self.random.u64(0..40)) / 100;
        let (local, remote) = ends(number, peer);
        let isn = u32::try_from(number & 0xffff_ffff).unwrap_or(0);
        let record = |after_ns, kind, flags, out: bool, seq: u32, ack| {
            let (source, destination) = if out { (local, remote) } else { (remote, local) };
            let direction = if out { Direction::Egress } else { Direction::Ingress };
            let time_ns = now_ns + after_ns;
            segment(time_ns, kind, flags, direction, source, destination, seq, ack)
        };
        let mut pass = |record: SegmentRecord| records.push(record.into());
        pass(record(0, SegmentKind::Syn, TcpFlags::SYN, true, isn, 0));
        match number % 100 {
            0..2 => return,
            2..5 => {
                return pass(record(
                    rtt_ns,
                    SegmentKind::Rst,
                    TcpFlags::RST.with(TcpFlags::ACK),
                    false,
                    0,
                    isn + 1,
                ));
            }
            5..10 => pass(record(1, SegmentKind::Syn, TcpFlags::SYN, true, isn, 0)),
            _ => {}
        }
        pass(record(
            rtt_ns,
            SegmentKind::SynAck,
            TcpFlags::SYN.with(TcpFlags::ACK),
            false,
            7,
            isn.wrapping_add(1),
        ));
        pass(record(rtt_ns + 20_000, SegmentKind::Ack, TcpFlags::ACK, true, isn.wrapping_add(1), 8));
    }
}

fn interfaces() -> BTreeMap<u32, String> {
    BTreeMap::from([(INTERFACE, "enp0s1".to_owned())])
}

/// Every peer is an address of its own; one of three uses IPv6.
fn ends(number: u64, peer: u64) -> (Endpoint, Endpoint) {
    let port = u16::try_from(1_024 + number % 64_000).unwrap_or(1_024);
    let [.., a, b, c] = peer.to_be_bytes();
    let address = |own: u8| match peer % 3 {
        0 => [0x20, 1, 0xd, 0xb8, own, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c],
        _ => mapped([10 + own, a, b, c]),
    };
    // There are too few ports.
    let [.., host] = (number / 64_000).to_be_bytes();
    let local = match peer % 3 {
        0 => [0x20, 1, 0xd, 0xb8, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host],
        _ => mapped([172, 16, 0, host]),
    };
    (Endpoint { address: local, port }, Endpoint { address: address(1), port: 443 })
}

#[allow(clippy::too_many_arguments, reason = "a record has that many parts")]
fn segment(
    time_ns: u64,
    kind: SegmentKind,
    flags: TcpFlags,
    direction: Direction,
    source: Endpoint,
    destination: Endpoint,
    seq: u32,
    ack: u32,
) -> SegmentRecord {
    SegmentRecord {
        time_ns,
        interface: INTERFACE,
        kind,
        direction,
        source,
        destination,
        seq,
        ack,
        flags,
        payload_len: 0,
        timestamps: Timestamps::default(),
        segments: 1,
        class: SegmentClass::NEW,
        volumes: Default::default(),
        encapsulation: Default::default(),
        cookie: 0,
        said: Transmission::UNKNOWN,
        dsacks: None,
        ttl: None,
        reset: None,
        timebase: 0,
    }
}

/// Takes snapshots and draws them.
struct Frames {
    terminal: Terminal<CrosstermBackend<Counted>>,
    /// Bytes that were written to it.
    written: Rc<Cell<u64>>,
    model: Model,
    context: RenderContext,
    snapshot_ns: Vec<u64>,
    draw_ns: Vec<u64>,
    sent: Vec<u64>,
}

impl Frames {
    fn new(plan: &Plan) -> Self {
        let (width, height) = plan.size;
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, width, height)) };
        let written = Rc::default();
        let backend = CrosstermBackend::new(Counted(Rc::clone(&written)));
        let terminal = Terminal::with_options(backend, options).expect("its size is given");
        let context = RenderContext {
            interfaces: interfaces(),
            source: "tcx",
            not_known: Vec::new(),
            host: None,
            run: String::new(),
            anchor: Anchor::new(0, Timestamp::UNIX_EPOCH),
            zone: jiff::tz::TimeZone::UTC,
        };
        let mut model = Model::new(plan.request.query.clone());
        if plan.request.flows > 0 {
            model.update(Action::Show(View::Flows));
        }
        Self {
            terminal,
            written,
            model,
            context,
            snapshot_ns: Vec::new(),
            draw_ns: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn take(&mut self, host: &mut Host, request: &SnapshotRequest) {
        let began_ns = cpu_ns();
        let snapshot = host.engine.snapshot(host.reader, request, host.now_ns);
        let taken_ns = cpu_ns();
        let sent_before = self.written.get();
        self.model.refresh(Arc::new(snapshot));
        let (model, context) = (&self.model, &self.context);
        let draw = |frame: &mut ratatui::Frame<'_>| {
            view::draw(frame, model, context);
        };
        self.terminal.draw(draw).expect("a counter takes all");
        self.draw_ns.push(cpu_ns() - taken_ns);
        self.snapshot_ns.push(taken_ns - began_ns);
        self.sent.push(self.written.get() - sent_before);
    }

    fn forget(&mut self) {
        (self.snapshot_ns, self.draw_ns, self.sent) = Default::default();
    }

    fn report(&self, host: &Host, frames: u64) -> String {
        let known = self.model.snapshot.as_ref().expect("some were taken");
        let mean = |all: &[u64]| all.iter().sum::<u64>() / frames;
        let most = |all: &[u64]| all.iter().max().copied().unwrap_or(0);
        format!(
            "flows {} peers {} table_us {} snapshot_us {} snapshot_max_us {} draw_us {} draw_max_us {} bytes {} bytes_max {}",
            known.flow_count,
            known.peer_count,
            host.cpu_ns / frames / 1_000,
            mean(&self.snapshot_ns) / 1_000,
            most(&self.snapshot_ns) / 1_000,
            mean(&self.draw_ns) / 1_000,
            most(&self.draw_ns) / 1_000,
            mean(&self.sent),
            most(&self.sent),
        )
    }
}

/// Counts the bytes that are written to it.
struct Counted(Rc<Cell<u64>>);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set(self.0.get() + bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Processor time of this thread, in nanoseconds, independent of what else runs on the machine.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock");
    u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).expect("time does not run backwards")
}
