//! [`Store`] on Google Cloud Storage, through the official client: data over JSON, control over gRPC.
//!
//! One upload is one resumable session, fed from a [`Source`] that can go back to what the service has not kept. An object
//! is there only after its last byte, and counts only if the service's length and CRC32C are those of the bytes sent.

mod again;
mod answer;
mod json_api;
mod kept;
mod read;
mod redacted;
mod refusal;
mod rights;
mod session;
mod sign;
mod stream;
mod upload;
mod write;

use super::{
    ByteStream, Condition, Folder, ObjectMeta, Signing, Source, Store, Version,
    token::{RequestHeaders, TokenSource, Tokens},
    valid_key, valid_list_prefix,
};
use crate::base::error::{Code, Error, Result};
use again::{Attempts, Unthrottled, delays};
use answer::Kind;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use google_cloud_auth::signer::Signer;
use google_cloud_gax::{
    options::RequestOptionsBuilder as _,
    paginator::{ItemPaginator as _, Paginator as _},
};
use google_cloud_storage::{
    client::{Storage, StorageControl},
    model::Object,
    read_resume_policy::{ReadResumePolicyExt as _, Recommended},
};
use http::{HeaderValue, uri::Authority};
use json_api::JsonApi;
use refusal::{Action, Call};
use session::BLOCK;
use std::{collections::BTreeSet, fmt, ops::Range, sync::Arc, time::Duration};
use time::OffsetDateTime;
use write::{WRITE_ID, content_type};

/// What it takes to append; see [`Store::check`].
const PERMISSIONS: [&str; 3] = ["storage.objects.create", "storage.objects.get", "storage.objects.list"];

/// How to reach Google Cloud Storage.
#[derive(Clone, Default)]
pub struct GcsOptions {
    /// `host:port` or URL of an emulator, as `STORAGE_EMULATOR_HOST` has it; `None` for the real service.
    pub endpoint: Option<String>,
    /// Where tokens come from; `None` finds it out, or goes without when an `endpoint` is given.
    pub tokens: Option<TokenSource>,
    /// What signs URLs; `None` finds it out, or goes without when an `endpoint` is given.
    pub signer: Option<Signer>,
    /// When to try again, and when to give up.
    pub retry: Retry,
}

impl fmt::Debug for GcsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsOptions")
            .field("endpoint", &self.endpoint)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// When to try again, and when to give up.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Attempts without any progress in between.
    pub attempts: u32,
    /// Delay after the first failure; later ones double.
    pub first_delay: Duration,
    pub longest_delay: Duration,
    /// How long a connection may stand still.
    pub stall: Duration,
    /// Longest time for one token.
    pub token: Duration,
    /// How long the first token may be in coming, from a metadata server that is not ready yet.
    pub start: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 10,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(30),
            stall: Duration::from_secs(120),
            token: Duration::from_secs(30),
            start: Duration::from_secs(30),
        }
    }
}

/// A prefix of a bucket.
pub struct GcsStore {
    data: Storage,
    control: StorageControl,
    json: Arc<JsonApi>,
    /// Bytes of a chunk of a body of unknown length.
    chunk: usize,
    tokens: Option<Arc<Tokens>>,
    bucket: String,
    /// Without slashes at its ends.
    prefix: String,
    /// Address of the emulator.
    emulator: Option<String>,
    signer: Option<Signer>,
    retry: Retry,
}

impl GcsStore {
    /// Opens `prefix` (may be empty) of `bucket`. Fetches a token, so that missing credentials show now; whether the bucket
    /// exists shows in [`Store::check`].
    ///
    /// # Errors
    /// [`Code::StoreUnauthorized`] without credentials, [`Code::ConfigInvalid`] for a malformed endpoint.
    pub async fn open(bucket: &str, prefix: &str, options: GcsOptions) -> Result<Self> {
        let GcsOptions {
            endpoint,
            tokens,
            signer,
            retry,
        } = options;
        let endpoint = endpoint.as_deref().map(Endpoint::parse).transpose()?;
        let source = tokens.or_else(|| endpoint.is_none().then(TokenSource::of_this_machine));
        let tokens = source.map(|source| Arc::new(Tokens::new(source, retry.token)));
        if let Some(tokens) = &tokens {
            tokens.probe(retry.first_delay, retry.start).await?;
        }
        let host = endpoint.as_ref().map(|e| e.host.clone());
        let url = endpoint.as_ref().map(|e| e.url.as_str());
        let json = JsonApi::new(url, tokens.clone(), retry.clone())?;
        let mut data = Storage::builder()
            .with_credentials(RequestHeaders::credentials(tokens.clone(), host))
            .with_backoff_policy(delays(&retry)?)
            .with_retry_throttler(Unthrottled)
            .with_read_resume_policy(Recommended.with_attempt_limit(5 * retry.attempts));
        let mut control = StorageControl::builder()
            .with_credentials(RequestHeaders::credentials(tokens.clone(), None))
            .with_backoff_policy(delays(&retry)?)
            .with_retry_throttler(Unthrottled);
        if let Some(endpoint) = &endpoint {
            data = data.with_endpoint(&endpoint.url);
            control = control.with_endpoint(&endpoint.url);
        }
        let failed = |e| Error::new(Code::StoreFailed, "set up the storage client").because(e);
        Ok(Self {
            data: data.build().await.map_err(failed)?,
            control: control.build().await.map_err(failed)?,
            json,
            chunk: stream::CHUNK,
            tokens,
            bucket: bucket.to_string(),
            prefix: prefix.trim_matches('/').to_string(),
            signer: signer.or_else(|| endpoint.is_none().then(sign::discover).flatten()),
            emulator: endpoint.map(|e| e.url),
            retry,
        })
    }

    /// With chunks of so many bytes, made a multiple of 256 KiB, of bodies of unknown length. Two are in memory for each.
    #[must_use]
    pub fn with_chunk(mut self, bytes: usize) -> Self {
        self.chunk = bytes.max(1).next_multiple_of(BLOCK);
        self
    }

    fn resource(&self) -> String {
        format!("projects/_/buckets/{}", self.bucket)
    }

    fn name(&self, key: &str) -> String {
        match self.prefix.as_str() {
            "" => key.to_string(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    fn gs(&self, key: &str) -> String {
        format!("gs://{}/{}", self.bucket, self.name(key))
    }

    /// The rule by which one call is made again.
    fn attempts(&self) -> Attempts {
        Attempts::new(self.retry.attempts, self.tokens.clone())
    }

    /// A call on an object; `verb` says what it does to it.
    fn call(&self, action: Action, verb: &str, key: &str) -> Call {
        Call {
            doing: format!("{verb} {}", self.gs(key)),
            action,
            bucket: self.bucket.clone(),
            object: Some(self.gs(key)),
        }
    }

    /// A list of what is below a prefix.
    fn listing(&self, prefix: &str) -> Call {
        Call {
            object: None,
            ..self.call(Action::List, "list", prefix)
        }
    }

    fn meta(&self, key: &str, object: &Object) -> ObjectMeta {
        meta(key.to_string(), object)
    }

    async fn object(&self, key: &str) -> Result<Option<Object>> {
        let sent = self
            .control
            .get_object()
            .set_bucket(self.resource())
            .set_object(self.name(key))
            .with_attempt_timeout(self.retry.stall)
            .with_retry_policy(self.attempts())
            .send()
            .await;
        match sent {
            Ok(object) => Ok(Some(object)),
            Err(e) if Kind::of(&e) == Kind::NotFound => Ok(None),
            Err(e) => Err(self.call(Action::Read, "look up", key).failed(&e)),
        }
    }

    async fn delete_generation(&self, key: &str, generation: i64) -> Result<bool> {
        let sent = self
            .control
            .delete_object()
            .set_bucket(self.resource())
            .set_object(self.name(key))
            .set_if_generation_match(generation)
            .with_attempt_timeout(self.retry.stall)
            .with_retry_policy(self.attempts())
            .send()
            .await;
        match sent {
            Ok(()) => Ok(true),
            Err(e) if Kind::of(&e) == Kind::NotFound => Ok(false),
            Err(e) if Kind::of(&e) == Kind::Condition => match self.object(key).await? {
                Some(object) if object.generation == generation => Err(self.kept(key, &object, &e)),
                _ => Ok(false),
            },
            Err(e) => Err(self
                .not_changed(key, &self.call(Action::Delete, "delete", key), &e)
                .await),
        }
    }
}

#[async_trait]
impl Store for GcsStore {
    fn url(&self) -> String {
        match self.prefix.as_str() {
            "" => format!("gs://{}", self.bucket),
            prefix => format!("gs://{}/{prefix}", self.bucket),
        }
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        self.upload(key, source, condition).await
    }

    async fn put_stream(&self, key: &str, stream: Box<dyn ByteStream>) -> Result<ObjectMeta> {
        self.upload_stream(key, stream).await
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        self.download(key, range, version).await
    }

    fn signing(&self) -> Option<&dyn Signing> {
        self.signer.is_some().then_some(self)
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        valid_key(key)?;
        let object = self.object(key).await?;
        Ok(object.map(|object| self.meta(key, &object)))
    }

    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        valid_list_prefix(prefix)?;
        let items = self
            .control
            .list_objects()
            .set_parent(self.resource())
            .set_prefix(self.name(prefix))
            .with_attempt_timeout(self.retry.stall)
            .with_retry_policy(self.attempts())
            .by_item();
        let strip = self.name("").len();
        let call = self.listing(prefix);
        let stream = unfold(Some(items), move |state| {
            let call = call.clone();
            async move {
                let mut items = state?;
                match items.next().await? {
                    Ok(object) => {
                        let key = object.name.get(strip..).unwrap_or_default().to_string();
                        Some((Ok(meta(key, &object)), Some(items)))
                    }
                    Err(e) => Some((Err(call.of_bucket(&e)), None)),
                }
            }
        });
        Ok(stream.boxed())
    }

    async fn folder(&self, prefix: &str) -> Result<Folder> {
        valid_list_prefix(prefix)?;
        let full = self.name(prefix);
        let mut pages = self
            .control
            .list_objects()
            .set_parent(self.resource())
            .set_prefix(&full)
            .set_delimiter("/")
            .with_attempt_timeout(self.retry.stall)
            .with_retry_policy(self.attempts())
            .by_page();
        let strip = self.name("").len();
        let (mut folders, mut objects) = (BTreeSet::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.listing(prefix).of_bucket(&e))?;
            let names = page.prefixes.iter().filter_map(|p| p.strip_prefix(full.as_str()));
            folders.extend(names.map(|name| name.trim_end_matches('/').to_string()));
            let found = page.objects.iter();
            objects.extend(found.map(|object| meta(object.name.get(strip..).unwrap_or_default().to_string(), object)));
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Folder {
            objects,
            folders: folders.into_iter().collect(),
        })
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        valid_key(key)?;
        match generation(version) {
            Some(generation) => self.delete_generation(key, generation).await,
            None => Ok(false),
        }
    }

    async fn check(&self) -> Result<()> {
        if let Some(missing) = rights::missing(self, &PERMISSIONS).await?
            && !missing.is_empty()
        {
            let text = format!("bucket {} does not grant {}", self.bucket, missing.join(", "));
            return Err(Error::new(Code::StoreForbidden, text).remedy(
                "grant roles/storage.objectCreator and roles/storage.objectViewer on the bucket to the account that \
                 runs this",
            ));
        }
        // The first object, if there is one, proves that the bucket answers.
        let mut objects = self.list("").await?;
        objects.next().await.transpose().map(drop)
    }

    async fn may_delete(&self) -> Result<Option<bool>> {
        let missing = rights::missing(self, &["storage.objects.delete"]).await?;
        Ok(missing.map(|missing| missing.is_empty()))
    }
}

impl fmt::Debug for GcsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GcsStore").field(&self.url()).finish()
    }
}

/// An emulator's address.
struct Endpoint {
    url: String,
    host: HeaderValue,
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("http", text.trim()));
        let authority = rest.trim_end_matches('/');
        let bad = || {
            Error::new(
                Code::ConfigInvalid,
                format!("{text:?} is not a valid address of a storage emulator"),
            )
            .remedy("set STORAGE_EMULATOR_HOST to host:port or http://host:port")
        };
        let authority: Authority = authority.parse().map_err(|_| bad())?;
        if !matches!(scheme, "http" | "https") {
            return Err(bad());
        }
        Ok(Self {
            url: format!("{scheme}://{authority}"),
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| bad())?,
        })
    }
}

fn generation(version: &Version) -> Option<i64> {
    version.0.parse().ok().filter(|g| *g > 0)
}

fn meta(key: String, object: &Object) -> ObjectMeta {
    ObjectMeta {
        key,
        size: u64::try_from(object.size).unwrap_or(0),
        version: Version(object.generation.to_string()),
        crc32c: object.checksums.as_ref().and_then(|c| c.crc32c),
        updated: object
            .update_time
            .as_ref()
            .map_or(OffsetDateTime::UNIX_EPOCH, |t| time_of(t.seconds(), t.nanos())),
    }
}

fn time_of(seconds: i64, nanos: i32) -> OffsetDateTime {
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
