//! The scenarios, packet by packet: kernel and host must emit the same records and have the same flow states.

use lab::capture::packet;
use lab::scenario::{self, Variant};
use probe_common::LinkLayer;

use crate::bench::{Both, Frame, programs};

/// As far as the kernel has a part in them.
#[test]
fn kernel_and_host_agree_on_every_scenario() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(2);
    let mut records = 0;
    for (scenario, variant) in each() {
        for (program, hook) in programs() {
            both.forget();
            let link_type = match hook.link {
                LinkLayer::Ethernet => 1,
                LinkLayer::None => 101,
            };
            for (number, segment) in scenario.records(variant).iter().enumerate() {
                let frame = packet(segment, link_type);
                let frame = Frame { bytes: &frame, segments: segment.segments.max(1) };
                let place = || format!("{program}, {}, {variant:?}, packet {number}", scenario.name);
                let seen = both.run(program, &hook, &frame, place);
                let seen = seen.unwrap_or_else(|| panic!("refused: {}", place()));
                records += seen.records.len();
            }
        }
    }
    assert!(records > 1_000, "{records}");
}

fn each() -> impl Iterator<Item = (scenario::Scenario, Variant)> {
    let scenarios = scenario::all().expect("well-formed");
    scenarios.into_iter().flat_map(|one| Variant::ALL.map(|variant| (one.clone(), variant)))
}
