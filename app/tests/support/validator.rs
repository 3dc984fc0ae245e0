//! Holds JSON objects against the schema. End-to-end tests use it, too.

use jsonschema::Validator;
use serde_json::{Value, json};

/// The schema allows fields of later versions. Here every field must be in it.
pub(crate) fn strict(mut schema: Value) -> Validator {
    let objects = schema["oneOf"].as_array_mut().expect("one for each type");
    objects.iter_mut().for_each(|object| object["unevaluatedProperties"] = json!(false));
    // Those whose fields are not also fields of another one.
    for (name, part) in schema["$defs"].as_object_mut().expect("parts") {
        let is_object = part.get("properties").is_some();
        if is_object && name.chars().next().is_some_and(char::is_lowercase) || PARTS.contains(&name.as_str())
        {
            part["unevaluatedProperties"] = json!(false);
        }
    }
    jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema")
}

/// Objects that are values of fields.
const PARTS: [&str; 13] = [
    "Thresholds",
    "PeerVerdict",
    "PassedOver",
    "AcceptQueue",
    "HostCounters",
    "Drop",
    "Socket",
    "Timer",
    "Memory",
    "Bbr",
    "Vegas",
    "Dctcp",
    "VariableObject",
];

/// Fails with everything that is wrong with an object.
pub(crate) fn assert_valid(validator: &Validator, object: &Value) {
    let wrong: Vec<String> = validator.iter_errors(object).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{object}\n{}", wrong.join("\n"));
}
