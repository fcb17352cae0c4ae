//! Reading a snapshot file back through the engine, without a node and without HTTP.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use super::unpack::{unpack, unpack_shard_strictly};
use crate::collection::{self, OpenCollection, PayloadIndexes};
use crate::config::CollectionConfig;
use crate::disk;
use crate::error::{Error, Result};
use crate::points::{Count, Query, Question, Scroll, Search};

/// A snapshot of a collection, or of one of its shards, that the engine has opened.
///
/// The requests are the bodies of Qdrant's REST API and the answers what stands there
/// under `result`, so that they can be compared with a server's as they are. All calls
/// block.
pub struct OpenedSnapshot {
    // Before the directory, so that the engine is done with the files when they go.
    collection: OpenCollection,
    _dir: TempDir,
}

/// Unpacks the collection snapshot at `snapshot` into a directory of its own below
/// `workdir` (made if missing; what is unpacked is removed with the returned value) and
/// opens it. It needs about as much disk as the snapshot, and an upload's checks hold: a
/// cut or garbled file is an error.
///
/// Blocking: within an async program call it in `spawn_blocking`.
pub fn open_snapshot(snapshot: &Path, workdir: &Path) -> Result<OpenedSnapshot> {
    let doing = |error: &std::io::Error| Error::io(format_args!("prepare {workdir:?}"), error);
    std::fs::create_dir_all(workdir).map_err(|error| doing(&error))?;
    let dir = tempfile::tempdir_in(workdir).map_err(|error| doing(&error))?;
    unpack(snapshot, dir.path()).map_err(|error| error.context(snapshot.display()))?;
    Ok(OpenedSnapshot {
        collection: OpenCollection::load(dir.path())?,
        _dir: dir,
    })
}

/// The same of a snapshot of one shard, stored or streamed. What such a one does not have is the configuration: `config` is
/// that of `GET /collections/{c}`, and a shard of another schema is an error. It shows no payload indexes.
pub fn open_shard(snapshot: &Path, workdir: &Path, id: u32, config: &Value) -> Result<OpenedSnapshot> {
    let doing = |error: &std::io::Error| Error::io(format_args!("prepare {workdir:?}"), error);
    std::fs::create_dir_all(workdir).map_err(|error| doing(&error))?;
    let dir = tempfile::tempdir_in(workdir).map_err(|error| doing(&error))?;
    let config: CollectionConfig = serde_json::from_value(config.clone())
        .map_err(|error| Error::malformed(format_args!("the configuration: {error}")))?;
    config.check()?;
    let shard = dir.path().join(id.to_string());
    disk::create_dir(&shard)?;
    let has_points = unpack_shard_strictly(snapshot, &shard).map_err(|error| error.context(snapshot.display()))?;
    if !has_points {
        return Err(Error::bad_input("the shard was not on the node that made the snapshot"));
    }
    collection::describe(dir.path(), &config, &PayloadIndexes::default(), &BTreeMap::new())?;
    Ok(OpenedSnapshot {
        collection: OpenCollection::load(dir.path())?,
        _dir: dir,
    })
}

impl OpenedSnapshot {
    /// The exact number of points.
    pub fn count(&self) -> Result<usize> {
        Ok(self.ask(Count::default())?.count)
    }

    /// `result` of `GET /collections/{c}`: configuration, payload schema, status.
    pub fn info(&self) -> Result<Value> {
        self.collection.info()
    }

    /// `result` of `POST /collections/{c}/points/scroll` for that body.
    pub fn scroll(&self, body: Value) -> Result<Value> {
        answer(&self.ask::<Scroll>(request(body)?)?)
    }

    /// `result` of `POST /collections/{c}/points/search` for that body.
    pub fn search(&self, body: Value) -> Result<Value> {
        answer(&self.ask::<Search>(request(body)?)?)
    }

    /// `result` of `POST /collections/{c}/points/query` for that body.
    pub fn query(&self, body: Value) -> Result<Value> {
        answer(&self.ask::<Query>(request(body)?)?)
    }

    /// Asks every shard; the body's `shard_key` does not matter.
    fn ask<Q: Question>(&self, question: Q) -> Result<Q::Answer> {
        question.check()?;
        let key = |id| self.collection.keys.get(&id).cloned();
        let parts = self.collection.shards();
        let parts = parts.map(|(id, shard)| Ok((key(id), question.ask(shard)?)));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        Ok(question.answer(parts))
    }
}

fn request<T: DeserializeOwned>(body: Value) -> Result<T> {
    serde_json::from_value(body).map_err(|error| Error::malformed(format_args!("body: {error}")))
}

/// By way of text, as over HTTP: an f32 keeps its short form instead of becoming the f64
/// that prints differently.
fn answer(result: &impl Serialize) -> Result<Value> {
    let text = serde_json::to_string(result).map_err(Error::internal)?;
    serde_json::from_str(&text).map_err(Error::internal)
}
