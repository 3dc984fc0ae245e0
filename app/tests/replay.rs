//! The command `tcptop replay`.

mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use lab::capture::Format;
use support::{Connection, MS, S, v4};

const START: u64 = 1_767_362_551 * S;
const FORMAT: Format = Format::USUAL;

/// A capture of one handshake, one refusal and one attempt without an answer.
fn capture() -> Vec<u8> {
    let good = Connection::to(v4(10, 20, 1, 10, 443), 40_001);
    let refused = Connection::to(v4(10, 20, 4, 2, 6379), 40_002);
    let silent = Connection::to(v4(10, 20, 9, 7, 443), 40_003);
    FORMAT.pcapng(&[
        good.syn(START),
        refused.syn(START + MS),
        silent.syn(START + 2 * MS),
        refused.rst_of_responder(START + 3 * MS),
        good.syn_ack(START + 40 * MS + 123),
        good.ack(START + 41 * MS),
        silent.syn(START + S),
    ])
}

fn replay(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
    // Single attempts are enough for a verdict here.
    command
        .args(["replay", "--min-attempts", "1"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it was built");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn in_a_file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).expect("the target directory is ours");
    path
}

#[test]
fn a_stream_gives_json_to_the_nanosecond() {
    let output = replay(&["-", "--json"], &capture());
    assert!(output.status.success(), "{}", said(&output.stderr));
    let stdout = said(&output.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(
        lines.len(),
        8,
        "three handshakes, a retransmitted SYN, three peers and the summary: {stdout}"
    );
    let established = lines.iter().find(|line| line.contains(r#""outcome":"established""#)).expect("one");
    assert!(established.contains(r#""rtt_ns":40000123"#), "{established}");
    assert!(established.contains(r#""time":"2026-01-02T14:02:31.041000000Z""#), "{established}");
    assert!(established.contains(r#""interface":"second""#), "{established}");
    assert!(
        lines[7].contains(r#""type":"summary""#) && lines[7].contains(r#""handshakes":3"#),
        "{}",
        lines[7]
    );
}

#[test]
fn a_file_gives_a_report() {
    let path = in_a_file("whole.pcapng", &capture());
    let output = replay(&[path.to_str().expect("ASCII"), "--report"], b"");
    assert!(output.status.success(), "{}", said(&output.stderr));
    let report = said(&output.stdout);
    assert!(report.contains("3 handshakes (1 established, 1 refused, 1 unanswered)"), "{report}");
    assert!(report.contains("N  10.20.9.7:443") && report.contains("R  10.20.4.2:6379"), "{report}");
}

#[test]
fn a_damaged_file_is_read_up_to_the_damage() {
    let whole = capture();
    let path = in_a_file("cut.pcapng", &whole[..whole.len() - 9]);
    let output = replay(&[path.to_str().expect("ASCII"), "--text"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output.stdout).contains("established rtt 40.0ms"), "{}", said(&output.stdout));
    let error = said(&output.stderr);
    assert!(error.contains("cut.pcapng: it ends in the middle of a packet, after 6 whole ones"), "{error}");
}

#[test]
fn an_unreadable_file_is_named() {
    let output = replay(&["-"], b"no capture at all, just words");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output.stderr).contains("neither pcap nor pcapng"), "{}", said(&output.stderr));
    let output = replay(&["/nonexistent.pcap"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output.stderr).contains("No such file"), "{}", said(&output.stderr));
    assert_eq!(replay(&["x", "--speed", "0"], b"").status.code(), Some(2));
}

#[test]
fn a_filter_is_the_same_for_text_json_and_report() {
    let shown = |format: &str, filter: &str| {
        let output = replay(&["-", format, "--filter", filter], &capture());
        assert!(output.status.success(), "{}", said(&output.stderr));
        said(&output.stdout)
    };
    for (filter, ports) in [
        ("port:443", &[40_001, 40_003][..]),
        ("outcome:refused", &[40_002]),
        ("!outcome:refused tries=1", &[40_001]),
        ("verdict:N", &[40_003]),
        ("iface:second", &[40_001, 40_002, 40_003]),
        ("10.20.4", &[40_002]),
        ("rtt>1s", &[]),
    ] {
        let (text, json, report) =
            (shown("--text", filter), shown("--json", filter), shown("--report", filter));
        for port in [40_001, 40_002, 40_003] {
            let passes = ports.contains(&port);
            assert_eq!(text.contains(&format!("port {port}")), passes, "{filter}: {text}");
            let reported = json.lines().filter(|line| line.contains(r#""type":"handshake""#));
            let reported = reported.filter(|line| line.contains(&format!(r#""local_port":{port}"#))).count();
            assert_eq!(reported, usize::from(passes), "{filter}: {json}");
        }
        assert!(json.contains(r#""handshakes":3"#), "the totals are of all: {json}");
        assert!(json.contains(&format!(r#""filter":"{filter}""#)), "{json}");
        assert!(
            report.contains("3 handshakes") && report.contains(&format!("filter {filter}: ")),
            "{report}"
        );
    }
    let report = shown("--report", "port:443");
    assert!(report.contains("filter port:443: 2 of 3 peers") && !report.contains("6379"), "{report}");
}

#[test]
fn an_invalid_filter_is_a_usage_error_that_says_where() {
    let output = replay(&["-", "--filter", "port:443 p99>50"], b"");
    assert_eq!(output.status.code(), Some(2));
    let error = said(&output.stderr);
    assert!(error.contains("\nport:443 p99>50\n             ^^\nexpected a time with its unit"), "{error}");
    let output = replay(&["-", "--filter", "pid:nginx"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output.stderr).contains("expected the number of a process"));
    for wrong in [["--sort", "name"], ["--group", "port"], ["--slow", "0.5x"], ["--loss", "5"]] {
        assert_eq!(replay(&["-", wrong[0], wrong[1]], b"").status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_report_is_sorted_and_grouped_as_asked_for() {
    let report = |arguments: &[&str]| {
        let output = replay(&[&["-", "--report"], arguments].concat(), &capture());
        assert!(output.status.success(), "{}", said(&output.stderr));
        said(&output.stdout)
    };
    let order = |report: &str| {
        let place = |peer: &str| report.find(peer).unwrap_or_else(|| panic!("{report}"));
        let mut peers = ["10.20.1.10:443", "10.20.4.2:6379", "10.20.9.7:443"];
        peers.sort_by_key(|peer| place(peer));
        peers
    };
    assert_eq!(order(&report(&[])), ["10.20.9.7:443", "10.20.4.2:6379", "10.20.1.10:443"]);
    assert_eq!(order(&report(&["--sort", "peer"])), ["10.20.1.10:443", "10.20.4.2:6379", "10.20.9.7:443"]);
    assert_eq!(order(&report(&["--sort=-peer"])), ["10.20.9.7:443", "10.20.4.2:6379", "10.20.1.10:443"]);
    let services = report(&["--group", "service"]);
    assert!(services.contains("   SERVICE") && services.contains("*:443"), "{services}");
    assert!(!report(&["--unanswered", "100%", "--refused", "100%"]).contains("10.20.1.10:443  N"));
}

/// A stream that has begun, without a packet yet: signals end the run, unless they were ignored from the start (nohup).
#[test]
fn signals_end_the_wait_for_a_packet() {
    let header = FORMAT.pcapng(&[]);
    for (shell, signal, ends) in [("", "INT", true), ("", "HUP", true), ("trap '' HUP; ", "HUP", false)] {
        // The tests may have been started with signals ignored.
        let mut command = Command::new("env");
        let script = format!(r#"{shell}exec "$0" replay - --json"#);
        command.args(["--default-signal=HUP,INT", "sh", "-c", &script, env!("CARGO_BIN_EXE_tcptop")]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("there is a shell");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(&header).expect("it reads");
        await_handler(child.id(), if ends { signal } else { "INT" });
        let killed = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(killed.expect("there is kill").success());
        if !ends {
            stdin.write_all(&capture()[header.len()..]).expect("it still reads");
            drop(stdin);
        }
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{signal}");
        let handshakes = if ends { r#""handshakes":0"# } else { r#""handshakes":3"# };
        assert!(said(&output.stdout).contains(handshakes), "{signal}: {}", said(&output.stdout));
    }
}

/// Waits until the process handles a signal by itself.
fn await_handler(process: u32, signal: &str) {
    let bit = if signal == "HUP" { 0 } else { 1 };
    let since = std::time::Instant::now();
    while since.elapsed().as_secs() < 30 {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("the kernel tells");
        if u64::from_str_radix(caught.trim(), 16).expect("a mask") >> bit & 1 == 1 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("it never handled SIG{signal}");
}

/// A reader that does not read delays the output, but not the end of the run.
#[test]
fn a_signal_ends_a_run_with_a_stuck_reader() {
    let syns: Vec<_> = (0..60_000_u64)
        .map(|number| {
            let port = u16::try_from(number).expect("below 65,536");
            Connection::to(v4(10, 20, 1, 10, 443), port).syn(START + number)
        })
        .collect();
    let path = in_a_file("stuck.pcapng", &FORMAT.pcapng(&syns));
    // As above.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_tcptop"), "replay"]);
    command.args([path.to_str().expect("ASCII"), "--json", "--max-flows", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("there is env");
    let stuck = child.stdout.take().expect("piped");
    await_handler(child.id(), "INT");
    // By then the pipe is full, and so is the queue behind it.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert!(child.try_wait().expect("it is ours").is_none(), "it waits for its reader");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("there is kill").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output.stderr).contains("the reader does not read"), "{}", said(&output.stderr));
    drop(stuck);
}

/// As when captures were appended to each other: the second section describes its interfaces again, one of
/// them under the same name.
#[test]
fn interfaces_described_late_have_names() {
    let many = |number: u16| Connection::to(v4(10, 20, 1, 10, 443), 30_000 + number);
    let first: Vec<_> = (0..3_000).map(|number| many(number).syn(START + u64::from(number))).collect();
    let late = Connection::to(v4(10, 20, 1, 11, 443), 40_001);
    let late = [late.syn(START + MS), late.syn_ack(START + 2 * MS), late.ack(START + 3 * MS)];
    let mut second = FORMAT.pcapng(&late);
    let name = second.windows(6).position(|bytes| bytes == b"second").expect("its second interface");
    second[name..name + 6].copy_from_slice(b"fourth");
    let output = replay(&["-", "--json"], &[FORMAT.pcapng(&first), second].concat());
    let stdout = said(&output.stdout);
    let established = stdout.lines().find(|line| line.contains(r#""outcome":"established""#)).expect("one");
    assert!(established.contains(r#""interface":"fourth""#), "{established}");
    let summary = stdout.lines().last().expect("a summary");
    assert!(summary.contains(r#""interfaces":["first","second","fourth"]"#), "{summary}");
}

#[test]
fn unread_packets_are_reported_even_if_nothing_else_is() {
    let simple = FORMAT.block(3, &60_u32.to_le_bytes());
    let output = replay(&["-", "--json"], &[FORMAT.pcapng(&[]), simple].concat());
    let summary = said(&output.stdout);
    assert!(output.status.success() && summary.contains(r#""missed":1,"#), "{summary}");
    assert!(summary.contains(r#""unreadable":1}"#), "{summary}");
}

#[test]
fn count_and_local_addresses_are_heeded() {
    let plain = Format { link_type: 1, ..FORMAT }.pcap(&[]);
    assert_eq!(replay(&["-", "--text"], &plain).status.code(), Some(0), "an empty capture is one");
    let output = replay(&["-", "--text", "--count", "1"], &capture());
    assert!(said(&output.stdout).lines().next().expect("one").contains("client 10.20.4.2:6379"));
    let summary = "3 handshakes (0 established, 1 refused, 2 pending)";
    assert!(said(&output.stdout).contains(summary), "and those that are open: {}", said(&output.stdout));
}
