//! What optimizers do. Here there are none, so it is what a test says.
//!
//! As on a Qdrant server whichever node is asked tells of the replicas on all nodes, and
//! fails if one does not answer that should.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
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

    /// What is told now.
    pub(crate) fn take(&self, collection: &str) -> Optimizations {
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
    #[serde(default = "completed_limit")]
    completed_limit: usize,
}

fn completed_limit() -> usize {
    16
}

pub(super) async fn get(
    State(node): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(options): Query<Options>,
) -> Response {
    timed(shown(&node, &name, options)).await
}

async fn shown(node: &Shared, name: &str, options: Options) -> Result<Value> {
    let with = options.with.unwrap_or_default();
    let fields: Vec<&str> = with
        .split(',')
        .map(str::trim)
        .filter(|field| !field.is_empty())
        .collect();
    let known = ["queued", "completed", "idle_segments"];
    if let Some(unknown) = fields.iter().find(|field| !known.contains(field)) {
        return Err(Error::bad_input(format_args!(
            "Unknown field in 'with' parameter: {unknown}"
        )));
    }
    let (mut running, mut completed, mut segments) = (Vec::new(), Vec::new(), Vec::new());
    for (peer_id, told, here) in node.storage.optimizations(name).await? {
        segments.extend(here);
        running.extend(list(
            peer_id,
            told.completed..told.completed + told.running,
            "optimizing",
        ));
        completed.extend(list(peer_id, 0..told.completed, "done"));
    }
    // Newest first.
    completed.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    completed.truncate(options.completed_limit);
    let values = |list: Vec<(usize, Value)>| list.into_iter().map(|(_, value)| value).collect::<Value>();
    let mut shown = json!({
        "summary": {"queued_optimizations": 0, "queued_segments": 0, "queued_points": 0, "idle_segments": segments.len()},
        "running": values(running),
    });
    if fields.contains(&"queued") {
        shown["queued"] = json!([]);
    }
    if fields.contains(&"completed") {
        shown["completed"] = values(completed);
    }
    if fields.contains(&"idle_segments") {
        let idle = segments.iter().map(|uuid| json!({"uuid": uuid, "points_count": 0}));
        shown["idle_segments"] = idle.collect();
    }
    Ok(shown)
}

/// Optimizations of a node, by their numbers.
fn list(peer_id: u64, numbers: Range<usize>, status: &str) -> Vec<(usize, Value)> {
    let optimization = |number: usize| {
        let begun = "2026-11-22T12:00:00.000000001Z";
        let mut progress = json!({"name": "Segment Optimizing", "started_at": begun});
        if status == "done" {
            progress["finished_at"] = json!("2026-11-22T12:00:01.000000001Z");
            progress["duration_sec"] = json!(1.0);
        }
        let shown = json!({
            "uuid": Uuid::from_u64_pair(peer_id, 1 + number as u64),
            "optimizer": "indexing",
            "status": status,
            "segments": [{"uuid": Uuid::from_u64_pair(peer_id, u64::MAX - number as u64), "points_count": 1000}],
            "progress": progress,
        });
        (number, shown)
    };
    numbers.rev().map(optimization).collect()
}
