//! Making a collection as another one is described: what a snapshot of a shard does not do by itself.

use super::Qdrant;
use super::restore::{done, needs_manage};
use crate::base::error::Result;
use reqwest::Method;
use serde_json::{Map, Value, json};

/// Fields of `config` in the answer to `GET /collections/{name}`, and what the request that makes a collection calls them.
const SECTIONS: [(&str, &str); 6] = [
    ("hnsw_config", "hnsw_config"),
    ("optimizer_config", "optimizers_config"),
    ("wal_config", "wal_config"),
    ("quantization_config", "quantization_config"),
    ("strict_mode_config", "strict_mode_config"),
    ("metadata", "metadata"),
];

impl Qdrant {
    /// Makes a collection of this `config`, as `GET /collections/{name}` describes one, without points and payload indexes; one of
    /// custom sharding without shards.
    pub(crate) async fn create_collection(&self, collection: &str, config: &Value) -> Result<()> {
        let doing = format!("creating collection {collection:?}");
        self.change(Method::PUT, &["collections", collection], &creation(config), &doing)
            .await
    }

    /// Makes the shards of a shard key: their ids follow the highest one that there is.
    pub(crate) async fn create_shard_key(&self, collection: &str, key: &Value, shards: u32) -> Result<()> {
        let doing = format!("creating shard key {key} of collection {collection:?}");
        let body = json!({ "shard_key": key, "shards_number": shards });
        let path = ["collections", collection, "shards"];
        self.change(Method::PUT, &path, &body, &doing).await
    }

    /// Deletes a shard key with its shards.
    pub(crate) async fn delete_shard_key(&self, collection: &str, key: &Value) -> Result<()> {
        let doing = format!("deleting shard key {key} of collection {collection:?}");
        let path = ["collections", collection, "shards", "delete"];
        self.change(Method::POST, &path, &json!({ "shard_key": key }), &doing)
            .await
    }

    /// Makes a payload index as `payload_schema` of `GET /collections/{name}` describes one.
    pub(crate) async fn create_index(&self, collection: &str, field: &str, index: &Value) -> Result<()> {
        let doing = format!("creating the payload index of {field:?} in collection {collection:?}");
        let schema = match &index["params"] {
            Value::Null => &index["data_type"],
            params => params,
        };
        let body = json!({ "field_name": field, "field_schema": schema });
        let url = self.http.url(&["collections", collection, "index"], &doing)?;
        let request = self.http.request(Method::PUT, url).json(&body);
        // It is written by every shard, and may take long where there are points.
        let answer = self.http.long(request, &doing).await?;
        answer.ok(&doing).map(drop).map_err(needs_manage)
    }

    /// A change that Qdrant answers once it is made; never repeated by itself, since the first attempt may have made it.
    async fn change(&self, method: Method, path: &[&str], body: &Value, doing: &str) -> Result<()> {
        let url = self.http.url(path, doing)?;
        let request = self.http.request(method, url).json(body);
        done(self.http.long(request, doing).await?, doing).await
    }
}

/// The request that makes a collection like the one of this `config`.
fn creation(config: &Value) -> Value {
    let mut request: Map<String, Value> = config["params"].as_object().cloned().unwrap_or_default();
    for (told, asked) in SECTIONS {
        request.insert(asked.to_owned(), config[told].clone());
    }
    request.retain(|_, value| !value.is_null());
    Value::Object(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_asked_for_as_it_is_described() {
        let config = json!({
            "params": {"vectors": {"size": 4, "distance": "Cosine"}, "sharding_method": "custom", "replication_factor": 1,
                "read_fan_out_factor": null},
            "hnsw_config": {"m": 8}, "optimizer_config": {"flush_interval_sec": 5}, "wal_config": {"wal_capacity_mb": 32},
            "quantization_config": null, "metadata": {"a": 1}
        });
        assert_eq!(
            creation(&config),
            json!({
                "vectors": {"size": 4, "distance": "Cosine"}, "sharding_method": "custom", "replication_factor": 1,
                "hnsw_config": {"m": 8}, "optimizers_config": {"flush_interval_sec": 5},
                "wal_config": {"wal_capacity_mb": 32}, "metadata": {"a": 1}
            })
        );
    }
}
