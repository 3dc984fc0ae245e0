//! Metrics of what the engine reports: however many addresses, ports and connections there are, series are few.

mod support;

use prometheus_client::encoding::prometheus_text::encode;
use support::stage::context;
use support::{Connection, MS, START, Watched, v4};
use tcptop::output::metrics::{MetricsReader, OwnerLabel, Plan};

/// All that makes series.
fn plan() -> Plan {
    let labels = OwnerLabel::ALL.to_vec();
    Plan { address: None, ports: 50, connections: Some(10), peers: Some(5), labels }
}

/// The names and labels of what is scraped, without values.
fn series(metrics: &MetricsReader) -> Vec<String> {
    let mut text = String::new();
    encode(&mut text, &metrics.registry()).expect("memory takes it");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut series: Vec<String> =
        lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect();
    series.sort_unstable();
    series
}

/// So many SYNs, each of an address of its own and to a port of its own, with nothing that answers.
fn flood(watched: &mut Watched, metrics: &mut MetricsReader, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let [_, b, c, d] = number.to_be_bytes();
        let port = u16::try_from(number % 60_000 + 1_024).expect("a port");
        let mut connection = Connection::from(v4(198, b, c, d, 40_000), port);
        connection.isn = number;
        let now_ns = START + u64::from(number) * MS;
        watched.see([connection.syn(now_ns)]);
        if number % 1_000 == 999 {
            watched.expire(now_ns);
            metrics.deliver(&mut watched.engine, &context());
            metrics.refresh(&mut watched.engine, now_ns);
        }
    }
}

#[test]
fn a_flood_from_many_addresses_adds_not_one_series() {
    let mut watched = Watched::with_room(10_000);
    let mut metrics = MetricsReader::start(&plan(), None, &mut watched.engine).expect("no thread is needed");
    for port in 30_000..30_010 {
        let connection = Connection::to(v4(10, 0, 0, 2, 443), port);
        watched.see([connection.syn(START), connection.syn_ack(START + MS), connection.ack(START + 2 * MS)]);
    }
    flood(&mut watched, &mut metrics, 0..10_000);
    let before = series(&metrics);
    assert!(before.iter().any(|one| one.contains("port=\"443\"")), "{before:?}");
    assert!(before.iter().any(|one| one.contains("outcome=\"unanswered\"")), "{before:?}");
    assert!(before.iter().all(|one| !one.contains("198.")), "{before:?}");
    flood(&mut watched, &mut metrics, 10_000..100_000);
    assert_eq!(series(&metrics), before);
}
