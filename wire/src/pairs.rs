//! A JSON object as it was written.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Every pair of an object in its order, a name that stands twice as well, which a map would swallow.
#[derive(Debug)]
pub struct Pairs<V>(pub Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
    type Value = Pairs<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_there_twice() {
        let Pairs(pairs) = serde_json::from_str::<Pairs<u8>>(r#"{"B": 1, "A": 2, "B": 3}"#).unwrap();
        assert_eq!(pairs, [("B".to_owned(), 1), ("A".to_owned(), 2), ("B".to_owned(), 3)]);
        for other in ["[]", "1", "{\"A\": 256}", "{} {}"] {
            assert!(serde_json::from_str::<Pairs<u8>>(other).is_err(), "{other}");
        }
    }
}
