//! Several outputs of one replay, and what they have in common with those of single runs.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::wire::{
    ACK, CLIENT, ETHERNET, FIN, MS, PSH, S, SERVER, START, Segment, Talk, json, pcap, replay, shots,
};

/// A folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("the target directory is ours");
    folder
}

/// Three connections, with a retransmit in one.
fn capture() -> Vec<u8> {
    let mut segments = Vec::new();
    for (port, at_ns) in [(40_001, START), (40_002, START + 10 * MS), (40_003, START + 3 * S)] {
        segments.extend(Talk::v4(port).whole(at_ns, 3));
    }
    let mut talk = Talk::v4(40_004);
    segments.extend(talk.handshake(START + 4 * S));
    let data = talk.send(CLIENT, ACK | PSH, 100);
    let again = data.clone().ident(data.ident + 1);
    segments.extend([(START + 4 * S + 100 * MS, data), (START + 4 * S + 400 * MS, again)]);
    segments.extend([(START + 5 * S, talk.send(CLIENT, ACK | FIN, 0))]);
    segments.extend([(START + 5 * S + MS, talk.send(SERVER, ACK | FIN, 0))]);
    segments.sort_by_key(|(at_ns, _)| *at_ns);
    pcap(ETHERNET, &shots(&segments, Segment::ethernet))
}

/// Each run has a number of its own, in 16 digits.
fn without_run(objects: &str) -> String {
    let mut parts = objects.split("\"run\":\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + &part[16..])
}

#[test]
fn every_output_is_the_same_alone_and_with_others() {
    let (folder, capture) = (folder("outputs"), capture());
    let file = |name: &str| folder.join(name).display().to_string();
    let option = |option: &str, name: &str| format!("--{option}={}", file(name));
    let (text, json) = (option("text", "lines"), option("json", "objects"));
    for report in ["report.txt", "report.md", "report.json"] {
        let both = replay(&capture, &[&text, &json, &option("report", report), "--retransmits"]);
        assert_eq!((both.code, both.stderr.as_str()), (0, ""), "{both:?}");
        assert_eq!(
            both.stdout.lines().next(),
            Some("--- tcptop standard input ---"),
            "only the summary is left"
        );
        for (name, arguments) in [("lines", &["--text", "--retransmits"][..]), ("objects", &["--json"])] {
            let alone = replay(&capture, arguments).stdout;
            assert!(alone.lines().count() > 5, "{alone}");
            let with_others = fs::read_to_string(file(name)).expect("it was written");
            assert_eq!(without_run(&with_others), without_run(&alone), "{name}");
        }
        let format = match report {
            "report.txt" => "--report",
            "report.md" => "--report=markdown",
            _ => "--report=json",
        };
        let but_the_command =
            |text: String| text.lines().filter(|line| !line.contains("command")).map(str::to_owned).collect();
        let (alone, with_others): (Vec<String>, Vec<String>) = (
            but_the_command(without_run(&replay(&capture, &[format]).stdout)),
            but_the_command(without_run(&fs::read_to_string(file(report)).expect("it was written"))),
        );
        assert_eq!(alone, with_others, "{report}");
    }
}

#[test]
fn a_report_says_how_it_was_made() {
    let report = replay(&capture(), &["--report", "--filter", "port:443 web", "--slow", "2.5x"]).stdout;
    assert!(
        report.contains("\ncommand     tcptop replay - --report --filter 'port:443 web' --slow 2.5x\n"),
        "{report}"
    );
    assert!(report.contains("slow, RTT p90 2.5x the peer's median"), "{report}");
    assert!(report.contains("\nhost        -\n"), "the capture does not say its host: {report}");
}

/// The verdict on a peer is of all that its connections sent, also of what makes no record: events that are filtered by it
/// need the volumes as they are then, with or without a screen.
#[test]
fn events_are_filtered_by_present_verdicts() {
    let (mut busy, mut lossy) = (Talk::v4(40_001), Talk::v4(40_002));
    let mut segments = busy.handshake(START);
    segments.extend((0..500).map(|n| (START + (30 + n) * MS, busy.send(CLIENT, ACK | PSH, 100))));
    segments.extend(lossy.handshake(START + 10 * S));
    let data = lossy.send(CLIENT, ACK | PSH, 100);
    let again = data.clone().ident(data.ident + 1);
    segments.extend([(START + 10 * S + 100 * MS, data), (START + 10 * S + 400 * MS, again)]);
    // What is read last is reported together with all volumes.
    segments.extend([(START + 20 * S, busy.send(CLIENT, ACK | FIN, 0))]);
    let capture = pcap(ETHERNET, &shots(&segments, Segment::ethernet));
    // Slow enough for what was sent before the pause to be read before what comes after it.
    let retransmits = |filter: &str| {
        json(&capture, &["--speed", "500", "--window", "1m", "--filter", filter]).retransmits().len()
    };
    assert_eq!((retransmits("port:443"), retransmits("verdict:L")), (1, 0), "1 of 500 segments is no loss");
}
