//! The calls that change what Qdrant has: restoring a snapshot, aliases, and deleting what a drill made.

use super::answer::Answer;
use super::{Qdrant, SnapshotOf, segments};
use crate::base::error::{Code, Error, Result};
use crate::base::snapshot::ArtifactKind;
use crate::wire::store::Source;
use futures_util::stream;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One change of [`Qdrant::change_aliases`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasAction {
    /// Makes `alias` point to `collection`, which must exist.
    Create { alias: String, collection: String },
    /// Removes an alias.
    Delete { alias: String },
    /// Gives an alias another name.
    Rename {
        /// The present name.
        from: String,
        /// The new name.
        to: String,
    },
}

impl AliasAction {
    fn json(&self) -> Value {
        match self {
            Self::Create { alias, collection } => {
                json!({"create_alias": {"alias_name": alias, "collection_name": collection}})
            }
            Self::Delete { alias } => json!({"delete_alias": {"alias_name": alias}}),
            Self::Rename { from, to } => json!({"rename_alias": {"old_alias_name": from, "new_alias_name": to}}),
        }
    }
}

/// Points asked for first.
const PAGE: usize = 10;
/// Where the first page is smaller than that, all others are asked for at once.
const SMALL_PAGE: usize = 128 << 10;
/// A collection may limit its reads per minute, and others need them.
const LONGEST_SAMPLE: Duration = Duration::from_secs(20);

impl Qdrant {
    /// Pushes a snapshot and waits until Qdrant has restored it. `file` is the name under which Qdrant keeps the uploaded
    /// file of a whole collection in its snapshots: the caller deletes it. Of a shard it keeps none. Qdrant compares the bytes with
    /// `sha256`, where that is known. An error of `source` comes back
    /// with its own code.
    pub async fn upload(
        &self,
        of: impl Into<SnapshotOf<'_>>,
        file: &str,
        source: Box<dyn Source>,
        sha256: Option<&str>,
    ) -> Result<()> {
        let of = of.into();
        let doing = format!("uploading a snapshot into {of}");
        let url = self.http.url(&segments(&of.path(&["upload"])), &doing)?;
        let length = source.len();
        let failure: Arc<Mutex<Option<Error>>> = Arc::default();
        let part = Part::stream_with_length(body(source, failure.clone()), length).file_name(file.to_owned());
        let request = self
            .http
            .request(Method::POST, url)
            .query(&[("priority", priority(of.kind))])
            .query(
                &sha256
                    .map(|sha256| ("checksum", sha256))
                    .into_iter()
                    .collect::<Vec<_>>(),
            )
            .multipart(Form::new().part("snapshot", part));
        let sent = self.http.long(request, &doing).await;
        // What went wrong on our side of the upload explains whatever Qdrant, or the connection, says of it.
        if let Some(error) = failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        restored(sent?, of.kind, &doing).await
    }

    /// Lets Qdrant fetch a snapshot from `location` and waits until it has restored it. No key of Qdrant's goes along: Qdrant
    /// would send it to the host of `location`, and to wherever that redirects.
    pub async fn recover(&self, of: impl Into<SnapshotOf<'_>>, location: &str, sha256: &str) -> Result<()> {
        let of = of.into();
        let doing = format!("recovering {of} from a URL");
        let url = self.http.url(&segments(&of.path(&["recover"])), &doing)?;
        let body = json!({ "location": location, "priority": priority(of.kind), "checksum": sha256 });
        let request = self.http.request(Method::PUT, url).json(&body);
        let mut answer = self.http.long(request, &doing).await?;
        // A signed URL is a secret, and Qdrant repeats it when it complains.
        answer.redact(location);
        restored(answer, of.kind, &doing).await
    }

    /// Changes aliases: all of `actions` in their order, or none.
    pub async fn change_aliases(&self, actions: &[AliasAction]) -> Result<()> {
        let doing = "changing aliases".to_owned();
        let body = json!({ "actions": actions.iter().map(AliasAction::json).collect::<Vec<_>>() });
        let answer = self
            .read(Method::POST, &["collections", "aliases"], Some(&body), &doing)
            .await?;
        done(answer, &doing).await
    }

    /// Deletes a collection and its aliases. `false`: it was not there.
    pub(crate) async fn delete_collection(&self, collection: &str) -> Result<bool> {
        let doing = format!("deleting collection {collection:?}");
        let answer = self
            .read(Method::DELETE, &["collections", collection], None, &doing)
            .await?;
        match answer.status {
            404 => Ok(false),
            _ => answer.result::<bool>(&doing).await.map_err(needs_manage),
        }
    }

    /// Reads the first `limit` points by id, with payload and vectors, in pages: points may be large, and strict mode may limit
    /// a page. Ends early, and says so, where that would take more than an answer may have.
    pub async fn sample(&self, collection: &str, limit: usize) -> Result<Sample> {
        #[derive(Deserialize)]
        struct Page {
            points: Vec<Point>,
            next_page_offset: Option<Value>,
        }
        #[derive(Deserialize)]
        struct Point {
            vector: Option<IgnoredAny>,
        }
        let doing = format!("reading points of collection {collection:?}");
        let path = ["collections", collection, "points", "scroll"];
        let began = Instant::now();
        let (mut sample, mut offset, mut page) = (Sample::default(), None, PAGE);
        let mut may_grow = true;
        while sample.points < limit {
            let count = page.min(limit - sample.points);
            let body = json!({ "limit": count, "with_payload": true, "with_vector": true, "offset": offset });
            let answer = self.read(Method::POST, &path, Some(&body), &doing).await?;
            match answer.is_too_large() {
                // 400: strict mode may refuse so many at once.
                _ if page > 1 && (answer.is_too_large() || answer.status == 400) => {
                    page = if page > PAGE { PAGE } else { 1 };
                    may_grow = false;
                }
                true => {
                    sample.is_cut = true;
                    break;
                }
                false => {
                    let bytes = answer.len();
                    sample.bytes += bytes;
                    let found = answer.result::<Page>(&doing).await?;
                    sample.points += found.points.len();
                    sample.with_vectors += found.points.iter().filter(|point| point.vector.is_some()).count();
                    offset = found.next_page_offset;
                    if offset.is_none() {
                        break;
                    }
                    if sample.bytes >= self.http.options().largest_answer || began.elapsed() >= LONGEST_SAMPLE {
                        sample.is_cut = true;
                        break;
                    }
                    if may_grow && bytes < SMALL_PAGE {
                        page = limit;
                    }
                }
            }
        }
        Ok(sample)
    }
}

/// Points that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub points: usize,
    pub with_vectors: usize,
    /// Of all answers.
    pub bytes: usize,
    /// Whether further points were not read because they are large, or reading them takes long.
    pub(crate) is_cut: bool,
}

/// The source as a body. Its error is kept in `failure`, because the HTTP client would make a text of it.
fn body(source: Box<dyn Source>, failure: Arc<Mutex<Option<Error>>>) -> Body {
    let chunks = stream::unfold(Some((source, failure)), async |state| {
        let (mut source, failure) = state?;
        match source.next().await? {
            Ok(chunk) => Some((Ok(chunk), Some((source, failure)))),
            Err(error) => {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Some((Err(io::Error::other("the source of the upload failed")), None))
            }
        }
    });
    Body::wrap_stream(chunks)
}

/// Which replica of a shard is right: the snapshot's. Each replica of a shard is restored by itself, so none is to be copied from
/// another; `replica` would throw the snapshot away.
fn priority(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::Collection => "snapshot",
        ArtifactKind::Shard(_) => "no_sync",
    }
}

/// As [`done`]; an uploaded shard has the result `null`.
async fn restored(answer: Answer, kind: ArtifactKind, doing: &str) -> Result<()> {
    match kind {
        ArtifactKind::Collection => done(answer, doing).await,
        ArtifactKind::Shard(_) => match answer.result::<Option<bool>>(doing).await.map_err(needs_manage)? {
            None | Some(true) => Ok(()),
            Some(false) => Err(not_done(doing)),
        },
    }
}

fn not_done(doing: &str) -> Error {
    Error::new(
        Code::QdrantUnexpected,
        format!("{doing}: Qdrant reported failure (result: false)"),
    )
}

/// `result` is `true` when a change was made; anything else is no success.
pub(super) async fn done(answer: Answer, doing: &str) -> Result<()> {
    match answer.result::<bool>(doing).await.map_err(needs_manage)? {
        true => Ok(()),
        false => Err(not_done(doing)),
    }
}

/// A restore needs more rights than the remedy for a backup names.
pub(super) fn needs_manage(error: Error) -> Error {
    match error.code() {
        Code::QdrantForbidden => error.remedy("use the full key, or a token with `manage` access"),
        _ => error,
    }
}
