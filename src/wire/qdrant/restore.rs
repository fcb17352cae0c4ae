//! The calls that change what Qdrant has: restoring a snapshot, aliases, and deleting what a drill made.

use super::answer::Answer;
use super::{Qdrant, SnapshotOf, segments};
use crate::base::error::{Code, Error, Result};
use crate::base::snapshot::ArtifactKind;
use crate::wire::store::Source;
use futures_util::stream;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

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
