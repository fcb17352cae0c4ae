//! A look at how long a node takes to answer.

use super::{Qdrant, SnapshotOf, segments};
use crate::base::error::Result;
use reqwest::Method;
use serde_json::json;

impl Qdrant {
    /// Reads the id of one point: a request that takes the way of all reads on the node (its queue, its threads for searches, the locks of
    /// the segments), costs it next to nothing, and is allowed to a key that may only read. Of a shard the node asks no other one. Tried
    /// once, since its time counts.
    pub(crate) async fn probe(&self, of: SnapshotOf<'_>) -> Result<()> {
        let doing = format!("reading a point of {of}");
        let body = json!({"limit": 1, "with_payload": false, "with_vector": false});
        let path = of.scroll_path();
        let answer = self.http.once(Method::POST, &segments(&path), &body, &doing).await?;
        answer.ok(&doing).map(drop)
    }
}
