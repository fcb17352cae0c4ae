//! Requests that change nothing, to learn what the key may do, and what stands between lets pass: each is of a kind that a run makes,
//! and of something that is not there. Qdrant looks at the rights first (seen on 1.18.3).

use super::Qdrant;
use super::restore::needs_manage;
use crate::base::error::{Code, Error, Result};
use reqwest::Method;
use serde_json::json;

/// A shard that no collection has: they are numbered from 0.
const NO_SHARD: &str = "4294967295";
/// A scheme that Qdrant refuses for every snapshot, after it has looked at the caller's rights.
const NOWHERE: &str = "none:///rights-check";

impl Qdrant {
    /// Whether snapshots of a collection can be created.
    pub(crate) async fn may_create_snapshots(&self, collection: &str) -> Result<()> {
        let path = ["collections", collection, "shards", NO_SHARD, "snapshots"];
        self.absent(
            Method::POST,
            &path,
            &format!("creating snapshots of collection {collection:?}"),
        )
        .await
    }

    /// Whether snapshots of a collection can be deleted; `absent`: the name of none.
    pub(crate) async fn may_delete_snapshots(&self, collection: &str, absent: &str) -> Result<()> {
        let path = ["collections", collection, "snapshots", absent];
        self.absent(
            Method::DELETE,
            &path,
            &format!("deleting snapshots of collection {collection:?}"),
        )
        .await
    }

    /// Whether snapshots of a collection can be downloaded; `absent`: the name of none.
    pub(crate) async fn may_download_snapshots(&self, collection: &str, absent: &str) -> Result<()> {
        let path = ["collections", collection, "snapshots", absent];
        self.absent(
            Method::GET,
            &path,
            &format!("downloading snapshots of collection {collection:?}"),
        )
        .await
    }

    /// Whether the key may restore snapshots: Qdrant refuses to restore from a scheme that it does not know.
    pub(crate) async fn may_restore(&self, collection: &str) -> Result<()> {
        let doing = "checking whether the key may restore snapshots".to_owned();
        let body = json!({ "location": NOWHERE });
        let url_path = ["collections", collection, "snapshots", "recover"];
        let answer = self.read(Method::PUT, &url_path, Some(&body), &doing).await?;
        match answer.status {
            // 404: nothing of that kind on the way to the refusal, but past the rights.
            400 | 404 | 422 if !answer.is_page() => Ok(()),
            200..=399 => Err(Error::new(
                Code::QdrantUnexpected,
                format!("{doing}: Qdrant accepted {NOWHERE:?} as a snapshot"),
            )
            .remedy("use the URL of Qdrant's REST API")),
            _ => answer.ok(&doing).map(|_| ()).map_err(needs_manage),
        }
    }

    /// Asks for what is not there.
    async fn absent(&self, method: Method, path: &[&str], doing: &str) -> Result<()> {
        let answer = self.read(method, path, None, doing).await?;
        match answer.status {
            404 => Ok(()),
            200..=399 => Err(Error::new(
                Code::QdrantUnexpected,
                format!("{doing}: HTTP {} of what is not there", answer.status),
            )
            .remedy("use the URL of Qdrant's REST API")),
            _ => answer.ok(doing).map(|_| ()),
        }
    }
}
