//! A JSON value read down to a level; what is deeper is skipped, however deep it is.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Stands for what was skipped.
pub(super) const SKIPPED: &str = "nested too deep to be read";

/// How many objects and lists may be inside each other.
#[derive(Clone, Copy)]
pub(super) struct Levels(pub(super) usize);

impl Levels {
    fn inner(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Whether something of `value` was skipped when it was read to this level. Only where something is skipped does the text
    /// that stands for it mean that: a person may have written the same anywhere else.
    pub(super) fn has_skipped(self, value: &Value) -> bool {
        match (value, self.inner()) {
            (Value::String(text), None) => text == SKIPPED,
            (Value::Array(items), Some(inner)) => items.iter().any(|item| inner.has_skipped(item)),
            (Value::Object(fields), Some(inner)) => fields.values().any(|value| inner.has_skipped(value)),
            _ => false,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Some(inner) = self.inner() else {
            // What is skipped is skipped in a loop, and what is read by recursion.
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(SKIPPED.into());
        };
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let Some(inner) = self.inner() else {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(SKIPPED.into());
        };
        let mut object = Map::new();
        while let Some(name) = fields.next_key()? {
            object.insert(name, fields.next_value_seed(inner)?);
        }
        Ok(Value::Object(object))
    }
}
