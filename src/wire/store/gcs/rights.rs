//! What the account that this runs as may do in the bucket.

use super::{
    GcsStore,
    answer::Kind,
    refusal::{Action, Call},
};
use crate::base::error::Result;
use google_cloud_gax::options::RequestOptionsBuilder as _;

/// Those of `permissions` that are not granted on the bucket as a whole; `None` where an emulator does not tell. A grant on
/// some of its objects only, by a condition, counts as none.
pub(super) async fn missing<'a>(store: &GcsStore, permissions: &[&'a str]) -> Result<Option<Vec<&'a str>>> {
    let sent = store
        .control
        .test_iam_permissions()
        .set_resource(store.resource())
        .set_permissions(permissions.iter().copied())
        .with_idempotency(true)
        .with_attempt_timeout(store.retry.stall)
        .with_retry_policy(store.attempts())
        .send()
        .await;
    match sent {
        Ok(answer) => {
            let is_missing = |p: &&str| !answer.permissions.iter().any(|granted| granted == *p);
            Ok(Some(permissions.iter().copied().filter(is_missing).collect()))
        }
        Err(e) if store.emulator.is_some() && Kind::of(&e) == Kind::Unimplemented => Ok(None),
        Err(e) => {
            let call = Call {
                doing: format!("check bucket {}", store.bucket),
                action: Action::List,
                bucket: store.bucket.clone(),
                object: None,
            };
            Err(call.of_bucket(&e))
        }
    }
}
