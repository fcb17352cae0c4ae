//! An object that may not be deleted or replaced, although the right is there.

use super::{
    GcsStore,
    answer::Kind,
    redacted::RedactedError,
    refusal::{Action, Call},
    time_of,
};
use crate::base::error::Error;
use google_cloud_storage::{Error as GcsError, model::Object};
use time::OffsetDateTime;

impl GcsStore {
    /// The error of a change that was refused. A hold is refused as a missing right is, and over gRPC a retention policy may
    /// be: what the object says of itself tells them apart.
    pub(super) async fn not_changed(&self, key: &str, call: &Call, error: &GcsError) -> Error {
        let kind = Kind::of(error);
        let object = match kind {
            Kind::Right => self.object(key).await.ok().flatten(),
            _ => None,
        };
        let keeper = object.as_ref().and_then(keeper);
        keeper.map_or_else(|| call.failed(error), |keeper| keeper.error(call, error))
    }

    /// The error of a deletion that was refused for another condition than ours, which holds: the object is unchanged.
    pub(super) fn kept(&self, key: &str, object: &Object, error: &GcsError) -> Error {
        let call = self.call(Action::Delete, "delete", key);
        match keeper(object) {
            Some(keeper) => keeper.error(&call, error),
            None => call.refused(Kind::Forbidden, RedactedError::by(error)),
        }
    }
}

enum Keeper {
    Hold,
    /// Until then, which may have passed.
    Retention(OffsetDateTime),
}

impl Keeper {
    fn error(self, call: &Call, error: &GcsError) -> Error {
        let cause = RedactedError::by(error);
        match self {
            Self::Hold => call.refused(Kind::Held, cause),
            Self::Retention(until) => call.retained(until, cause),
        }
    }
}

/// What keeps the object, if anything does.
fn keeper(object: &Object) -> Option<Keeper> {
    if object.temporary_hold || object.event_based_hold == Some(true) {
        return Some(Keeper::Hold);
    }
    let until = object.retention_expire_time.as_ref()?;
    Some(Keeper::Retention(time_of(until.seconds(), until.nanos())))
}
