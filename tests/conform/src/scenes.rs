//! What is captured: one situation per scene, and what it has to show.

use std::time::Duration;

use anyhow::Result;
use lab::{Direction, Kind, Match, Medium, NEAR, Rule, Script};

use super::bench::Kind::{Pair, Wire};
use super::bench::{self, Bench, Conditions};
use super::capture::Plan;
use super::reason::Reason;
use super::tally::Seen;
use super::traffic;

mod lossy;

/// One situation, captured at the near host.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) conditions: Conditions,
    pub(super) plan: Plan,
    /// Whether it is converted to pcapng.
    pub(super) pcapng: bool,
    pub(super) traffic: fn(&Bench) -> Result<()>,
    /// Minimum counts; with fewer, the scene has not shown what it is for.
    pub(super) least: Vec<(Seen, u64)>,
    pub(super) never: &'static [Seen],
    pub(super) reasons: &'static [Reason],
}

/// All scenes, the longest first, because several run at a time.
pub(super) fn all(seed: u64) -> Vec<Scene> {
    let mut scenes = [lossy::all(), outcomes(), losses(), chance(), formats()].concat();
    for scene in &mut scenes {
        scene.conditions.script.seed = seed;
        scene.conditions.later.seed = seed;
    }
    scenes
}

/// One-way delay of the wire.
const EACH_WAY: Duration = Duration::from_millis(5);

/// Both families, opened by either side: what nearly every scene has to show.
const BOTH: [(Seen, u64); 4] = [(Seen::Ipv4, 4), (Seen::Ipv6, 4), (Seen::NearOpens, 4), (Seen::FarOpens, 4)];

fn scene(name: &'static str, traffic: fn(&Bench) -> Result<()>, least: &[(Seen, u64)]) -> Scene {
    Scene {
        name,
        conditions: Conditions {
            kind: Wire(Medium::Ethernet),
            script: Script::default().delay(EACH_WAY),
            later: Script::default(),
            timestamps: true,
            sack: true,
        },
        plan: Plan { interface: NEAR, snap: 128, nanoseconds: true },
        pcapng: false,
        traffic,
        least: [&BOTH, least].concat(),
        never: &[],
        reasons: &[],
    }
}

impl Scene {
    fn rule(mut self, rule: Rule) -> Self {
        self.conditions.script.rules.push(rule);
        self
    }

    fn later(mut self, rule: Rule) -> Self {
        self.conditions.later.rules.push(rule);
        self
    }

    fn over(mut self, kind: bench::Kind) -> Self {
        self.conditions.kind = kind;
        self
    }

    fn without_timestamps(mut self) -> Self {
        self.conditions.timestamps = false;
        Self { never: &[Seen::Timestamps], ..self }
    }

    fn without_sack(mut self) -> Self {
        self.conditions.sack = false;
        self
    }

    fn reasons(self, reasons: &'static [Reason]) -> Self {
        Self { reasons, ..self }
    }
}

fn outcomes() -> Vec<Scene> {
    let silent = |scene: Scene| scene.rule(Rule::drop(Match::syn().port(traffic::SILENT_PORT)));
    let to_near = |kind| Match::kind(kind).direction(Direction::ToNear);
    // Dropped SYNs are seen only on the side that sent them.
    let one_sided = |scene: Scene| Scene { least: scene.least[BOTH.len()..].to_vec(), ..scene };
    let families = [(Seen::Ipv4, 2), (Seen::Ipv6, 2)];
    let unanswered = [(Seen::Unanswered, 4), (Seen::RetransmittedSyn, 4), (Seen::Pending, 2)];
    let half_open = [(Seen::HalfOpen, 2), (Seen::RetransmittedSynAck, 2), (Seen::Pending, 2)];
    let reused = [(Seen::PortsReused, 26), (Seen::Closed, 12), (Seen::Reset, 8)];
    let refused = scene("refusing server", traffic::refused, &[(Seen::Refused, 12)]);
    let twice = Scene { name: "refusing server, SYNs twice", ..refused.clone() };
    vec![
        one_sided(silent(scene("silent server", traffic::silent, &[&families[..], &unanswered].concat()))),
        one_sided([Kind::Ack, Kind::Data, Kind::Fin, Kind::Rst].into_iter().fold(
            scene("half-open", traffic::half_open, &[&families[..], &half_open].concat()),
            |scene, kind| scene.rule(Rule::drop(to_near(kind))),
        )),
        refused.reasons(&[Reason::RstIsNoAck]),
        twice.rule(Rule::duplicate(Match::syn(), 1.0)).reasons(&[Reason::RstIsNoAck, Reason::LateSyn]),
        scene("resets", traffic::reset, &[(Seen::Reset, 24), (Seen::ResetInHandshake, 12)]),
        scene("closed by either end", traffic::closed, &[(Seen::Closed, 36)]),
        silent(scene("ports used again", traffic::reused, &reused)),
        scene("ports used again at once", traffic::aborted, &[(Seen::PortsReused, 8), (Seen::Reset, 12)])
            .reasons(&[Reason::StaleSegment]),
        scene("many clients", traffic::crowd, &[(Seen::Established, 240), (Seen::Overlapping, 60)]),
    ]
}

fn losses() -> Vec<Scene> {
    let lost = |name, kind, least: &[(Seen, u64)]| {
        scene(name, traffic::once_each, least).rule(Rule::drop(Match::kind(kind).first(1)))
    };
    let syns = [(Seen::RetransmittedSyn, 8), (Seen::Established, 16)];
    // The server's timer may fire before the client's.
    let syn_acks = [(Seen::RetransmittedSyn, 4), (Seen::RetransmittedSynAck, 8), (Seen::Established, 16)];
    let repeated = &[Reason::RetransmittedSyn];
    vec![
        lost("first SYN lost", Kind::Syn, &syns),
        lost("first SYN lost, no timestamps", Kind::Syn, &syns).without_timestamps().reasons(repeated),
        lost("first SYN-ACK lost", Kind::SynAck, &syn_acks).reasons(repeated),
        lost("first SYN-ACK lost, no timestamps", Kind::SynAck, &syn_acks)
            .without_timestamps()
            .reasons(&[Reason::RetransmittedSyn, Reason::RetransmittedSynAck]),
        [Direction::ToFar, Direction::ToNear]
            .into_iter()
            .fold(
                scene(
                    "first ACK lost",
                    traffic::silent_clients,
                    &[(Seen::Established, 24), (Seen::UnseenAck, 8), (Seen::RetransmittedSynAck, 4)],
                ),
                |scene, way| scene.rule(Rule::drop(Match::kind(Kind::Ack).direction(way).first(1))),
            )
            .reasons(&[Reason::UnseenAck, Reason::RetransmittedSynAck]),
    ]
}

fn chance() -> Vec<Scene> {
    let over_bad_wire = |name, least: &[(Seen, u64)]| {
        scene(name, traffic::over_bad_wire, &[&[(Seen::Established, 20)], least].concat())
    };
    let (lost, twice, later) = ((Seen::Lost, 10), (Seen::Duplicated, 10), (Seen::Reordered, 10));
    let extra = Duration::from_millis(12);
    vec![
        over_bad_wire("loss by chance", &[lost]).rule(Rule::lose(Match::any(), 0.12)),
        over_bad_wire("duplication by chance", &[twice]).rule(Rule::duplicate(Match::any(), 0.4)),
        over_bad_wire("reordering by chance", &[later]).rule(Rule::reorder(Match::any(), 0.3, extra)),
        over_bad_wire("all by chance, no timestamps", &[lost, twice, later])
            .rule(Rule::lose(Match::any(), 0.08))
            .rule(Rule::duplicate(Match::any(), 0.2))
            .rule(Rule::reorder(Match::any(), 0.2, extra))
            .without_timestamps(),
    ]
}

fn formats() -> Vec<Scene> {
    let mixed = |name| {
        let least =
            [(Seen::Established, 48), (Seen::Refused, 12), (Seen::Reset, 24), (Seen::ResetInHandshake, 12)];
        scene(name, traffic::mixed, &least)
    };
    let plan = Plan { interface: NEAR, snap: 128, nanoseconds: true };
    let bulk = |name, snap| Scene {
        plan: Plan { snap, ..plan },
        ..scene(name, traffic::bulk, &[(Seen::Established, 8), (Seen::TruncatedPackets, 20)])
    };
    let with_offloads = bulk("offloads on", 128);
    vec![
        mixed("without a link layer").over(Wire(Medium::Ip)),
        Scene { plan: Plan { interface: "any", ..plan }, ..mixed("any interface, cooked") },
        Scene { pcapng: true, ..mixed("pcapng") },
        Scene { plan: Plan { nanoseconds: false, ..plan }, ..mixed("microseconds") },
        bulk("headers and nothing else", 94),
        // Holds whole headers of IPv4, and all but the timestamps of IPv6.
        Scene {
            plan: Plan { snap: 80, ..plan },
            ..scene(
                "cut within the options",
                traffic::plain,
                &[(Seen::TruncatedHeaders, 24), (Seen::Established, 48)],
            )
        }
        .reasons(&[Reason::TruncatedHeaders]),
        Scene {
            least: [&with_offloads.least[..], &[(Seen::LongPackets, 20)]].concat(),
            ..with_offloads.over(Pair { offloads: true })
        },
        Scene { never: &[Seen::LongPackets], ..bulk("offloads off", 128).over(Pair { offloads: false }) },
    ]
}
