//! The one form of errors.

use super::{BackupReport, DrillReport, PrunePlan, PruneReport, RestorePlan, RestoreReport, VerifyReport};
use crate::base::error::ErrorInfo;
use serde::Serialize;
use time::OffsetDateTime;

/// ```json
/// {"error": {"code": "run_in_progress", "message": "…", "remedy": "…"}, "request_id": "…"}
/// ```
#[derive(Debug, Serialize)]
pub(crate) struct ErrorResponse {
    pub(crate) error: ErrorInfo<String>,
    /// Under which the log has the request.
    pub(crate) request_id: String,
    /// What was to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<PlanOfError>,
    /// What the run came to in spite of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<ReportOfError>,
    /// Who is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held_by: Option<LeaseHolder>,
}

/// The run in the way.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LeaseHolder {
    pub(crate) who: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) since: OffsetDateTime,
}

/// One of several types, as it is.
macro_rules! either {
    ($(#[$doc:meta])* $name:ident: $($variant:ident($type:ty)),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        #[serde(untagged)]
        pub(crate) enum $name {
            $($variant(Box<$type>)),+
        }

        $(impl From<$type> for $name {
            fn from(value: $type) -> Self {
                Self::$variant(Box::new(value))
            }
        })+
    };
}

either! {
    /// The plan of the operation that was asked for.
    PlanOfError: Restore(RestorePlan), Prune(PrunePlan)
}

either! {
    /// The report of the operation that was asked for.
    ReportOfError:
        Backup(BackupReport),
        Restore(RestoreReport),
        Drill(DrillReport),
        Prune(PruneReport),
        Verify(VerifyReport),
}
