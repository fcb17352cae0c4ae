//! Whether the store is this Qdrant's: a backup into that of another one is refused.

use super::{CheckTarget, Checks, ask_qdrant, ask_store};
use crate::ops::source;
use crate::repository::catalog;
use crate::wire::qdrant::Qdrant;
use crate::wire::store::Store;

/// `names`: of the collections that a backup is to save.
pub(super) async fn check(
    checks: &mut Checks,
    qdrant: &Qdrant,
    names: &[String],
    store: &dyn Store,
    subject: &CheckTarget<'_>,
) {
    let asked = async { Ok(source::qdrant(qdrant, subject.source_name.as_deref(), names).await) };
    let source = match ask_qdrant(qdrant, subject.patience, asked).await {
        Ok(source) => source,
        Err(error) => return checks.fail("source", &error),
    };
    let allowed = catalog::require_source(store, &source, subject.clock.now());
    match ask_store(&store.url(), subject.patience, allowed).await {
        Ok(()) => checks.ok("source", format!("{} may have backups of {source}", store.url())),
        Err(error) => checks.fail("source", &error),
    }
}
