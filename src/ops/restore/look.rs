//! What the target has under a name: nothing, a collection, or one that Qdrant itself cannot read.

use crate::base::error::{Code, Error, Result};
use crate::wire::qdrant::{CollectionInfo, Qdrant};

/// What there is under a name.
pub(super) enum Look {
    /// Nothing.
    Absent,
    /// A collection with this exact number of points.
    Whole { info: CollectionInfo, points: u64 },
    /// A collection of which Qdrant cannot tell how many points it has, nor, without `info`, what it is like. One whose shard
    /// cannot be loaded answers so; a restore over it repairs it.
    Unreadable {
        info: Option<CollectionInfo>,
        problem: String,
    },
}

/// Looks. `Err`: Qdrant as such does not answer, or not to this key.
pub(super) async fn look(qdrant: &Qdrant, name: &str) -> Result<Look> {
    let info = match qdrant.collection(name).await {
        Ok(info) => info,
        Err(e) => return unread(qdrant, None, e).await,
    };
    match qdrant.count(name).await {
        Ok(points) => Ok(Look::Whole { info, points }),
        Err(e) => unread(qdrant, Some(info), e).await,
    }
}

async fn unread(qdrant: &Qdrant, info: Option<CollectionInfo>, error: Error) -> Result<Look> {
    let is_its_own = match error.code() {
        Code::CollectionNotFound => return Ok(Look::Absent),
        Code::QdrantFailed | Code::QdrantUnexpected | Code::DiskFull => true,
        // The others can still be asked for.
        Code::QdrantUnreachable => qdrant.collections().await.is_ok(),
        _ => false,
    };
    match is_its_own {
        true => Ok(Look::Unreadable {
            info,
            problem: error.chain(),
        }),
        false => Err(error),
    }
}
