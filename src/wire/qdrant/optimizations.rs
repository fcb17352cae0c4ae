//! Whether Qdrant optimizes a collection: a snapshot of a shard that is made meanwhile brings deleted points back (seen on 1.18.3,
//! 17 of 17). And of which segments it is: nothing else tells a collection from another one of its name.

use super::Qdrant;
use crate::base::error::Result;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// `GET /collections/{name}/optimizations`: of all nodes, whichever is asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Optimizations {
    /// Those under way.
    running: Vec<Value>,
    /// The one that has ended and began last.
    #[serde(default)]
    completed: Vec<Value>,
    /// Segments that nothing is done with.
    #[serde(default)]
    idle_segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Segment {
    uuid: String,
}

impl Optimizations {
    /// Whether nothing is optimized, and nothing was since `before`.
    pub(crate) fn are_none_since(&self, before: &Self) -> bool {
        self.is_idle() && before.is_idle() && self.completed == before.completed
    }

    /// Ids of segments that nothing is done with.
    pub(crate) fn segments(&self) -> BTreeSet<String> {
        self.idle_segments.iter().map(|segment| segment.uuid.clone()).collect()
    }

    /// Whether nothing is optimized now.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }
}

impl Qdrant {
    /// What the node optimizes; `None` where that cannot be asked: before Qdrant 1.16, or by a key without the right to.
    pub(crate) async fn optimizations(&self, collection: &str) -> Result<Option<Optimizations>> {
        let doing = format!("reading the optimizations of collection {collection:?}");
        let path = ["collections", collection, "optimizations"];
        // The newest one that has ended tells whether there is a newer one.
        let query = [("with", "completed,idle_segments"), ("completed_limit", "1")];
        let answer = self.http.call_with(Method::GET, &path, &query, None, &doing).await?;
        match answer.status {
            403 | 404 => Ok(None),
            // Qdrant asks all nodes of the collection, and fails if one does not answer.
            500..=599 => answer.result(&doing).await.map(Some).map_err(|error| {
                error.remedy("check that each node of the cluster runs: Qdrant answers this only while all of them do; then read Qdrant's log")
            }),
            _ => answer.result(&doing).await.map(Some),
        }
    }
}
