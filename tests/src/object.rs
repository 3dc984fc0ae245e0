//! The JSON objects that the program writes, one a line.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::tcptop::Line;

/// One object. Asking for a field that it does not have at all is a mistake, and panics: a field whose value is
/// not known is there, and null.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(Value);

/// What the lines hold.
///
/// # Panics
/// When a line is not a JSON object.
#[must_use]
pub fn objects(lines: &[Line]) -> Vec<Object> {
    lines.iter().map(|line| Object::parse(&line.text)).collect()
}

impl Object {
    /// Reads a line.
    ///
    /// # Panics
    /// When it is not a JSON object.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        match serde_json::from_str(line) {
            Ok(value @ Value::Object(_)) => Self(value),
            _ => panic!("not a JSON object: {line}"),
        }
    }

    /// What kind of object it is, such as `handshake` or `summary`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("type").expect("every object has a type")
    }

    /// A text, or `None` where it is null.
    ///
    /// # Panics
    /// When there is no such field, or it is no text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        let value = self.field(field)?;
        Some(value.as_str().unwrap_or_else(|| panic!("{field} is no text: {self:?}")))
    }

    /// A number that is not negative, or `None` where it is null.
    ///
    /// # Panics
    /// When there is no such field, or it is no such number.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        let value = self.field(field)?;
        Some(value.as_u64().unwrap_or_else(|| panic!("{field} is no count: {self:?}")))
    }

    /// Whether the value of a field is known.
    ///
    /// # Panics
    /// When there is no such field.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.field(field).is_some()
    }

    /// Yes or no.
    ///
    /// # Panics
    /// When there is no such field, or it is neither.
    #[must_use]
    pub fn flag(&self, field: &str) -> bool {
        let value = self.field(field).and_then(Value::as_bool);
        value.unwrap_or_else(|| panic!("{field} is neither true nor false: {self:?}"))
    }

    /// The object within it.
    ///
    /// # Panics
    /// When there is no such field, or it is no object.
    #[must_use]
    pub fn object(&self, field: &str) -> Self {
        match self.field(field) {
            Some(value @ Value::Object(_)) => Self(value.clone()),
            _ => panic!("{field} is no object: {self:?}"),
        }
    }

    /// The objects of a list within it.
    ///
    /// # Panics
    /// When there is no such field, or it is no list of objects.
    #[must_use]
    pub fn list(&self, field: &str) -> Vec<Self> {
        let items = self.field(field).and_then(Value::as_array);
        let items = items.unwrap_or_else(|| panic!("{field} is no list: {self:?}"));
        items.iter().map(|item| Self::parse(&item.to_string())).collect()
    }

    /// This host's end.
    ///
    /// # Panics
    /// When the object has none.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.end("local")
    }

    /// The other end.
    ///
    /// # Panics
    /// When the object has none.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.end("remote")
    }

    fn end(&self, which: &str) -> SocketAddr {
        let address: Option<IpAddr> = self.text(&format!("{which}_ip")).and_then(|text| text.parse().ok());
        let port = self.number(&format!("{which}_port")).and_then(|port| port.try_into().ok());
        let both = address.zip(port).map(SocketAddr::from);
        both.unwrap_or_else(|| panic!("no {which} end: {self:?}"))
    }

    /// `missed_records.syn` is a field of an object within.
    fn field(&self, field: &str) -> Option<&Value> {
        let value = field.split('.').try_fold(&self.0, |object, key| object.get(key));
        let value = value.unwrap_or_else(|| panic!("no field {field}: {self:?}"));
        Some(value).filter(|value| !value.is_null())
    }
}
