//! Downloading a snapshot file, with the headers and status codes of a Qdrant server with
//! local snapshot storage.
//!
//! Seen there: a strong ETag; `If-Match` works (412) and `If-Range` is ignored; a range
//! that is the whole file is answered with 200; errors are plain text.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::Shared;
use crate::error::{Error, Result};
use crate::snapshot::stored;

/// Read from the disk at a time.
const CHUNK: usize = 256 * 1024;

pub(super) async fn snapshot(
    State(node): State<Arc<Shared>>,
    Path((name, snapshot)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match open(&node, &name, &snapshot, &headers).await {
        Ok(response) => response,
        Err(error) => (error.status(), error.message().to_owned()).into_response(),
    }
}

async fn open(node: &Shared, name: &str, snapshot: &str, headers: &HeaderMap) -> Result<Response> {
    let collection = node.storage.find(name).await?;
    file(&node.storage.snapshots(&collection.name), snapshot, headers).await
}

/// The file `snapshot` of a directory.
pub(super) async fn file(directory: &std::path::Path, snapshot: &str, headers: &HeaderMap) -> Result<Response> {
    let path = stored::find(directory, snapshot)?;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => stored::missing(snapshot),
        _ => Error::io(format_args!("read {path:?}"), &error),
    };
    let mut file = File::open(&path).await.map_err(failed)?;
    let metadata = file.metadata().await.map_err(failed)?;
    let size = metadata.len();
    let etag = format!(
        "\"{:x}:{:x}:{:x}:{:x}\"",
        metadata.ino(),
        size,
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    let base = [
        (header::ETAG, etag.clone()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
    ];

    let range = match headers.get(header::RANGE).map(|value| value.to_str()) {
        None => None,
        Some(Err(_)) => return Ok(StatusCode::BAD_REQUEST.into_response()),
        Some(Ok(text)) => match parse_range(text, size) {
            Some(range) => Some(range),
            None => {
                let none = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
                return Ok((StatusCode::RANGE_NOT_SATISFIABLE, base, none).into_response());
            }
        },
    };
    if !matches(headers, &etag) {
        return Ok((StatusCode::PRECONDITION_FAILED, base).into_response());
    }

    let (start, length) = range.unwrap_or((0, size));
    file.seek(io::SeekFrom::Start(start)).await.map_err(failed)?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK));
    let partial = start != 0 || length != size;
    let status = if partial {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    let length_header = [(header::CONTENT_LENGTH, length.to_string())];
    let mut response = (status, base, length_header, body).into_response();
    if range.is_some() {
        let last = start + length - 1;
        if let Ok(value) = format!("bytes {start}-{last}/{size}").parse() {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    Ok(response)
}

/// Whether `If-Match`, if given, names this file (strong comparison).
fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let mut given = headers.get_all(header::IF_MATCH).iter().peekable();
    given.peek().is_none()
        || given
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').map(str::trim).any(|one| one == "*" || one == etag))
}

/// The first range of a `Range` header as (start, length), or `None` if it cannot be
/// satisfied or is no range in bytes.
fn parse_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let first = text.strip_prefix("bytes=")?.split(',').next()?.trim();
    let (start, end) = first.split_once('-')?;
    if start.is_empty() {
        let wanted: u64 = end.parse().ok()?;
        let length = wanted.min(size);
        return (length > 0).then_some((size - length, length));
    }
    let start: u64 = start.parse().ok()?;
    let end: u64 = if end.is_empty() { u64::MAX } else { end.parse().ok()? };
    if start >= size || end < start {
        return None;
    }
    Some((start, end.min(size - 1) - start + 1))
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_are_cut_to_the_file_or_refused() {
        assert_eq!(parse_range("bytes=0-0", 10), Some((0, 1)));
        assert_eq!(parse_range("bytes=0-", 10), Some((0, 10)));
        assert_eq!(parse_range("bytes=3-99", 10), Some((3, 7)));
        assert_eq!(parse_range("bytes=-4", 10), Some((6, 4)));
        assert_eq!(parse_range("bytes=-99", 10), Some((0, 10)));
        for unsatisfiable in ["bytes=10-", "bytes=5-4", "bytes=-0", "bytes=x-", "lines=0-1"] {
            assert_eq!(parse_range(unsatisfiable, 10), None, "{unsatisfiable}");
        }
        assert_eq!(parse_range("bytes=0-", 0), None);
    }
}
