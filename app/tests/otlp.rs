//! Events and metrics arrive at a collector made from the published protocol definitions: all of them, once, with the same facts as
//! the JSON has.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use prost::Message;

/// One request, and what it was answered.
#[derive(Debug)]
struct Post {
    path: String,
    body: Vec<u8>,
    status: &'static str,
}

/// A collector that answers each request with the next of some statuses, and then 200.
struct Collector {
    address: SocketAddr,
    posts: Receiver<Post>,
}

impl Collector {
    fn answering(statuses: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let (sender, posts) = channel();
        let mut statuses = statuses.iter().copied();
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.expect("a connection"), &sender, &mut statuses);
            }
        });
        Self { address, posts }
    }

    /// Replays the capture of the repository. Returns how that ended, and the objects of its JSON.
    fn replay(&self, options: &[&str]) -> (Output, Vec<serde_json::Value>) {
        let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../screenshots/capture.pcap.gz");
        let output = Command::new(env!("CARGO_BIN_EXE_tcptop"))
            .args(["replay", capture, "--json", "--local=10.20.0.5", "--host=web-7", "--otlp"])
            .arg(format!("http://{}/some/path", self.address))
            .args(options)
            .env("TCPTOP_CONFIG", "")
            .output()
            .expect("it starts");
        let lines = String::from_utf8(output.stdout.clone()).expect("text");
        let objects = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (output, objects)
    }

    /// The records that were accepted, and the latest metrics: by name the sum of all values or counts.
    fn received(&self) -> (Vec<LogRecord>, BTreeMap<String, f64>, Vec<KeyValue>) {
        let (mut records, mut metrics, mut resource) = (Vec::new(), BTreeMap::new(), Vec::new());
        for post in self.posts.try_iter().filter(|post| post.status == "200 OK") {
            match post.path.as_str() {
                "/some/path/v1/logs" => {
                    let request = ExportLogsServiceRequest::decode(&post.body[..]).expect("its messages");
                    for logs in request.resource_logs {
                        records.extend(logs.scope_logs.into_iter().flat_map(|scope| scope.log_records));
                    }
                }
                "/some/path/v1/metrics" => {
                    let request = ExportMetricsServiceRequest::decode(&post.body[..]).expect("its messages");
                    for of in request.resource_metrics {
                        resource = of.resource.expect("a resource").attributes;
                        let all = of.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
                        metrics = all.map(|metric| (metric.name, sum(metric.data.expect("data")))).collect();
                    }
                }
                path => panic!("{path}"),
            }
        }
        (records, metrics, resource)
    }
}

fn sum(data: Data) -> f64 {
    let numbers = match data {
        Data::Sum(sum) => {
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "cumulative");
            sum.data_points
        }
        Data::Gauge(gauge) => gauge.data_points,
        Data::Histogram(histogram) => {
            for point in &histogram.data_points {
                assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
            }
            let counts = histogram.data_points.iter().map(|point| point.count);
            return f64::from(u32::try_from(counts.sum::<u64>()).expect("few"));
        }
        other => panic!("{other:?}"),
    };
    let value = |value| match value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        other => panic!("{other:?}"),
    };
    numbers.into_iter().map(|point| value(point.value)).sum()
}

/// Answers the requests of a connection.
fn serve(stream: TcpStream, posts: &Sender<Post>, statuses: &mut impl Iterator<Item = &'static str>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).expect("text") == 0 {
            return;
        }
        let path =
            line.strip_prefix("POST ").and_then(|rest| rest.split(' ').next()).expect("a POST").to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("text");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let mut body = vec![0; headers["content-length"].parse().expect("a number")];
        reader.read_exact(&mut body).expect("the body");
        let status = statuses.next().unwrap_or("200 OK");
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        // Known before the answer is: the other end may end at once.
        posts.send(Post { path, body, status }).expect("the test reads it");
        reader.get_mut().write_all(answer.as_bytes()).expect("it waits for it");
    }
}

fn is_event(object: &&serde_json::Value) -> bool {
    ["handshake", "retransmit", "close"].iter().any(|kind| object["type"] == **kind)
}

/// A value as JSON has it, without what is null.
fn json(value: &AnyValue) -> serde_json::Value {
    match value.value.as_ref().expect("a value") {
        Value::StringValue(text) => text.as_str().into(),
        Value::BoolValue(is) => (*is).into(),
        Value::IntValue(number) => (*number).into(),
        Value::DoubleValue(number) => (*number).into(),
        Value::ArrayValue(all) => all.values.iter().map(json).collect(),
        Value::KvlistValue(pairs) => {
            let pair = |pair: &KeyValue| (pair.key.clone(), json(pair.value.as_ref().expect("a value")));
            pairs.values.iter().map(pair).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn without_nulls(object: &serde_json::Value) -> serde_json::Value {
    match object {
        serde_json::Value::Object(pairs) => {
            let pairs = pairs.iter().filter(|(_, value)| !value.is_null());
            pairs.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn a_collector_gets_what_the_json_has() {
    let collector = Collector::answering(&[]);
    let (output, objects) = collector.replay(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (records, metrics, resource) = collector.received();
    let events: Vec<_> = objects.iter().filter(is_event).collect();
    assert_eq!(records.len(), events.len());
    assert!(records.len() > 100, "{}", records.len());
    for (record, event) in records.iter().zip(&events) {
        assert_eq!(json(record.body.as_ref().expect("a body")), without_nulls(event));
        assert_eq!(record.event_name, format!("tcptop.{}", event["type"].as_str().expect("a type")));
        let peer = record.attributes.iter().find(|pair| pair.key == "network.peer.address").expect("a peer");
        assert_eq!(json(peer.value.as_ref().expect("a value")), event["remote_ip"]);
    }
    let summary = objects.last().expect("a summary");
    let number = |field: &str| summary[field].as_f64().expect("a number");
    assert_eq!(metrics["tcptop_handshakes"], number("handshakes"));
    assert_eq!(metrics["tcptop_retransmits"], number("retransmits"));
    assert_eq!(metrics["tcptop_segments"], number("segments"));
    assert_eq!(metrics["tcptop_missed"], 0.0);
    assert!(metrics["tcptop_handshake_duration"] >= number("established"), "{metrics:?}");
    let host = resource.iter().find(|pair| pair.key == "host.name").expect("a host");
    assert_eq!(json(host.value.as_ref().expect("a value")), "web-7");
}

#[test]
fn what_may_be_accepted_later_is_sent_again() {
    let collector = Collector::answering(&["503 Service Unavailable", "429 Too Many Requests"]);
    let (output, objects) = collector.replay(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(collector.received().0.len(), objects.iter().filter(is_event).count());
}

#[test]
fn what_is_not_accepted_is_said_and_counted() {
    let collector = Collector::answering(&["400 Bad Request"]);
    let (output, objects) = collector.replay(&[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let missing = objects.iter().filter(is_event).count() - collector.received().0.len();
    assert!(missing > 0 && said.contains(&format!("{missing} events were not accepted")), "{said}");
}
