//! Every scenario of `tests/scenarios/`, in both families and with either end's address first: through the table
//! directly, and as a capture through the command `tcptop replay`. Both must report exactly what the file expects.

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use jiff::Timestamp;
use lab::capture::{Format, packet};
use lab::scenario::{self, Place, Scenario, Variant};
use probe_common::{Hook, LinkLayer, Record, SegmentRecord};
use probe_host::{HostProbe, Packet, PacketTime};
use serde_json::Value;
use support::Watched;
use tcptop::clock::Anchor;
use tcptop::output::{RenderContext, json};
use tcptop_core::{FlowVolumes, Input, Span};

const RAW_IP: u16 = 101;
const FLOWS: usize = 65_536;

/// The JSON objects that the engine reports for the records of these packets.
fn through_the_table(packets: &[SegmentRecord]) -> Vec<Value> {
    let (Some(first), Some(last)) = (packets.first(), packets.last()) else { return Vec::new() };
    let mut watched = Watched::with(&support::config(FLOWS), first.time_ns);
    let mut probe = HostProbe::new(u32::try_from(FLOWS).expect("few"));
    for segment in packets {
        watched.expire(segment.time_ns);
        let bytes = packet(segment, RAW_IP);
        let hook = Hook { interface: 1, direction: segment.direction, link: LinkLayer::None };
        probe.process(&Packet::whole(&bytes, hook), &PacketTime(segment.time_ns), |bytes| {
            watched.see([Record::decode(bytes).expect("a record")]);
        });
    }
    let volumes: Vec<_> = probe.flows().map(|(ends, state)| FlowVolumes::of(ends, state)).collect();
    watched.handle(Input::Volumes { flows: &volumes, now_ns: last.time_ns }).finish(last.time_ns);
    let snapshot = watched.snapshot(Span::SinceStart, last.time_ns);
    let context = RenderContext::new(BTreeMap::new(), "test", Anchor::new(0, Timestamp::UNIX_EPOCH));
    let events = watched.events.iter().map(|event| json::event(event, &context));
    let objects = events.chain(json::closing(&snapshot, &context));
    objects.map(|object| serde_json::to_value(object).expect("JSON")).collect()
}

/// The JSON objects that `tcptop replay` reports for a capture of these packets. The capture has their directions,
/// except on loopback, where `--local` is needed.
fn through_a_capture(scenario: &Scenario, variant: Variant, packets: &[SegmentRecord]) -> Vec<Value> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path =
        folder.join(format!("{}-{}{}", scenario.name.replace('/', "-"), variant.v6, variant.opener_is_high));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
    command.arg("replay").arg(&path).arg("--json");
    let file = match scenario.seen_from {
        Place::Opener | Place::Responder => Format::USUAL.pcapng(packets),
        Place::Loopback | Place::Between => Format::USUAL.pcap(packets),
    };
    if scenario.seen_from == Place::Loopback {
        for address in scenario.local_addresses(variant) {
            command.args(["--local", &address.to_string()]);
        }
    }
    std::fs::write(&path, file).expect("the target directory is ours");
    let output = command.output().expect("it was built");
    assert!(output.status.success(), "{}: {}", scenario.name, String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(&path).expect("it is ours");
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn check(
    is_checked: impl Fn(&&Scenario) -> bool,
    reported: impl Fn(&Scenario, Variant, &[SegmentRecord]) -> Vec<Value>,
) {
    let mut wrong = Vec::new();
    let scenarios = scenario::all().expect("well-formed");
    for scenario in scenarios.iter().filter(is_checked) {
        for variant in Variant::ALL {
            let reported = reported(scenario, variant, &scenario.records(variant));
            let mismatches = scenario.mismatches(variant, &reported).into_iter();
            wrong.extend(mismatches.map(|what| format!("{} {variant:?}\n    {what}", scenario.name)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} scenarios\n{}", wrong.len(), scenarios.len(), wrong.join("\n"));
}

#[test]
fn the_engine_reports_what_is_expected() {
    check(|_| true, |_, _, packets| through_the_table(packets));
}

#[test]
fn a_capture_reports_what_is_expected() {
    check(|scenario| !scenario.live_only, through_a_capture);
}
