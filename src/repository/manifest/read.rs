//! Reading a manifest: within the room that all readers together have, and as much of it as is needed.

use super::{FORMAT, LARGEST, Manifest, Outline, damaged};
use crate::base::error::{Code, Error, Result};
use crate::base::heavy;
use crate::repository::names::BackupId;
use crate::wire::store::Store;
use crate::wire::store::record::{self, read_small};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads the manifest of the backup `id`.
///
/// # Errors
/// [`Code::BackupNotFound`] without one, [`Code::BackupDamaged`] for what is no manifest or that of another backup,
/// [`Code::BackupUnsupported`] for a newer format.
pub async fn read(store: &dyn Store, id: &BackupId) -> Result<Manifest> {
    let manifest = read_of_any_backup(store, id).await?;
    manifest.require_place(id)?;
    Ok(manifest)
}

/// The manifest that lies where that of the backup `id` belongs, also when it is another one's.
pub async fn read_of_any_backup(store: &dyn Store, id: &BackupId) -> Result<Manifest> {
    match store.head(&id.manifest()).await? {
        Some(meta) => read_as(store, id, meta.size, |read| read).await?,
        None => Err(missing(store, id)),
    }
}

/// The same, without what Qdrant said of the collections: as good a proof that it can be read, in a fraction of the memory. `size`
/// as the store tells it. What becomes of it is up to `then`, which is no work for the threads that serve either.
pub(crate) async fn outline<T: Send + 'static>(
    store: &dyn Store,
    id: &BackupId,
    size: u64,
    then: impl FnOnce(Result<Outline>) -> T + Send + 'static,
) -> Result<T> {
    read_as(store, id, size, then).await
}

async fn read_as<D, T>(
    store: &dyn Store,
    id: &BackupId,
    size: u64,
    then: impl FnOnce(Result<Manifest<D>>) -> T + Send + 'static,
) -> Result<T>
where
    D: DeserializeOwned,
    T: Send + 'static,
{
    let _room = record::room(size).await;
    let bytes = match read_small(store, &id.manifest(), LARGEST).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(then(Err(missing(store, id)))),
        Err(error) => return Ok(then(Err(error))),
    };
    let id = *id;
    heavy::run(bytes.len(), move || then(parse(&bytes, &id))).await
}

/// Looks whether there is one, whatever it says.
///
/// # Errors
/// [`Code::BackupNotFound`] without one, else those of the store.
pub(crate) async fn require(store: &dyn Store, id: &BackupId) -> Result<()> {
    match store.head(&id.manifest()).await? {
        Some(_) => Ok(()),
        None => Err(missing(store, id)),
    }
}

fn missing(store: &dyn Store, id: &BackupId) -> Error {
    Error::new(Code::BackupNotFound, format!("{} has no backup {id}", store.url()))
        .remedy("run `qdrant-backup list`; a backup without a manifest never finished")
        .over_http("send GET /v1/backups to see the backups; one without a manifest never finished")
}

/// Parses what is stored as the manifest of the backup `id`. All `D` take the same: any JSON.
pub(super) fn parse<D: DeserializeOwned>(bytes: &[u8], id: &BackupId) -> Result<Manifest<D>> {
    #[derive(Deserialize)]
    struct Version {
        format: Option<u64>,
    }
    let malformed = |e: serde_json::Error| damaged(id, "manifest.json is not a valid manifest").because(e);
    let (format, manifest) = match serde_json::from_slice::<Manifest<D>>(bytes) {
        Ok(manifest) => (manifest.format.into(), Ok(manifest)),
        // A newer format may not even parse as this one.
        Err(e) => match serde_json::from_slice::<Version>(bytes) {
            Ok(Version { format: Some(format) }) => (format, Err(e)),
            Ok(Version { format: None }) => {
                return Err(damaged(id, "manifest.json is not a valid manifest: it has no `format`"));
            }
            Err(_) => return Err(malformed(e)),
        },
    };
    if format > u64::from(FORMAT) {
        return Err(Error::new(
            Code::BackupUnsupported,
            format!(
                "backup {id} is unreadable for this version (it may be intact): its manifest has format {format}, \
                 this version reads up to {FORMAT}"
            ),
        )
        .remedy("use the qdrant-backup version that wrote it, or a newer one"));
    }
    let manifest = manifest.map_err(malformed)?;
    match manifest.adds_up() {
        true => Ok(manifest),
        false => Err(damaged(id, "its point or byte counts overflow")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::{DEEPEST, Packed};
    use crate::repository::sharding::Sharding;
    use serde_json::{Value, json};

    fn manifest(config: &str) -> String {
        let collection = json!({
            "name": "a", "config": "CONFIG", "payload_schema": {}, "aliases": [], "points_before": 1, "points_after": 1,
            "shards": null, "artifacts": [], "of a later version": [1],
        });
        let manifest = json!({
            "format": FORMAT, "id": "2000-01-01T00-00-00Z", "status": "complete", "tool_version": "",
            "started_at": "2000-01-01T00:00:00Z", "finished_at": "2000-01-01T00:00:00Z",
            "qdrant": {"version": "", "topology": {"kind": "standalone"}}, "selection": {}, "collections": [collection],
        });
        manifest.to_string().replace("\"CONFIG\"", config)
    }

    fn without(field: &str) -> String {
        let mut manifest: Value = serde_json::from_str(&manifest("{}")).unwrap();
        manifest["collections"][0].as_object_mut().unwrap().remove(field);
        manifest.to_string()
    }

    #[test]
    fn an_outline_is_read_from_what_a_manifest_is_read_from_and_from_nothing_else() {
        let nested = |levels| ["[".repeat(levels), "]".repeat(levels)].concat();
        let around = "manifest collections collection".split(' ').count();
        let plain = manifest("{}");
        for (json, code) in [
            (plain.clone(), None),
            (manifest(r#"{"params": {"sharding_method": "custom"}}"#), None),
            (manifest("null"), None),
            (manifest(&nested(DEEPEST - around)), None),
            (manifest(&nested(DEEPEST - around + 1)), Some(Code::BackupDamaged)),
            (manifest(r#""\ud800""#), Some(Code::BackupDamaged)),
            (manifest("1e999"), Some(Code::BackupDamaged)),
            (manifest("nul"), Some(Code::BackupDamaged)),
            (without("config"), Some(Code::BackupDamaged)),
            (without("payload_schema"), Some(Code::BackupDamaged)),
            (without("points_before"), Some(Code::BackupDamaged)),
            (
                plain.replace(r#""points_before":1"#, r#""points_before":-1"#),
                Some(Code::BackupDamaged),
            ),
            (
                plain.replace(r#""format":1"#, r#""format":2"#),
                Some(Code::BackupUnsupported),
            ),
            (
                r#"{"format": 99999999999, "new": 1}"#.to_owned(),
                Some(Code::BackupUnsupported),
            ),
            (r#"{"format": -1}"#.to_owned(), Some(Code::BackupDamaged)),
            ("{}".to_owned(), Some(Code::BackupDamaged)),
            ("[]".to_owned(), Some(Code::BackupDamaged)),
            (String::new(), Some(Code::BackupDamaged)),
            (plain.clone() + "x", Some(Code::BackupDamaged)),
        ] {
            let id = "2000-01-01T00-00-00Z".parse().unwrap();
            let whole = parse::<Packed>(json.as_bytes(), &id);
            let outline = parse::<Sharding>(json.as_bytes(), &id);
            let codes = [
                whole.as_ref().err().map(Error::code),
                outline.as_ref().err().map(Error::code),
            ];
            assert_eq!(codes, [code, code], "{json}");
            if let (Ok(whole), Ok(outline)) = (whole, outline) {
                let why = |why: Option<Error>| why.map(|e| e.chain());
                assert_eq!(
                    why(whole.collections[0].cannot_be_restored()),
                    why(outline.collections[0].cannot_be_restored()),
                    "{json}"
                );
                assert_eq!(whole.collections[0].extra, outline.collections[0].extra);
            }
        }
    }
}
