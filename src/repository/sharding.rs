//! Custom sharding: collections whose snapshots Qdrant does not restore.
//!
//! A restore into a collection that is not there makes one with the shards of its configuration, and of custom sharding the
//! configuration has none: Qdrant answers 200, and the collection stays empty (seen on 1.18.3; qdrant#10135). A node in
//! cluster mode is enough for it, which is what the Helm chart sets up by default.

use crate::base::error::{Code, Error};
use serde_json::Value;

/// Whether points go to shards by keys that clients name. `config` is that of `GET /collections/{name}`, `shards` is `GET
/// /collections/{name}/cluster`, or null where that may not be asked.
pub(crate) fn is_custom(config: &Value, shards: &Value) -> bool {
    let mut local = shards["local_shards"].as_array().into_iter().flatten();
    config["params"]["sharding_method"] == "custom" || local.any(|shard| !shard["shard_key"].is_null())
}

/// Why a snapshot of the collection `name` is no backup.
pub(crate) fn cannot_be_restored(name: &str) -> Error {
    Error::new(
        Code::Unsupported,
        format!("collection {name:?} has custom sharding; Qdrant restores its snapshot without the points"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn either_answer_of_qdrant_tells_custom_sharding() {
        let (auto, custom) = (
            json!({"params": {"sharding_method": "auto"}}),
            json!({"params": {"sharding_method": "custom"}}),
        );
        let keyed = json!({"local_shards": [{"shard_id": 0}, {"shard_id": 1, "shard_key": "a"}]});
        let plain = json!({"local_shards": [{"shard_id": 0}, {"shard_id": 1, "shard_key": null}]});
        assert!(is_custom(&custom, &Value::Null) && is_custom(&auto, &keyed));
        for config in [&auto, &json!({"params": {}}), &Value::Null] {
            assert!(
                !is_custom(config, &plain) && !is_custom(config, &Value::Null),
                "{config}"
            );
        }
    }
}
