//! Compares both views of a capture, flow by flow and figure by figure.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::net::SocketAddr;

use super::attempt::Attempt;
use super::bench;
use super::earlier::Earlier;
use super::ours::{Flow, Leg, Retransmit, Run};
use super::reason::Reason;
use super::tshark::{Capture, Frame, RST, Verdict, completeness};

/// What tcptop can know about directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Nothing: it is an observer.
    Observer,
    /// The local addresses, or the direction of each packet.
    Host,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) figures: u64,
    pub(super) agreed: u64,
    pub(super) differing: BTreeMap<Reason, u64>,
    /// Differences without a reason, in words.
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

    /// Compares a figure that must be equal. If neither has it, it does not count.
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

/// The connection attempts of a capture: its streams that begin with a SYN.
pub(super) fn attempts(capture: &Capture) -> Vec<Attempt<'_>> {
    let mut next_ns: HashMap<[SocketAddr; 2], u64> = HashMap::new();
    let mut attempts: Vec<_> = Vec::new();
    for stream in capture.streams.iter().rev() {
        let Some(first) = stream.frames.first() else { continue };
        let superseded_ns = next_ns.insert(both_ends(first), first.time_ns);
        let attempt = Attempt::of(stream, superseded_ns.unwrap_or(capture.end_ns));
        attempts.extend(attempt.map(|attempt| Attempt { is_superseded: superseded_ns.is_some(), ..attempt }));
    }
    attempts.reverse();
    let mut used = HashSet::new();
    for attempt in &mut attempts {
        attempt.follows = !used.insert(both_ends(attempt.syns[0]));
    }
    attempts
}

/// The two ends in an order that is the same for both directions.
fn both_ends(frame: &Frame) -> [SocketAddr; 2] {
    [frame.source.min(frame.destination), frame.source.max(frame.destination)]
}

/// Compares a run of tcptop with tshark's view of the same capture.
pub(super) fn compare(capture: &Capture, run: &Run, view: View) -> Ledger {
    let mut ledger = Ledger::default();
    let attempts = attempts(capture);
    // Every stream of every scene begins within the capture.
    ledger.same("streams without a SYN", Some(0), Some(capture.streams.len() - attempts.len()));
    let mut flows: HashMap<(SocketAddr, SocketAddr), VecDeque<&Flow>> = HashMap::new();
    for flow in &run.flows {
        flows.entry(ends(flow)).or_default().push_back(flow);
    }
    let mut matched: Vec<(&Attempt<'_>, &Flow)> = Vec::new();
    for attempt in &attempts {
        let flow = flows.get_mut(&(attempt.opener, attempt.listener)).and_then(VecDeque::pop_front);
        match flow {
            Some(flow) => matched.push((attempt, flow)),
            None => ledger.disagrees(&attempt.name(), &"no handshake", &"a stream with a SYN"),
        }
    }
    for flow in flows.into_values().flatten() {
        ledger.disagrees("a handshake without a stream", flow, &"none");
    }
    totals(&mut ledger, &matched, run);
    for (attempt, flow) in matched {
        connection(&mut ledger, attempt, flow, view);
        volumes(&mut ledger, attempt, flow, &run.retransmits);
    }
    ledger
}

/// The opener first.
fn ends(flow: &Flow) -> (SocketAddr, SocketAddr) {
    if flow.role == "server" { (flow.remote, flow.local) } else { (flow.local, flow.remote) }
}

fn totals(ledger: &mut Ledger, matched: &[(&Attempt<'_>, &Flow)], run: &Run) {
    let count = |outcome| matched.iter().filter(|(attempt, _)| attempt.outcome() == outcome).count() as u64;
    let repeats = |(attempt, _): &(&Attempt<'_>, &Flow)| {
        (attempt.syns.len() - 1) + attempt.syn_acks.len().saturating_sub(1)
    };
    let summary = run.summary;
    for (what, ours, theirs) in [
        ("all handshakes", summary.handshakes, matched.len() as u64),
        ("all established", summary.established, count("established")),
        ("all refused", summary.refused, count("refused")),
        ("all unanswered", summary.unanswered, count("unanswered")),
        ("all half-open", summary.half_open, count("half_open")),
        ("all reset", summary.reset, count("reset")),
        ("all pending", summary.pending, count("pending")),
        ("all repeats", summary.repeated_syns, matched.iter().map(repeats).sum::<usize>() as u64),
        ("all losses", summary.lost, 0),
    ] {
        ledger.same(what, Some(ours), Some(theirs));
    }
}

fn connection(ledger: &mut Ledger, attempt: &Attempt<'_>, flow: &Flow, view: View) {
    let name = |what: &str| format!("{} {what}", attempt.name());
    let role = match view {
        View::Observer => "observer",
        View::Host if bench::is_near(attempt.opener.ip()) => "client",
        View::Host => "server",
    };
    ledger.same(&name("role"), Some(flow.role.as_str()), Some(role));
    ledger.same(&name("outcome"), Some(flow.outcome.as_str()), Some(attempt.outcome()));
    // An outcome by timeout has no packet to compare its time with.
    let decided = attempt.decision().map(|frame| frame.time_ns);
    ledger.same(&name("time"), decided.map(|_| flow.decided_ns), decided);
    completed(ledger, attempt, flow);
    tries(ledger, attempt, flow);
    let legs = [
        ("server leg", flow.server_leg, attempt.server_leg(), Reason::RetransmittedSyn),
        ("client leg", flow.client_leg, attempt.client_leg(), Reason::RetransmittedSynAck),
        ("refusal", flow.refusal, attempt.refusal(), Reason::RetransmittedSyn),
    ];
    for (what, ours, theirs, reason) in legs {
        match (ours, theirs) {
            // There are bounds only if several segments may have been answered.
            (Some(Leg::Between(..)), Some(_)) if ours == theirs => ledger.differs(reason),
            _ => ledger.same(&name(what), ours, theirs),
        }
    }
    let unclear = |leg: Option<Leg>| leg.is_some_and(|leg| leg.exact().is_none());
    let ambiguous = [attempt.server_leg(), attempt.client_leg(), attempt.refusal()].into_iter().any(unclear);
    ledger.same(&name("ambiguous"), Some(flow.ambiguous), Some(ambiguous));
    ledger.same(&name("setup"), flow.setup_ns, attempt.setup_ns());
    round_trip(ledger, attempt, flow, role);
    closing(ledger, attempt, flow);
}

/// Compares the outcome with the flags that tshark saw in the stream.
fn completed(ledger: &mut Ledger, attempt: &Attempt<'_>, flow: &Flow) {
    let seen = attempt.stream.completeness();
    let outcome = flow.outcome.as_str();
    let flagged = attempt.acknowledgement().is_some_and(|ack| ack.has(RST));
    if outcome == "reset" && flagged && seen & completeness::RST != 0 {
        // The bit comes from the ACK flag of the RST.
        ledger.differs(Reason::RstIsNoAck);
    } else {
        let fits = |seen| outcomes(seen).contains(&outcome);
        flags(ledger, attempt, &format!("outcome {outcome}"), fits);
    }
}

/// The outcomes that are possible with these flags.
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

/// Checks something against `tcp.completeness`, if need be without segments of another connection.
fn flags(ledger: &mut Ledger, attempt: &Attempt<'_>, what: &str, fits: impl Fn(u8) -> bool) {
    let seen = attempt.stream.completeness();
    if fits(seen) {
        ledger.agrees();
    } else if attempt.follows && seen == attempt.completeness(false) && fits(attempt.completeness(true)) {
        ledger.differs(Reason::StaleSegment);
    } else {
        ledger.disagrees(&format!("{} by tcp.completeness", attempt.name()), &what, &seen);
    }
}

fn tries(ledger: &mut Ledger, attempt: &Attempt<'_>, flow: &Flow) {
    let all = attempt.syns.len() as u64;
    let until_decided = attempt.syns_before(attempt.decision()).len() as u64;
    if flow.tries == Some(until_decided) && until_decided < all {
        ledger.differs(Reason::LateSyn);
    } else {
        ledger.same(&format!("{} tries", attempt.name()), flow.tries, Some(all));
    }
}

/// Compares the sum of both legs with tshark's figure, and the leg that is the RTT for this role.
fn round_trip(ledger: &mut Ledger, attempt: &Attempt<'_>, flow: &Flow, role: &str) {
    let exact = |leg: Option<Leg>| leg.and_then(Leg::exact);
    let (server, client) = (exact(attempt.server_leg()), exact(attempt.client_leg()));
    let both = server.zip(client).map(|(server, client)| server + client);
    let (rtt, turnaround) = match role {
        "client" => (server, None),
        "server" => (client, server),
        _ => (both, None),
    };
    ledger.same(&format!("{} RTT", attempt.name()), flow.rtt_ns, rtt);
    ledger.same(&format!("{} turnaround", attempt.name()), flow.turnaround_ns, turnaround);

    let ours = exact(flow.server_leg).zip(exact(flow.client_leg)).map(|(server, client)| server + client);
    let theirs = attempt.stream.initial_rtt_ns();
    // What tshark's definition gives for the whole headers.
    if theirs.is_none() && attempt.cut() > 0 && ours == both && both == attempt.initial_rtt_ns() {
        return ledger.differs(Reason::TruncatedHeaders);
    }
    match why(attempt, ours, theirs) {
        Some(reason) if ours != theirs => ledger.differs(reason),
        _ => ledger.same(&format!("{} tcp.analysis.initial_rtt", attempt.name()), ours, theirs),
    }
}

/// Why tshark's figure differs, if it follows its definition.
fn why(attempt: &Attempt<'_>, ours: Option<u64>, theirs: Option<u64>) -> Option<Reason> {
    let ended = attempt.acknowledgement()?;
    if theirs != attempt.initial_rtt_ns() {
        return None;
    }
    if !attempt.owns(ended) {
        return attempt.follows.then_some(Reason::StaleSegment);
    }
    let Some(completion) = attempt.completion else {
        let rejection = attempt.rejection?;
        return (ours.is_none() && rejection.number == ended.number).then_some(Reason::RstIsNoAck);
    };
    if completion.number != ended.number {
        return None;
    }
    if !attempt.is_first_ack(completion) {
        return ours.is_none().then_some(Reason::UnseenAck);
    }
    let (answer, answered) = (attempt.syn_acks.first()?, attempt.syn_acks_before(Some(completion)));
    let syns = attempt.syns_before(Some(completion));
    // tshark does not measure from the SYN that was answered.
    let another_syn = attempt.syns_before(Some(answer)).len() < syns.len();
    let unclear_syn = syns.len() > 1 && attempt.server_leg()?.exact().is_none();
    match ours {
        None if unclear_syn => Some(Reason::RetransmittedSyn),
        None if answered.len() > 1 => Some(Reason::RetransmittedSynAck),
        Some(_) if another_syn => Some(Reason::RetransmittedSyn),
        Some(_) if attempt.latest_syn_before(ended)?.is_copy => Some(Reason::Copy),
        Some(ours) => {
            let waited_ns = answered.last()?.time_ns.saturating_sub(answer.time_ns);
            (waited_ns > 0 && theirs == Some(ours + waited_ns)).then_some(Reason::RetransmittedSynAck)
        }
        None => None,
    }
}

fn closing(ledger: &mut Ledger, attempt: &Attempt<'_>, flow: &Flow) {
    let name = |what: &str| format!("{} {what}", attempt.name());
    let (ours, theirs) = (flow.close.as_ref(), attempt.ending());
    ledger.same(&name("end"), ours.map(|end| end.outcome.as_str()), theirs.as_ref().map(|end| end.outcome));
    ledger.same(&name("closed by"), ours.map(|end| end.closer), theirs.as_ref().map(|end| end.closer));
    ledger.same(
        &name("end's time"),
        ours.map(|end| end.time_ns),
        theirs.as_ref().map(|end| end.last.time_ns),
    );
    let opened_ns = attempt.syns[0].time_ns;
    let lifetime = theirs.map(|end| end.last.time_ns.saturating_sub(opened_ns));
    ledger.same(&name("lifetime"), ours.and_then(|end| end.lifetime_ns), lifetime);

    let end = ours.map(|end| end.outcome.as_str());
    flags(ledger, attempt, &format!("end {end:?}"), |seen| {
        let has = |bit| seen & bit != 0;
        match (end, flow.outcome.as_str()) {
            (Some("closed"), _) => has(completeness::FIN),
            (Some("reset"), _) | (None, "refused" | "reset") => has(completeness::RST),
            _ => !has(completeness::RST),
        }
    });
}

/// Compares what each end sent until the connection ended, and how many of its packets are retransmits.
fn volumes(ledger: &mut Ledger, attempt: &Attempt<'_>, flow: &Flow, retransmits: &[Retransmit]) {
    let Some((close, ending)) = flow.close.as_ref().zip(attempt.ending()) else { return };
    let (opened_ns, ended_ns) = (attempt.syns[0].time_ns, ending.last.time_ns);
    for ((sender, receiver), ours) in
        [(flow.local, flow.remote), (flow.remote, flow.local)].into_iter().zip(close.volumes)
    {
        // Without an IP ID, what is sent again at once looks like a copy: tcptop has the holes and the clock to tell.
        let is_reported = |frame: &Frame| {
            let is_it =
                |one: &Retransmit| (one.time_ns, one.seq, one.sender) == (frame.time_ns, frame.seq, sender);
            retransmits.iter().any(is_it)
        };
        let by_sender = |frame: &&Frame| {
            let is_within = frame.source == sender && frame.number <= ending.last.number;
            is_within && (!frame.is_copy || is_reported(frame))
        };
        // The byte of a keep-alive has been sent before.
        let probes = |frame: &Frame| {
            frame.verdict == Some(Verdict::KeepAlive) && Earlier::of(attempt.stream, frame).hole().is_none()
        };
        let is_data = |frame: &&Frame| frame.payload > 0 && !probes(frame);
        let data: Vec<_> = attempt.stream.frames.iter().filter(by_sender).filter(is_data).collect();
        // tshark assigns what is late of an earlier connection to this one.
        let own: Vec<_> = data.iter().copied().filter(|frame| attempt.owns(frame)).collect();
        if attempt.follows && own.len() < data.len() && own.len() as u64 == ours.segments {
            ledger.differs(Reason::StaleSegment);
        }
        let data = if attempt.follows { own } else { data };
        let again = retransmits.iter().filter(|one| {
            let within = (opened_ns..=ended_ns).contains(&one.time_ns);
            (one.sender, one.receiver) == (sender, receiver) && one.len > 0 && within
        });
        for (what, ours, theirs) in [
            ("segments", ours.segments, data.len() as u64),
            ("bytes", ours.bytes, data.iter().map(|frame| u64::from(frame.payload)).sum()),
            ("retransmits", ours.retransmits, again.count() as u64),
        ] {
            ledger.same(&format!("{} {what} of {sender}", attempt.name()), Some(ours), Some(theirs));
        }
    }
}
