//! A value: any bytes, wiped when dropped, printed by nothing.

use std::fmt;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The plaintext of one version of an entry.
///
/// In JSON it is a string where it is UTF-8 and `{"base64": "…"}` (RFC 4648, section 4, with padding) where it is not.
/// There is no `Display`, and `Debug` is redacted; reading is spelled [`Value::expose_secret`], so that one grep lists
/// every place that touches plaintext.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Value(Vec<u8>);

impl Value {
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value without one newline (`\n` or `\r\n`) at its end, and whether there was one.
    #[must_use]
    pub fn trimmed(&self) -> (Self, bool) {
        let bytes = &self.0;
        let kept = bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n"));
        (Self(kept.unwrap_or(bytes).to_vec()), kept.is_some())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Encoded<'a> {
            base64: &'a str,
        }
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let base64 = Zeroizing::new(Base64::encode_string(&self.0));
                Encoded { base64: &base64 }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> de::Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or an object with the one key \"base64\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value(text.as_bytes().to_vec()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value(text.into_bytes()))
    }

    // serde's own message for a wrong type quotes what it found, and what it found may be a secret.
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Value, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Value, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Value, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "base64" || found.is_some() {
                return Err(de::Error::custom("a value's object has the one key \"base64\""));
            }
            let text = Zeroizing::new(map.next_value::<String>()?);
            let bytes = Base64::decode_vec(&text)
                .map_err(|_| de::Error::custom("\"base64\" does not hold standard base64 with padding"))?;
            found = Some(Value(bytes));
        }
        found.ok_or_else(|| de::Error::missing_field("base64"))
    }
}

const NOT_TEXT: &str = "a value is a string (quote numbers and booleans), or an object with the one key \"base64\"";

#[cfg(feature = "openapi")]
mod openapi {
    use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, schema::Type};

    impl utoipa::PartialSchema for super::Value {
        fn schema() -> RefOr<Schema> {
            let text = ObjectBuilder::new().schema_type(Type::String).description(Some("The value, where it is UTF-8"));
            let encoded = ObjectBuilder::new()
                .schema_type(Type::Object)
                .property("base64", ObjectBuilder::new().schema_type(Type::String))
                .required("base64")
                .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(false)));
            RefOr::T(Schema::OneOf(OneOfBuilder::new().item(text).item(encoded).build()))
        }
    }

    impl utoipa::ToSchema for super::Value {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_survive_json(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let json = serde_json::to_string(&Value::new(bytes.clone())).unwrap();
            let back: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back.expose_secret(), &bytes[..]);
        }
    }

    #[test]
    fn nothing_prints_a_value() {
        assert_eq!(format!("{:?}", Value::new("hunter2")), "Value(…)");
        for json in ["12345678", "true", "[\"hunter2\"]", "{\"base64\":\"hunter2\"}", "{\"hunter2\":1}", "1.5"] {
            let fault = serde_json::from_str::<Value>(json).unwrap_err().to_string();
            for part in ["hunter2", "12345678", "1.5"] {
                assert!(!fault.contains(part), "{fault}");
            }
        }
    }

    #[test]
    fn one_newline_is_trimmed_and_only_one() {
        let of = |text: &str| String::from_utf8(Value::new(text).trimmed().0.expose_secret().to_vec()).unwrap();
        assert_eq!(of("a\n"), "a");
        assert_eq!(of("a\r\n"), "a");
        assert_eq!(of("a\n\n"), "a\n");
        assert_eq!(of(" a "), " a ");
        assert_eq!(of("\n"), "");
    }
}
