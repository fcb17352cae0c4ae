//! `verified.json`: what the last verification came to.

use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Result};
use crate::base::text::shortened;
use crate::repository::names::BackupId;
use crate::wire::store::record;
use crate::wire::store::{Condition, ObjectMeta, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// The format's version.
const FORMAT: u32 = 1;
/// Others that write at the same moment are few.
const ATTEMPTS: usize = 5;

/// What was found out about a backup or an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyVerdict {
    /// It is byte by byte what was saved, and whole.
    Intact,
    /// It is not.
    Damaged,
    /// Nothing can be said: it could not be read, or not be understood.
    NotChecked,
}

/// What is recorded of a check. The findings are among `extra`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this format.
    pub format: u32,
    pub id: BackupId,
    /// Intact or damaged; what could not be checked is not recorded.
    pub verdict: VerifyVerdict,
    /// When checking began.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who checked.
    pub by: String,
    /// Version of the tool that checked.
    pub tool_version: String,
    /// Everything else that was found.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl record::Record for Record {
    const WHAT: &'static str = "the result of a verification";
    const LARGEST: u64 = 64 << 20;
}

/// The record of the last check; `None`: it was never checked, or the record cannot be read.
///
/// # Errors
/// Those of the store.
pub async fn read(store: &dyn Store, id: &BackupId) -> Result<Option<Record>> {
    match record::read::<Record>(store, &id.verified()).await {
        Err(error) if error.code() == Code::BackupDamaged => Ok(None),
        read => Ok(read?.filter(|record| record.id == *id)),
    }
}

/// What is told of what was found wrong; the record itself has all of it.
pub const TOLD: usize = 20;
/// Longest text of a problem that is told, in characters.
const LONGEST: usize = 400;

/// One thing that the last verification found wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamageFound {
    /// None: it is the manifest itself.
    pub collection: Option<String>,
    /// What is wrong, for people.
    pub message: String,
}

/// What the last verification found wrong, as far as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damages {
    /// At most [`TOLD`].
    pub told: Vec<DamageFound>,
    /// How many more there are.
    pub more: usize,
}

/// What of a record tells of damage. Whoever may write into the store can have written it.
#[derive(Serialize, Deserialize)]
struct RecordOfDamage {
    id: BackupId,
    #[serde(default)]
    findings: Vec<Message>,
    #[serde(default)]
    objects: Vec<CheckedObject>,
}

#[derive(Serialize, Deserialize)]
struct CheckedObject {
    #[serde(default)]
    collection: Option<String>,
    #[serde(default)]
    findings: Vec<Message>,
}

#[derive(Serialize, Deserialize)]
struct Message {
    message: String,
}

impl record::Record for RecordOfDamage {
    const WHAT: &'static str = "the result of a verification";
    const LARGEST: u64 = <Record as record::Record>::LARGEST;
}

/// What the record `object` of the backup `id` tells of damage; nothing where it cannot be read, or had too much to tell.
///
/// # Errors
/// Those of the store.
pub(crate) async fn damages(store: &dyn Store, id: &BackupId, object: &ObjectMeta) -> Result<Damages> {
    let read = match record::read_listed::<RecordOfDamage>(store, object).await {
        Err(error) if error.code() == Code::BackupDamaged => return Ok(Damages::default()),
        read => read?.filter(|record| record.id == *id),
    };
    let Some(record) = read else {
        return Ok(Damages::default());
    };
    let of_manifest = record.findings.into_iter().map(|finding| (None, finding));
    let of_objects = record.objects.into_iter().flat_map(|object| {
        let collection = object.collection;
        object
            .findings
            .into_iter()
            .map(move |finding| (collection.clone(), finding))
    });
    let mut all = of_manifest.chain(of_objects);
    let told = all.by_ref().take(TOLD).map(|(collection, finding)| DamageFound {
        collection,
        message: shortened(&finding.message, LONGEST).into_owned(),
    });
    Ok(Damages {
        told: told.collect(),
        more: all.count(),
    })
}

/// Whether a record stays instead of `new`. One that began later does, but not if it says intact where damage was found
/// meanwhile: what is damaged may have been mended since, and is worth another look, while damage that nobody knows of is not
/// looked for. A record of the future is of a clock that was wrong.
fn outweighs(other: &Record, new: &New<'_, impl Serialize>, now: OffsetDateTime) -> bool {
    let no_loss = other.verdict == VerifyVerdict::Damaged || new.verdict == VerifyVerdict::Intact;
    other.at > new.at && other.at <= now && no_loss
}

/// What a verification found.
pub(crate) struct New<'a, R> {
    pub(crate) id: BackupId,
    pub(crate) verdict: VerifyVerdict,
    /// When checking began.
    pub(crate) at: OffsetDateTime,
    pub(crate) by: &'a str,
    /// All of it, the fields of [`Record`] among them.
    pub(crate) report: &'a R,
}

impl<R> New<'_, R> {
    /// What is recorded of one that is too long.
    fn without_details(&self) -> Record {
        Record {
            format: FORMAT,
            id: self.id,
            verdict: self.verdict,
            at: self.at,
            by: self.by.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            extra: BTreeMap::from([("too_long".to_owned(), Value::Bool(true))]),
        }
    }
}

/// Records it, unless a younger one is there that must not be lost. Replaces by compare-and-swap.
pub(crate) async fn write(store: &dyn Store, clock: &Clock, new: &New<'_, impl Serialize>) -> Result<()> {
    #[derive(Serialize)]
    struct Written<'a, R> {
        format: u32,
        #[serde(flatten)]
        report: &'a R,
    }
    let key = new.id.verified();
    let written = Written {
        format: FORMAT,
        report: new.report,
    };
    for _ in 0..ATTEMPTS {
        // Version first: if the object changes between the two reads, the write on that version fails.
        let condition = match store.head(&key).await? {
            None => Condition::Absent,
            Some(meta) => match read(store, &new.id).await? {
                Some(other) if outweighs(&other, new, clock.now()) => return Ok(()),
                _ => Condition::Unchanged(meta.version),
            },
        };
        let recorded = match record::write::<Record>(store, &key, &written, condition.clone()).await {
            // Its verdict must not be lost because there is too much to say.
            Err(error) if error.code() == Code::Unsupported => {
                record::write::<Record>(store, &key, &new.without_details(), condition).await
            }
            recorded => recorded,
        };
        if recorded?.is_some() {
            return Ok(());
        }
    }
    Err(Error::new(
        Code::StoreConflict,
        format!(
            "recording the verification of backup {}: another run keeps changing {key}",
            new.id
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::store::DirStore;
    use crate::wire::store::record::Record as _;
    use time::macros::datetime;

    #[tokio::test]
    async fn damage_is_recorded_however_much_there_is_to_say_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::open(dir.path()).await.unwrap();
        let at = datetime!(2026-11-22 12:00 UTC);
        let id = BackupId::at(at);
        let new = New {
            id,
            verdict: VerifyVerdict::Damaged,
            at,
            by: "somebody",
            report: &BTreeMap::from([("findings", "x".repeat(Record::LARGEST as usize))]),
        };
        write(&store, &Clock::new(move || at), &new).await.unwrap();
        let record = read(&store, &id).await.unwrap().unwrap();
        assert_eq!(
            (record.verdict, record.at, record.by.as_str()),
            (VerifyVerdict::Damaged, at, "somebody")
        );
    }

    #[tokio::test]
    async fn of_much_damage_some_is_told_and_how_much_more_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::open(dir.path()).await.unwrap();
        let id = BackupId::at(datetime!(2026-11-22 12:00 UTC));
        let finding = serde_json::json!({"problem": "missing", "message": "x".repeat(2000)});
        let object = |n: usize| serde_json::json!({"collection": format!("c{n}"), "findings": [&finding]});
        let whole = serde_json::json!({
            "id": id,
            "findings": [{"message": "the manifest names a collection twice"}],
            "objects": (0..30).map(object).collect::<Vec<_>>(),
        });
        for (record, told, more) in [
            (whole, TOLD, 11),
            (serde_json::json!({"id": id, "too_long": true}), 0, 0),
            (serde_json::json!({"id": id, "findings": "nonsense"}), 0, 0),
            (
                serde_json::json!({"id": BackupId::at(datetime!(2020-01-01 0:00 UTC)), "findings": [&finding]}),
                0,
                0,
            ),
        ] {
            tokio::fs::create_dir_all(dir.path().join(id.prefix())).await.unwrap();
            tokio::fs::write(dir.path().join(id.verified()), record.to_string())
                .await
                .unwrap();
            let object = store.head(&id.verified()).await.unwrap().unwrap();
            let found = damages(&store, &id, &object).await.unwrap();
            assert_eq!((found.told.len(), found.more), (told, more), "{record}");
            if let [first, second, ..] = &found.told[..] {
                assert_eq!(first.collection, None);
                assert_eq!(second.collection.as_deref(), Some("c0"));
                assert!(second.message.chars().count() <= LONGEST + 1);
            }
        }
    }
}
