//! `GET /collections`.

use super::ErrorDetail;
use serde::Serialize;
use utoipa::ToSchema;

/// What Qdrant holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CollectionsResponse {
    pub(crate) collections: Vec<CollectionStatus>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CollectionStatus {
    pub(crate) name: String,
    /// `green`, `yellow`, …; as Qdrant says. `unknown`: it does not, see `error`.
    pub(crate) status: String,
    /// Approximate number of points, as Qdrant says.
    pub(crate) points: Option<u64>,
    /// Qdrant does not tell sizes: bytes in the latest good backup, if it is in there.
    pub(crate) backup_bytes: Option<u64>,
    /// Why Qdrant does not answer for it; the others are listed all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorDetail>,
}
