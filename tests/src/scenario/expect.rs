//! What was told, held against what a scenario expects.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};
use toml::Table;

use super::{Expected, Place, Scenario, Variant};

/// Fields that no scenario is about.
const IGNORED: [&str; 6] = ["schema", "host", "run", "interface", "connection", "time"];
/// Fields that are looked at where a scenario has them.
const WHERE_EXPECTED: [&str; 6] =
    ["client_isn", "server_isn", "reset_by", "reset_stage", "reset_ttl", "reset_usual_ttl"];
/// Objects of the whole run, which are not in the lists.
const OF_THE_RUN: [&str; 2] = ["peer", "summary"];
/// How many seconds a day has: no scenario is longer.
const DAY_S: u64 = 86_400;

impl Scenario {
    /// What of the objects that were told (the summary last, if there is one) is not as expected; nothing when all
    /// is.
    #[must_use]
    pub fn mismatches(&self, variant: Variant, told: &[Value]) -> Vec<String> {
        let is = |kind: &'static str| move |object: &&Value| object["type"] == kind;
        let all = self.retransmits.is_empty();
        let of_the_run = |object: &&Value| OF_THE_RUN.iter().any(|kind| object["type"] == **kind);
        let (objects, resent): (Vec<&Value>, Vec<&Value>) =
            told.iter().filter(|object| !of_the_run(object)).partition(|object| !is("retransmit")(object));
        let resent: Vec<&Value> =
            resent.into_iter().filter(|object| !all || object["kind"] == "data").collect();
        let mut wrong = self.list_differences(variant, &objects, &self.expect);
        wrong.extend(self.list_differences(variant, &resent, &self.retransmits));
        wrong.extend(told.iter().filter(is("summary")).flat_map(|summary| self.summary_differences(summary)));
        wrong
    }

    fn list_differences(&self, variant: Variant, told: &[&Value], expected: &[Expected]) -> Vec<String> {
        let mut wrong = Vec::new();
        for place in 0..told.len().max(expected.len()) {
            match (told.get(place), expected.get(place)) {
                (Some(object), Some(expected)) => {
                    wrong.extend(differences(object, &self.object(variant, expected), expected.at_us));
                }
                (Some(object), None) => wrong.push(format!("told beyond what is expected: {object}")),
                (None, Some(expected)) => wrong.push(format!("not told: {expected:?}")),
                (None, None) => {}
            }
        }
        wrong
    }

    /// The object that is expected: what the file says, and what follows from where the packets are seen.
    fn object(&self, variant: Variant, expected: &Expected) -> Map<String, Value> {
        let [opener, responder] = self.ends(variant, expected.port);
        let (role, local, remote) = match self.seen_from {
            Place::Opener => ("client", opener, responder),
            Place::Responder => ("server", responder, opener),
            Place::Loopback => ("local", opener, responder),
            Place::Between => ("observer", opener, responder),
        };
        let mut object = Map::new();
        object.insert("type".to_owned(), json!(expected.r#type));
        object.insert("role".to_owned(), json!(role));
        insert_end(&mut object, "local", local);
        insert_end(&mut object, "remote", remote);
        object.extend(json_fields(&expected.fields));
        object
    }

    fn summary_differences(&self, summary: &Value) -> Vec<String> {
        let mut expected =
            Map::from_iter([("missed".to_owned(), json!(0)), ("unmatched".to_owned(), json!(0))]);
        expected.extend(json_fields(&self.summary));
        let wrong = expected.iter().filter(|(field, value)| summary[field.as_str()] != **value);
        wrong.map(|(field, value)| format!("summary: {field} is {}, not {value}", summary[field])).collect()
    }
}

fn insert_end(object: &mut Map<String, Value>, which: &str, end: SocketAddr) {
    object.insert(format!("{which}_ip"), json!(end.ip().to_string()));
    object.insert(format!("{which}_port"), json!(end.port()));
}

fn json_fields(fields: &Table) -> impl Iterator<Item = (String, Value)> {
    fields.iter().map(|(field, value)| {
        let value = match value.as_str() {
            Some("-") => Value::Null,
            _ => serde_json::to_value(value).expect("TOML has nothing that JSON has not, but for dates"),
        };
        (field.clone(), value)
    })
}

fn differences(object: &Value, expected: &Map<String, Value>, at_us: u64) -> Vec<String> {
    let Some(fields) = object.as_object() else { return vec![format!("no object: {object}")] };
    let mut wrong = Vec::new();
    let time = time(at_us);
    if fields.get("time") != Some(&json!(time)) {
        wrong.push(format!("time is {}, not {time}: {object}", object["time"]));
    }
    for (field, value) in fields.iter().filter(|(field, _)| !IGNORED.contains(&field.as_str())) {
        let fits = match expected.get(field) {
            Some(expected) => value == expected,
            // What was sent is never unknown, and in a scenario no packet stands for several.
            None if field == "segments" => *value == json!(1),
            None if WHERE_EXPECTED.contains(&field.as_str()) => true,
            None => matches!(value, Value::Null | Value::Bool(false)) || *value == json!(0),
        };
        if !fits {
            let expected = expected.get(field).unwrap_or(&Value::Null);
            wrong.push(format!("{field} is {value}, not {expected}: {object}"));
        }
    }
    let unknown = expected.keys().filter(|field| !fields.contains_key(field.as_str()));
    wrong.extend(unknown.map(|field| format!("there is no field {field}: {object}")));
    wrong
}

/// The time of an object, so many microseconds after the beginning.
fn time(at_us: u64) -> String {
    let (s, us) = (at_us / 1_000_000, at_us % 1_000_000);
    assert!(s < DAY_S, "scenarios end on the day that they begin");
    format!("2026-01-01T{:02}:{:02}:{:02}.{us:06}000Z", s / 3_600, s / 60 % 60, s % 60)
}
