use std::collections::BTreeSet;

use probe_common::Endpoint;
use probe_common::segment::mapped;
use probe_common::sums::{Fact, RawSocketSums, Sum, Sums};

use super::*;

const NOW_NS: u64 = 900_000_000_000;

/// A connection with a value in every field, such that no formula is at a bound.
fn socket(cwnd: u64, ssthresh: u64) -> Socket {
    let mut info = TcpInfo::new(&[0; 280]);
    for (field, value) in InfoField::ALL.iter().zip(100_000..) {
        info = info.with(*field, value);
    }
    for (field, value) in [
        (InfoField::CaState, 0),
        (InfoField::Retransmits, 1),
        (InfoField::Options, 0xf),
        (InfoField::SndWscale, 7),
        (InfoField::RcvWscale, 8),
        (InfoField::SndMss, 1_448),
        (InfoField::Unacked, 20),
        (InfoField::Sacked, 2),
        (InfoField::Lost, 3),
        (InfoField::Retrans, 4),
        (InfoField::SndCwnd, cwnd),
        (InfoField::SndSsthresh, ssthresh),
        (InfoField::BytesSent, (9 << 32) + 7),
        (InfoField::BytesRetrans, (6 << 32) + 8),
        (InfoField::BytesAcked, (7 << 32) + 9),
        (InfoField::BytesReceived, (8 << 32) + 10),
        (InfoField::BusyTime, 9_000_000),
        (InfoField::TotalRto, 9),
        (InfoField::TotalRtoRecoveries, 4),
        (InfoField::NotsentBytes, 1_000),
    ] {
        info = info.with(field, value);
    }
    let end = |last, port| Endpoint { address: mapped([10, 0, 0, last]), port };
    let socket = Socket::new((3 << 32) + 5, end(1, 40_000), end(2, 443), SocketState::Established);
    Socket { info: Some(info), receive_queue: 50, send_queue: 30_000, tos: Some(16), ..socket }
}

fn value(variable: &Variable, socket: &Socket) -> Option<EstatsValue> {
    let mut extremes = Extremes::default();
    let sums = sums();
    extremes.note(socket, Some(&sums));
    extremes.note(socket, Some(&sums));
    let facts = Facts { extremes: Some(&extremes), is_active: Some(true), ..Facts::of(socket) };
    variable.value(&facts)
}

/// Sums with a value in every word, such that no formula is at a bound.
fn sums() -> SocketSums {
    let words = |count: usize, from: u64| (from..).take(count);
    let mut facts = [0; Fact::COUNT];
    facts.iter_mut().zip(words(Fact::COUNT, 300_000)).for_each(|(fact, value)| *fact = value);
    let mut all = [0; Sum::COUNT];
    all.iter_mut().zip(words(Sum::COUNT, 500_000)).for_each(|(sum, value)| *sum = value);
    let raw = RawSocketSums { cookie: 1, has_sums: 1, facts, sums: Sums(all) };
    let sums = SocketSums::new(&raw, true).with_sum(Sum::Opened, 1).with_sum(Sum::Started, 7_000_000);
    sums.with_fact(Fact::Nonagle, 0)
}

fn counted(variable: &Variable, socket: &Socket, sums: &SocketSums) -> Option<EstatsValue> {
    let mut extremes = Extremes::default();
    extremes.note(socket, Some(sums));
    extremes.note(socket, Some(sums));
    let facts = Facts { extremes: Some(&extremes), sums: Some(sums), now_ns: NOW_NS, ..Facts::of(socket) };
    variable.value(&facts)
}

/// The words of sums and of the kernel's structure that a change of changes the value.
fn used_words(variable: &Variable) -> BTreeSet<&'static str> {
    let listed = socket(40, 20);
    let mut used = BTreeSet::new();
    for base in [sums(), sums().with_fact(Fact::UserMss, 0)] {
        let before = counted(variable, &listed, &base);
        let facts = Fact::ALL.iter().map(|fact| {
            // A bit, a number.
            let other = if *fact == Fact::Nonagle { 1 } else { base.fact(*fact) + 1 };
            (fact.name(), base.with_fact(*fact, other))
        });
        let of_sums = Sum::ALL.iter().map(|sum| {
            let more = if *sum == Sum::Started { 2_000_000_000 } else { 1 };
            (sum.name(), base.with_sum(*sum, base.sum(*sum).unwrap() + more))
        });
        let cleared = [(Sum::RttCount.name(), base.with_sum(Sum::RttCount, 0))];
        let changes = facts.chain(of_sums).chain(cleared);
        used.extend(
            changes.filter(|(_, other)| counted(variable, &listed, other) != before).map(|(name, _)| name),
        );
    }
    used
}

/// Those that the words of a formula name, also those of a variable that they name.
fn named_words(variable: &Variable) -> BTreeSet<&'static str> {
    let how = variable.how().unwrap_or_default();
    let words: Vec<&str> =
        how.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).collect();
    let all = Fact::ALL.iter().map(|fact| fact.name()).chain(Sum::ALL.iter().map(|sum| sum.name()));
    let own = all.filter(|name| words.contains(name));
    let of_others = ["as", "largest"].iter().filter_map(|before| {
        let place = words.iter().position(|word| word == before)?;
        variables().find(|(_, other)| Some(&other.name) == words.get(place + 1))
    });
    own.chain(of_others.flat_map(|(_, other)| named_words(other))).collect()
}

/// A test for each variable that events tell of: it is made of what its words name, and of nothing else.
#[test]
fn every_counted_formula_does_what_its_words_say() {
    let mut checked = 0;
    for (_, variable) in variables() {
        let Source::Counted { needs, .. } = variable.source else { continue };
        assert_eq!(used_words(variable), named_words(variable), "{}", variable.name);
        let base = socket(40, 20);
        assert!(counted(variable, &base, &sums()).is_some(), "{}", variable.name);
        assert_eq!(value(variable, &base), None, "{} without events", variable.name);
        // Without segments those of them are not known, and without any event what is added up.
        let raw = |has_sums| RawSocketSums { cookie: 1, has_sums, facts: [9; Fact::COUNT], sums: Sums::NONE };
        let cheap = SocketSums::new(&raw(1), false);
        let is_segments = needs == Needs::Segments;
        assert!(!is_segments || counted(variable, &base, &cheap).is_none(), "{}", variable.name);
        let is_fact =
            named_words(variable).iter().any(|name| Fact::ALL.iter().any(|fact| fact.name() == *name));
        let unseen = counted(variable, &base, &SocketSums::new(&raw(0), true));
        assert!(unseen.is_none() || is_fact, "{}: {unseen:?}", variable.name);
        checked += 1;
    }
    assert!(checked > 45, "{checked}");
}

#[test]
fn counted_values_have_the_units_of_the_rfc() {
    use EstatsValue::{Ago, Milliseconds, Number, Truth};
    let base = socket(40, 20);
    let info = base.info.unwrap().with(InfoField::LastAckRecv, 3).with(InfoField::SndbufLimited, 0);
    let base = Socket { info: Some(info.with(InfoField::BusyTime, 1_000)), ..base };
    let sums = sums().with_sum(Sum::RttMax, 300_000).with_sum(Sum::RttSum, (1 << 32) * 1_000 + 5);
    let sums = sums.with_fact(Fact::SndUna, 5).with_fact(Fact::BytesAcked, 10).with_fact(Fact::RcvNxt, 101);
    let sums = sums.with_fact(Fact::BytesReceived, 100).with_fact(Fact::Nonagle, 1);
    let elapsed_us = (NOW_NS - 7_000_000) / 1_000 - 3_000;
    for (name, expected) in [
        ("MaxRTT", Some(Milliseconds { us: 300_000 })),
        ("SumRTT", Some(Milliseconds { us: 5 })),
        ("HCSumRTT", Some(Milliseconds { us: (1 << 32) * 1_000 + 5 })),
        ("ElapsedMicroSecs", Some(Number(elapsed_us))),
        ("ElapsedSecs", Some(Number(elapsed_us / 1_000_000))),
        ("SndLimTimeSnd", Some(Milliseconds { us: elapsed_us - 1_000 })),
        ("StartTimeStamp", Some(Ago { ns: NOW_NS - 7_000_000 })),
        ("SndInitial", Some(Number((1 << 32) - 5))),
        ("RecInitial", Some(Number(0))),
        ("Nagle", Some(Truth(false))),
    ] {
        assert_eq!(counted(find(name), &base, &sums), expected, "{name}");
    }
    let accepted = sums.with_sum(Sum::Opened, 2);
    assert_eq!(counted(find("SndInitial"), &base, &accepted), Some(Number((1 << 32) - 6)));
    let before = sums.with_sum(Sum::Started, 0);
    assert_eq!(counted(find("ElapsedSecs"), &base, &before), None);
    let unlimited = sums.with_fact(Fact::CwndClamp, u32::MAX.into());
    assert_eq!(counted(find("LimCwnd"), &base, &unlimited), None);
}

fn variables() -> impl Iterator<Item = (EstatsTable, &'static Variable)> {
    EstatsTable::ALL
        .into_iter()
        .flat_map(|table| table.variables().iter().map(move |variable| (table, variable)))
}

fn find(name: &str) -> &'static Variable {
    variables().find(|(_, variable)| variable.name == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// The fields of the kernel that the words of a formula name, also those of a variable that they name.
fn named(variable: &Variable) -> BTreeSet<&'static str> {
    let Some(how) = variable.how() else { return BTreeSet::new() };
    let words: Vec<&str> =
        how.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).collect();
    let kernel = words.iter().filter(|word| word.starts_with("tcpi_") || word.starts_with("idiag_"));
    let of_others = ["as", "largest", "smallest"].iter().filter_map(|before| {
        let place = words.iter().position(|word| word == before)?;
        variables().find(|(_, other)| Some(&other.name) == words.get(place + 1))
    });
    kernel.copied().chain(of_others.flat_map(|(_, other)| named(other))).collect()
}

/// The fields of the kernel that a change of changes the value.
fn used(variable: &Variable) -> BTreeSet<&'static str> {
    let mut used = BTreeSet::new();
    for base in [socket(40, 20), socket(20, 40)] {
        let before = value(variable, &base);
        let mut changes: Vec<(&str, Socket)> = Vec::new();
        for field in InfoField::ALL {
            let info = base.info.unwrap();
            let now = info.get(*field).unwrap_or_default();
            // A flag less, a number more.
            let other = if *field == InfoField::Options { 0 } else { now + 1 };
            changes.push((
                field.layout().kernel_name,
                Socket { info: Some(info.with(*field, other)), ..base.clone() },
            ));
        }
        changes.push(("idiag_rqueue", Socket { receive_queue: base.receive_queue + 1, ..base.clone() }));
        changes.push(("idiag_wqueue", Socket { send_queue: base.send_queue + 1, ..base.clone() }));
        changes.push(("idiag_state", Socket { state: SocketState::FinWait1, ..base.clone() }));
        let changed = changes.iter().filter(|(_, other)| value(variable, other) != before);
        used.extend(changed.map(|(name, _)| *name));
    }
    used
}

#[test]
fn the_tables_have_the_variables_of_the_rfc() {
    let lengths = EstatsTable::ALL.map(|table| table.variables().len());
    assert_eq!(lengths, [1, 34, 26, 41, 12, 4, 15]);
    let names: BTreeSet<_> = variables().map(|(table, variable)| (table.name(), variable.name)).collect();
    assert_eq!(names.len(), 133);
    let count = |quality| {
        let is_it = |variable: &Variable| variable.quality() == Some(quality);
        let all = variables().filter(|(table, _)| *table != EstatsTable::Listener);
        all.filter(|(_, variable)| is_it(variable)).count()
    };
    let counts = Quality::ALL.map(count);
    assert!(counts.iter().sum::<usize>() >= 110, "of 118 of connections: {counts:?}");
}

/// The words of every formula say what it is made of, and nothing else.
#[test]
fn every_formula_does_what_its_words_say() {
    let mut checked = 0;
    for (_, variable) in variables().filter(|(table, _)| *table != EstatsTable::Listener) {
        match variable.source {
            Source::Listed { .. } => {
                assert_eq!(used(variable), named(variable), "{}", variable.name);
                assert!(
                    value(variable, &socket(40, 20)).or(value(variable, &socket(20, 40))).is_some(),
                    "{}",
                    variable.name
                );
                checked += 1;
            }
            Source::Counted { .. } | Source::Missing(_) => {
                assert_eq!(value(variable, &socket(40, 20)), None, "{}", variable.name);
            }
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn values_have_the_units_of_the_rfc() {
    use EstatsValue::{Milliseconds, Number, Truth, Word};
    let socket = socket(40, 20);
    let info = socket.info.unwrap();
    for (name, expected) in [
        ("ConnectIndex", Number(5)),
        ("DataOctetsOut", Number(7)),
        ("HCDataOctetsOut", Number((9 << 32) + 7)),
        ("OctetsRetrans", Number(8)),
        ("SmoothedRTT", Milliseconds { us: info.get(InfoField::Rtt).unwrap() }),
        ("PipeSize", Number((20 + 4 - 2 - 3) * 1_448)),
        ("CurCwnd", Number(40 * 1_448)),
        ("CurSsthresh", Number(20 * 1_448)),
        ("Timeouts", Number(4)),
        ("SubsequentTimeouts", Number(5)),
        ("CurRetxQueue", Number(29_000)),
        ("CurAppWQueue", Number(1_000)),
        ("CurAppRQueue", Number(50)),
        ("HCThruOctetsAcked", Number((3 << 32) - 1 - 29_000)),
        ("ThruOctetsReceived", Number(10)),
        ("ActiveOpen", Truth(true)),
        ("TimeStamps", Word("enabled")),
        ("State", Word("established")),
        ("InRecovery", Word("dataContiguous")),
        ("IpTosOut", Number(16)),
    ] {
        assert_eq!(value(find(name), &socket), Some(expected), "{name}");
    }
}

#[test]
fn sequence_numbers_of_syn_and_fin_are_no_octets() {
    let with = |state| Socket { state, ..socket(40, 20) };
    let number = |name, socket: &Socket| value(find(name), socket);
    let octets = |count| Some(EstatsValue::Number(count));
    // The FIN was sent, or waits behind data.
    let info = socket(40, 20).info.unwrap().with(InfoField::NotsentBytes, 0);
    let sent = Socket { info: Some(info), ..with(SocketState::FinWait1) };
    assert_eq!(number("CurRetxQueue", &sent), octets(29_999));
    assert_eq!(number("CurRetxQueue", &with(SocketState::FinWait1)), octets(29_000));
    let syn = Socket { send_queue: 1, state: SocketState::SynSent, ..sent };
    assert_eq!(number("CurRetxQueue", &syn), octets(0));
    let received = Socket { state: SocketState::SynRecv, ..syn };
    assert_eq!(number("CurRetxQueue", &received), None, "whether the queue has the SYN is not known");
    assert_eq!(number("ThruOctetsReceived", &with(SocketState::CloseWait)), octets(9));
    assert_eq!(number("CurAppRQueue", &with(SocketState::CloseWait)), octets(49));
    let read = Socket { receive_queue: 0, ..with(SocketState::CloseWait) };
    assert_eq!(number("CurAppRQueue", &read), octets(0));
}

#[test]
fn extremes_need_more_than_one_list() {
    let mut extremes = Extremes::default();
    let mut all = Vec::new();
    for (cwnd, ssthresh) in [(40, 20), (10, 20), (30, 25)] {
        let listed = socket(cwnd, ssthresh);
        extremes.note(&listed, None);
        let facts = Facts { extremes: Some(&extremes), ..Facts::of(&listed) };
        all.push(["MaxSsCwnd", "MaxCaCwnd", "MinSsthresh"].map(|name| find(name).value(&facts)));
    }
    let octets = |segments: u64| Some(EstatsValue::Number(segments * 1_448));
    assert_eq!(all[0], [None; 3]);
    assert_eq!(all[1], [octets(10), octets(40), octets(20)]);
    assert_eq!(all[2], [octets(10), octets(40), octets(20)]);
}

#[test]
fn a_socket_without_tcp_info_has_few_variables() {
    let closing = Socket { info: None, state: SocketState::TimeWait, ..socket(40, 20) };
    let known = variables().filter(|(table, _)| table.is_of(&closing));
    let known: Vec<&str> = known
        .filter(|(_, variable)| value(variable, &closing).is_some())
        .map(|(_, variable)| variable.name)
        .collect();
    assert_eq!(known, ["ConnectIndex", "IpTosOut", "ActiveOpen", "State"]);
}
