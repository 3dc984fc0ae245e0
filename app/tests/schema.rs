//! The JSON Schema that the repository has: it is that of the types, and the output keeps it.
//!
//! After a change of the types, `UPDATE_DOCS=1 cargo test --package tcptop --test schema` writes it.

#[path = "support/validator.rs"]
mod validator;

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::capture::Format;
use lab::scenario::{self, Variant};
use probe_common::retransmit::{KernelRetransmit, What};
use probe_common::{Endpoint, Transmission};
use serde_json::{Value, json};
use tcptop::clock::Anchor;
use tcptop::output::RenderContext;
use tcptop::output::json::kernel;
use tcptop::output::json::objects::Object;
use tcptop::output::json::schema::schema;
use tcptop::output::kernel_retransmits::{Resent, Totals};
use tcptop_core::Role;
use validator::{assert_valid, strict};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tcptop.schema.json")
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let of_the_types = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(), &of_the_types).expect("the schema can be written");
    }
    let committed = fs::read_to_string(path()).unwrap_or_default();
    assert!(committed == of_the_types, "docs/tcptop.schema.json is out of date; UPDATE_DOCS=1 writes it");
}

fn replay(arguments: &[&str], file: &str, capture: &[u8]) -> Vec<Value> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    fs::write(&path, capture).expect("the target directory is ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
    let output = command.arg("replay").arg(&path).args(arguments).output().expect("it was built");
    fs::remove_file(&path).expect("it is ours");
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn statistics() -> Vec<Value> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tcptop")).args(["stats", "--json"]).output().expect("it was built");
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Of this host's own sockets, a listener and both ends of a connection among them.
#[test]
fn statistics_of_sockets_keep_the_schema() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let opener = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let connections = |objects: &[Value]| {
        let end = listener.local_addr().expect("it is bound").port();
        let of_listener =
            |object: &&Value| object["local_port"] == end && object["tables"]["Listener"].is_object();
        let object = objects.iter().find(of_listener).expect("it is listed");
        ["CurConns", "CurBacklog"].map(|name| object["tables"]["Listener"][name].as_u64())
    };
    assert_eq!(connections(&statistics()), [Some(0), Some(1)], "it waits to be accepted");
    let _accepted = listener.accept().expect("it waits");
    let objects = statistics();
    assert_eq!(connections(&objects), [Some(1), Some(0)]);
    let validator = strict(schema().to_value());
    objects.iter().for_each(|object| assert_valid(&validator, object));
    assert_eq!(objects[0]["type"], "stats_variables");
    let port = opener.local_addr().expect("it is connected").port();
    let of = |object: &&Value| object["local_port"] == port || object["remote_port"] == port;
    assert_eq!(objects.iter().filter(of).count(), 2, "both ends");
}

/// A retransmit of IPv6 and the SYN-ACK of an unknown state, and what a run of no retransmits ends with.
#[test]
fn retransmits_of_the_kernel_keep_the_schema() {
    let validator = strict(schema().to_value());
    let end = |port| Endpoint { address: [0x20; 16], port };
    let data = KernelRetransmit {
        time_ns: 1,
        cookie: Some(7),
        listener: None,
        local: end(40_000),
        remote: end(443),
        state: 1,
        namespace: 4_026_531_840,
        what: What::Data,
        seq: Some(1),
        len: 1_448,
        segments: 1,
        transmission: Transmission::RETRANSMIT,
        repeats: None,
        error: Some(105),
    };
    let request = KernelRetransmit { cookie: None, what: What::SynAck, seq: None, state: 99, ..data };
    let context = RenderContext::new(BTreeMap::new(), "tracepoint", Anchor::now());
    for record in [&data, &KernelRetransmit { error: None, repeats: Some(2), ..request }] {
        let resent = Resent { record, role: Role::Client, owner: None, is_here: true };
        let object = Object::KernelRetransmit(Box::new(kernel::retransmit(&resent, &context)));
        assert_valid(&validator, &serde_json::to_value(object).expect("JSON"));
    }
    for totals in [Totals::default(), Totals { failed: Some(1), retrans_segs: Some(2), ..Totals::default() }]
    {
        let object = Object::KernelRetransmits(kernel::totals(&totals, Some("port:80".to_owned()), &context));
        assert_valid(&validator, &serde_json::to_value(object).expect("JSON"));
    }
}

/// With the objects of all types, and what most of their fields can be.
///
/// The schema is that of the types, not the file: that is being written meanwhile when it is out of date.
#[test]
fn every_scenario_keeps_the_schema() {
    let validator = strict(schema().to_value());
    let mut seen: Vec<String> = Vec::new();
    for scenario in scenario::all().expect("well-formed") {
        let capture = Format::USUAL.pcapng(&scenario.records(Variant::ALL[0]));
        let name = format!("schema-{}", scenario.name.replace('/', "-"));
        for object in replay(&["--json"], &name, &capture) {
            assert_valid(&validator, &object);
            seen.extend(object["type"].as_str().map(str::to_owned));
        }
    }
    let capture = Format::USUAL.pcapng(&scenario::all().expect("well-formed")[0].records(Variant::ALL[0]));
    for report in replay(&["--report=json"], "schema-report", &capture) {
        assert_valid(&validator, &report);
        seen.extend(report["type"].as_str().map(str::to_owned));
    }
    for kind in ["handshake", "retransmit", "close", "peer", "summary", "report"] {
        assert!(seen.iter().any(|seen| seen == kind), "no {kind}");
    }
}

/// What breaks the promise is seen: a field less, one more, another type, another word, a wrong address.
#[test]
fn what_does_not_keep_the_schema_is_noticed() {
    let validator = strict(schema().to_value());
    let scenario = &scenario::all().expect("well-formed")[0];
    let objects =
        replay(&["--json"], "schema-broken", &Format::USUAL.pcapng(&scenario.records(Variant::ALL[0])));
    let handshake = objects.iter().find(|object| object["type"] == "handshake").expect("one");
    assert_valid(&validator, handshake);
    let changes: [fn(&mut Value); 6] = [
        |object| drop(object.as_object_mut().expect("one").remove("rtt_ns")),
        |object| object["rtt"] = json!(1),
        |object| object["rtt_ns"] = json!("1"),
        |object| object["outcome"] = json!("half-open"),
        |object| object["remote_ip"] = json!("10.0.0"),
        |object| object["schema"] = json!(1),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut broken = handshake.clone();
        change(&mut broken);
        assert!(!validator.is_valid(&broken), "change {number}: {broken}");
    }
}
