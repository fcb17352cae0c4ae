//! Three collections of different kinds, put into a Qdrant over its API, and what is asked of them to tell that a copy is
//! equal. Used by the end-to-end tests and by the demo.

use serde_json::{Value, json};
use std::error::Error;

/// What a sample collection is called, how many points it has, and searches whose answers must be equal afterwards.
pub struct Sample {
    pub name: String,
    pub kind: &'static str,
    pub points: u64,
    pub searches: Vec<Value>,
}

/// A client for the few calls that fill and ask a Qdrant.
#[derive(Clone)]
pub struct Client {
    pub url: String,
    pub key: Option<String>,
    pub http: reqwest::Client,
}

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

impl Client {
    pub fn new(url: impl Into<String>, key: Option<&str>) -> Self {
        Self {
            url: url.into(),
            key: key.map(str::to_owned),
            // No connection is used twice: a server may close an idle one at any moment.
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()
                .unwrap_or_default(),
        }
    }

    /// `result` of a call.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.http.request(method.parse()?, format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("api-key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            return Err(format!("{method} {path}: {status}: {text}").into());
        }
        Ok(serde_json::from_str::<Value>(&text)?["result"].take())
    }

    pub async fn search(&self, collection: &str, search: &Value) -> Result<Value> {
        self.call(
            "POST",
            &format!("/collections/{collection}/points/query"),
            Some(search.clone()),
        )
        .await
    }

    pub async fn count(&self, collection: &str) -> Result<u64> {
        let path = format!("/collections/{collection}/points/count");
        let result = self.call("POST", &path, Some(json!({"exact": true}))).await?;
        Ok(result["count"].as_u64().ok_or("no count")?)
    }

    pub async fn delete(&self, collection: &str) -> Result<Value> {
        self.call("DELETE", &format!("/collections/{collection}"), None).await
    }
}

/// Makes and fills the three collections, with an alias on the first. Names begin with `prefix`.
pub async fn fill(client: &Client, prefix: &str, scale: u64) -> Result<Vec<Sample>> {
    let articles = format!("{prefix}articles");
    let dense = json!({"vectors": {"size": 64, "distance": "Cosine"}});
    client
        .call("PUT", &format!("/collections/{articles}"), Some(dense))
        .await?;
    upsert(client, &articles, 20 * scale, |i| {
        json!({"id": i, "vector": vector(i, 64), "payload": {"title": format!("Article {i}"), "year": 1990 + i % 35}})
    })
    .await?;

    let products = format!("{prefix}products");
    let named = json!({
        "vectors": {"image": {"size": 32, "distance": "Dot"}, "text": {"size": 48, "distance": "Euclid"}},
        "sparse_vectors": {"keywords": {}},
    });
    client
        .call("PUT", &format!("/collections/{products}"), Some(named))
        .await?;
    upsert(client, &products, 10 * scale, |i| {
        json!({
            "id": format!("00000000-0000-4000-8000-{i:012}"),
            "vector": {"image": vector(i, 32), "text": vector(i + 7, 48), "keywords": sparse(i)},
            "payload": {"sku": format!("P-{i}"), "tags": ["a", "b"], "price": {"amount": i as f64 / 4.0}},
        })
    })
    .await?;

    let drafts = format!("{prefix}drafts");
    let empty = json!({"vectors": {"size": 8, "distance": "Manhattan"}});
    client
        .call("PUT", &format!("/collections/{drafts}"), Some(empty))
        .await?;

    let alias = json!({"create_alias": {"collection_name": articles, "alias_name": format!("{prefix}live")}});
    client
        .call("POST", "/collections/aliases", Some(json!({"actions": [alias]})))
        .await?;

    let query = |query: Value, using: Option<&str>| {
        let mut search =
            json!({"query": query, "limit": 10, "with_payload": true, "with_vector": true, "params": {"exact": true}});
        if let Some(name) = using {
            search["using"] = json!(name);
        }
        search
    };
    Ok(vec![
        Sample {
            name: articles,
            kind: "dense vectors",
            points: 20 * scale,
            searches: vec![query(json!(vector(3, 64)), None)],
        },
        Sample {
            name: products,
            kind: "named + sparse vectors",
            points: 10 * scale,
            searches: vec![
                query(json!(vector(5, 32)), Some("image")),
                query(json!(vector(9, 48)), Some("text")),
                query(sparse(4), Some("keywords")),
            ],
        },
        Sample {
            name: drafts,
            kind: "empty",
            points: 0,
            searches: vec![query(json!(vector(1, 8)), None)],
        },
    ])
}

async fn upsert(client: &Client, collection: &str, count: u64, point: impl Fn(u64) -> Value) -> Result<()> {
    for start in (0..count).step_by(500) {
        let points: Vec<_> = (start..count.min(start + 500)).map(&point).collect();
        let path = format!("/collections/{collection}/points?wait=true");
        client.call("PUT", &path, Some(json!({"points": points}))).await?;
    }
    Ok(())
}

/// A vector that depends on `seed` and repeats for nobody else.
fn vector(seed: u64, size: u64) -> Vec<f32> {
    (0..size)
        .map(|i| {
            let x = (seed * 1_000_003 + i * 7919 + 17).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            x as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}

fn sparse(seed: u64) -> Value {
    let indices: Vec<u64> = (0..5).map(|i| i * 100 + (seed * 13 + i * 7) % 100).collect();
    let values: Vec<f32> = (0..5)
        .map(|i| (seed % 11) as f32 / 8.0 + i as f32 / 4.0 + 0.125)
        .collect();
    json!({"indices": indices, "values": values})
}
