//! What optimizers do. Here there are none, so it is what a test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Shared;
use super::envelope::timed;
use crate::error::{Error, Result};

/// What one `GET /collections/{c}/optimizations` tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Optimizations {
    /// So many are running.
    pub running: usize,
    /// So many have ended so far. Each keeps its id, so one more is one that is new.
    pub completed: usize,
}

/// The scripts of a node, by collection.
#[derive(Default)]
pub(crate) struct Scripts(Mutex<BTreeMap<String, Script>>);

#[derive(Default)]
struct Script {
    next: VecDeque<Optimizations>,
    now: Optimizations,
}

impl Scripts {
    pub(crate) fn extend(&self, collection: &str, script: impl IntoIterator<Item = Optimizations>) {
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scripts.entry(collection.to_owned()).or_default().next.extend(script);
    }

    fn take(&self, collection: &str) -> Optimizations {
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(script) = scripts.get_mut(collection) else {
            return Optimizations::default();
        };
        if let Some(next) = script.next.pop_front() {
            script.now = next;
        }
        script.now
    }
}

#[derive(Deserialize)]
pub(super) struct Options {
    with: Option<String>,
}

pub(super) async fn get(
    State(node): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(options): Query<Options>,
) -> Response {
    timed(shown(&node, &name, options.with.as_deref().unwrap_or_default())).await
}

async fn shown(node: &Shared, name: &str, with: &str) -> Result<Value> {
    let fields: Vec<&str> = with.split(',').filter(|field| !field.is_empty()).collect();
    let known = ["queued", "completed", "idle_segments"];
    if let Some(unknown) = fields.iter().find(|field| !known.contains(field)) {
        return Err(Error::bad_input(format_args!(
            "Unknown field in 'with' parameter: {unknown}"
        )));
    }
    let collection = node.storage.find(name).await?;
    let told = node.optimizations.take(collection.name.as_str());
    let segments = collection
        .read(|open| {
            Ok(open
                .shards()
                .map(|(_, shard)| shard.info().segments_count)
                .sum::<usize>())
        })
        .await?;
    let mut shown = json!({
        "summary": {"queued_optimizations": 0, "queued_segments": 0, "queued_points": 0, "idle_segments": segments},
        "running": list(told.completed, told.running, "optimizing"),
    });
    if fields.contains(&"queued") {
        shown["queued"] = json!([]);
    }
    if fields.contains(&"completed") {
        shown["completed"] = list(0, told.completed, "done");
    }
    if fields.contains(&"idle_segments") {
        shown["idle_segments"] = json!([]);
    }
    Ok(shown)
}

/// Newest first.
fn list(first: usize, count: usize, status: &str) -> Value {
    let optimization = |number: usize| {
        let begun = "2026-11-22T12:00:00.000000001Z";
        let mut progress = json!({"name": "Segment Optimizing", "started_at": begun});
        if status == "done" {
            progress["finished_at"] = json!("2026-11-22T12:00:01.000000001Z");
            progress["duration_sec"] = json!(1.0);
        }
        json!({
            "uuid": Uuid::from_u128(1 + number as u128),
            "optimizer": "indexing",
            "status": status,
            "segments": [{"uuid": Uuid::from_u128(u128::MAX - number as u128), "points_count": 1000}],
            "progress": progress,
        })
    };
    (first..first + count).rev().map(optimization).collect()
}
