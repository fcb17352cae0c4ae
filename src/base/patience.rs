//! Interactive requests have a time limit, shorter than the retries of the clients themselves.

use crate::base::error::{Code, Error, Result};
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// What to do about a Qdrant that does not answer.
pub(crate) const SILENT_QDRANT: &str = "check whether Qdrant is overloaded or stuck (curl this URL, read its log); then \
     check URL, network and firewall";
/// What to do about a store that does not answer.
pub(crate) const SILENT_STORE: &str = "check BACKUP_STORE, network and firewall; for a directory, check its disk";

/// What comes of `work` within `limit`. `doing` says what is asked of which URL, `remedy` what to do if there is no answer.
///
/// # Errors
/// That of `work`, and [`Code::Stalled`] when there is none within `limit`.
pub async fn within<T>(limit: Duration, doing: &str, remedy: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Code::Stalled, format!("{doing}: no answer within {limit:?}")).remedy(remedy)),
    }
}
