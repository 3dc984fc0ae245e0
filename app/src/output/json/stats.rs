//! The variables of RFC 4898, as objects.

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::label::Label;
use super::objects::{Head, Ip, Object, SchemaNumber, Time};
use super::socket::Socket;
use tcptop_core::{EstatsTable, EstatsValue, Facts, Quality, Source, Variable};

/// The variables of RFC 4898 (TCP-ESTATS-MIB) of one socket, by tables. A variable that cannot be had, or that the kernel does not
/// say of this socket, is null.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Stats<'a> {
    /// When and where.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// Address of this host's end.
    pub local_ip: Ip,
    /// Port of this host's end.
    pub local_port: u16,
    /// Address of the other end. Null of a listener.
    pub remote_ip: Option<Ip>,
    /// Port of the other end. Null of a listener.
    pub remote_port: Option<u16>,
    /// What the kernel knows of the socket, by the kernel's names.
    pub socket: Socket<'a>,
    /// The tables that were asked for.
    pub tables: Tables<'a>,
}

/// How each variable of `stats` objects is had. The first object.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StatsVariables {
    /// Number of this format.
    pub schema: SchemaNumber,
    /// All variables of the tables that were asked for.
    pub variables: Vec<VariableObject>,
}

/// A variable of RFC 4898.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VariableObject {
    /// Its table: `Perf` of `tcpEStatsPerfTable`.
    pub table: &'static str,
    /// Its name behind that of its table: `SegsOut` of `tcpEStatsPerfSegsOut`.
    pub name: &'static str,
    /// Its unit. Empty if it has none.
    pub unit: &'static str,
    /// How good it is. Null if it cannot be had.
    pub quality: Option<Label<Quality>>,
    /// The formula. Null if it cannot be had.
    pub how: Option<&'static str>,
    /// Why it cannot be had. Null if it can.
    pub missing: Option<&'static str>,
}

/// Tables of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    facts: &'a Facts<'a>,
    tables: &'a [EstatsTable],
}

/// When and where something is written.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The wall-clock time of the list.
    pub wall: Timestamp,
    /// Name of this host.
    pub host: Option<&'a str>,
    /// The number of this run.
    pub run: &'a str,
}

/// Writes how the variables of these tables are had.
///
/// # Errors
/// When it cannot be written.
pub fn write_variables(tables: &[EstatsTable], output: &mut impl Write) -> io::Result<()> {
    let all =
        tables.iter().flat_map(|table| table.variables().iter().map(|variable| described(*table, variable)));
    let object = StatsVariables { schema: SchemaNumber, variables: all.collect() };
    line(&Object::StatsVariables(object), output)
}

/// Writes the variables of a socket.
///
/// # Errors
/// When they cannot be written.
pub fn write(
    facts: &Facts<'_>,
    at: At<'_>,
    tables: &[EstatsTable],
    output: &mut impl Write,
) -> io::Result<()> {
    let socket = facts.socket;
    let time = Time(at.wall);
    let remote = Some(socket.remote).filter(|_| !socket.listens());
    let stats = Stats {
        head: Head { schema: SchemaNumber, time, host: at.host, run: at.run },
        local_ip: Ip(socket.local.address),
        local_port: socket.local.port,
        remote_ip: remote.map(|end| Ip(end.address)),
        remote_port: remote.map(|end| end.port),
        socket: Socket::of(socket, time),
        tables: Tables { facts, tables },
    };
    line(&Object::Stats(Box::new(stats)), output)
}

fn line(object: &Object<'_>, output: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *output, object)?;
    output.write_all(b"\n")
}

fn described(table: EstatsTable, variable: &'static Variable) -> VariableObject {
    let (quality, how, missing) = match variable.source {
        Source::Listed { quality, how, .. } => (Some(Label(quality)), Some(how), None),
        Source::Missing(why) => (None, None, Some(why.reason())),
    };
    VariableObject { table: table.name(), name: variable.name, unit: variable.unit, quality, how, missing }
}

impl Serialize for Tables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tables = self.tables.iter().filter(|table| table.is_of(self.facts.socket));
        serializer
            .collect_map(tables.map(|table| (table.name(), OneTable { facts: self.facts, table: *table })))
    }
}

struct OneTable<'a> {
    facts: &'a Facts<'a>,
    table: EstatsTable,
}

impl Serialize for OneTable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.table.variables().iter();
        serializer
            .collect_map(values.map(|variable| (variable.name, variable.value(self.facts).map(OneValue))))
    }
}

struct OneValue(EstatsValue);

impl Serialize for OneValue {
    #[allow(clippy::cast_precision_loss, reason = "2^53 us are 285 years")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            EstatsValue::Number(number) => serializer.serialize_u64(number),
            EstatsValue::Milliseconds { us } => serializer.serialize_f64(us as f64 / 1_000.0),
            EstatsValue::Truth(truth) => serializer.serialize_bool(truth),
            EstatsValue::Word(word) => serializer.serialize_str(word),
        }
    }
}

impl JsonSchema for Tables<'_> {
    fn schema_name() -> Cow<'static, str> {
        "estats_tables".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let variable = |variable: &Variable| {
            let schema =
                json!({ "type": ["number", "string", "boolean", "null"], "description": meaning(variable) });
            (variable.name.to_owned(), schema)
        };
        let table = |table: EstatsTable| {
            let properties: Map<String, Value> = table.variables().iter().map(variable).collect();
            let required: Vec<&str> = table.variables().iter().map(|variable| variable.name).collect();
            let name = table.name().to_owned();
            (name, json!({ "type": "object", "properties": properties, "required": required }))
        };
        let properties: Map<String, Value> = EstatsTable::ALL.into_iter().map(table).collect();
        json_schema!({ "type": "object", "properties": properties })
    }
}

fn meaning(variable: &Variable) -> String {
    let unit = if variable.unit.is_empty() { String::new() } else { format!("In {}: ", variable.unit) };
    match variable.source {
        Source::Listed { quality, how, .. } => format!("{unit}{how} ({}).", quality.name()),
        Source::Missing(why) => format!("Null: {}.", why.reason()),
    }
}
