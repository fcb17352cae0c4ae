//! What the service takes and answers, as JSON: types of its own, so that neither the format of the store nor a change of an
//! operation changes the API unseen. Made from what operations and the repository return, never the other way round.
//!
//! A field may be added; none is renamed or removed.

mod backup;
mod backups;
mod collections;
mod detail;
mod drill;
mod error;
mod freshness;
mod operation;
mod pin;
mod prune;
mod request;
mod restore;
mod schemas;
mod status;
mod values;
mod verify;

pub(super) use backup::{BackupFields, BackupPlan, BackupPlanResponse, BackupReport, BackupRequest};
pub(super) use backups::{BackupSummary, BackupsQuery, BackupsResponse};
pub(super) use collections::{CollectionStatus, CollectionsResponse};
pub(super) use detail::BackupDetail;
pub(super) use drill::{DrillOf, DrillReport, DrillRequest, DrillVerdict};
pub(super) use error::{ErrorResponse, LeaseHolder, PlanOfError, Problem, ReportOfError};
pub(super) use freshness::{FreshnessQuery, FreshnessResponse};
pub(super) use operation::{
    CancelRequest, DeleteQuery, DoneOrPlanned, DryRun, Operation, OperationState, OperationUnit, OperationsQuery,
    OperationsResponse, VerificationRequest, WaitQuery,
};
pub(super) use pin::{PinRequest, PinResponse, UnpinResponse};
pub(super) use prune::{PrunePlan, PruneReport, PruneRequest, PruneResponse};
pub(super) use request::RequestBody;
pub(super) use restore::{RestoreFields, RestorePlan, RestoreReport, RestoreRequest};
pub(super) use status::{
    HealthResponse, OperationKind, OperationPhase, QdrantStatus, RunningOperation, RunningRun, StatusResponse,
    StoreStatus,
};
pub(super) use verify::{VerifiedObject, VerifyReport, VerifyVerdict};

/// An error where it is not the end of everything.
type ErrorDetail = crate::base::error::ErrorInfo<String>;

/// Words of the API for the variants of another enum. A variant that is added there does not compile here, until somebody has
/// decided what the API calls it.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, from $from:ty: $($variant:ident),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum $name {
            $($variant),+
        }

        impl From<$from> for $name {
            fn from(value: $from) -> Self {
                match value {
                    $(<$from>::$variant => Self::$variant),+
                }
            }
        }
    };
}

use words;

/// Each of a list in its form of the API.
fn all<T, U: From<T>>(list: Vec<T>) -> Vec<U> {
    list.into_iter().map(U::from).collect()
}
