//! What lies beside a manifest: the pin, and what the last proofs found.

use super::{Pin, Proof, ProofVerdict, READ_AT_ONCE, ids};
use crate::base::error::{Code, Error, Result};
use crate::repository::names::BackupId;
use crate::wire::store::record::{self, Record};
use crate::wire::store::{ObjectMeta, Store};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

/// What a record of a proof says that is not understood.
const UNREADABLE: Proof = Proof {
    verdict: ProofVerdict::Unknown,
    at: None,
    by_engine: false,
};

/// What lies beside a manifest.
#[derive(Default)]
pub(super) struct Records {
    pub(super) verified: Option<Proof>,
    pub(super) drilled: Option<Proof>,
    pub(super) pinned: Option<Pin>,
    /// Why a proof is not understood.
    pub(super) problem: Option<String>,
    /// All that cannot be read, or is of another backup.
    odd: Vec<Error>,
}

/// A proof, and of which backup it is, where it tells.
#[derive(Serialize, Deserialize)]
struct OfBackup {
    id: Option<BackupId>,
    #[serde(flatten)]
    proof: Proof,
}

impl Record for OfBackup {
    const WHAT: &'static str = "a verdict";
    const LARGEST: u64 = 64 << 20;
}

/// The records of the backup `id` whose folder holds `objects`: most have none, which is known without asking.
pub(super) async fn records(store: &dyn Store, id: BackupId, objects: &[ObjectMeta]) -> Result<Records> {
    let (verified, drilled, pinned) = (id.verified(), id.drilled(), id.pinned());
    let mut records = Records::default();
    if let Some(object) = listed(objects, &verified) {
        let (proof, odd) = checked(store, id, &verified, record::read_listed(store, object).await)?;
        records.verified = records.noted(proof, odd, || {
            format!("run `qdrant-backup verify {id}`, which replaces it")
        });
    }
    if let Some(object) = listed(objects, &drilled) {
        let (proof, odd) = checked(store, id, &drilled, record::read_listed(store, object).await)?;
        let remedy = || {
            format!(
                "run `qdrant-backup drill {id}`, which replaces it; or delete {}/{drilled}",
                store.url()
            )
        };
        records.drilled = records.noted(proof, odd, remedy);
    }
    if let Some(object) = listed(objects, &pinned) {
        records.pinned = match record::read_listed(store, object).await {
            Err(e) if e.code() == Code::BackupDamaged => {
                let remedy = format!("nothing, if it is to stay pinned; else run `qdrant-backup unpin {id}`");
                records.odd.push(e.remedy(remedy));
                Some(Pin::default())
            }
            read => read?,
        };
    }
    Ok(records)
}

fn listed<'a>(objects: &'a [ObjectMeta], key: &str) -> Option<&'a ObjectMeta> {
    objects.iter().find(|object| object.key == key)
}

impl Records {
    /// `proof`, and what is odd about it with what to do.
    fn noted(&mut self, proof: Option<Proof>, odd: Option<Error>, remedy: impl Fn() -> String) -> Option<Proof> {
        if let Some(error) = odd {
            let error = error.remedy(remedy());
            // That of another backup counts for nothing.
            if proof.is_some() {
                self.problem.get_or_insert_with(|| error.to_string());
            }
            self.odd.push(error);
        }
        proof
    }
}

/// What the last verification and the last drill of a backup found.
///
/// # Errors
/// Those of the store.
pub(crate) async fn proofs(store: &dyn Store, id: &BackupId) -> Result<(Option<Proof>, Option<Proof>)> {
    let (verified, _) = proof(store, *id, &id.verified()).await?;
    let (drilled, _) = proof(store, *id, &id.drilled()).await?;
    Ok((verified, drilled))
}

/// The proof at `key`, and what is odd about it: it is not understood, or is that of another backup and so none of this one.
async fn proof(store: &dyn Store, id: BackupId, key: &str) -> Result<(Option<Proof>, Option<Error>)> {
    checked(store, id, key, record::read(store, key).await)
}

fn checked(
    store: &dyn Store,
    id: BackupId,
    key: &str,
    read: Result<Option<OfBackup>>,
) -> Result<(Option<Proof>, Option<Error>)> {
    match read {
        Err(e) if e.code() == Code::BackupDamaged => Ok((Some(UNREADABLE), Some(e))),
        Ok(Some(OfBackup { id: Some(of), .. })) if of != id => {
            let text = format!(
                "{}/{key} is of backup {of}, so it says nothing of this one",
                store.url()
            );
            Ok((None, Some(Error::new(Code::BackupDamaged, text))))
        }
        read => Ok((read?.map(|of| of.proof), None)),
    }
}

/// The records beside the `newest` backups that cannot be read, and what to do about each.
pub(crate) async fn unreadable(store: &dyn Store, newest: usize) -> Result<Vec<Error>> {
    let newest: Vec<_> = ids(store).await?.into_iter().take(newest).collect();
    let looks = stream::iter(newest)
        .map(|id| async move {
            let objects = store.folder(&id.prefix()).await?.objects;
            Ok::<_, Error>(records(store, id, &objects).await?.odd)
        })
        .buffered(READ_AT_ONCE);
    let odd: Vec<Vec<Error>> = looks.try_collect().await?;
    Ok(odd.into_iter().flatten().collect())
}
