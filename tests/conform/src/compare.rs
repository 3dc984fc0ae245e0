//! Both views of a capture, flow by flow and figure by figure.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::net::SocketAddr;

use super::bench;
use super::ours::{Flow, Leg, Resent, Run};
use super::past::Past;
use super::reason::Reason;
use super::story::Story;
use super::tshark::{Capture, Frame, RST, Verdict, completeness};

/// What tcptop can know of directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Nothing: it is an observer.
    Observer,
    /// Which addresses are on this side, or which way each packet went.
    Host,
}

/// What came of comparing.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) figures: u64,
    pub(super) agreed: u64,
    pub(super) differing: BTreeMap<Reason, u64>,
    /// What nothing excuses, in words.
    pub(super) disagreements: Vec<String>,
}

impl Ledger {
    pub(super) fn add(&mut self, other: &Self) {
        self.figures += other.figures;
        self.agreed += other.agreed;
        for (reason, count) in &other.differing {
            *self.differing.entry(*reason).or_default() += count;
        }
        self.disagreements.extend_from_slice(&other.disagreements);
    }

    /// Takes a figure that must be the same. What neither has is no figure.
    pub(super) fn same<T: PartialEq + Debug>(&mut self, what: &str, ours: Option<T>, theirs: Option<T>) {
        match (ours, theirs) {
            (None, None) => {}
            (ours, theirs) if ours == theirs => self.agrees(),
            (ours, theirs) => self.disagrees(what, &ours, &theirs),
        }
    }

    pub(super) fn agrees(&mut self) {
        self.figures += 1;
        self.agreed += 1;
    }

    pub(super) fn differs(&mut self, reason: Reason) {
        self.figures += 1;
        *self.differing.entry(reason).or_default() += 1;
    }

    pub(super) fn disagrees(&mut self, what: &str, ours: &dyn Debug, theirs: &dyn Debug) {
        self.figures += 1;
        self.disagreements.push(format!("{what}: tcptop {ours:?}, tshark {theirs:?}"));
    }
}

/// The connection attempts of a capture. Streams that do not begin with a SYN are none.
pub(super) fn stories(capture: &Capture) -> Vec<Story<'_>> {
    let mut next_ns: HashMap<[SocketAddr; 2], u64> = HashMap::new();
    let mut stories: Vec<_> = Vec::new();
    for stream in capture.streams.iter().rev() {
        let Some(first) = stream.frames.first() else { continue };
        let superseded_ns = next_ns.insert(both_ends(first), first.time_ns);
        let story = Story::of(stream, superseded_ns.unwrap_or(capture.end_ns));
        stories.extend(story.map(|story| Story { is_superseded: superseded_ns.is_some(), ..story }));
    }
    stories.reverse();
    let mut used = HashSet::new();
    for story in &mut stories {
        story.follows = !used.insert(both_ends(story.syns[0]));
    }
    stories
}

/// In an order that both directions agree on.
fn both_ends(frame: &Frame) -> [SocketAddr; 2] {
    [frame.source.min(frame.destination), frame.source.max(frame.destination)]
}

/// Compares a run of tcptop with what tshark says of the same capture.
pub(super) fn compare(capture: &Capture, run: &Run, view: View) -> Ledger {
    let mut ledger = Ledger::default();
    let stories = stories(capture);
    // Every stream of every scene begins within the capture.
    ledger.same("streams without a SYN", Some(0), Some(capture.streams.len() - stories.len()));
    let mut flows: HashMap<(SocketAddr, SocketAddr), VecDeque<&Flow>> = HashMap::new();
    for flow in &run.flows {
        flows.entry(ends(flow)).or_default().push_back(flow);
    }
    let mut told: Vec<(&Story<'_>, &Flow)> = Vec::new();
    for story in &stories {
        let flow = flows.get_mut(&(story.opener, story.listener)).and_then(VecDeque::pop_front);
        match flow {
            Some(flow) => told.push((story, flow)),
            None => ledger.disagrees(&story.name(), &"no handshake", &"a stream with a SYN"),
        }
    }
    for flow in flows.into_values().flatten() {
        ledger.disagrees("a handshake without a stream", flow, &"none");
    }
    totals(&mut ledger, &told, run);
    for (story, flow) in told {
        connection(&mut ledger, story, flow, view);
        volumes(&mut ledger, story, flow, &run.resent);
    }
    ledger
}

/// The opener first.
fn ends(flow: &Flow) -> (SocketAddr, SocketAddr) {
    if flow.role == "server" { (flow.remote, flow.local) } else { (flow.local, flow.remote) }
}

fn totals(ledger: &mut Ledger, told: &[(&Story<'_>, &Flow)], run: &Run) {
    let count = |outcome| told.iter().filter(|(story, _)| story.outcome() == outcome).count() as u64;
    let repeats =
        |(story, _): &(&Story<'_>, &Flow)| (story.syns.len() - 1) + story.syn_acks.len().saturating_sub(1);
    let summary = run.summary;
    for (what, ours, theirs) in [
        ("all handshakes", summary.handshakes, told.len() as u64),
        ("all established", summary.established, count("established")),
        ("all refused", summary.refused, count("refused")),
        ("all unanswered", summary.unanswered, count("unanswered")),
        ("all half-open", summary.half_open, count("half_open")),
        ("all reset", summary.reset, count("reset")),
        ("all pending", summary.pending, count("pending")),
        ("all repeats", summary.repeated_syns, told.iter().map(repeats).sum::<usize>() as u64),
        ("all losses", summary.lost, 0),
    ] {
        ledger.same(what, Some(ours), Some(theirs));
    }
}

fn connection(ledger: &mut Ledger, story: &Story<'_>, flow: &Flow, view: View) {
    let name = |what: &str| format!("{} {what}", story.name());
    let role = match view {
        View::Observer => "observer",
        View::Host if bench::is_near(story.opener.ip()) => "client",
        View::Host => "server",
    };
    ledger.same(&name("role"), Some(flow.role.as_str()), Some(role));
    ledger.same(&name("outcome"), Some(flow.outcome.as_str()), Some(story.outcome()));
    // What silence decides is dated to when that became sure; no packet says when.
    let decided = story.decision().map(|frame| frame.time_ns);
    ledger.same(&name("time"), decided.map(|_| flow.told_ns), decided);
    completed(ledger, story, flow);
    tries(ledger, story, flow);
    let legs = [
        ("server leg", flow.server_leg, story.server_leg(), Reason::RepeatedSyn),
        ("client leg", flow.client_leg, story.client_leg(), Reason::RepeatedSynAck),
        ("refusal", flow.refusal, story.refusal(), Reason::RepeatedSyn),
    ];
    for (what, ours, theirs, reason) in legs {
        match (ours, theirs) {
            // Bounds stand only where several segments may have been answered.
            (Some(Leg::Between(..)), Some(_)) if ours == theirs => ledger.differs(reason),
            _ => ledger.same(&name(what), ours, theirs),
        }
    }
    let unclear = |leg: Option<Leg>| leg.is_some_and(|leg| leg.exact().is_none());
    let ambiguous = [story.server_leg(), story.client_leg(), story.refusal()].into_iter().any(unclear);
    ledger.same(&name("ambiguous"), Some(flow.ambiguous), Some(ambiguous));
    ledger.same(&name("setup"), flow.setup_ns, story.setup_ns());
    round_trip(ledger, story, flow, role);
    closing(ledger, story, flow);
}

/// The outcome by the flags that tshark saw in the stream.
fn completed(ledger: &mut Ledger, story: &Story<'_>, flow: &Flow) {
    let seen = story.stream.completeness();
    let outcome = flow.outcome.as_str();
    let flagged = story.acknowledgement().is_some_and(|ack| ack.has(RST));
    if outcome == "reset" && flagged && seen & completeness::RST != 0 {
        // The ACK flag of the RST alone made the bit.
        ledger.differs(Reason::RstIsNoAck);
    } else {
        let fits = |seen| outcomes(seen).contains(&outcome);
        flags(ledger, story, &format!("outcome {outcome}"), fits);
    }
}

/// What handshakes come to that show these flags.
fn outcomes(seen: u8) -> &'static [&'static str] {
    let has = |bit| seen & bit != 0;
    match () {
        () if !has(completeness::SYN) => &[],
        () if !has(completeness::SYN_ACK) && has(completeness::RST) => &["refused"],
        () if !has(completeness::SYN_ACK) => &["unanswered", "pending"],
        () if has(completeness::ACK) => &["established"],
        () if has(completeness::RST) => &["reset"],
        () => &["half_open", "pending"],
    }
}

/// Something that has to fit `tcp.completeness`, at least without what is of another connection.
fn flags(ledger: &mut Ledger, story: &Story<'_>, what: &str, fits: impl Fn(u8) -> bool) {
    let seen = story.stream.completeness();
    if fits(seen) {
        ledger.agrees();
    } else if story.follows && seen == story.completeness(false) && fits(story.completeness(true)) {
        ledger.differs(Reason::StaleSegment);
    } else {
        ledger.disagrees(&format!("{} by tcp.completeness", story.name()), &what, &seen);
    }
}

fn tries(ledger: &mut Ledger, story: &Story<'_>, flow: &Flow) {
    let all = story.syns.len() as u64;
    let until_told = story.syns_before(story.decision()).len() as u64;
    if flow.tries == Some(until_told) && until_told < all {
        ledger.differs(Reason::LateSyn);
    } else {
        ledger.same(&format!("{} tries", story.name()), flow.tries, Some(all));
    }
}

/// Both legs together against tshark's own figure; and the one that tcptop calls the RTT, by its role.
fn round_trip(ledger: &mut Ledger, story: &Story<'_>, flow: &Flow, role: &str) {
    let exact = |leg: Option<Leg>| leg.and_then(Leg::exact);
    let (server, client) = (exact(story.server_leg()), exact(story.client_leg()));
    let both = server.zip(client).map(|(server, client)| server + client);
    let (rtt, turnaround) = match role {
        "client" => (server, None),
        "server" => (client, server),
        _ => (both, None),
    };
    ledger.same(&format!("{} RTT", story.name()), flow.rtt_ns, rtt);
    ledger.same(&format!("{} turnaround", story.name()), flow.turnaround_ns, turnaround);

    let ours = exact(flow.server_leg).zip(exact(flow.client_leg)).map(|(server, client)| server + client);
    let theirs = story.stream.initial_rtt_ns();
    // tshark's own definition, had it looked.
    if theirs.is_none() && story.cut() > 0 && ours == both && both == story.initial_rtt_ns() {
        return ledger.differs(Reason::CutHeaders);
    }
    match why(story, ours, theirs) {
        Some(reason) if ours != theirs => ledger.differs(reason),
        _ => ledger.same(&format!("{} tcp.analysis.initial_rtt", story.name()), ours, theirs),
    }
}

/// Why tshark's figure is another one, if it is what its definition gives for these packets.
fn why(story: &Story<'_>, ours: Option<u64>, theirs: Option<u64>) -> Option<Reason> {
    let ended = story.acknowledgement()?;
    if theirs != story.initial_rtt_ns() {
        return None;
    }
    if !story.owns(ended) {
        return story.follows.then_some(Reason::StaleSegment);
    }
    let Some(completion) = story.completion else {
        let rejection = story.rejection?;
        return (ours.is_none() && rejection.number == ended.number).then_some(Reason::RstIsNoAck);
    };
    if completion.number != ended.number {
        return None;
    }
    if !story.is_first_ack(completion) {
        return ours.is_none().then_some(Reason::UnseenAck);
    }
    let (answer, answered) = (story.syn_acks.first()?, story.syn_acks_before(Some(completion)));
    let syns = story.syns_before(Some(completion));
    // tshark's SYN is not the one that was answered, as far as that is known.
    let another_syn = story.syns_before(Some(answer)).len() < syns.len();
    let unclear_syn = syns.len() > 1 && story.server_leg()?.exact().is_none();
    match ours {
        None if unclear_syn => Some(Reason::RepeatedSyn),
        None if answered.len() > 1 => Some(Reason::RepeatedSynAck),
        Some(_) if another_syn => Some(Reason::RepeatedSyn),
        Some(ours) => {
            let waited_ns = answered.last()?.time_ns.saturating_sub(answer.time_ns);
            (waited_ns > 0 && theirs == Some(ours + waited_ns)).then_some(Reason::RepeatedSynAck)
        }
        None => None,
    }
}

fn closing(ledger: &mut Ledger, story: &Story<'_>, flow: &Flow) {
    let name = |what: &str| format!("{} {what}", story.name());
    let (ours, theirs) = (flow.close.as_ref(), story.ending());
    ledger.same(&name("end"), ours.map(|end| end.outcome.as_str()), theirs.as_ref().map(|end| end.outcome));
    ledger.same(&name("closed by"), ours.map(|end| end.closer), theirs.as_ref().map(|end| end.closer));
    ledger.same(
        &name("end's time"),
        ours.map(|end| end.time_ns),
        theirs.as_ref().map(|end| end.last.time_ns),
    );
    let opened_ns = story.syns[0].time_ns;
    let lifetime = theirs.map(|end| end.last.time_ns.saturating_sub(opened_ns));
    ledger.same(&name("lifetime"), ours.and_then(|end| end.lifetime_ns), lifetime);

    let end = ours.map(|end| end.outcome.as_str());
    flags(ledger, story, &format!("end {end:?}"), |seen| {
        let has = |bit| seen & bit != 0;
        match (end, flow.outcome.as_str()) {
            (Some("closed"), _) => has(completeness::FIN),
            (Some("reset"), _) | (None, "refused" | "reset") => has(completeness::RST),
            _ => !has(completeness::RST),
        }
    });
}

/// What each end sent until the connection ended, and how many packets of it tcptop had called retransmits.
fn volumes(ledger: &mut Ledger, story: &Story<'_>, flow: &Flow, resent: &[Resent]) {
    let Some((close, ending)) = flow.close.as_ref().zip(story.ending()) else { return };
    let (opened_ns, ended_ns) = (story.syns[0].time_ns, ending.last.time_ns);
    for ((sender, receiver), ours) in
        [(flow.local, flow.remote), (flow.remote, flow.local)].into_iter().zip(close.volumes)
    {
        let by_sender = |frame: &&Frame| frame.source == sender && frame.number <= ending.last.number;
        // The byte of a keep-alive has passed before.
        let probes = |frame: &Frame| {
            frame.verdict == Some(Verdict::KeepAlive) && Past::of(story.stream, frame).hole().is_none()
        };
        let is_data = |frame: &&Frame| frame.payload > 0 && !probes(frame);
        let data: Vec<_> = story.stream.frames.iter().filter(by_sender).filter(is_data).collect();
        let again = resent.iter().filter(|one| {
            let within = (opened_ns..=ended_ns).contains(&one.time_ns);
            (one.sender, one.receiver) == (sender, receiver) && one.len > 0 && within
        });
        for (what, ours, theirs) in [
            ("segments", ours.segments, data.len() as u64),
            ("bytes", ours.bytes, data.iter().map(|frame| u64::from(frame.payload)).sum()),
            ("retransmits", ours.retransmits, again.count() as u64),
        ] {
            ledger.same(&format!("{} {what} of {sender}", story.name()), Some(ours), Some(theirs));
        }
    }
}
