//! Hard case `clock-steps`: packets out of order, clocks that are set, wrong time stamps; and streams that fall silent.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::carrier::frame;
use serde_json::Value;
use support::wire::{
    ACK, CLIENT, ETHERNET, MS, PSH, S, SERVER, START, SYN, Segment, Shot, Talk, US, json, pcap, shots,
};

/// A capture of these segments in this order.
fn capture(segments: &[(u64, Segment)]) -> Vec<u8> {
    pcap(ETHERNET, &shots(segments, Segment::ethernet))
}

#[test]
fn packets_in_the_wrong_order_with_the_right_times_are_put_in_order() {
    // With gaps of 0.4 ms, as on a LAN, neighbours and packets that are farther apart change places.
    let close = || -> Vec<_> {
        let mut talk = Talk::v4(40_001).whole(START, 5);
        talk.iter_mut().for_each(|(time_ns, _)| *time_ns = START + (*time_ns - START) / 50);
        talk
    };
    let legs = (400 * US, 20 * US);
    let mut swapped = close();
    swapped.swap(0, 1);
    json(&capture(&swapped), &[]).assert_faultless(1, legs);
    for distance in [2, 3, 7] {
        let mut shuffled = close();
        for at in (0..shuffled.len() - distance).step_by(distance + 1) {
            shuffled.swap(at, at + distance);
        }
        json(&capture(&shuffled), &[]).assert_faultless(1, legs);
    }
    let mut reversed = close();
    reversed.truncate(10);
    reversed.reverse();
    json(&capture(&reversed), &[]).assert_faultless(1, legs);
}

/// A packet of every other connection, two queues long.
#[test]
fn connections_of_two_queues_are_put_in_order() {
    let mut queues = [Vec::new(), Vec::new()];
    for number in 0..40_u16 {
        let mut talk = Talk::v4(30_000 + number).whole(START + u64::from(number) * 300 * US, 2);
        // Each queue has one direction.
        for (at, segment) in talk.drain(..) {
            queues[usize::from(segment.source.1 == 443)].push((at, segment));
        }
    }
    queues.iter_mut().for_each(|queue| queue.sort_by_key(|(at, _)| *at));
    // They are read in turns of 3 ms.
    let end = START + 200 * MS;
    let turns = (0..70).flat_map(|turn| queues.iter().map(move |queue| (turn, queue)));
    let file: Vec<_> = turns
        .flat_map(|(turn, queue)| {
            let from = START + turn * 3 * MS;
            queue.iter().filter(move |(at, _)| (from..from + 3 * MS).contains(at)).cloned()
        })
        .collect();
    assert!(file.len() == queues[0].len() + queues[1].len() && file.iter().all(|(at, _)| *at < end));
    json(&capture(&file), &[]).assert_faultless(40, (20 * MS, MS));
}

/// The order of the file is right, the stamps of one direction are not: what is known is reported, what is not is null.
#[test]
fn stamps_of_two_queues_that_run_backwards_give_no_leg() {
    for early_ns in [50 * US, 2 * MS, 5 * MS] {
        let mut talk = Talk::v4(40_001).handshake(START);
        let syn_ack_ns = talk[1].0;
        talk[2].0 = syn_ack_ns - early_ns;
        for arguments in [&[][..], &["--local", "192.0.2.1"], &["--local", "198.51.100.1"]] {
            let said = json(&capture(&talk), arguments);
            let [handshake] = &said.handshakes()[..] else { panic!("{said:?}") };
            assert_eq!(handshake["outcome"], "established", "{said:?}");
            assert_eq!(handshake["client_leg_ns"], Value::Null, "{said:?}");
            assert_eq!(handshake["rtt_ns"], Value::Null, "{said:?}");
            assert_eq!(handshake["setup_ns"], 20 * MS - early_ns, "{said:?}");
            assert_eq!(said.summary()["rtt_samples"], 0, "{said:?}");
        }
    }
    // The SYN-ACK is before its SYN.
    let mut talk = Talk::v4(40_001).handshake(START + S);
    talk[1].0 = START + S - 3 * MS;
    for local in ["192.0.2.1", "198.51.100.1"] {
        let said = json(&capture(&talk), &["--local", local]);
        let handshake = &said.handshakes()[0];
        let legs = ["server_leg_ns", "client_leg_ns", "rtt_ns"].map(|leg| &handshake[leg]);
        assert_eq!(legs, [&Value::Null; 3], "{said:?}");
        assert_eq!(handshake["outcome"], "established", "{said:?}");
        assert_eq!(said.summary()["rtt_samples"], 0, "{said:?}");
    }
}

#[test]
fn data_of_two_queues_is_no_retransmit() {
    let mut talk = Talk::v4(40_001);
    let mut segments = talk.handshake(START);
    for number in 0..50_u64 {
        let early_ns = if number % 3 == 0 { 4 * MS } else { 0 };
        let time_ns = START + 30 * MS + number * 100 * US - early_ns;
        segments.push((time_ns, talk.send(CLIENT, ACK | PSH, 1_000)));
    }
    json(&capture(&segments), &[]).assert_one_handshake();
}

#[test]
fn a_connection_behind_a_step_back_in_time_is_as_any_other() {
    let appended = |steps: &[u64]| {
        let talks = steps.iter().zip(40_001..).map(|(step, port)| Talk::v4(port).whole(START + step, 2));
        talks.flatten().collect::<Vec<_>>()
    };
    for steps in [&[100 * S, 0][..], &[100 * S, 0, 50 * S, 49 * S], &[3_600 * S, 1_800 * S, 0], &[2 * S, 0]] {
        let said = json(&capture(&appended(steps)), &[]);
        said.assert_faultless(steps.len(), (20 * MS, MS));
        let times: Vec<Value> =
            said.handshakes().into_iter().map(|handshake| handshake["time"].clone()).collect();
        let expected = |step: &u64| {
            let at = jiff::Timestamp::from_nanosecond(i128::from(START + step + 21 * MS)).expect("in range");
            Value::from(format!("{at:.9}"))
        };
        assert_eq!(times, steps.iter().map(expected).collect::<Vec<_>>(), "the wall clock is the capture's");
    }
}

/// The same ports again, an hour before.
#[test]
fn the_same_connection_appended_is_another() {
    let mut talk = Talk::v4(40_001);
    let mut segments = talk.whole(START + 3_600 * S, 2);
    talk.next = [70_000, 90_000];
    segments.extend(talk.whole(START, 2));
    json(&capture(&segments), &[]).assert_faultless(2, (20 * MS, MS));
}

/// What was open when the clock was set has no leg across it.
#[test]
fn a_step_within_a_handshake_gives_no_leg() {
    let mut others = (0..6).map(|number| Talk::v4(50_000 + number).handshake(START + S));
    for at in [1, 2] {
        let mut talk = Talk::v4(40_001).handshake(START + 3_600 * S);
        let mut segments = talk.split_off(at);
        segments.iter_mut().for_each(|(time_ns, _)| *time_ns -= 3_600 * S);
        let file = [talk, segments, others.next().expect("some"), others.next().expect("some")].concat();
        let said = json(&capture(&file), &[]);
        let handshakes = said.handshakes();
        assert_eq!(handshakes.len(), 3, "{said:?}");
        let stepped = handshakes.iter().find(|handshake| handshake["local_port"] == 40_001).expect("one");
        assert_eq!(stepped["outcome"], "established", "{said:?}");
        assert_eq!((&stepped["rtt_ns"], &stepped["setup_ns"]), (&Value::Null, &Value::Null), "{said:?}");
        let legs = if at == 1 { (Value::Null, MS.into()) } else { ((20 * MS).into(), Value::Null) };
        assert_eq!((stepped["server_leg_ns"].clone(), stepped["client_leg_ns"].clone()), legs, "{said:?}");
    }
}

#[test]
fn one_wrong_stamp_spoils_its_own_handshake_and_no_other() {
    for wrong in [START + 10_000 * S, START - 10_000 * S, START + 5 * S, START + 40_000 * S] {
        for place in 0..3 {
            let mut first = Talk::v4(40_001).handshake(START);
            let is_first = place == 0;
            first[place].0 = wrong;
            let before = Talk::v4(40_000).handshake(START - S);
            let later =
                [40_002, 40_003].map(|port| Talk::v4(port).handshake(START + u64::from(port - 40_000) * S));
            let said = json(&capture(&[before, first, later.concat()].concat()), &[]);
            let handshakes = said.handshakes();
            assert_eq!(handshakes.len(), 4, "{said:?}");
            for handshake in &handshakes {
                assert_eq!(handshake["outcome"], "established", "{said:?}");
                let is_spoiled = handshake["local_port"] == 40_001;
                let expected = if is_spoiled { Value::Null } else { (21 * MS).into() };
                assert_eq!(handshake["rtt_ns"], expected, "{place} {said:?}");
                if is_spoiled && place == 1 {
                    assert_eq!(handshake["setup_ns"], 21 * MS, "{is_first} {said:?}");
                }
            }
            assert_eq!(said.summary()["rtt_samples"], 3, "{said:?}");
        }
    }
}

#[test]
fn an_unanswered_syn_before_a_wrong_stamp_is_answered_behind_it() {
    let mut waiting = Talk::v4(40_001).handshake(START);
    let mut other = Talk::v4(40_002).handshake(START + MS);
    other[1].0 = START + 10_000 * S;
    let answered = waiting.split_off(1);
    let data = shots(&Talk::v4(40_003).whole(START + 2 * S, 1), Segment::ethernet);
    let mut file = shots(&[waiting, other, answered].concat(), Segment::ethernet);
    file.extend(data);
    let said = json(&pcap(ETHERNET, &file), &[]);
    assert!(said.handshakes().iter().all(|handshake| handshake["outcome"] == "established"), "{said:?}");
    assert!(said.summary()["duration_ns"].as_u64().expect("a number") < 3 * S, "{said:?}");
}

/// A quiet hour is no wrong stamp: whoever waited in it was not answered.
#[test]
fn a_gap_is_time_that_passed() {
    let mut syn = Talk::v4(40_001).handshake(START);
    syn.truncate(1);
    let later = Talk::v4(40_002).whole(START + 3_600 * S, 2);
    let said = json(&capture(&[syn, later].concat()), &[]);
    let outcomes: Vec<Value> =
        said.handshakes().into_iter().map(|handshake| handshake["outcome"].clone()).collect();
    assert_eq!(outcomes, ["unanswered", "established"], "{said:?}");
    assert_eq!(said.summary()["duration_ns"], 3_600 * S + 106 * MS, "{said:?}");
}

/// Time passes by what is not TCP, too.
#[test]
fn other_packets_tell_the_time() {
    let syn = Shot::new(START, Talk::v4(40_001).send(CLIENT, SYN, 0).ethernet());
    let arp = |time_ns| Shot::new(time_ns, frame(0x0806, &[0; 28]));
    let file = [syn, arp(START + 2 * S), arp(START + 5 * S), arp(START + 6 * S)];
    let said = json(&pcap(ETHERNET, &file), &["--count", "1"]);
    assert_eq!(said.handshakes()[0]["outcome"], "unanswered", "{said:?}");
}

/// Feeds a stream that is not ended, and returns the lines that come within `patience`.
fn stream(pieces: &[&[u8]], patience: Duration) -> Vec<(Duration, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
    command.args(["replay", "-", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it was built");
    let mut stdin = child.stdin.take().expect("piped");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let began = Instant::now();
    let (lines, received) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in stdout.lines() {
            if lines.send((began.elapsed(), line.expect("UTF-8"))).is_err() {
                break;
            }
        }
    });
    for piece in pieces {
        stdin.write_all(piece).expect("it reads");
        stdin.flush().expect("it reads");
        std::thread::sleep(Duration::from_millis(300));
    }
    std::thread::sleep(patience.saturating_sub(began.elapsed()));
    let said = received.try_iter().collect();
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    reader.join().expect("it reads");
    said
}

#[test]
fn an_unanswered_syn_of_a_silent_stream_is_reported() {
    let mut talk = Talk::v4(40_001).handshake(START);
    let mut waiting = Talk::v4(40_002).handshake(START + 100 * MS);
    waiting.truncate(1);
    talk.extend(waiting);
    let file = capture(&talk);
    let lines = stream(&[&file], Duration::from_secs(10));
    let said: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("established") && lines[0].0 < Duration::from_secs(2), "{lines:?}");
    assert!(said[1].contains("unanswered"), "{said:?}");
    // Six seconds for the first retry, and one more.
    assert!(lines[1].0 > Duration::from_millis(6_500), "{lines:?}");
}

/// A file that comes slowly through a pipe is no live stream: hours of it pass in a moment, and nothing while it pauses.
#[test]
fn a_file_that_stalls_in_a_pipe_is_no_silence() {
    let mut talk = Talk::v4(40_001).handshake(START);
    talk.extend(Talk::v4(40_002).handshake(START + 600 * S));
    let file = capture(&talk);
    let before_last_answer = file.len() - 2 * (16 + 54);
    let lines = stream(&[&file[..before_last_answer]], Duration::from_secs(6));
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn the_first_second_has_no_rate_of_a_billion() {
    let packets = Talk::v4(40_001).send(SERVER, SYN | ACK, 0);
    let said = json(&pcap(ETHERNET, &[Shot::new(START, packets.ethernet())]), &[]);
    assert_eq!(said.code, 0, "{said:?}");
    let mut engine = tcptop_core::Engine::new(&support::config(10), START);
    let reader = engine.add_reader(tcptop_core::ReaderConfig::default());
    let syn = support::Connection::to(support::v4(10, 20, 1, 10, 443), 40_001).syn(START);
    engine.handle(tcptop_core::Input::Records(&[syn.into()]));
    let request = tcptop_core::SnapshotRequest::totals(tcptop_core::Span::Window);
    for age_ns in [0, 1, MS, S] {
        let snapshot = engine.snapshot(reader, &request, START + age_ns);
        assert!(snapshot.new_per_s <= 1.0, "{} after {age_ns} ns", snapshot.new_per_s);
    }
}
