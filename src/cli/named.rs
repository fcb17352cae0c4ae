//! The backup that somebody has typed, in full.

use crate::base::error::Result;
use crate::base::zone::Zone;
use crate::repository::catalog::{self, Spelled};
use crate::repository::manifest::Source;
use crate::repository::names::BackupId;
use crate::wire::store::Store;
use time::OffsetDateTime;

/// The backup that `text` names, for commands that ask no Qdrant. What was not typed in full is said before anything happens.
pub(crate) async fn named(
    store: &dyn Store,
    text: &str,
    source: Option<&Source>,
    now: OffsetDateTime,
    zone: &Zone,
) -> Result<BackupId> {
    let (literal, not_after) = match catalog::spelled(store, text, now, zone).await? {
        Spelled::Literally(text) => (text, None),
        Spelled::Short(id) => (id.to_string(), None),
        Spelled::NotAfter(at) => ("latest".to_owned(), Some(at)),
    };
    let id = catalog::named_at(store, &literal, not_after, source, now).await?;
    if text != literal || not_after.is_some() {
        said(text, id);
    }
    Ok(id)
}

/// Says which backup is meant.
pub(super) fn said(text: &str, id: BackupId) {
    tracing::warn!(backup = %id, "{text} is backup {id}");
}
