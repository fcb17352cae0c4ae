//! Getting a snapshot onto this node's disk: from an upload, or from a URL.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http::StatusCode;
use tempfile::{NamedTempFile, TempPath};
use tokio::io::AsyncWriteExt;

use crate::error::{Error, Result};

/// A spooled file and its SHA-256 in hex.
pub(super) struct Fetched<F> {
    pub(super) file: F,
    pub(super) checksum: String,
}

/// Qdrant gives up on a source that sends nothing for so long (since 1.17).
const IDLE: Duration = Duration::from_secs(60);

pub(super) fn client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .read_timeout(IDLE)
        .build()
        .map_err(|error| Error::internal(format_args!("make an HTTP client: {error}")))
}

/// Downloads `location` into a temporary file below `scratch`.
pub(super) async fn fetch(
    client: &reqwest::Client,
    location: &str,
    api_key: Option<&str>,
    scratch: &Path,
) -> Result<Fetched<TempPath>> {
    let url = reqwest::Url::parse(location)
        .map_err(|error| Error::malformed(format_args!("Format error in JSON body: location: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::bad_input(format_args!(
            "this node recovers from http and https URLs only, not from {}",
            url.scheme()
        )));
    }
    let mut request = client.get(url);
    if let Some(key) = api_key {
        request = request.header("api-key", key);
    }
    // The query of a signed URL is a secret, so no error carries the URL.
    let failed = |error: reqwest::Error| {
        Error::bad_input(format_args!(
            "Failed to download the snapshot: {}",
            chain(&error.without_url())
        ))
    };
    let response = request.send().await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        return Err(Error::bad_input(format_args!(
            "Failed to download the snapshot: status - {}",
            response.status()
        )));
    }
    spool(response.bytes_stream().map_err(failed), scratch).await
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// Writes a stream into a temporary file; memory does not depend on its length.
pub(super) async fn spool(chunks: impl Stream<Item = Result<Bytes>>, scratch: &Path) -> Result<Fetched<TempPath>> {
    let failed = |error: std::io::Error| Error::io("store the snapshot", &error);
    let (file, path) = NamedTempFile::new_in(scratch).map_err(failed)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut chunks = std::pin::pin!(chunks);
    while let Some(chunk) = chunks.try_next().await? {
        digest.update(&chunk);
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    let checksum = digest.finish();
    let checksum = checksum.as_ref().iter().map(|byte| format!("{byte:02x}"));
    Ok(Fetched {
        file: path,
        checksum: checksum.collect(),
    })
}
