//! Custom sharding: collections whose snapshots Qdrant does not restore, so that each of their shards has one of its own.
//!
//! A restore into a collection that is not there makes one with the shards of its configuration, and of custom sharding the
//! configuration has none: Qdrant answers 200, and the collection stays empty (seen on 1.18.3; qdrant#10135). A node in
//! cluster mode is enough for it, which is what the Helm chart sets up by default.

mod keys;

pub(crate) use keys::{Creation, ShardKey, ShardKeys};

use crate::base::error::{Code, Error};
use crate::base::json::Packed;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// What a description by Qdrant tells of shards, and nothing else of it. It is read from any JSON, and refuses what a
/// [`Value`] refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sharding {
    /// As a `config` tells it: by its method.
    by_method: bool,
    /// As the shards tell it: one of them has a key.
    by_key: bool,
    /// Whether the shards are told, and there are none.
    is_empty: bool,
    /// The ids of the shards, wherever their replicas are, each once. No more than there are in the text: four bytes of each.
    ids: Vec<u32>,
}

impl Sharding {
    /// The ids of the shards that are told.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }
}

/// A description by Qdrant, or what is kept of it.
pub trait Described {
    /// What it tells of shards.
    fn sharding(&self) -> Sharding;
}

impl Described for Sharding {
    fn sharding(&self) -> Sharding {
        self.clone()
    }
}

impl Described for Value {
    fn sharding(&self) -> Sharding {
        // Everything is taken that is JSON, and this is.
        Sharding::deserialize(self).unwrap_or_default()
    }
}

impl Described for Packed {
    fn sharding(&self) -> Sharding {
        self.value().sharding()
    }
}

/// Whether points went to shards by keys that clients name. `config` is that of `GET /collections/{name}`, `shards` is `GET
/// /collections/{name}/cluster`, or null where that may not be asked. One that has no shard yet has nothing to lose.
pub(crate) fn is_custom(config: &impl Described, shards: &impl Described) -> bool {
    let shards = shards.sharding();
    shards.by_key || config.sharding().by_method && !shards.is_empty
}

/// Whether points went to shards by keys that are not known, so that these cannot be made again.
pub(crate) fn has_unknown_keys(config: &impl Described, shards: &impl Described) -> bool {
    is_custom(config, shards) && !shards.sharding().by_key
}

/// Why a snapshot of the collection `name` is no backup.
pub(crate) fn cannot_be_restored(name: &str) -> Error {
    Error::new(
        Code::Unsupported,
        format!(
            "collection {name:?} has custom sharding, and its shard keys are unknown; without them Qdrant restores no points"
        ),
    )
}

impl<'de> Deserialize<'de> for Sharding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Place::Description.deserialize(deserializer)
    }
}

/// Where in a description a value stands.
#[derive(Clone, Copy)]
enum Place {
    Description,
    /// `params`
    Params,
    /// `params.sharding_method`
    Method,
    /// `local_shards`
    Shards,
    /// `local_shards[…]`
    Shard,
    /// `local_shards[…].shard_key`
    Key,
    /// `remote_shards`
    RemoteShards,
    /// `remote_shards[…]`
    Remote,
    /// `local_shards[…].shard_id` and `remote_shards[…].shard_id`
    Id,
    Elsewhere,
}

impl Place {
    fn field(self, name: &str) -> Self {
        match (self, name) {
            (Self::Description, "params") => Self::Params,
            (Self::Params, "sharding_method") => Self::Method,
            (Self::Description, "local_shards") => Self::Shards,
            (Self::Description, "remote_shards") => Self::RemoteShards,
            (Self::Shard, "shard_key") => Self::Key,
            (Self::Shard | Self::Remote, "shard_id") => Self::Id,
            _ => Self::Elsewhere,
        }
    }

    fn element(self) -> Self {
        match self {
            Self::Shards => Self::Shard,
            Self::RemoteShards => Self::Remote,
            _ => Self::Elsewhere,
        }
    }

    /// What a value tells that is not null: any is a key, in whatever form Qdrant may have it.
    fn value(self) -> Sharding {
        Sharding {
            by_key: matches!(self, Self::Key),
            ..Sharding::default()
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Sharding;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Sharding, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place {
    type Value = Sharding;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Sharding, E> {
        Ok(Sharding::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sharding, E> {
        Ok(self.value())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sharding, E> {
        Ok(self.value())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Sharding, E> {
        let id = u32::try_from(number).ok().filter(|_| matches!(self, Self::Id));
        Ok(Sharding {
            ids: id.into_iter().collect(),
            ..self.value()
        })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sharding, E> {
        Ok(self.value())
    }

    fn visit_str<E>(self, text: &str) -> Result<Sharding, E> {
        Ok(Sharding {
            by_method: matches!(self, Self::Method) && text == "custom",
            ..self.value()
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sharding, A::Error> {
        let mut told = Sharding {
            is_empty: matches!(self, Self::Shards),
            ..self.value()
        };
        while let Some(more) = list.next_element_seed(self.element())? {
            told.by_key |= more.by_key;
            told.is_empty = false;
            told.ids.extend(more.ids);
        }
        Ok(told)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Sharding, A::Error> {
        let mut told = self.value();
        let (mut local, mut remote) = (Vec::new(), Vec::new());
        while let Some(place) = fields.next_key_seed(Field(self))? {
            let more = fields.next_value_seed(place)?;
            // Of a field that is there twice the last one counts, as in any JSON.
            match place {
                Self::Params | Self::Method => told.by_method = more.by_method,
                Self::Shards => (told.by_key, told.is_empty, local) = (more.by_key, more.is_empty, more.ids),
                Self::RemoteShards => remote = more.ids,
                Self::Key => told.by_key = more.by_key,
                Self::Id => local = more.ids,
                _ => {}
            }
        }
        local.append(&mut remote);
        local.sort_unstable();
        local.dedup();
        local.shrink_to_fit();
        told.ids = local;
        Ok(told)
    }
}

/// The name of a field in this place.
struct Field(Place);

impl<'de> DeserializeSeed<'de> for Field {
    type Value = Place;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Place, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Field {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Place, E> {
        Ok(self.0.field(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_slice, json};

    #[test]
    fn either_answer_of_qdrant_tells_custom_sharding() {
        let (auto, custom) = (
            json!({"params": {"sharding_method": "auto"}}),
            json!({"params": {"sharding_method": "custom"}}),
        );
        let keyed = json!({"local_shards": [{"shard_id": 0}, {"shard_id": 1, "shard_key": "a"}]});
        let plain = json!({"local_shards": [{"shard_id": 0}, {"shard_id": 1, "shard_key": null}]});
        assert!(is_custom(&custom, &Value::Null) && is_custom(&auto, &keyed));
        let none = json!({"local_shards": []});
        assert!(is_custom(&custom, &json!({})) && !is_custom(&custom, &none) && !is_custom(&auto, &none));
        for config in [&auto, &json!({"params": {}}), &Value::Null] {
            assert!(
                !is_custom(config, &plain) && !is_custom(config, &Value::Null),
                "{config}"
            );
        }
    }

    #[test]
    fn a_key_of_any_kind_is_one_and_what_stands_elsewhere_is_none() {
        for key in [
            json!(0),
            json!("a"),
            json!(false),
            json!([]),
            json!({}),
            json!({"a": 1}),
            json!(0.5),
        ] {
            let shards = json!({"local_shards": [{"shard_key": key}, {"shard_key": null}]});
            assert!(is_custom(&Value::Null, &shards), "{shards}");
        }
        for other in [
            json!({"local_shards": {"shard_key": "a"}}),
            json!({"local_shards": [["shard_key"], "shard_key", 1, {"more": {"shard_key": 1}}]}),
            json!({"shards": [{"shard_key": "a"}], "shard_key": 1}),
            json!({"sharding_method": "custom", "metadata": {"params": {"sharding_method": "custom"}}}),
            json!({"params": {"sharding_method": ["custom"], "more": {"sharding_method": "custom"}}}),
            json!({"params": ["sharding_method", "custom"]}),
            json!("custom"),
        ] {
            assert!(!is_custom(&other, &other), "{other}");
        }
    }

    #[test]
    fn the_ids_of_shards_are_those_of_all_replicas() {
        let map = json!({
            "peer_id": 1, "shard_count": 3, "shard_id": 9,
            "local_shards": [{"shard_id": 4, "shard_key": {"shard_id": 8}}, {"shard_id": 0}, {"shard_id": "5"}, 6, [{"shard_id": 7}]],
            "remote_shards": [{"shard_id": 4}, {"shard_id": 2}, {"shard_id": 4294967296u64}, {"shard_id": -1}, {"shard_id": null}],
            "shard_transfers": [{"shard_id": 11}],
        });
        assert_eq!(map.sharding().ids(), [0, 2, 4]);
        let known: Vec<u32> = ShardKeys::of(&map).ids().into_iter().collect();
        assert_eq!(known, [0, 2, 4], "as whoever restores them reads it");
        let twice = br#"{"local_shards": [{"shard_id": 1}], "local_shards": [{"shard_id": 1, "shard_id": 3}]}"#;
        let told = from_slice::<Sharding>(twice).unwrap();
        assert_eq!(told, from_slice::<Value>(twice).unwrap().sharding());
        assert_eq!(told.ids(), [3], "the last one counts");
    }

    #[test]
    fn each_of_the_two_is_looked_for_in_its_own_answer() {
        let both = json!({"params": {"sharding_method": "custom"}, "local_shards": [{"shard_key": 1}]});
        let (method, key) = (
            json!({"params": both["params"]}),
            json!({"local_shards": both["local_shards"]}),
        );
        assert!(is_custom(&both, &Value::Null) && is_custom(&Value::Null, &both));
        assert!(!is_custom(&key, &method));
    }

    #[test]
    fn it_is_read_from_what_any_value_is_read_from_and_from_nothing_else() {
        let nested = |levels| ["[".repeat(levels), "]".repeat(levels)].concat().into_bytes();
        let deepest = crate::base::json::DEEPEST;
        let odd: &[&[u8]] = &[
            b"null",
            b" {\"a\": [1, -2, 3.5e3, \"x\\u00e9\\ud83d\\ude00\", {}, true]} ",
            b"{\"params\": {\"sharding_method\": \"auto\"}, \"params\": {\"sharding_method\": \"custom\"}}",
            b"{\"params\": {\"sharding_method\": \"custom\"}, \"params\": {}}",
            b"",
            b"{",
            b"[1,]",
            b"{\"a\" 1}",
            b"{1: 2}",
            b"nul",
            b"1e999",
            b"[-1e999]",
            b"\"\\ud800\"",
            b"{\"\\ud800\": 1}",
            b"{\"a\": \"\xff\"}",
            b"{\"\xff\": 1}",
            b"\"a\nb\"",
            b"01",
            b"[1] 2",
            b"18446744073709551616",
            &nested(deepest),
            &nested(deepest + 1),
        ];
        for json in odd {
            let (value, told) = (from_slice::<Value>(json), from_slice::<Sharding>(json));
            let shown = String::from_utf8_lossy(json);
            assert_eq!(value.is_ok(), told.is_ok(), "{shown}: {value:?} {told:?}");
            if let (Ok(value), Ok(told)) = (value, told) {
                assert_eq!(value.sharding(), told, "{shown}");
            }
        }
    }
}
