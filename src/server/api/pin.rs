//! `PUT` and `DELETE /backups/{id}/pin`.

use super::request::{self, RequestBody};
use super::values::Pin;
use crate::base::error::Result;
use crate::repository::names::BackupId;
use crate::repository::pins::Pinned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PinRequest {
    pub(crate) note: Option<String>,
}

impl RequestBody for PinRequest {
    fn parse(body: &[u8]) -> Result<Self> {
        request::object(body, "send {}, or {\"note\": \"why\"}")
    }
}

/// That a backup is pinned.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PinResponse {
    id: BackupId,
    /// The pin that it had before, which stays as it is; the note of the request was not written then.
    already: Option<Pin>,
    /// Who was at work meanwhile. If that is a prune, the pin may have come too late: `GET /backups/{id}` tells.
    beside: Option<String>,
}

impl PinResponse {
    pub(crate) fn new(id: BackupId, pinned: Pinned) -> Self {
        let (already, beside) = match pinned {
            Pinned::Now { beside } => (None, beside),
            Pinned::Already(pin) => (Some(pin.into()), None),
        };
        Self { id, already, beside }
    }
}

/// That a backup is not pinned.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnpinResponse {
    pub(crate) id: BackupId,
    /// Whether it was.
    pub(crate) was_pinned: bool,
}
