//! What the target has under a name: nothing, a collection, or one that Qdrant itself cannot read.

use crate::base::error::{Code, Error, Result};
use crate::wire::qdrant::{CollectionInfo, Qdrant};

/// What there is under a name.
pub(super) enum TargetState {
    /// Nothing.
    Absent,
    /// A collection with this number of points.
    Whole { info: CollectionInfo, points: u64 },
    /// A collection of which Qdrant cannot tell how many points it has, nor, without `info`, what it is like. One whose shard
    /// cannot be loaded answers so; a restore over it repairs it.
    Unreadable {
        info: Option<CollectionInfo>,
        problem: String,
    },
}

/// Looks. `Err`: Qdrant as such does not answer, or not to this key.
pub(super) async fn target_state(qdrant: &Qdrant, name: &str) -> Result<TargetState> {
    let info = match qdrant.collection(name).await {
        Ok(info) => info,
        Err(e) => return unreadable(qdrant, None, e).await,
    };
    match qdrant.count(name).await {
        Ok(count) => Ok(TargetState::Whole {
            info,
            points: count.points,
        }),
        Err(e) => unreadable(qdrant, Some(info), e).await,
    }
}

async fn unreadable(qdrant: &Qdrant, info: Option<CollectionInfo>, error: Error) -> Result<TargetState> {
    let is_its_own = match error.code() {
        Code::CollectionNotFound => return Ok(TargetState::Absent),
        Code::QdrantFailed | Code::QdrantUnexpected | Code::DiskFull => true,
        // The others can still be asked for.
        Code::QdrantUnreachable => qdrant.collections().await.is_ok(),
        _ => false,
    };
    match is_its_own {
        true => Ok(TargetState::Unreadable {
            info,
            problem: error.chain(),
        }),
        false => Err(error),
    }
}
