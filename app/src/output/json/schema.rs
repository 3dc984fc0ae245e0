//! The JSON Schema of the output, and what a schema says of the types that serde cannot see into.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use serde_json::Value;

use super::objects::{Ip, Object, SCHEMA, SchemaNumber, Time};

/// The JSON Schema (draft 2020-12) of every object that the program writes, as the repository has it in
/// `docs/tcptop.schema.json`.
#[must_use]
pub fn schema() -> Schema {
    let mut schema = generator().into_root_schema_for::<Object<'static>>();
    schema.insert("title".to_owned(), format!("JSON output of tcptop, schema {SCHEMA}").into());
    join_lines(&mut schema);
    schema
}

/// The schemas of a type and of those within it, by name.
#[must_use]
pub fn types<T: JsonSchema>() -> Value {
    let mut schema = generator().into_root_schema_for::<T>();
    join_lines(&mut schema);
    schema.remove("$defs").unwrap_or_default()
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

/// Where the source breaks the lines of a description means nothing.
fn join_lines(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    transform_subschemas(&mut join_lines, schema);
}

impl JsonSchema for SchemaNumber {
    fn schema_name() -> Cow<'static, str> {
        "schema_number".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "const": SCHEMA })
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z$",
        })
    }
}

impl JsonSchema for Ip {
    fn schema_name() -> Cow<'static, str> {
        "ip".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] })
    }
}
