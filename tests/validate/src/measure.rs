//! One connection of iperf3, and what each source says of it.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Link, Namespace, Object, Tcptop, far_v4};
use serde_json::Value;

use crate::Scene;
use crate::chart::Line;

const PATIENCE: Duration = Duration::from_secs(60);
/// The port of iperf3's server, and that of the client's connection for data.
const SERVER: u16 = 5_201;
const CLIENT: u16 = 2_345;
/// How often sockets are listed: less than the connection is open after its last data.
const INTERVAL: &str = "20ms";
/// How often `ss` is asked.
const SS_INTERVAL: Duration = Duration::from_millis(100);

/// What is drawn: a name, a title, and a unit.
pub(crate) const FIGURES: [(&str, &str, &str); 6] = [
    ("rtt", "Round-trip time: smoothed, and by sock_ops each sample", "ms"),
    ("rttvar", "Variance of the round-trip time", "ms"),
    ("cwnd", "Congestion window", "KiB"),
    ("pmtu", "Path MTU", "B"),
    ("bytes", "Bytes sent", "MiB"),
    ("retransmits", "Retransmitted segments", ""),
];

/// Lines of one source, by figure.
pub(crate) type Series = BTreeMap<&'static str, Line>;

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// By source.
    pub(crate) series: BTreeMap<&'static str, Series>,
    /// By source and figure.
    pub(crate) totals: BTreeMap<(&'static str, &'static str), f64>,
}

impl Measured {
    fn point(&mut self, source: &'static str, figure: &'static str, at: f64, value: Option<f64>) {
        if let Some(value) = value {
            self.series.entry(source).or_default().entry(figure).or_default().push((at, value));
        }
    }

    fn total(&mut self, source: &'static str, figure: &'static str, value: f64) {
        self.totals.insert((source, figure), value);
    }
}

/// Runs a scene.
///
/// # Errors
/// When a program cannot be started, fails, or does not say what it should.
pub(crate) fn run(scene: &Scene) -> Result<Measured> {
    let link = scene.link()?;
    let (host, interface) = scene.sender(&link);
    let wire =
        Tcptop::spawn(host, [interface, "--json", "--retransmits=both", "--sockets=off", "--owners=off"])?;
    wire.wait_ready(PATIENCE)?;
    let filter = format!("--filter=port:{SERVER}");
    let interval = format!("--interval={INTERVAL}");
    let tables = "--tables=path,perf";
    let stats = Tcptop::spawn(host, ["stats", "--json", "--events=sums", tables, &interval, &filter])?;
    stats.wait_ready(PATIENCE)?;
    let (report, samples) = transfer(scene, &link, host)?;
    wire.wait_objects("close", 2, PATIENCE)?;
    let mut measured = Measured::default();
    let origin = read_stats(&stats, scene, &mut measured)?;
    stats.stop(PATIENCE)?;
    read_retransmits(&wire, origin, scene, &mut measured);
    read_wire(&wire.stop(PATIENCE)?, scene, &mut measured)?;
    for (at, line) in samples {
        read_ss(at.saturating_duration_since(origin).as_secs_f64(), &line, &mut measured);
    }
    let asked =
        measured.series.get("ss").and_then(|figures| figures.get("rtt")).context("ss lists nothing")?;
    let sum: f64 = asked.iter().map(|(_, ms)| ms * 1_000.0).sum();
    let mean = sum / f64::from(u32::try_from(asked.len()).unwrap_or(u32::MAX));
    measured.total("ss", "rtt", mean);
    read_iperf(&report, scene, &mut measured)?;
    Ok(measured)
}

/// Sends by iperf3 while `ss` is asked again and again. Returns iperf3's report, and the lines of `ss` with their times.
fn transfer(scene: &Scene, link: &Link, host: &Namespace) -> Result<(Value, Vec<(Instant, String)>)> {
    let mut server = Command::new("iperf3");
    server.args(["-s", "-1", "--forceflush", "-p"]).arg(SERVER.to_string());
    let server = Tcptop::spawn_command(&link.far, server)?;
    server.wait_stdout(PATIENCE, |line| line.contains("listening"))?;
    let mut client = Command::new("iperf3");
    client.args(["-J", "-i", "0.2", "-w", "64K", "-C", &scene.congestion]);
    client.arg("-c").arg(far_v4(11).to_string()).arg("-p").arg(SERVER.to_string());
    client.arg("--cport").arg(CLIENT.to_string()).arg("-n").arg(format!("{}M", scene.megabytes));
    if !scene.is_client_sender {
        client.arg("-R");
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asked = scope.spawn(|| ask_ss(host, &is_over));
        let output = Tcptop::spawn_command(&link.near, client).and_then(|client| client.wait(PATIENCE));
        is_over.store(true, Ordering::Relaxed);
        let samples = asked.join().ok().context("ss cannot be asked")?;
        let text: String = output?.stdout.iter().map(|line| line.text.as_str()).collect();
        let report: Value = serde_json::from_str(&text).context("iperf3 writes no JSON")?;
        if let Some(error) = report["error"].as_str() {
            anyhow::bail!("iperf3 says: {error}");
        }
        Ok((report, samples))
    })
}

fn ask_ss(host: &Namespace, is_over: &AtomicBool) -> Vec<(Instant, String)> {
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let mut ss = Command::new("ss");
        ss.args(["-tinmeOH", &format!("( sport = :{CLIENT} or dport = :{CLIENT} )")]);
        host.enter_command(&mut ss);
        if let Ok(output) = ss.output() {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            samples.extend(text.lines().map(|line| (Instant::now(), line.to_owned())));
        }
        thread::sleep(SS_INTERVAL);
    }
    samples
}

/// Whether an object is of the connection for data.
fn is_data(object: &Value, scene: &Scene) -> bool {
    let port = if scene.is_client_sender { "local_port" } else { "remote_port" };
    object[port] == CLIENT
}

fn float(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn read_wire(objects: &[Object], scene: &Scene, measured: &mut Measured) -> Result<()> {
    let port = |object: &Object| if scene.is_client_sender { object.local() } else { object.remote() }.port();
    let its =
        |kind: &'static str| objects.iter().filter(move |one| one.kind() == kind && port(one) == CLIENT);
    let close = its("close").next().context("the wire has no end of the connection")?;
    let number = |field: &str| close.number(field).map(as_float).with_context(|| format!("no {field}"));
    let both = close.object("retransmit_witnesses");
    measured.total("wire", "bytes", number("sent_bytes")?);
    measured.total("wire", "segments", number("sent_data_segments")?);
    measured.total("wire", "retransmits", both.number("wire").map(as_float).context("no wire")?);
    measured.total("kernel", "retransmits", both.number("kernel").map(as_float).context("no kernel")?);
    let again = its("retransmit").filter(|one| one.text("sent_by") == Some("local"));
    let again: u64 = again.filter_map(|one| one.number("payload_bytes")).sum();
    measured.total("wire", "payload", number("sent_bytes")? - as_float(again));
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "counts of a short run are far below 2^53")]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// Retransmits as their lines came.
fn read_retransmits(wire: &Tcptop, origin: Instant, scene: &Scene, measured: &mut Measured) {
    let mut count = 0.0;
    for line in wire.stdout() {
        let object: Value = serde_json::from_str(&line.text).unwrap_or_default();
        if object["type"] == "retransmit" && object["sent_by"] == "local" && is_data(&object, scene) {
            count += float(&object["segments"]).unwrap_or(0.0);
            let at = line.at.saturating_duration_since(origin).as_secs_f64();
            measured.point("wire", "retransmits", at, Some(count));
        }
    }
}

/// Returns when the connection was first listed: all times are since then.
fn read_stats(stats: &Tcptop, scene: &Scene, measured: &mut Measured) -> Result<Instant> {
    let (mut last, mut sum, mut count) = (None, 0.0, 0.0);
    let mut first = None;
    for line in stats.stdout() {
        let object: Value = serde_json::from_str(&line.text).context("tcptop writes no JSON")?;
        if object["type"] != "stats" || !is_data(&object, scene) || object["socket"]["tcp_info"].is_null() {
            continue;
        }
        let at = line.at.duration_since(*first.get_or_insert(line.at)).as_secs_f64();
        let info = &object["socket"]["tcp_info"];
        let mss = float(&info["snd_mss_bytes"]);
        let ms = |field: &str| float(&info[field]).map(|us| us / 1_000.0);
        let cwnd = float(&info["snd_cwnd_segments"]).zip(mss).map(|(cwnd, mss)| cwnd * mss / 1_024.0);
        measured.point("sock_diag", "rtt", at, ms("srtt_us"));
        measured.point("sock_diag", "rttvar", at, ms("rttvar_us"));
        measured.point("sock_diag", "cwnd", at, cwnd);
        measured.point("sock_diag", "pmtu", at, float(&info["pmtu_bytes"]));
        measured.point("sock_diag", "bytes", at, float(&info["bytes_sent"]).map(|bytes| bytes / 1_048_576.0));
        measured.point("sock_diag", "retransmits", at, float(&info["total_retrans"]));
        measured.point("sock_ops", "rtt", at, float(&object["tables"]["Path"]["SampleRTT"]));
        if let Some(srtt) = float(&info["srtt_us"]) {
            (sum, count) = (sum + srtt, count + 1.0);
        }
        last = Some(object);
    }
    let last = last.context("the connection is in no list")?;
    let info = &last["socket"]["tcp_info"];
    let path = &last["tables"]["Path"];
    measured.total("sock_diag", "bytes", float(&info["bytes_sent"]).context("no bytes")?);
    measured.total("sock_diag", "segments", float(&info["data_segs_out"]).context("no segments")?);
    measured.total("sock_diag", "rtt", sum / count);
    let mean = float(&path["SumRTT"]).zip(float(&path["CountRTT"])).map(|(sum, count)| sum / count * 1_000.0);
    measured.total("sock_ops", "rtt", mean.context("no event was collected")?);
    first.context("the connection is in no list")
}

/// `cubic wscale:7,7 rto:228 rtt:27.1/3.2 mss:1448 pmtu:1500 cwnd:10 bytes_sent:1448 retrans:0/3`
fn read_ss(at: f64, line: &str, measured: &mut Measured) {
    let field =
        |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
    let number = |name: &str| field(name)?.parse::<f64>().ok();
    let (rtt, rttvar) = field("rtt").and_then(|both| both.split_once('/')).unzip();
    let parsed = |text: Option<&str>| text?.parse::<f64>().ok();
    measured.point("ss", "rtt", at, parsed(rtt));
    measured.point("ss", "rttvar", at, parsed(rttvar));
    let cwnd = number("cwnd").zip(number("mss")).map(|(cwnd, mss)| cwnd * mss / 1_024.0);
    measured.point("ss", "cwnd", at, cwnd);
    measured.point("ss", "pmtu", at, number("pmtu"));
    measured.point("ss", "bytes", at, number("bytes_sent").map(|bytes| bytes / 1_048_576.0));
    let retransmits = field("retrans").and_then(|both| both.split_once('/')).map(|(_, all)| all);
    measured.point("ss", "retransmits", at, parsed(retransmits));
    // The nearest list is that of nearly the same moment.
    let lists = measured.series.get("sock_diag").and_then(|figures| figures.get("bytes"));
    let nearest = lists.and_then(|line| {
        line.iter().min_by(|one, other| (one.0 - at).abs().total_cmp(&(other.0 - at).abs()))
    });
    if let Some((bytes, mib)) = number("bytes_sent").zip(nearest.map(|point| point.1)) {
        measured.total("ss", "bytes", bytes);
        measured.total("sock_diag", "bytes with ss", mib * 1_048_576.0);
    }
}

fn read_iperf(report: &Value, scene: &Scene, measured: &mut Measured) -> Result<()> {
    let end = &report["end"];
    let sender = &end["streams"][0]["sender"];
    let total = |value: &Value, what| float(value).with_context(|| format!("iperf3 says no {what}"));
    // What waits in the sockets when the client has sent all is sent, but read no more.
    let side = if scene.is_client_sender { "sum_sent" } else { "sum_received" };
    measured.total("iperf3", "payload", total(&end[side]["bytes"], "bytes")?);
    measured.total("iperf3", "retransmits", total(&end["sum_sent"]["retransmits"], "retransmits")?);
    // The client does not hear of the server's.
    if scene.is_client_sender {
        measured.total("iperf3", "rtt", total(&sender["mean_rtt"], "RTT")?);
    }
    let (mut bytes, mut retransmits) = (0.0, 0.0);
    // Of what the other end sends it says nothing on its way.
    for interval in report["intervals"].as_array().into_iter().flatten().filter(|_| scene.is_client_sender) {
        let stream = &interval["streams"][0];
        let Some(at) = float(&stream["end"]) else { continue };
        bytes += float(&stream["bytes"]).unwrap_or(0.0);
        retransmits += float(&stream["retransmits"]).unwrap_or(0.0);
        measured.point("iperf3", "rtt", at, float(&stream["rtt"]).map(|us| us / 1_000.0));
        measured.point("iperf3", "rttvar", at, float(&stream["rttvar"]).map(|us| us / 1_000.0));
        measured.point("iperf3", "cwnd", at, float(&stream["snd_cwnd"]).map(|bytes| bytes / 1_024.0));
        measured.point("iperf3", "pmtu", at, float(&stream["pmtu"]));
        measured.point("iperf3", "bytes", at, Some(bytes / 1_048_576.0));
        measured.point("iperf3", "retransmits", at, Some(retransmits));
    }
    Ok(())
}
