//! The details of a row or a flow: every figure, why it has its verdict, and what to try.

use ratatui::text::Line;

use super::{ViewContext, style};
use crate::output::explain::{Explanation, explain};
use crate::output::format::{
    self, UNKNOWN, age, bytes, counted, duration, icmp_error, maybe_duration, percent, rate,
};
use crate::tui::columns::CellContext;
use tcptop_core::{
    AcceptQueue, Counts, Evidence, Figures, Flow, Leg, Outcome, Owner, Party, PeerKey, Process, Role, Row,
    RowKey, RowOwner, Selection,
};

mod socket;

/// Width of the labels.
const LABEL: usize = 13;

/// A label and a text. Without a label the text continues the one before.
type Fact = (&'static str, String);

/// A page of details.
pub(super) struct Details {
    title: String,
    facts: Vec<Fact>,
}

impl Details {
    const fn of_nothing() -> Self {
        Self { title: String::new(), facts: Vec::new() }
    }

    /// Line by line.
    pub(super) fn lines(&self) -> Vec<Line<'static>> {
        let facts = self.facts.iter().map(|(label, text)| {
            let label = if label.is_empty() { String::new() } else { format!("{label}:") };
            Line::from(format!("  {label:<LABEL$} {text}"))
        });
        [Line::styled(self.title.clone(), style::strong()), Line::default()]
            .into_iter()
            .chain(facts)
            .collect()
    }
}

/// The details of the selected row.
pub(super) fn row(view: &ViewContext<'_>) -> Details {
    let ViewContext { snapshot, model, cells } = view;
    let Some(selected) = model.rows().get(model.selected_row()).copied() else {
        return Details::of_nothing();
    };
    let window = format!("in the last {}: ", age(snapshot.window_ns));
    let mut facts = vec![("verdict", verdict(selected, cells)), ("peer", peer(selected, cells))];
    let per_second = format!(" ({}/s)", rate(selected.new_per_s));
    facts.extend(figures("window", &window, &per_second, &selected.figures));
    let selection = snapshot.selection.as_ref().filter(|selection| selection.row.key == selected.key);
    match selection {
        Some(selection) => facts.extend(since_start(selection, view)),
        None if model.frozen => {
            facts.push(("more", "not available while the display is frozen".to_owned()));
        }
        None => {}
    }
    facts.extend(processes(selected, cells));
    let queue = snapshot.sockets.get(&selected.key).and_then(|sockets| sockets.accept_queue);
    facts.extend(queue.map(|queue| ("listener", accept_queue(&queue, cells))));
    facts.extend(explanation(selected, view));
    Details { title: cells.row(&selected.key), facts }
}

fn peer(row: &Row, cells: &CellContext<'_>) -> String {
    let interface = cells.render.interface(row.key.interface());
    let peers = counted(row.peers as u64, "peer");
    let what = match row.key {
        RowKey::Peer(PeerKey { role, service, .. }) => match role {
            Role::Server => format!("connects to port {} of this host", service.port),
            Role::Client | Role::Local => "this host connects to it".to_owned(),
            Role::Forwarded => "others connect to it through this host".to_owned(),
            Role::Observer => "others connect to it".to_owned(),
        },
        RowKey::Host { .. } => format!("{peers} with this address"),
        RowKey::Service { role: Role::Server, .. } => format!("{peers} connecting to this port of this host"),
        RowKey::Service { .. } => format!("{peers} with this service port"),
        RowKey::Subnet { .. } => format!("{peers} in this network"),
        RowKey::Role { role, .. } => match role {
            Role::Server => format!("{peers} connecting to this host"),
            Role::Client | Role::Local => format!("{peers} that this host connects to"),
            Role::Forwarded => format!("{peers} that others connect to through this host"),
            Role::Observer => format!("{peers} that others connect to"),
        },
        RowKey::Interface(_) => peers,
        RowKey::Process { owner, .. } | RowKey::Container { owner, .. } => of_owners(row, owner, &peers),
    };
    format!("{what}, on {interface}")
}

fn of_owners(row: &Row, owner: RowOwner, peers: &str) -> String {
    let [one, several] = match row.key {
        RowKey::Container { .. } => ["processes in this container", "processes in several containers"],
        _ => ["this process", "several processes"],
    };
    match owner {
        RowOwner::One(_) => format!("{peers} with connections of {one} only"),
        RowOwner::Several => format!("{peers}, each with connections of {several}"),
        RowOwner::Unknown => format!("{peers} with connections whose process is not known"),
    }
}

fn verdict(row: &Row, cells: &CellContext<'_>) -> String {
    let one = |(verdict, since_ns): (tcptop_core::Verdict, u64)| {
        let past = age(cells.now_ns.saturating_sub(since_ns));
        format!("{} {} since {} ({past})", verdict.letter(), verdict.name(), cells.render.date_time(since_ns))
    };
    let recovering = row.recovering.iter().map(|held| format!("{}, recovering", one(held)));
    let all: Vec<String> = row.present.iter().map(one).chain(recovering).collect();
    if all.is_empty() { "none".to_owned() } else { all.join("; ") }
}

/// Counts and latencies of a span of time.
fn figures(label: &'static str, before: &str, rate: &str, figures: &Figures) -> Vec<Fact> {
    let Figures { counts, rtt, setup, .. } = figures;
    let latencies = rtt.as_ref().map_or_else(
        || "rtt unknown: no completed handshake".to_owned(),
        |rtt| {
            let [p50, p90, p99, max] = [rtt.p50_ns, rtt.p90_ns, rtt.p99_ns, rtt.max_ns].map(duration);
            let samples = counted(rtt.samples, "handshake");
            format!("rtt p50 {p50}  p90 {p90}  p99 {p99}  max {max}, {samples}")
        },
    );
    let setups = setup.as_ref().map(|setup| {
        let [p50, p90, p99, max] = [setup.p50_ns, setup.p90_ns, setup.p99_ns, setup.max_ns].map(duration);
        let slow =
            if counts.slow_setups > 0 { format!(", {} slow", counts.slow_setups) } else { String::new() };
        format!(
            "setup p50 {p50}  p90 {p90}  p99 {p99}  max {max}, {}{slow}",
            counted(setup.samples, "handshake")
        )
    });
    let attempts = counted(counts.attempts(), "attempt");
    let attempts = format!("{before}{attempts}{rate}, {}", outcomes(counts));
    let causes = format::causes(&counts.retransmit_causes()).map(|causes| format!("by cause: {causes}"));
    let stuck = (counts.stuck > 0).then(|| format::stuck_in(counts.stuck));
    let lines = [latencies].into_iter().chain(setups).chain([retransmits(counts)]).chain(causes).chain(stuck);
    [(label, attempts)].into_iter().chain(lines.map(|line| ("", line))).collect()
}

fn outcomes(counts: &Counts) -> String {
    let all = [
        (counts.of(Outcome::Established), "established"),
        (counts.of(Outcome::Unanswered), "unanswered"),
        (counts.of(Outcome::Unreachable), "unreachable"),
        (counts.of(Outcome::HalfOpen), "half-open"),
        (counts.of(Outcome::Refused), "refused"),
        (counts.of(Outcome::Reset), "reset"),
        (counts.of(Outcome::Challenged), "challenged"),
        (counts.of(Outcome::Unknown), "unknown"),
        (counts.of(Outcome::Pending), "pending"),
    ];
    let named = all.iter().filter(|(count, name)| *count > 0 || *name == "established");
    let named: Vec<String> = named.map(|(count, name)| format!("{count} {name}")).collect();
    let aborted =
        if counts.aborted > 0 { format!("; {} of them aborted", counts.aborted) } else { String::new() };
    named.join(", ") + &aborted
}

fn retransmits(counts: &Counts) -> String {
    let share = percent(counts.retransmit_share());
    let Counts { sent, retransmitted, repeated, received_retransmits, .. } = counts;
    let ways = match counts.retransmits() {
        0 => String::new(),
        _ => format!("; {} sent, {received_retransmits} received", counts.sent_retransmits()),
    };
    let arrived = match counts.arrived() {
        0 => String::new(),
        arrived => {
            format!("; {arrived} without loss: not accepted, challenged, refused, unreachable or spurious")
        }
    };
    format!(
        "retransmits: {repeated} SYN and SYN-ACK, {retransmitted} of {sent} data segments ({share} %){ways}{arrived}"
    )
}

fn since_start(selection: &Selection, view: &ViewContext<'_>) -> Vec<Fact> {
    let ViewContext { snapshot, model, cells } = view;
    let since = format!("since {}: ", cells.render.date_time(snapshot.counted_ns));
    let mut facts = figures("total", &since, "", &selection.total);
    let matching = if model.query.filter.is_empty() || model.request().selected_flows == 0 {
        String::new()
    } else {
        format!(", {} of them match the filter", selection.matching)
    };
    facts.extend([
        ("waiting", format!("{} without a reply so far", counted(selection.waiting, "attempt"))),
        ("flows", format!("{}{matching}", selection.flow_count)),
        ("first seen", moment(selection.row.first_ns, cells)),
        ("last seen", moment(selection.last_ns, cells)),
    ]);
    facts
}

/// The details of a flow.
pub(super) fn flow(view: &ViewContext<'_>) -> Details {
    let ViewContext { snapshot, model, cells } = view;
    let Some(flow) = &model.detailed_flow else { return Details::of_nothing() };
    let title = format!("{} - {}", cells.endpoint(&flow.local()), cells.endpoint(&flow.remote()));
    let mut facts = vec![
        ("outcome", outcome(flow)),
        ("role", role(flow, cells)),
        ("first seen", moment(flow.first_ns(), cells)),
        ("last change", moment(flow.changed_ns(), cells)),
        ("tries", tries(flow)),
    ];
    facts.extend(owners(flow));
    facts.extend(latencies(flow));
    let known = flow.kernel_socket(Party::Local);
    facts.extend(known.into_iter().flat_map(|known| socket::facts(known, cells.now_ns)));
    facts.extend(volumes(flow));
    facts.extend(way(flow, cells));
    facts.extend(also_at(flow, cells));
    if cells.is_own_session(&flow.local(), &flow.remote()) {
        facts.push(("@", "the SSH session that tcptop runs in".to_owned()));
    }
    if snapshot.flow.is_none() {
        facts.push(("evicted", "no longer tracked; these are its last figures".to_owned()));
    }
    Details { title, facts }
}

/// `why` and `try` of a row with a verdict.
fn explanation(row: &Row, view: &ViewContext<'_>) -> Vec<Fact> {
    let ViewContext { snapshot, cells, .. } = view;
    let Some(Explanation { sentences, next }) = explain(row, snapshot, cells.render) else {
        return Vec::new();
    };
    let lines = |label, texts: Vec<String>| {
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        labels.zip(texts).collect::<Vec<Fact>>()
    };
    lines("why", sentences).into_iter().chain(lines("try", next)).collect()
}

/// The processes of a row: nothing where none is known.
fn processes(row: &Row, cells: &CellContext<'_>) -> Vec<Fact> {
    let Some(processes) = cells.processes.get(&row.key) else { return Vec::new() };
    let labels = std::iter::once("processes").chain(std::iter::repeat(""));
    let mut facts: Vec<Fact> = labels.zip(processes.iter().map(described)).collect();
    if processes.has_more() {
        facts.push(("", "and others before".to_owned()));
    }
    facts
}

/// The processes at both ends of a flow, as far as they are known.
fn owners(flow: &Flow) -> Vec<Fact> {
    let fact = |label: &'static str, owner: &Owner| {
        let why = match owner.evidence {
            Evidence::Acts => "",
            Evidence::Holds => ", which holds the socket",
            Evidence::Listens => ", which listens on the port",
        };
        let others = match owner.others {
            0 => String::new(),
            1 => "; 1 other holds it, too".to_owned(),
            others => format!("; {others} others hold it, too"),
        };
        (label, format!("{}{why}{others}", described(&owner.process)))
    };
    let local = flow.owner(Party::Local).map(|owner| fact("process", owner));
    let remote = flow.owner(Party::Remote).map(|owner| fact("peer process", owner));
    local.into_iter().chain(remote).collect()
}

/// A process with all that is known of it: `nginx[812], user 33, nginx.service: /usr/sbin/nginx -g daemon off;`
fn described(process: &Process) -> String {
    let mut parts = vec![format::process(process), format!("user {}", process.user)];
    if let Some(workload) = process.workload.as_deref() {
        parts.extend(workload.unit.clone());
        parts.extend(workload.shown_container().map(|container| format!("container {container}")));
        parts.extend(workload.namespace.as_ref().map(|namespace| format!("namespace {namespace}")));
    }
    let command = process.command.as_ref().or(process.executable.as_ref());
    let command = command.map(|command| format!(": {command}")).unwrap_or_default();
    format!("{}{command}", parts.join(", "))
}

fn moment(ns: u64, cells: &CellContext<'_>) -> String {
    format!("{}, {} ago", cells.render.exact_time(ns), age(cells.now_ns.saturating_sub(ns)))
}

fn role(flow: &Flow, cells: &CellContext<'_>) -> String {
    let role = match flow.role() {
        Some(Role::Client) => "client: this host opened the connection",
        Some(Role::Server) => "server: the remote end opened the connection",
        Some(Role::Local) => "local: both ends are this host",
        Some(Role::Forwarded) => "forwarded: neither end is this host; the left one opened it",
        Some(Role::Observer) => "observer: neither end is known to be this host; the left one opened it",
        None => "unknown: the SYN was not seen",
    };
    let carrier = flow.encapsulation().name().map(|name| format!(" in {name}")).unwrap_or_default();
    format!("{role}; on {}{carrier}", cells.render.interface(flow.interface()))
}

fn outcome(flow: &Flow) -> String {
    let words = match flow.outcome() {
        Outcome::Pending => "less than a second old and not answered yet",
        Outcome::Established => "the handshake is complete",
        Outcome::Refused => "a RST answered the SYN",
        Outcome::Unreachable => "an ICMP error says that the SYN or the SYN-ACK was not delivered",
        Outcome::Unanswered => "no reply to the SYN",
        Outcome::HalfOpen => "a SYN-ACK answered the SYN, but no ACK followed",
        Outcome::Reset if flow.is_aborted() => {
            "aborted: accepted, then reset before the accepting end sent any data"
        }
        Outcome::Reset => "ended by a RST",
        Outcome::Closed => "closed",
        Outcome::Challenged => {
            "the other end still has an earlier connection on these ports: its ACK answered the SYN"
        }
        Outcome::Unknown => "the handshake was not seen, or only one direction of it",
    };
    let by = flow.closed_by().map(|party| format!(", by the {} end", party.name())).unwrap_or_default();
    let life = flow.lifetime_ns().map(|ns| format!(", after {}", duration(ns))).unwrap_or_default();
    let accepted = match flow.not_accepted() {
        0 => String::new(),
        count => format!("; not accepted: {count} SYN-ACKs retransmitted after the ACK"),
    };
    format!("{}: {words}{by}{life}{accepted}", flow.outcome().name())
}

fn tries(flow: &Flow) -> String {
    let seen = |count: Option<u32>, what: &str| {
        count.map_or_else(|| format!("no {what}"), |count| counted(count.into(), what))
    };
    format!("{}, {}", seen(flow.tries(), "SYN"), seen(flow.syn_acks(), "SYN-ACK"))
}

fn latencies(flow: &Flow) -> Vec<Fact> {
    let words = |leg: Option<Leg>| match leg {
        None => UNKNOWN.to_owned(),
        Some(Leg::Exact(ns)) => duration(ns),
        Some(Leg::Between { min_ns, max_ns }) => {
            format!("{} to {} (ambiguous: retransmitted)", duration(min_ns), duration(max_ns))
        }
    };
    let mut facts = vec![
        ("rtt", words(flow.rtt())),
        ("server leg", format!("{}, from the SYN to the SYN-ACK", words(flow.server_leg()))),
        ("client leg", format!("{}, from the SYN-ACK to the ACK", words(flow.client_leg()))),
        ("setup", format!("{}, from the first SYN to the ACK", maybe_duration(flow.setup_ns()))),
    ];
    if flow.role() == Some(Role::Server) {
        facts
            .push(("turnaround", format!("{}, the time this host took to answer", words(flow.turnaround()))));
    }
    if let Some(refusal) = flow.refusal() {
        facts.push(("refusal", format!("{}, from the SYN to the RST", words(Some(refusal)))));
    }
    if let Some(delay) = flow.unreachable_after() {
        facts.push(("unreachable", format!("{}, from the SYN to the ICMP error", words(Some(delay)))));
    }
    facts
}

/// What was said, or shows, about the way of its packets.
fn way(flow: &Flow, cells: &CellContext<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(error) = flow.icmp_error() {
        let times = if error.count > 1 { format!(", {} times", error.count) } else { String::new() };
        let latest = moment(error.last_ns, cells);
        facts.push(("icmp", format!("{}{times}, last {latest}", icmp_error(error))));
    }
    if let Some(queue) = flow.accept_queue() {
        facts.push(("listener", accept_queue(&queue, cells)));
    }
    if let Some(reset) = flow.reset() {
        let ttl = flow.strange_reset_ttl().map(|ttls| format!("; {}", format::strange_ttl(ttls)));
        let said = reset.reason.map(|reason| format!(": {}, says its kernel", reason.name()));
        let [said, ttl] = [said, ttl].map(Option::unwrap_or_default);
        let who = if flow.is_reset_here() { "this host" } else { "the peer" };
        facts.push(("reset", format!("by {who}, {}{said}{ttl}", reset.stage.when())));
    }
    if let Some(path_mtu) = flow.path_mtu() {
        facts.push(("path MTU", format::path_mtu(&path_mtu)));
    }
    if let Some(bytes) = flow.stuck_bytes() {
        facts.push(("MTU?", format::stuck(bytes)));
    }
    facts
}

/// What further interfaces show of it, each in a line.
fn also_at(flow: &Flow, cells: &CellContext<'_>) -> Vec<Fact> {
    let exact = |leg: Option<Leg>| maybe_duration(leg.and_then(Leg::exact));
    let labels = std::iter::once("also at").chain(std::iter::repeat(""));
    let lines = flow.sightings().iter().map(|sighting| {
        let here = sighting.flow();
        let ends = sighting
            .translated(flow)
            .map(|[client, server]| format!(" as {} - {}", cells.endpoint(&client), cells.endpoint(&server)));
        let retransmits: u64 = here.volumes().iter().map(|volume| volume.retransmits).sum();
        format!(
            "{}{}: server leg {}, client leg {}, {}",
            cells.render.interface(here.interface()),
            ends.unwrap_or_default(),
            exact(here.server_leg()),
            exact(here.client_leg()),
            counted(retransmits, "data retransmit"),
        )
    });
    labels.zip(lines).collect()
}

/// What was seen of the listener's queue while an attempt waited.
fn accept_queue(queue: &AcceptQueue, cells: &CellContext<'_>) -> String {
    let at = moment(queue.at_ns, cells);
    format!("{} {at}: the application does not accept fast enough", format::full_queue(queue))
}

fn volumes(flow: &Flow) -> Vec<Fact> {
    let words = |index: usize| {
        let volume = &flow.volumes()[index];
        let retransmits = counted(volume.retransmits, "retransmit");
        format!("{} in {}, {retransmits}", bytes(volume.bytes), counted(volume.segments, "segment"))
    };
    let (retransmits, share) = (flow.retransmits(), percent(flow.retransmit_share()));
    let segments = counted(flow.segments(), "segment");
    let all = format!("{retransmits} of {segments} ({share} %), SYNs and SYN-ACKs included");
    let causes = format::causes(&flow.retransmit_causes()).map(|causes| ("by cause", causes));
    [("sent", words(0)), ("received", words(1)), ("retransmits", all)].into_iter().chain(causes).collect()
}
