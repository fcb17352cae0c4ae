//! What an upload to a Cloud Storage that misbehaves came to.

use bytes::Bytes;
use gcs_emulator::Emulator;
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::wire::store::ObjectMeta;
use testkit::store::BUCKET;

/// That the only object is this one, and that it is as it was said to be.
pub(super) fn assert_stored(emulator: &Emulator, name: &str, bytes: &Bytes, result: Result<ObjectMeta>) {
    let meta = result.unwrap();
    let object = emulator.object(BUCKET, name).unwrap();
    assert_eq!(object.data.as_ref(), Some(bytes));
    assert_eq!(meta.version.0, object.generation.to_string());
    assert_eq!(
        (meta.crc32c, meta.size),
        (Some(crc32c::crc32c(bytes)), bytes.len() as u64)
    );
    assert!(meta.updated.year() > 2000, "{}", meta.updated);
    assert_eq!(emulator.objects(BUCKET).len(), 1);
}

/// That it failed for that reason, and left no object.
pub(super) fn assert_failed(emulator: &Emulator, result: Result<ObjectMeta>, code: Code) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(emulator.objects(BUCKET).is_empty(), "an object was left: {error}");
    error
}

/// The ranges of all PUTs, of questions as well.
pub(super) fn ranges(emulator: &Emulator) -> Vec<String> {
    let puts = emulator.requests().into_iter().filter(|r| r.method == "PUT");
    puts.filter_map(|r| r.content_range).collect()
}
