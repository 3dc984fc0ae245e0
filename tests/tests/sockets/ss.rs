//! What `tcptop stats` says of sockets in several states, beside what `ss` says of the same.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lab::{Namespace, Object};

use super::{PATIENCE, address, begin, connected, idle_listener, pair};

/// How often both are asked: what changes between the two must not differ every time.
const ATTEMPTS: usize = 10;

/// Names of `ss`, where tcptop has the same, and by how much that is divided.
const FIELDS: [(&str, &str, f64); 44] = [
    ("cwnd", "tcp_info.snd_cwnd_segments", 1.0),
    ("ssthresh", "tcp_info.snd_ssthresh_segments", 1.0),
    ("rto", "tcp_info.rto_us", 1_000.0),
    ("rtt", "tcp_info.srtt_us", 1_000.0),
    ("rttvar", "tcp_info.rttvar_us", 1_000.0),
    ("ato", "tcp_info.ato_us", 1_000.0),
    ("minrtt", "tcp_info.min_rtt_us", 1_000.0),
    ("rcv_rtt", "tcp_info.rcv_rtt_us", 1_000.0),
    ("mss", "tcp_info.snd_mss_bytes", 1.0),
    ("rcvmss", "tcp_info.rcv_mss_bytes", 1.0),
    ("advmss", "tcp_info.advmss_bytes", 1.0),
    ("pmtu", "tcp_info.pmtu_bytes", 1.0),
    ("bytes_sent", "tcp_info.bytes_sent", 1.0),
    ("bytes_acked", "tcp_info.bytes_acked", 1.0),
    ("bytes_received", "tcp_info.bytes_received", 1.0),
    ("bytes_retrans", "tcp_info.bytes_retrans", 1.0),
    ("segs_out", "tcp_info.segs_out", 1.0),
    ("segs_in", "tcp_info.segs_in", 1.0),
    ("data_segs_out", "tcp_info.data_segs_out", 1.0),
    ("data_segs_in", "tcp_info.data_segs_in", 1.0),
    ("delivered", "tcp_info.delivered_segments", 1.0),
    ("unacked", "tcp_info.unacked_segments", 1.0),
    ("lost", "tcp_info.lost_segments", 1.0),
    ("backoff", "tcp_info.backoff", 1.0),
    ("reordering", "tcp_info.reordering_segments", 1.0),
    ("notsent", "tcp_info.notsent_bytes", 1.0),
    ("rcv_space", "tcp_info.rcv_space_bytes", 1.0),
    ("rcv_ssthresh", "tcp_info.rcv_ssthresh_bytes", 1.0),
    ("snd_wnd", "tcp_info.snd_wnd_bytes", 1.0),
    ("snd_wscale", "tcp_info.snd_wscale", 1.0),
    ("rcv_wscale", "tcp_info.rcv_wscale", 1.0),
    ("recv_queue", "recv_queue", 1.0),
    ("send_queue", "send_queue", 1.0),
    ("ino", "inode", 1.0),
    ("uid", "uid", 1.0),
    ("r", "memory.receive_alloc", 1.0),
    ("rb", "memory.receive_buffer", 1.0),
    ("t", "memory.send_alloc", 1.0),
    ("tb", "memory.send_buffer", 1.0),
    ("f", "memory.forward_alloc", 1.0),
    ("w", "memory.send_queued", 1.0),
    ("o", "memory.option_memory", 1.0),
    ("bl", "memory.backlog", 1.0),
    ("d", "memory.drops", 1.0),
];

const STATES: [(&str, &str); 11] = [
    ("ESTAB", "established"),
    ("SYN-SENT", "syn_sent"),
    ("SYN-RECV", "syn_recv"),
    ("FIN-WAIT-1", "fin_wait_1"),
    ("FIN-WAIT-2", "fin_wait_2"),
    ("TIME-WAIT", "time_wait"),
    ("UNCONN", "close"),
    ("CLOSE-WAIT", "close_wait"),
    ("LAST-ACK", "last_ack"),
    ("LISTEN", "listen"),
    ("CLOSING", "closing"),
];

/// A socket as `ss` has it.
#[derive(Debug)]
struct Listed {
    state: String,
    /// Whether the congestion control is among its words.
    words: Vec<String>,
    numbers: HashMap<String, f64>,
}

/// What `ss` says, by cookie.
fn listed_by_ss(namespace: &Namespace) -> HashMap<u64, Listed> {
    let mut ss = Command::new("ss");
    let output =
        namespace.enter_command(ss.args(["-H", "-O", "-tanemoi"])).output().expect("iproute2 is there");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it is ASCII");
    text.lines().map(listed).collect()
}

fn listed(line: &str) -> (u64, Listed) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let number = |text: &str| text.parse::<f64>().unwrap_or_else(|error| panic!("{text}: {error} in {line}"));
    let mut numbers = HashMap::from([
        ("recv_queue".to_owned(), number(&words[1])),
        ("send_queue".to_owned(), number(&words[2])),
    ]);
    let mut cookie = 0;
    for (name, value) in words[5..].iter().filter_map(|word| word.split_once(':')) {
        match name {
            "sk" => cookie = u64::from_str_radix(value, 16).expect("it is hexadecimal"),
            "rtt" | "wscale" => {
                let (first, second) = value.split_once(['/', ',']).expect("there are two");
                let names = if name == "rtt" { ["rtt", "rttvar"] } else { ["snd_wscale", "rcv_wscale"] };
                numbers.extend(names.map(str::to_owned).into_iter().zip([first, second].map(number)));
            }
            "skmem" => {
                let all = value.trim_matches(['(', ')']).split(',');
                numbers.extend(all.map(|part| {
                    let digits = part.find(|letter: char| letter.is_ascii_digit()).expect("a number");
                    (part[..digits].to_owned(), number(&part[digits..]))
                }));
            }
            _ => numbers.extend(value.parse().ok().map(|value| (name.to_owned(), value))),
        }
    }
    (cookie, Listed { state: words[0].clone(), words, numbers })
}

/// What `tcptop stats` says, by cookie.
fn listed_by_tcptop(namespace: &Namespace) -> HashMap<u64, Object> {
    let mut stats = Command::new(lab::tcptop::binary().expect("it is built"));
    let output = namespace.enter_command(stats.args(["stats", "--json"])).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it is UTF-8");
    let objects = text.lines().map(Object::parse).filter(|object| object.kind() == "stats");
    objects.filter_map(|object| Some((object.object("socket").number("cookie")?, object))).collect()
}

/// Where both differ, and the names and states that were compared.
#[derive(Debug, Default)]
struct Comparison {
    differences: Vec<String>,
    names: BTreeSet<&'static str>,
    states: BTreeSet<&'static str>,
}

impl Comparison {
    fn of(ss: &HashMap<u64, Listed>, tcptop: &HashMap<u64, Object>) -> Self {
        let mut comparison = Self::default();
        let missing = ss.keys().filter(|cookie| !tcptop.contains_key(cookie));
        comparison.differences.extend(missing.map(|cookie| format!("{cookie} is missing")));
        for (cookie, listed) in ss {
            let Some(object) = tcptop.get(cookie) else { continue };
            comparison.add(*cookie, listed, &object.object("socket"));
        }
        comparison
    }

    fn add(&mut self, cookie: u64, listed: &Listed, socket: &Object) {
        let state = STATES.iter().find(|(name, _)| *name == listed.state).expect("a state").1;
        self.states.insert(state);
        if socket.text("state") != Some(state) {
            self.differences.push(format!("{cookie}: {state}, not {:?}", socket.text("state")));
        }
        let algorithm = socket.text("congestion_control");
        if algorithm.is_some_and(|name| !listed.words.iter().any(|word| word == name)) {
            self.differences.push(format!("{cookie}: {algorithm:?} is not in {:?}", listed.words));
        }
        for (name, field, divisor) in FIELDS {
            let Some(expected) = listed.numbers.get(name) else { continue };
            // Without a connection ss has a cwnd of its own, and its inode of 0 is none.
            let is_none = name == "ino" && *expected == 0.0;
            if is_none || field.starts_with("tcp_info") && !socket.has("tcp_info") {
                continue;
            }
            self.names.insert(name);
            let known =
                socket.number(field).map(|number| f64::from(u32::try_from(number).expect("small")) / divisor);
            // ss prints six digits.
            if known.is_none_or(|known| (known - expected).abs() > expected.abs() * 1e-5) {
                self.differences.push(format!("{cookie} {state} {name}: ss {expected}, tcptop {known:?}"));
            }
        }
    }
}

/// Sends until nothing more is taken.
fn fill(stream: &mut TcpStream) {
    stream.set_nonblocking(true).expect("it can be set");
    while stream.write(&[7; 65_536]).is_ok() {}
}

#[test]
fn stats_says_the_same_as_ss() {
    lab::needs_root!();
    let [here, there] = pair();
    let _listening = idle_listener(&here, address(1, 80), 5);
    let _not_accepted = lab::connect(&there, None, address(1, 80).into(), PATIENCE).unwrap();
    // Data both ways, some of which is not read.
    let (mut talking, mut other) = connected(&here, &there, 1);
    other.write_all(&[1; 20_000]).unwrap();
    talking.read_exact(&mut [0; 10_000]).unwrap();
    talking.write_all(&[2; 5_000]).unwrap();
    other.read_exact(&mut [0; 5_000]).unwrap();
    // More than the other end takes.
    let (mut full, _idle) = connected(&here, &there, 2);
    fill(&mut full);
    // Half closed by either end, and closed with data that the other end does not take.
    let (ended, _open) = connected(&here, &there, 3);
    ended.shutdown(Shutdown::Write).unwrap();
    let (_waiting, ending) = connected(&here, &there, 4);
    ending.shutdown(Shutdown::Write).unwrap();
    let (mut unsent, _deaf) = connected(&here, &there, 5);
    fill(&mut unsent);
    unsent.shutdown(Shutdown::Write).unwrap();
    let (mut last, gone) = connected(&here, &there, 6);
    gone.shutdown(Shutdown::Write).unwrap();
    fill(&mut last);
    last.shutdown(Shutdown::Write).unwrap();
    let (first, second) = connected(&here, &there, 7);
    drop(first);
    drop(second);
    // Nobody has this address.
    let _opening = begin(&here, address(9, 80));
    let mut last = Comparison::default();
    for _ in 0..ATTEMPTS {
        thread::sleep(Duration::from_millis(200));
        last = Comparison::of(&listed_by_ss(&here), &listed_by_tcptop(&here));
        if last.differences.is_empty() {
            break;
        }
    }
    assert_eq!(last.differences, Vec::<String>::new());
    let expected = [
        "close_wait",
        "established",
        "fin_wait_1",
        "fin_wait_2",
        "last_ack",
        "listen",
        "syn_sent",
        "time_wait",
    ];
    assert_eq!(last.states.into_iter().collect::<Vec<_>>(), expected);
    assert!(last.names.len() > 35, "{:?}", last.names);
}

/// What applications have sent and received, which no number of a SYN or a FIN belongs to.
#[test]
fn octets_are_those_of_the_applications() {
    lab::needs_root!();
    let [here, there] = pair();
    let (mut server, mut client) = connected(&here, &there, 1);
    client.write_all(&[1; 1_234]).unwrap();
    server.read_exact(&mut [0; 1_000]).unwrap();
    server.write_all(&[2; 4_321]).unwrap();
    client.read_exact(&mut [0; 4_321]).unwrap();
    let perf = |namespace: &Namespace, names: &[&str]| {
        let listed = listed_by_tcptop(namespace);
        let stats = listed.values().find(|object| object.has("remote_ip")).expect("a connection");
        let numbers = names.iter().map(|name| stats.number(&format!("tables.{name}")).expect("it is known"));
        numbers.collect::<Vec<_>>()
    };
    let names = ["App.ThruOctetsAcked", "App.ThruOctetsReceived", "App.CurAppRQueue", "Perf.HCDataOctetsOut"];
    let settled = |namespace: &Namespace, expected: [u64; 4]| {
        let begun = Instant::now();
        // The last ACK may be delayed.
        while perf(namespace, &names) != expected {
            assert!(begun.elapsed() < PATIENCE, "{:?} is not {expected:?}", perf(namespace, &names));
            thread::sleep(Duration::from_millis(20));
        }
    };
    settled(&here, [4_321, 1_234, 234, 4_321]);
    settled(&there, [1_234, 4_321, 0, 1_234]);
    client.shutdown(Shutdown::Write).unwrap();
    settled(&there, [1_234, 4_321, 0, 1_234]);
    settled(&here, [4_321, 1_234, 234, 4_321]);
}
