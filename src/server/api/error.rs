//! The one form of errors.

use super::{
    BackupPlan, BackupReport, DrillReport, ErrorDetail, PrunePlan, PruneReport, RestorePlan, RestoreReport,
    VerifyReport,
};
use crate::repository::names::RunId;
use serde::Serialize;
use std::borrow::Cow;
use time::OffsetDateTime;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// ```json
/// {"error": {"code": "run_in_progress", "message": "…", "remedy": "…"}, "request_id": "…"}
/// ```
#[derive(Debug, Serialize)]
pub(crate) struct ErrorResponse {
    pub(crate) error: ErrorDetail,
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

/// The form of errors below `/v1`: RFC 9457, with members of its own.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The status in words.
    pub(crate) title: &'static str,
    /// That of the answer.
    pub(crate) status: u16,
    /// Stable; the reference of errors lists all.
    pub(crate) code: String,
    /// What failed, on what, and why.
    pub(crate) detail: String,
    /// What to do about it.
    pub(crate) next_step: Option<String>,
    /// Under which the log has the request.
    pub(crate) request_id: String,
    /// The operation that came to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<RunId>,
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
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LeaseHolder {
    pub(crate) who: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) since: OffsetDateTime,
}

/// One of several types, as it is.
macro_rules! either {
    ($(#[$doc:meta])* $name:ident as $schema:literal: $($variant:ident($type:ty)),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        #[serde(untagged)]
        pub(crate) enum $name {
            $($variant(Box<$type>)),+
        }

        // Not that of the derive, which says that exactly one of them fits.
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                AnyOfBuilder::new()$(.item(Ref::from_schema_name(<$type>::name())))+.into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                $schema.into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(
                    schemas.push((<$type>::name().into(), <$type>::schema()));
                    <$type>::schemas(schemas);
                )+
            }
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
    PlanOfError as "Plan": Backup(BackupPlan), Restore(RestorePlan), Prune(PrunePlan)
}

impl ReportOfError {
    /// Whether it is of a backup that a drill has to prove first.
    pub(crate) fn is_unproven(&self) -> bool {
        matches!(self, Self::Backup(report) if report.is_unproven())
    }
}

either! {
    /// The report of the operation that was asked for.
    ReportOfError as "Report":
        Backup(BackupReport),
        Restore(RestoreReport),
        Drill(DrillReport),
        Prune(PruneReport),
        Verify(VerifyReport),
}
