//! Snapshots of one shard over HTTP: stored, streamed, and restored.

use std::io;
use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::{Multipart, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, StatusCode, header};
use tokio_util::io::ReaderStream;

use super::envelope::{Body, error, timed};
use super::shards::ShardPath;
use super::snapshots::{Options, Received, Recover, check, receive, run};
use super::{Shared, download, fetch};
use crate::error::{Error, Result};
use crate::snapshot::create::Form;
use crate::snapshot::stored::{self, Description};
use crate::storage::{Collection, blocking};

type Node = State<Arc<Shared>>;

/// What a streamed snapshot is sent in.
const CHUNK: usize = 4096;

/// The collection; an error if the shard is not here.
async fn local(node: &Shared, path: &ShardPath) -> Result<Arc<Collection>> {
    let collection = node.storage.find(&path.collection).await?;
    node.storage
        .topology(&collection)?
        .expect_local(path.shard, node.peer_id)?;
    Ok(collection)
}

pub(super) async fn list(State(node): Node, path: ShardPath) -> Response {
    timed(async {
        let collection = local(&node, &path).await?;
        let directory = node.storage.shard_snapshots(&collection.name, path.shard);
        blocking(move || stored::list(&directory)).await
    })
    .await
}

pub(super) async fn create(State(node): Node, path: ShardPath, Query(options): Query<Options>) -> Response {
    // The name carries the time of the request, also if the request then has to wait.
    let now = (node.clock)();
    let work = {
        let node = node.clone();
        async move { write(&node, &path, now).await }
    };
    run(&node, options.wait, work).await
}

async fn write(node: &Shared, path: &ShardPath, now: time::OffsetDateTime) -> Result<Description> {
    let collection = local(node, path).await?;
    let directory = node.storage.shard_snapshots(&collection.name, path.shard);
    let file = stored::shard_name(&collection.name, path.shard, now)?;
    let _held = collection.snapshot_lock(path.shard).lock_owned().await;
    let written = node.storage.pack(&path.collection, path.shard, Form::Nested).await?;
    blocking(move || stored::publish(written, &directory, &file)).await
}

pub(super) async fn delete(State(node): Node, path: ShardPath, Query(options): Query<Options>) -> Response {
    let work = {
        let node = node.clone();
        async move {
            let collection = local(&node, &path).await?;
            let directory = node.storage.shard_snapshots(&collection.name, path.shard);
            blocking(move || stored::delete(&directory, &path.snapshot)).await?;
            Ok(true)
        }
    };
    run(&node, options.wait, work).await
}

pub(super) async fn download(State(node): Node, path: ShardPath, headers: HeaderMap) -> Response {
    let answered = async {
        let collection = local(&node, &path).await?;
        let directory = node.storage.shard_snapshots(&collection.name, path.shard);
        download::file(&directory, &path.snapshot, &headers).await
    };
    answered.await.unwrap_or_else(|error| plain(&error))
}

/// The shard as a tar that nobody knows the length of.
///
/// As on a Qdrant server the answer begins before the tar does: while another snapshot of
/// the shard is being made or read, this is a 200 without a byte, and what goes wrong is a
/// tar that ends early. Unlike there the tar is on the node's disk for a while, so that a
/// client that reads slowly keeps no writer waiting.
pub(super) async fn stream(State(node): Node, path: ShardPath) -> Response {
    let collection = match local(&node, &path).await {
        Ok(found) => found,
        Err(error) => return plain(&error),
    };
    let name = match stored::shard_name(&collection.name, path.shard, (node.clock)()) {
        Ok(name) => name,
        Err(error) => return plain(&error),
    };
    let tar = async move { tar(&node, &collection, path.shard).await };
    let body = stream::once(tar).flat_map(|opened| match opened {
        Ok(bytes) => bytes.left_stream(),
        Err(error) => {
            tracing::error!(%error, "failed to stream a shard snapshot: {error}");
            stream::empty().right_stream()
        }
    });
    let headers = [
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
    ];
    (headers, HttpBody::from_stream(body)).into_response()
}

async fn tar(
    node: &Shared,
    collection: &Collection,
    id: u32,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
    let held = collection.snapshot_lock(id).lock_owned().await;
    let written = node.storage.pack(collection.name.as_str(), id, Form::Plain).await?;
    let file = tokio::fs::File::open(&written.file)
        .await
        .map_err(|error| Error::io("read the snapshot", &error))?;
    let bytes = ReaderStream::with_capacity(file, CHUNK);
    Ok(bytes.inspect_ok(move |_| {
        // Both go with the stream.
        let _ = (&held, &written);
    }))
}

pub(super) async fn recover(
    State(node): Node,
    path: ShardPath,
    Query(options): Query<Options>,
    Body(request): Body<Recover>,
) -> Response {
    let work = {
        let node = node.clone();
        async move {
            let collection = local(&node, &path).await?;
            let priority = request.priority.unwrap_or_default();
            if !request.location.contains("://") {
                let directory = node.storage.shard_snapshots(&collection.name, path.shard);
                let file = stored::find(&directory, &request.location)?;
                node.storage
                    .restore_shard(&collection, path.shard, file, priority)
                    .await?;
                return Ok(true);
            }
            let scratch = node.storage.scratch();
            let fetched = fetch::fetch(&node.client, &request.location, request.api_key.as_deref(), &scratch).await?;
            check(request.checksum.as_deref(), &fetched.checksum)?;
            let file = fetched.file.to_path_buf();
            node.storage
                .restore_shard(&collection, path.shard, file, priority)
                .await?;
            Ok(true)
        }
    };
    run(&node, options.wait, work).await
}

/// Unlike an upload of a collection, that of a shard leaves no file.
pub(super) async fn upload(
    State(node): Node,
    path: ShardPath,
    Query(options): Query<Options>,
    form: Multipart,
) -> Response {
    let Received { fetched, .. } = match receive(&node, form).await {
        Ok(received) => received,
        Err(refused) => return error(&refused),
    };
    let work = {
        let node = node.clone();
        async move {
            let collection = local(&node, &path).await?;
            check(options.checksum.as_deref(), &fetched.checksum)?;
            let priority = options.priority.unwrap_or_default();
            let file = fetched.file.to_path_buf();
            node.storage
                .restore_shard(&collection, path.shard, file, priority)
                .await
        }
    };
    run(&node, options.wait, work).await
}

/// Errors of what answers with bytes are plain text.
fn plain(error: &Error) -> Response {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let status: StatusCode = error.status();
    (status, plain, error.message().to_owned()).into_response()
}
