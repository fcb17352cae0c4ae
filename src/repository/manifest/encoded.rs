//! What may be published as a manifest: bytes that its reader has read. And what may be in one.

use super::read::parse;
use super::{Collection, FORMAT, LARGEST, Manifest, Numbers, Outline};
use crate::base::error::{Code, Error, Result};
use crate::repository::names::BackupId;
use crate::wire::store::record::{read_back, written};
use crate::wire::store::{BytesSource, Condition, ObjectMeta, Store};
use serde::Serialize;
use serde_json::json;

/// No collection takes more of a manifest, so that one alone spoils none.
const LARGEST_ENTRY: u64 = 16 << 20;

/// A manifest that its reader can read, in the very bytes that are to be written.
#[derive(Debug)]
pub struct EncodedManifest {
    id: BackupId,
    bytes: Vec<u8>,
}

impl EncodedManifest {
    /// Reads `manifest` back by the function that reads those in the store, within the same limits.
    ///
    /// # Errors
    /// Those of a manifest that nobody could read again.
    pub fn new(manifest: &Manifest) -> Result<Self> {
        let what = format!("the manifest of backup {}", manifest.id);
        Ok(Self {
            id: manifest.id,
            bytes: bytes(&what, manifest, LARGEST)?,
        })
    }

    pub fn id(&self) -> BackupId {
        self.id
    }

    /// Writes it: the moment from which the backup exists. Never overwrites one.
    pub async fn commit(self, store: &dyn Store) -> Result<ObjectMeta> {
        let source = Box::new(BytesSource::new(self.bytes));
        store.put(&self.id.manifest(), source, Condition::Absent).await
    }
}

/// The bytes that `collection` takes in a manifest, which were read back as the only collection of one.
///
/// # Errors
/// [`Code::Unsupported`] when no manifest with it could be read again.
pub fn entry(collection: &Collection) -> Result<u64> {
    let mut only: Manifest = read_back(
        "an empty manifest",
        serde_json::from_value::<Manifest>(json!({
            "format": FORMAT,
            "id": "2000-01-01T00-00-00Z",
            "status": "complete",
            "tool_version": "",
            "started_at": "2000-01-01T00:00:00Z",
            "finished_at": "2000-01-01T00:00:00Z",
            "qdrant": {"version": "", "topology": {"kind": "standalone"}},
            "selection": {},
            "collections": [],
        })),
    )?;
    only.collections.push(collection.clone());
    let what = format!("Qdrant's description of collection {:?}", collection.name);
    let bytes = bytes(&what, &only, LARGEST_ENTRY).map_err(|e| match e.code() {
        Code::Unsupported => e.remedy(
            "make its metadata smaller or less nested (PATCH /collections/NAME), or exclude it (BACKUP_EXCLUDE, or --exclude)",
        ),
        _ => e,
    })?;
    Ok(bytes.len() as u64)
}

/// The collections without which a manifest can be read again, and why: those that spoil any, the largest ones as long as all
/// together are too large, and those whose points no reader could add to the others'. `rest` is what the manifest says beside them.
pub(crate) fn unreadable_collections(
    collections: &[Collection],
    rest: &impl Serialize,
) -> Result<Vec<(String, Error)>> {
    beyond(collections, rest, LARGEST)
}

fn beyond(collections: &[Collection], rest: &impl Serialize, largest: u64) -> Result<Vec<(String, Error)>> {
    /// Of the reason why one is missing, and of what every manifest has.
    const SHORT: u64 = 2048;
    let mut sum = SHORT + written("a manifest without collections", rest, largest)?.len() as u64;
    let (mut sizes, mut spoilers) = (Vec::new(), Vec::new());
    for collection in collections {
        match entry(collection) {
            Ok(size) => {
                sum += size;
                sizes.push((size, collection));
            }
            Err(error) => spoilers.push((collection.name.clone(), error)),
        }
    }
    sizes.sort_unstable_by_key(|(size, collection)| (*size, &collection.name));
    while sum > largest
        && let Some((size, Collection { name, .. })) = sizes.pop()
    {
        sum = (sum + SHORT).saturating_sub(size);
        let text = format!(
            "collection {name:?} takes {size} bytes of the manifest, which would exceed its limit of {largest} bytes"
        );
        let error =
            Error::new(Code::Unsupported, text).remedy("back it up in a run of its own, or make its metadata smaller");
        spoilers.push((name.clone(), error));
    }
    let mut total = Numbers::default();
    sizes.sort_unstable_by_key(|(_, collection)| collection.points_before.max(collection.points_after));
    for (_, collection) in sizes {
        match total.with(collection) {
            Some(sum) => total = sum,
            None => spoilers.push((collection.name.clone(), too_many(collection))),
        }
    }
    Ok(spoilers)
}

fn too_many(collection: &Collection) -> Error {
    let text = format!(
        "collection {:?} has {} points, which exceed what can be added up together with the other collections",
        collection.name,
        collection.points_before.max(collection.points_after)
    );
    Error::new(Code::Unsupported, text).remedy("find out why Qdrant counts so many; or back it up in a run of its own")
}

fn bytes(what: &str, manifest: &Manifest, largest: u64) -> Result<Vec<u8>> {
    let bytes = written(what, manifest, largest)?;
    read_back(what, parse(&bytes, &manifest.id)).map(|_: Outline| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn collection(name: &str, metadata: Value) -> Collection {
        serde_json::from_value(json!({
            "name": name, "config": {"metadata": metadata}, "payload_schema": {}, "aliases": [], "points_before": 0,
            "points_after": 0, "shards": null, "artifacts": [],
        }))
        .unwrap()
    }

    fn names(found: Vec<(String, Error)>) -> Vec<String> {
        found.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn the_largest_collections_go_until_the_others_fit() {
        let filled = |name, len| collection(name, json!({"text": "x".repeat(len)}));
        let all = [
            filled("a", 100),
            filled("b", 30_000),
            filled("c", 90_000),
            filled("d", 40_000),
        ];
        assert_eq!(names(beyond(&all, &(), 200_000).unwrap()), [""; 0]);
        assert_eq!(names(beyond(&all, &(), 100_000).unwrap()), ["c"]);
        assert_eq!(names(beyond(&all, &(), 50_000).unwrap()), ["c", "d"]);
        assert_eq!(
            beyond(&all, &"x".repeat(60_000), 50_000).unwrap_err().code(),
            Code::Unsupported
        );
    }

    #[test]
    fn a_collection_that_spoils_any_manifest_goes_alone() {
        let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!({ "d": inner }));
        let fits = crate::base::json::DEEPEST - "manifest collections collection config".split(' ').count();
        let all = [
            collection("a", deep(fits)),
            collection("b", deep(fits + 1)),
            collection("c", json!(null)),
        ];
        assert_eq!(names(unreadable_collections(&all, &()).unwrap()), ["b"]);
    }
}
