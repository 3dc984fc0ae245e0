//! A capture is read as a stream: memory does not grow with its length.

mod support;

use std::fs;
use std::io::{BufWriter, Write};
use std::process::{Child, Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use lab::capture::Format;
use probe_common::{SegmentRecord, TcpFlags};
use support::{Connection, MS, S, v4};

const START: u64 = 1_767_362_551 * S;
/// Connections at the same time. Finished ones are kept for a minute, so a round takes longer than that.
const CONCURRENT: u16 = 1_000;
const ROUND: u64 = 100 * S;
/// Segments of each connection: three of the handshake, five of data, two of the close.
const PACKETS: usize = 10;
/// A quarter of the shorter stream.
const BOUND_KIB: u64 = 28 * 1_024;

/// One round of connections, segment by segment.
fn round(number: u16) -> impl Iterator<Item = SegmentRecord> {
    let start_ns = START + u64::from(number) * ROUND;
    (0..PACKETS).flat_map(move |step| {
        (0..CONCURRENT).map(move |client| {
            let service = 8_000 + client % 10;
            let connection = Connection::to(v4(10, 20, 1, 10, service), 10_000 + client);
            segment(&connection, step, start_ns + step as u64 * 20 * MS + u64::from(client) * 10_000)
        })
    })
}

fn segment(connection: &Connection, step: usize, time_ns: u64) -> SegmentRecord {
    match step {
        0 => connection.syn(time_ns),
        1 => connection.syn_ack(time_ns),
        2 => connection.ack(time_ns),
        8 => connection.fin_of_opener(time_ns),
        9 => connection.fin_of_responder(time_ns),
        _ => {
            let flags = TcpFlags::ACK;
            SegmentRecord { flags, payload_len: 460, ..connection.fin_of_responder(time_ns) }
        }
    }
}

/// Writes this many rounds; returns the length in bytes.
fn write(rounds: u16, output: &mut impl Write) -> usize {
    let header = Format::USUAL.pcap_header();
    output.write_all(&header).expect("it reads");
    let mut len = header.len();
    for record in (0..rounds).flat_map(round) {
        let packet = Format::USUAL.pcap_packet(&record);
        output.write_all(&packet).expect("it reads");
        len += packet.len();
    }
    len
}

fn peak_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Feeds the command, and reads its peak of memory when all but the last pipeful is read.
fn assert_bounded(rounds: u16, feed: impl FnOnce(&mut dyn Write) -> usize) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
    command.args(["replay", "-", "--report"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it was built");
    let mut stdin = BufWriter::with_capacity(1 << 16, child.stdin.take().expect("piped"));
    let len = feed(&mut stdin);
    stdin.flush().expect("it reads");
    let peak_kib = peak_kib(&child);
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let report = String::from_utf8_lossy(&output.stdout);
    let handshakes = usize::from(rounds) * usize::from(CONCURRENT);
    assert!(report.contains(&format!("{handshakes} handshakes ({handshakes} established)")), "{report}");
    eprintln!("peak {} MiB for {} MiB", peak_kib / 1_024, len >> 20);
    assert!(len as u64 / 1_024 > 4 * BOUND_KIB, "the stream is too short to show anything");
    assert!(peak_kib < BOUND_KIB, "{peak_kib} KiB for a stream of {len} bytes");
}

#[test]
fn a_long_stream_takes_no_more_memory_than_a_short_one() {
    let rounds = 60;
    assert_bounded(rounds, |mut stdin| write(rounds, &mut stdin));
}

#[test]
fn a_long_gzip_stream_takes_no_more_memory_either() {
    let rounds = 40;
    assert_bounded(rounds, |stdin| {
        let mut packed = GzEncoder::new(stdin, Compression::fast());
        let len = write(rounds, &mut packed);
        packed.finish().expect("it reads");
        len
    });
}
