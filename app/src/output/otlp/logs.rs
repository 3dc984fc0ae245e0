//! Events as log records: the JSON object as the body, and what the semantic conventions name as attributes.

use std::net::Ipv6Addr;

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use serde_json::{Map, Value};

use super::{now_ns, pair, text};
use crate::output::{RenderContext, json};
use probe_common::Endpoint;
use tcptop_core::{Event, Flow, Outcome, Party};

/// What happened, as a record.
pub(super) fn record(event: &Event, context: &RenderContext) -> LogRecord {
    let object = serde_json::to_value(json::event(event, context));
    let body = match object {
        Ok(Value::Object(object)) => Some(map(object)),
        // Every event is an object.
        Ok(_) | Err(_) => None,
    };
    let (name, severity) = match event {
        Event::Handshake(flow) if flow.outcome() == Outcome::Established => {
            ("handshake", SeverityNumber::Info)
        }
        Event::Handshake(_) => ("handshake", SeverityNumber::Warn),
        Event::Retransmit(_) => ("retransmit", SeverityNumber::Info),
        Event::Close(_) => ("close", SeverityNumber::Info),
    };
    LogRecord {
        time_unix_nano: u64::try_from(context.anchor.wall(event.time_ns()).as_nanosecond()).unwrap_or(0),
        observed_time_unix_nano: now_ns(),
        severity_number: severity.into(),
        event_name: format!("tcptop.{name}"),
        body: body.map(|value| AnyValue { value: Some(value) }),
        attributes: attributes(event.flow()),
        ..LogRecord::default()
    }
}

fn attributes(flow: &Flow) -> Vec<KeyValue> {
    let mut attributes = vec![text("network.transport", "tcp")];
    for (of, Endpoint { address, port, .. }) in [("local", flow.local()), ("peer", flow.remote())] {
        let address = Ipv6Addr::from(address).to_canonical().to_string();
        attributes.push(text(&format!("network.{of}.address"), &address));
        attributes.push(pair(&format!("network.{of}.port"), any_value::Value::IntValue(port.into())));
    }
    let Some(owner) = flow.owner(Party::Local) else { return attributes };
    attributes.push(pair("process.pid", any_value::Value::IntValue(owner.process.pid.into())));
    let Some(workload) = owner.process.workload.as_deref() else { return attributes };
    for (key, value) in [
        ("container.name", &workload.container),
        ("container.id", &workload.container_id),
        ("k8s.pod.name", &workload.pod),
        ("k8s.namespace.name", &workload.namespace),
    ] {
        attributes.extend(value.as_deref().map(|value| text(key, value)));
    }
    attributes
}

/// What is null is left out.
fn map(object: Map<String, Value>) -> any_value::Value {
    let pairs = object.into_iter().filter_map(|(key, one)| Some(pair(&key, value(one)?)));
    any_value::Value::KvlistValue(KeyValueList { values: pairs.collect() })
}

fn value(value_of: Value) -> Option<any_value::Value> {
    Some(match value_of {
        Value::Null => return None,
        Value::Bool(is) => any_value::Value::BoolValue(is),
        Value::Number(number) => match (number.as_i64(), number.is_u64()) {
            (Some(number), _) => any_value::Value::IntValue(number),
            // Larger than OTLP's integers: the cookies of sockets, not quantities.
            (None, true) => any_value::Value::StringValue(number.to_string()),
            (None, false) => any_value::Value::DoubleValue(number.as_f64()?),
        },
        Value::String(said) => any_value::Value::StringValue(said),
        Value::Array(all) => {
            let values = all.into_iter().map(|one| AnyValue { value: value(one) }).collect();
            any_value::Value::ArrayValue(ArrayValue { values })
        }
        Value::Object(object) => map(object),
    })
}
