//! The file that Qdrant keeps of an upload, among the collection's snapshots: nobody needs it once the upload has ended.

use crate::base::error::{Code, Error, Result};
use crate::ops::context::Context;
use crate::ops::run::Run;
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

const PREFIX: &str = "qdrant-backup-";
const SUFFIX: &str = ".snapshot";
/// Looks for a file that Qdrant may store only after the connection has broken.
const LOOKS: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What a run that is not cancelled waits for the deletion.
const LONGEST: Duration = Duration::from_secs(300);

/// A name that nobody else has, so that what is deleted afterwards is surely this file.
pub(super) fn new_name() -> String {
    format!("{PREFIX}{}{SUFFIX}", Uuid::new_v4())
}

fn is_of_an_upload(name: &str) -> bool {
    let id = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    id.is_some_and(|id| Uuid::try_parse(id).is_ok())
}

/// Deletes the file of an upload that ended so, and no other. The answer is what to do about one that may still be there.
pub(super) async fn remove(
    ctx: &Context,
    run: &Run,
    collection: &str,
    file: &str,
    sent: &Result<()>,
) -> Option<String> {
    let looks = match sent {
        Err(error) if may_be_kept(error) => LOOKS,
        _ => 1,
    };
    let problem = match run.clean_up(LONGEST, delete(ctx, collection, file, looks)).await {
        Some(Ok(true)) => return None,
        Some(Ok(false)) if looks == 1 => return None,
        Some(Ok(false)) => "not visible now".to_owned(),
        Some(Err(error)) => error.chain(),
        None => "Qdrant did not respond in time".to_owned(),
    };
    tracing::warn!(
        collection,
        file,
        problem,
        "the uploaded file {file:?} may remain among the snapshots of collection {collection:?} on Qdrant"
    );
    Some(format!(
        "the uploaded file {file} may remain among the collection's snapshots on Qdrant ({problem}): {}",
        delete_by_hand(ctx, collection, file)
    ))
}

/// Files of earlier uploads into the collection, each with how to delete it. Not done here: another restore, under the lease of
/// another store or without any, may just have uploaded one.
pub(super) async fn others(ctx: &Context, collection: &str) -> Vec<String> {
    let found = match ctx.qdrant.snapshots(collection).await {
        Ok((found, _)) => found,
        Err(error) => {
            tracing::debug!(collection, error = %error, "failed to look for files of earlier uploads");
            return Vec::new();
        }
    };
    let files = found
        .iter()
        .map(|s| s.name.as_str())
        .filter(|name| is_of_an_upload(name));
    files
        .map(|file| {
            let by_hand = delete_by_hand(ctx, collection, file);
            format!("{file} remains on Qdrant from an earlier restore, unless another restore is running: {by_hand}")
        })
        .collect()
}

fn delete_by_hand(ctx: &Context, collection: &str, file: &str) -> String {
    let url = ctx.qdrant.snapshot_url(collection, file);
    format!("delete it with DELETE {url} (the collection must exist)")
}

/// Whether Qdrant may have got the whole file, and keeps it now or later. It did not, where it refused the key, or where our own
/// side of the upload failed.
fn may_be_kept(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::QdrantFailed
            | Code::DiskFull
            | Code::QdrantUnreachable
            | Code::QdrantUnexpected
            | Code::CollectionNotFound
            | Code::Stalled
            | Code::Cancelled
    )
}

/// Whether it was deleted, at one of so many looks.
async fn delete(ctx: &Context, collection: &str, file: &str, looks: u32) -> Result<bool> {
    for look in 0..looks {
        if look > 0 {
            sleep(ctx.settings.backoff.min(LONGEST_PAUSE)).await;
        }
        match ctx.qdrant.delete_snapshot(collection, file).await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(e) if e.code() == Code::CollectionNotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_are_those_of_uploads() {
        assert!(is_of_an_upload(&new_name()));
        for other in [
            "docs-4711-2026-11-25-12-00-00.snapshot",
            "qdrant-backup-.snapshot",
            "qdrant-backup-of-monday.snapshot",
            "qdrant-backup-check-11111111-2222-3333-4444-555555555555.snapshot",
            "qdrant-backup-11111111-2222-3333-4444-555555555555",
        ] {
            assert!(!is_of_an_upload(other), "{other}");
        }
    }
}
