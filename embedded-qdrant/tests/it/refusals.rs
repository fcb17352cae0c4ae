//! What the node refuses, and with which status.

use crate::support::{TestNode, encoded};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn names_that_are_no_file_names_are_refused() {
    let node = TestNode::start().await;
    let body = json!({"vectors": {"size": 2, "distance": "Dot"}});
    for name in ["a/b", "../x", "a\\b", "a:b", "a?b", "a*b", "nul\0", &"x".repeat(256)] {
        let path = format!("/collections/{}", encoded(name));
        let (status, text) = node.refused(Method::PUT, &path, body.clone()).await;
        assert_eq!(status, 422, "{name:?}: {text}");
    }
    assert_eq!(node.get("/collections").await, json!({"collections": []}));
    let longest = "é".repeat(127) + "x";
    for name in ["with space", "100%", "%2e%2e", "späße 🦀", "...", &longest] {
        node.put(&format!("/collections/{}", encoded(name)), body.clone()).await;
        assert_eq!(node.count(&encoded(name)).await, 0);
    }
}

#[tokio::test]
async fn vector_names_that_leave_the_directory_are_refused() {
    let node = TestNode::start().await;
    let dense = json!({"vectors": {"../../x": {"size": 2, "distance": "Dot"}}});
    let sparse = json!({"sparse_vectors": {"../../x": {}}});
    for body in [dense, sparse] {
        let (status, _) = node.refused(Method::PUT, "/collections/c", body).await;
        assert_eq!(status, 422);
    }
}

#[tokio::test]
async fn wrong_input_is_answered_as_qdrant_does() {
    let node = TestNode::start().await;
    node.dense("c").await;
    let vectors = json!({"vectors": {"size": 8, "distance": "Dot"}});
    let put = Method::PUT;
    let post = Method::POST;
    for (method, path, body, status) in [
        (&put, "/collections/c", vectors.clone(), 409),
        (
            &put,
            "/collections/d",
            json!({"vectors": {"size": 8, "distance": "Far"}}),
            400,
        ),
        (
            &put,
            "/collections/d",
            json!({"vectors": {"size": 8, "distance": "Dot"}, "shard_number": 0}),
            400,
        ),
        (&put, "/collections/d", json!({"nonsense": 1}), 400),
        (
            &put,
            "/collections/c/points",
            json!({"points": [{"id": 1, "vector": [1.0]}]}),
            400,
        ),
        (
            &put,
            "/collections/c/points",
            json!({"points": [{"id": -1, "vector": [1.0]}]}),
            400,
        ),
        (&put, "/collections/x/points", json!({"points": []}), 404),
        (
            &post,
            "/collections/c/points/search",
            json!({"vector": [1.0], "limit": 1}),
            400,
        ),
        (
            &post,
            "/collections/c/points/search",
            json!({"vector": {"name": "n", "vector": [1.0]}}),
            400,
        ),
        (
            &post,
            "/collections/c/points/query",
            json!({"query": {"indices": [1], "values": [1.0]}}),
            400,
        ),
        (&post, "/collections/c/points/scroll", json!({"limit": 0}), 422),
        (&post, "/collections/x/points/count", json!({}), 404),
        (&post, "/collections/x/snapshots", json!({}), 404),
        (
            &Method::DELETE,
            "/collections/c/snapshots/none.snapshot",
            json!({}),
            404,
        ),
        (&Method::GET, "/collections/x", json!({}), 404),
        (&Method::GET, "/no/such/path", json!({}), 404),
        (&Method::PATCH, "/collections/c", json!({}), 404),
    ] {
        let (got, text) = node.refused(method.clone(), path, body.clone()).await;
        assert_eq!(got, status, "{method} {path} {body}: {text}");
    }
    assert_eq!(node.count("c").await, 250);
    assert_eq!(node.ok(Method::DELETE, "/collections/x", json!({})).await, false);
}

#[tokio::test]
async fn sparse_vectors_that_make_no_sense_are_refused() {
    let node = TestNode::start().await;
    node.mixed("m").await;
    for words in [
        json!({"indices": [1, 2], "values": [1.0]}),
        json!({"indices": [1, 1], "values": [1.0, 2.0]}),
    ] {
        let point = json!({"id": 1, "vector": {"words": words}});
        let upsert = json!({"points": [point]});
        let (status, _) = node.refused(Method::PUT, "/collections/m/points", upsert).await;
        assert_eq!(status, 422);
        let query = json!({"query": words, "using": "words"});
        let path = "/collections/m/points/query";
        assert_eq!(node.refused(Method::POST, path, query).await.0, 422);
    }
    assert_eq!(node.count("m").await, 60);
}

#[tokio::test]
async fn keys_decide_who_may_read_and_who_may_write() {
    let node = TestNode::start_with(|options| {
        options.api_key = Some("full".to_owned());
        options.read_only_key = Some("reader".to_owned());
    })
    .await;
    node.dense("c").await;
    let snapshot = node.snapshot("c").await;
    let file = format!("/collections/c/snapshots/{}", snapshot["name"].as_str().unwrap());
    let url = |path: &str| node.url(path);
    let client = reqwest::Client::new();

    for path in ["/", "/healthz", "/readyz", "/livez"] {
        assert_eq!(client.get(url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    for key in [None, Some("wrong")] {
        let mut request = client.get(url("/collections"));
        if let Some(key) = key {
            request = request.header("api-key", key);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(
            response.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/plain")
        );
    }
    let bearer = client
        .get(url("/collections"))
        .bearer_auth("full")
        .send()
        .await
        .unwrap();
    assert_eq!(bearer.status(), 200);

    let reader = |method: Method, path: &str| client.request(method, url(path)).header("api-key", "reader");
    for path in [
        "/collections",
        "/collections/c",
        "/cluster",
        "/aliases",
        "/collections/c/snapshots",
        &file,
    ] {
        assert_eq!(reader(Method::GET, path).send().await.unwrap().status(), 200, "{path}");
    }
    let count = reader(Method::POST, "/collections/c/points/count").json(&json!({"exact": true}));
    assert_eq!(count.send().await.unwrap().status(), 200);
    for (method, path) in [
        (Method::PUT, "/collections/new"),
        (Method::DELETE, "/collections/c"),
        (Method::PUT, "/collections/c/points"),
        (Method::POST, "/collections/aliases"),
        (Method::POST, "/collections/c/snapshots"),
        (Method::DELETE, file.as_str()),
        (Method::PUT, "/collections/c/snapshots/recover"),
        (Method::POST, "/collections/c/snapshots/upload?wait=false"),
    ] {
        let response = reader(method.clone(), path).json(&json!({})).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{method} {path}");
        let answer: Value = response.json().await.unwrap();
        assert!(answer["status"]["error"].as_str().unwrap().starts_with("Forbidden: "));
    }
    // Seen on a Qdrant server: with wait=false it says 202 to a key that may not.
    let unwaited = reader(Method::POST, "/collections/c/snapshots?wait=false");
    assert_eq!(unwaited.send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(node.get("/collections/c/snapshots").await, json!([snapshot]));
    assert_eq!(node.count("c").await, 250);
}
