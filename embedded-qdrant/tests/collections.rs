//! Collections and points over HTTP.

#![allow(clippy::unwrap_used)]

mod support;

use reqwest::Method;
use serde_json::json;
use support::TestNode;

#[tokio::test]
async fn points_are_stored_counted_scrolled_and_found() {
    let node = TestNode::start().await;
    node.dense("dense").await;
    assert_eq!(node.count("dense").await, 250);
    let page = node.post("/collections/dense/points/scroll", json!({"limit": 3, "with_vector": true})).await;
    assert_eq!(page["points"].as_array().unwrap().len(), 3);
    assert_eq!(page["next_page_offset"], 3);
    let snapshot = node.snapshot("dense").await;
    println!("{snapshot}");
    let bytes = node.download("dense", &snapshot).await;
    let (status, answer) = node.upload("copy", "", bytes).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(node.count("copy").await, 250);
    let _ = Method::GET;
}
