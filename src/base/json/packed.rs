//! JSON that is kept and hardly ever looked at.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A value as text, which takes a tenth of the memory.
#[derive(Clone, Debug)]
pub struct Packed(Form);

#[derive(Clone, Debug)]
enum Form {
    Text(Box<str>),
    /// What would not come back from a text as it was: not every number does.
    Value(Value),
}

impl Packed {
    /// Bytes of the text, about.
    pub fn size(&self) -> usize {
        match &self.0 {
            Form::Text(text) => text.len(),
            Form::Value(_) => usize::MAX,
        }
    }

    /// The value itself.
    pub fn value(&self) -> Value {
        match &self.0 {
            Form::Text(text) => serde_json::from_str(text).unwrap_or_default(),
            Form::Value(value) => value.clone(),
        }
    }
}

impl Default for Packed {
    fn default() -> Self {
        Self::from(Value::Null)
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            // The same text means the same; of two texts it is not known, since fields have no order.
            (Form::Text(a), Form::Text(b)) if a == b => true,
            _ => self.value() == other.value(),
        }
    }
}

impl From<Value> for Packed {
    fn from(value: Value) -> Self {
        let text = value.to_string();
        match serde_json::from_str::<Value>(&text) {
            Ok(same) if same == value => Self(Form::Text(text.into())),
            _ => Self(Form::Value(value)),
        }
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_comes_back_as_it_was_and_is_written_as_it_would_be() {
        let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        let deepest = crate::base::json::DEEPEST;
        let numbers: Vec<f64> = (1..2000).map(|n| 1.0 / f64::from(n)).collect();
        for value in [
            json!(null),
            json!({"b": [1, -2.5, 1e300, 5e-324, u64::MAX, "x\u{0}\"é"], "a": {}}),
            json!(numbers),
            nested(deepest),
            // Nobody can read that from a text.
            nested(deepest + 1),
        ] {
            let packed = Packed::from(value.clone());
            assert_eq!(packed.value(), value);
            assert_eq!(packed, Packed::from(value.clone()));
            assert_ne!(packed, Packed::from(json!("other")));
            assert_eq!(json!(packed), value);
            assert_eq!(serde_json::from_value::<Packed>(value.clone()).unwrap().value(), value);
        }
    }
}
