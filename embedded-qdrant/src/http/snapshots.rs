//! Snapshots over HTTP: create, list, delete, and restore from an upload or a URL.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Multipart, Path, Query, State};
use axum::response::Response;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use super::envelope::{Body, accepted, error, timed};
use super::{Shared, fetch};
use crate::disk;
use crate::error::{Error, Result};
use crate::names::{self, CollectionName};
use crate::snapshot::create::Writer;
use crate::snapshot::stored::{self, Description};
use crate::storage::{Priority, blocking};

type Node = State<Arc<Shared>>;

#[derive(Debug, Deserialize)]
pub(super) struct Options {
    pub(super) wait: Option<bool>,
    pub(super) priority: Option<Priority>,
    pub(super) checksum: Option<String>,
}

/// Body of `PUT .../snapshots/recover`.
#[derive(Debug, Deserialize)]
pub(super) struct Recover {
    pub(super) location: String,
    pub(super) priority: Option<Priority>,
    pub(super) checksum: Option<String>,
    pub(super) api_key: Option<String>,
}

pub(super) async fn list(State(node): Node, Path(name): Path<String>) -> Response {
    timed(async {
        let collection = node.storage.find(&name).await?;
        let directory = node.storage.snapshots(&collection.name);
        blocking(move || stored::list(&directory)).await
    })
    .await
}

pub(super) async fn create(State(node): Node, Path(name): Path<String>, Query(options): Query<Options>) -> Response {
    // The name carries the time of the request, also if the request then has to wait.
    let now = (node.clock)();
    let work = {
        let node = node.clone();
        async move { write(&node, &name, now).await }
    };
    run(&node, options.wait, work).await
}

async fn write(node: &Shared, name: &str, now: time::OffsetDateTime) -> Result<Description> {
    let collection = node.storage.find(name).await?;
    let directory = node.storage.snapshots(&collection.name);
    let file = stored::name(&collection.name, node.peer_id, now)?;
    let (peer_id, scratch) = (node.peer_id, node.storage.scratch());
    let topology = node.storage.topology(&collection)?;
    let mut held = Vec::new();
    for id in topology.on(peer_id) {
        held.push(collection.snapshot_lock(id).lock_owned().await);
    }
    collection
        .write(move |open| {
            let writer = Writer {
                collection: open,
                topology: &topology,
                peer_id,
                scratch: &scratch,
            };
            stored::publish(writer.collection()?, &directory, &file)
        })
        .await
}

pub(super) async fn delete(
    State(node): Node,
    Path((name, snapshot)): Path<(String, String)>,
    Query(options): Query<Options>,
) -> Response {
    let work = {
        let node = node.clone();
        async move {
            let collection = node.storage.find(&name).await?;
            let directory = node.storage.snapshots(&collection.name);
            blocking(move || stored::delete(&directory, &snapshot)).await?;
            Ok(true)
        }
    };
    run(&node, options.wait, work).await
}

pub(super) async fn recover(
    State(node): Node,
    Path(name): Path<String>,
    Query(options): Query<Options>,
    Body(request): Body<Recover>,
) -> Response {
    let work = {
        let node = node.clone();
        async move {
            let scratch = node.storage.scratch();
            let fetched = fetch::fetch(&node.client, &request.location, request.api_key.as_deref(), &scratch).await?;
            check(request.checksum.as_deref(), &fetched.checksum)?;
            let path = fetched.file.to_path_buf();
            let priority = request.priority.unwrap_or_default();
            node.storage.restore(&name, path, priority).await?;
            Ok(true)
        }
    };
    run(&node, options.wait, work).await
}

pub(super) async fn upload(
    State(node): Node,
    Path(name): Path<String>,
    Query(options): Query<Options>,
    form: Multipart,
) -> Response {
    let received = match receive(&node, form).await {
        Ok(received) => received,
        Err(refused) => return error(&refused),
    };
    let work = {
        let node = node.clone();
        async move {
            check(options.checksum.as_deref(), &received.fetched.checksum)?;
            let name = CollectionName::parse(&name)?;
            let directory = node.storage.snapshots(&name);
            let path = blocking(move || keep(received, directory)).await?;
            let priority = options.priority.unwrap_or_default();
            node.storage.restore(name.as_str(), path, priority).await?;
            Ok(true)
        }
    };
    run(&node, options.wait, work).await
}

/// An uploaded file, and the name that the client gave it.
pub(super) struct Received {
    name: Option<String>,
    pub(super) fetched: fetch::Fetched<TempPath>,
}

pub(super) async fn receive(node: &Shared, mut form: Multipart) -> Result<Received> {
    let broken = |error| Error::malformed(format_args!("Multipart error: {error}"));
    while let Some(field) = form.next_field().await.map_err(broken)? {
        if field.name() != Some("snapshot") {
            continue;
        }
        let name = field.file_name().map(str::to_owned);
        let chunks = field.map_err(|error| Error::malformed(format_args!("the upload broke off: {error}")));
        let fetched = fetch::spool(chunks, &node.storage.scratch()).await?;
        return Ok(Received { name, fetched });
    }
    Err(Error::malformed(
        "Multipart error: Field with name 'snapshot' is required",
    ))
}

/// Qdrant restores an upload from the collection's snapshots and leaves it there.
fn keep(received: Received, directory: PathBuf) -> Result<PathBuf> {
    disk::create_dir(&directory)?;
    // Of a path only its last part counts, as on a Qdrant server.
    let last = received.name.as_deref().and_then(|name| name.rsplit('/').next());
    let name = last.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let path = names::file_below(&directory, &name)
        .ok_or_else(|| Error::malformed(format_args!("{name:?} is no name for a file")))?;
    // An older file of the same name had another checksum.
    let _ = std::fs::remove_file(stored::checksum_path(&path));
    received
        .fetched
        .file
        .persist(&path)
        .map_err(|error| Error::io(format_args!("store {path:?}"), &error.error))?;
    Ok(path)
}

pub(super) fn check(expected: Option<&str>, actual: &str) -> Result<()> {
    match expected {
        Some(expected) if !expected.eq_ignore_ascii_case(actual) => Err(Error::malformed(format_args!(
            "Checksum mismatch: expected {expected}, actual {actual}"
        ))),
        _ => Ok(()),
    }
}

/// Runs `work` to its end, also when the client goes away; answers at once if it does not
/// want to wait.
pub(super) async fn run<T: Serialize + Send + 'static>(
    node: &Shared,
    wait: Option<bool>,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Response {
    let running = node.spawn(work);
    if wait == Some(false) {
        return accepted();
    }
    timed(running).await
}
