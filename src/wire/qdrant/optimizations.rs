//! Whether Qdrant optimizes a collection: a snapshot of a shard that is made meanwhile brings deleted points back (seen on 1.18.3,
//! 17 of 17).

use super::Qdrant;
use crate::base::error::Result;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

/// `GET /collections/{name}/optimizations`, of the node that is asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Optimizations {
    /// Those under way.
    running: Vec<Value>,
    /// The one that has ended and began last.
    #[serde(default)]
    completed: Vec<Value>,
}

impl Optimizations {
    /// Whether nothing is optimized, and nothing was since `before`.
    pub(crate) fn are_none_since(&self, before: &Self) -> bool {
        self.is_idle() && before.is_idle() && self.completed == before.completed
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
        let query = [("with", "completed"), ("completed_limit", "1")];
        let answer = self.http.call_with(Method::GET, &path, &query, None, &doing).await?;
        match answer.status {
            403 | 404 => Ok(None),
            _ => answer.result(&doing).await.map(Some),
        }
    }
}
