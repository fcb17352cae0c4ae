//! A node in a temporary directory, and a client for it that speaks JSON.

use std::path::Path;

use embedded_qdrant::{Node, NodeOptions};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A running node with its data and a client.
pub(crate) struct TestNode {
    pub(crate) node: Node,
    pub(crate) dir: TempDir,
    pub(crate) client: reqwest::Client,
    pub(crate) key: Option<String>,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut NodeOptions)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    pub(crate) async fn start_in(dir: TempDir, change: impl FnOnce(&mut NodeOptions)) -> Self {
        let mut options = NodeOptions::new(dir.path());
        change(&mut options);
        Self {
            key: options.api_key.clone(),
            node: Node::start(options).await.unwrap(),
            dir,
            client: reqwest::Client::new(),
        }
    }

    /// Stops the node and keeps its data.
    pub(crate) async fn stop(self) -> TempDir {
        self.node.stop().await;
        self.dir
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.node.url())
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, self.url(path));
        match &self.key {
            Some(key) => request.header("api-key", key),
            None => request,
        }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        self.request(method, path).json(body).send().await.unwrap()
    }

    /// Status and parsed body.
    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        let parsed = serde_json::from_str(&text);
        (
            status,
            parsed.unwrap_or_else(|_| panic!("{status} {text:?} is no JSON")),
        )
    }

    /// `result` of a call that succeeds.
    pub(crate) async fn ok(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, mut answer) = self.call(method, path, &body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert_eq!(answer["status"], "ok", "{answer}");
        assert!(answer["time"].is_number(), "{answer}");
        answer["result"].take()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ok(Method::GET, path, json!({})).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Value {
        self.ok(Method::PUT, path, body).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.ok(Method::POST, path, body).await
    }

    /// Status and `status.error` of a call that fails.
    pub(crate) async fn refused(&self, method: Method, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.call(method, path, &body).await;
        assert!(!status.is_success(), "{path}: {answer}");
        let text = answer["status"]["error"].as_str();
        (status.as_u16(), text.unwrap_or_else(|| panic!("{answer}")).to_owned())
    }

    pub(crate) async fn count(&self, collection: &str) -> u64 {
        let path = format!("/collections/{collection}/points/count");
        self.post(&path, json!({"exact": true})).await["count"]
            .as_u64()
            .unwrap()
    }

    /// Creates a snapshot and returns its description.
    pub(crate) async fn snapshot(&self, collection: &str) -> Value {
        self.post(&format!("/collections/{collection}/snapshots"), json!({}))
            .await
    }

    pub(crate) async fn download(&self, collection: &str, snapshot: &Value) -> Vec<u8> {
        let name = snapshot["name"].as_str().unwrap();
        let path = format!("/collections/{collection}/snapshots/{}", encoded(name));
        let response = self.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap().to_vec()
    }

    /// Uploads a file as a snapshot and answers status and body.
    pub(crate) async fn upload(&self, collection: &str, query: &str, bytes: Vec<u8>) -> (u16, Value) {
        let part = reqwest::multipart::Part::bytes(bytes).file_name("uploaded.snapshot");
        let form = reqwest::multipart::Form::new().part("snapshot", part);
        let path = format!("/collections/{collection}/snapshots/upload{query}");
        let response = self.request(Method::POST, &path).multipart(form).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    /// 250 points with one unnamed vector of 8 dimensions.
    pub(crate) async fn dense(&self, name: &str) {
        self.put(
            &format!("/collections/{name}"),
            json!({"vectors": {"size": 8, "distance": "Cosine"}}),
        )
        .await;
        let points: Vec<Value> = (0..250).map(|n| dense_point(n, 0.0)).collect();
        self.put(
            &format!("/collections/{name}/points?wait=true"),
            json!({"points": points}),
        )
        .await;
    }

    /// 60 points with two named dense vectors and a sparse one; every third point lacks one.
    pub(crate) async fn mixed(&self, name: &str) {
        self.put(
            &format!("/collections/{name}"),
            json!({
                "vectors": {
                    "image": {"size": 4, "distance": "Dot"},
                    "text": {"size": 3, "distance": "Euclid", "on_disk": true},
                },
                "sparse_vectors": {"words": {}},
            }),
        )
        .await;
        let points: Vec<Value> = (0..60u32).map(mixed_point).collect();
        self.put(&format!("/collections/{name}/points"), json!({"points": points}))
            .await;
    }

    /// A collection without points.
    pub(crate) async fn empty(&self, name: &str) {
        self.put(
            &format!("/collections/{name}"),
            json!({"vectors": {"size": 2, "distance": "Manhattan"}}),
        )
        .await;
    }
}

pub(crate) fn dense_point(n: u64, shift: f32) -> Value {
    let vector: Vec<f32> = (0..8)
        .map(|d| ((n + 1) * (d + 3) * 7919 % 1009) as f32 + 1.0 + shift)
        .collect();
    json!({"id": n, "vector": vector, "payload": {"n": n, "city": "Łódź", "tags": ["a", n.to_string()]}})
}

fn mixed_point(n: u32) -> Value {
    let id = format!("00000000-0000-4000-8000-{n:012x}");
    let step = n as f32 * 0.1;
    let mut vector = json!({
        "image": [step, 1.0, -step, 0.5],
        "words": {"indices": [n, n + 100, 7_000_000], "values": [1.0, 0.25, step]},
    });
    if !n.is_multiple_of(3) {
        vector["text"] = json!([step, step * 2.0, 0.125]);
    }
    json!({"id": id, "vector": vector, "payload": {"n": n}})
}

/// A path segment with everything unusual percent-encoded.
pub(crate) fn encoded(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub(crate) fn entries(path: &Path) -> Vec<String> {
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What must be the same before and after a restore: configuration, count, a page with
/// vectors and payload, and search results.
pub(crate) async fn fingerprint(node: &TestNode, collection: &str) -> Value {
    let path = |rest: &str| format!("/collections/{collection}{rest}");
    let info = node.get(&path("")).await;
    let scroll = json!({"limit": 100, "with_vector": true});
    let mut found = Vec::new();
    for search in [
        json!({"query": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 9.0], "limit": 7}),
        json!({"query": [0.5, 1.0, 0.5, 0.25], "using": "image", "limit": 7}),
        json!({"query": {"indices": [7_000_000], "values": [2.0]}, "using": "words", "limit": 7}),
    ] {
        let (status, answer) = node.call(Method::POST, &path("/points/query"), &search).await;
        if status == StatusCode::OK {
            found.push(answer["result"].clone());
        }
    }
    json!({
        "config": info["config"],
        "schema": info["payload_schema"],
        "count": node.count(collection).await,
        "page": node.post(&path("/points/scroll"), scroll).await,
        "found": found,
    })
}
