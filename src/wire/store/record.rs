//! Records: small JSON objects, read within a limit, and written only if their reader can read them.

use super::{BytesSource, Condition, ObjectMeta, Store, Version};
use crate::base::error::{Code, Error, Result};
use crate::base::heavy;
use crate::base::json;
use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A kind of record.
pub trait Record: Serialize + DeserializeOwned {
    /// As messages call one, with its article.
    const WHAT: &'static str;
    /// Bytes; larger ones are neither read nor written.
    const LARGEST: u64;
}

/// Bytes that all which is being read for a list has together. What is larger is read alone.
const ROOM: u32 = 16 << 20;

/// However many ask: each of them reads several at a time.
static FREE: Semaphore = Semaphore::const_new(ROOM as usize);

/// Room for so many bytes, as soon as others have left it. `None` never happens: nobody closes it.
pub(crate) async fn room(bytes: u64) -> Option<SemaphorePermit<'static>> {
    let bytes = u32::try_from(bytes).unwrap_or(ROOM).clamp(1, ROOM);
    FREE.acquire_many(bytes).await.ok()
}

/// As [`read`], of an object that was listed; within the [`room`] that all readers have.
pub(crate) async fn read_listed<T: Record + Send + 'static>(
    store: &dyn Store,
    object: &ObjectMeta,
) -> Result<Option<T>> {
    let _room = room(object.size).await;
    let Some(bytes) = read_small(store, &object.key, T::LARGEST).await? else {
        return Ok(None);
    };
    let at = format!("{}/{}", store.url(), object.key);
    heavy::run(bytes.len(), move || parsed(&bytes, &at)).await?.map(Some)
}

/// Reads the record at `key`; `None` when there is none.
///
/// # Errors
/// [`Code::BackupDamaged`] for what is no such record.
pub async fn read<T: Record>(store: &dyn Store, key: &str) -> Result<Option<T>> {
    let Some(bytes) = read_small(store, key, T::LARGEST).await? else {
        return Ok(None);
    };
    parsed(&bytes, &format!("{}/{key}", store.url())).map(Some)
}

fn parsed<T: Record>(bytes: &[u8], at: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::new(Code::BackupDamaged, format!("{at} is not {}", T::WHAT)).because(e))
}

/// Writes a record, after its reader has read it; `None` when `condition` does not hold.
///
/// # Errors
/// [`Code::Unsupported`] for what is too large or nests too deep to be read, [`Code::Internal`] for anything else that cannot.
pub async fn write<T: Record>(
    store: &dyn Store,
    key: &str,
    record: &impl Serialize,
    condition: Condition,
) -> Result<Option<Version>> {
    let json = readable::<T>(T::WHAT, record, T::LARGEST)?;
    match store.put(key, Box::new(BytesSource::new(json)), condition).await {
        Ok(meta) => Ok(Some(meta.version)),
        Err(e) if e.code() == Code::StoreConflict => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads an object of at most `largest` bytes into memory; `None` when there is none.
pub async fn read_small(store: &dyn Store, key: &str, largest: u64) -> Result<Option<Vec<u8>>> {
    let Some(mut stream) = store.get(key, None, None).await? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        if (bytes.len() + chunk.len()) as u64 > largest {
            return Err(Error::new(
                Code::BackupDamaged,
                format!("{}/{key} is larger than {largest} bytes", store.url()),
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// `value` as JSON of at most `largest` bytes, which were read back as what its reader takes it for. `what` names it in
/// messages.
///
/// # Errors
/// [`Code::Unsupported`] for what is too large or nests too deep to be read, [`Code::Internal`] for anything else that cannot.
fn readable<R: DeserializeOwned>(what: &str, value: &impl Serialize, largest: u64) -> Result<Vec<u8>> {
    let bytes = written(what, value, largest)?;
    read_back(what, serde_json::from_slice::<R>(&bytes)).map(|_| bytes)
}

/// `value` as JSON, if a reader with the limit `largest` may be able to read it.
pub(crate) fn written(what: &str, value: &impl Serialize, largest: u64) -> Result<Vec<u8>> {
    let bytes =
        json::to_vec(value).map_err(|e| Error::new(Code::Internal, format!("writing {what} as JSON")).because(e))?;
    let beyond = |is: String| {
        Error::new(
            Code::Unsupported,
            format!("{what} was not written, because it would not be readable: {is}"),
        )
    };
    match json::depth(&bytes) {
        _ if bytes.len() as u64 > largest => Err(beyond(format!("{} bytes; the limit is {largest}", bytes.len()))),
        depth if depth > json::DEEPEST => Err(beyond(format!("{depth} levels deep; the limit is {}", json::DEEPEST))),
        _ => Ok(bytes),
    }
}

/// What a reader made of bytes that were not published yet.
pub(crate) fn read_back<T, E: Into<crate::base::error::BoxError>>(what: &str, read: Result<T, E>) -> Result<T> {
    read.map_err(|e| {
        Error::new(
            Code::Internal,
            format!("{what} was not written, because it would not be readable"),
        )
        .because(e)
        .remedy("report this as a bug in qdrant-backup")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_its_reader_could_not_read_is_not_written() {
        let code = |r: Result<Vec<u8>>| r.map(|_| ()).map_err(|e| e.code());
        assert_eq!(code(readable::<Vec<u8>>("x", &[1, 2], 100)), Ok(()));
        assert_eq!(code(readable::<String>("x", &[1, 2], 100)), Err(Code::Internal));
        assert_eq!(
            code(readable::<Value>("x", &json!("abcdef"), 8)),
            Err(Code::Unsupported)
        );
        let deep = (0..json::DEEPEST).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(code(readable::<Value>("x", &deep, 9999)), Ok(()));
        assert_eq!(
            code(readable::<Value>("x", &json!([deep]), 9999)),
            Err(Code::Unsupported)
        );
    }
}
