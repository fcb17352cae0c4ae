//! A scripted Qdrant: an HTTP peer that does what a healthy server never does.
//!
//! It is real on the wire and nowhere else: the "snapshots" are bytes. What it is told to do is per collection, each entry
//! of a script used up by one request; after that it behaves.

mod restore;
mod shard;

pub use restore::{Recover, Upload};

use crate::source::noise;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::Semaphore;

pub const PEER_ID: u64 = 4711;

/// As a real one says it: the cause at the end, after two long paths.
pub const LONG_ERROR: &str = concat!(
    "Service internal error: Failed to restore snapshot: failed to copy /qdrant/storage/snapshots_temp/",
    "a-collection-with-a-rather-long-name-that-says-what-is-in-it-and-for-which-tenant-it-is-kept-recovery-1a2b3c4d5e6f/",
    "0/segments/6f1e6c1a-5e0e-4a39-9d3b-0f6d5f6f0c11/payload_index/a.long.path.of.a.field.in.the.payload-map/inverted_index/",
    "a-segment-of-the-path-that-nobody-would-write-by-hand-but-that-a-tool-generates-from-the-name-of-the-field/page_0.dat ",
    "into /qdrant/storage/collections/a-collection-with-a-rather-long-name-that-says-what-is-in-it-and-for-which-tenant/",
    "0/segments/6f1e6c1a-5e0e-4a39-9d3b-0f6d5f6f0c11/payload_index/a.long.path.of.a.field.in.the.payload-map/page_0.dat ",
    "by way of a copy to /var/tmp: No space left on device (os error 28)"
);

/// As 1.18.3 says it.
const CRAMPED: &str =
    "Service internal error: Not enough space available for optimization, needed: 2.00 GiB, available: 1.00 GiB";

/// What to do with one request to make a snapshot.
#[derive(Clone, Debug)]
pub enum Create {
    /// 403 with an envelope.
    Forbidden,
    /// 500 with this text.
    Fails(&'static str),
    /// 500, while somebody else's is made in the same second.
    FailsBesideAnothers,
    /// Makes it, but the connection breaks before the answer.
    AnswerLost,
    /// Makes one of another collection, as behind a proxy that changes the path.
    OfAnother,
    /// Says so on `reached`, then waits for a permit of `go`; makes it even if the client is gone by then.
    Held {
        reached: Arc<Semaphore>,
        go: Arc<Semaphore>,
    },
    /// Answers with a checksum of other bytes.
    WrongChecksum,
    /// Answers with this many bytes more than there are.
    WrongLength(i64),
    /// Somebody else made one in the same second: same name, listed before.
    SameSecond,
    /// Somebody else makes one in the same second, after ours: ours is overwritten.
    Overwritten,
    /// Makes it, then deletes the collection.
    ThenCollectionGone,
    /// The answer has no checksum, and downloads have neither length nor ETag nor ranges (S3 snapshot storage).
    OnS3,
}

/// What to do with one request for the bytes of a snapshot.
#[derive(Clone, Debug)]
pub enum Fetch {
    /// The connection breaks after so many bytes of the answer.
    Cut(usize),
    /// A clean end after so many bytes of the answer, chunked.
    CleanEnd(usize),
    /// Nothing more comes after so many bytes of the answer, and the connection stays open.
    Stall(usize),
    /// The bytes differ in one bit, at this offset of the file.
    FlipBit(usize),
    /// 404: deleted meanwhile.
    Gone,
    /// Replaced by another file meanwhile, so the ETag differs.
    Replaced,
    /// 503.
    Unavailable,
    /// Says so on `reached` after so many bytes, then waits for a permit of `go`.
    Held {
        after: usize,
        reached: Arc<Semaphore>,
        go: Arc<Semaphore>,
    },
    /// The same, and then the connection breaks.
    HeldThenCut {
        after: usize,
        reached: Arc<Semaphore>,
        go: Arc<Semaphore>,
    },
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub name: String,
    pub bytes: Bytes,
    pub checksum: Option<String>,
    size: i64,
    s3: bool,
}

#[derive(Default)]
pub struct Collection {
    pub points: u64,
    pub body: Bytes,
    pub snapshots: Vec<Snapshot>,
    pub create: VecDeque<Create>,
    pub fetch: VecDeque<Fetch>,
    /// How many more looks show that it is optimized.
    pub optimizing: usize,
    /// An optimizer failed for want of space.
    pub cramped: bool,
    /// How many more looks show it in this state, in place of `green`.
    pub status: Option<(&'static str, usize)>,
    /// What is streamed of each of its shards, if it is not `body`.
    pub streamed: Option<Bytes>,
    /// Scripts of the next requests to stream one of its shards.
    pub stream: VecDeque<Fetch>,
    pub shard_state: Option<&'static str>,
    pub remote_shards: bool,
    /// Size of its vectors, if it is not 4.
    pub size: Option<u64>,
    pub unreadable: bool,
    /// Its shard cannot be loaded: 500 for whoever asks for it, until it is restored.
    pub broken: bool,
    /// Its configuration has a field that the backup does not know.
    pub new_field: bool,
    /// Points go to shards by keys that clients name.
    pub custom_sharding: bool,
    /// Metadata in its configuration.
    pub metadata: Option<Value>,
    /// Its shards are being divided anew.
    pub resharding: bool,
    /// Strict mode refuses exact counts.
    pub refuses_exact: bool,
    /// Strict mode lets so many points be read at once.
    pub most_points: Option<u64>,
    /// So many shards have no replica anywhere.
    pub lost_shards: usize,
    /// Names of snapshots that others made, which are only listed.
    pub others: Vec<String>,
}

impl Collection {
    fn told_status(&mut self) -> &'static str {
        match &mut self.status {
            Some((status, looks)) if *looks > 0 => {
                *looks -= 1;
                status
            }
            _ => "green",
        }
    }
}

#[derive(Default)]
pub struct Inner {
    pub collections: BTreeMap<String, Collection>,
    pub aliases: Vec<(String, String)>,
    pub api_key: Option<String>,
    /// Keys for certain collections beside that one, and whether each may write to a collection.
    pub tokens: HashMap<String, BTreeMap<String, bool>>,
    pub cluster: Option<Value>,
    /// The key is for collections only: it may not ask for the cluster.
    pub cluster_hidden: bool,
    /// Nothing is answered to the question whether it is ready, as by a node that went away without closing connections.
    pub deaf: bool,
    /// Nothing at all is answered any more, as by a process that was stopped.
    pub frozen: bool,
    /// Scripts of the next uploads.
    pub upload: VecDeque<Upload>,
    /// The same of those into one collection, which go before.
    pub upload_into: HashMap<String, VecDeque<Upload>>,
    /// A file that is stored among a collection's snapshots after the next request to delete one.
    pub late: Option<(String, Snapshot)>,
    /// Scripts of the next requests to fetch a snapshot by HTTP.
    pub recover: VecDeque<Recover>,
    /// A permit for each upload whose body ended early.
    pub broken_uploads: Option<Arc<Semaphore>>,
    /// Bytes of each point's payload.
    pub point_bytes: usize,
    /// SHA-256 of every snapshot made, and the points that it has.
    pub made: HashMap<String, u64>,
    /// The key may not restore.
    pub may_not_manage: bool,
    /// The key may make and delete no snapshots.
    pub read_only: bool,
    /// Each collection, and each alias, is in its list twice.
    pub lists_twice: bool,
    /// Answers that aliases were changed, and changes none.
    pub forgets_aliases: bool,
    /// What happens once, when points are counted next.
    pub on_count: Option<Box<dyn FnOnce() + Send>>,
    /// What happens each time when a single point is read without anything of it.
    pub on_probe: Option<Box<dyn FnMut() + Send>>,
    /// Points cannot be read.
    pub refuses_reads: bool,
    /// The release, if it is not 1.18.3.
    pub version: Option<&'static str>,
    /// What a GET of a path is answered, whatever is right.
    pub answers: HashMap<String, Bytes>,
    /// A permit for each stream of a shard that nobody reads any more.
    pub dropped_streams: Option<Arc<Semaphore>>,
    /// `METHOD path range` of every request.
    pub log: Vec<String>,
}

impl Inner {
    /// `list` as it answers it.
    fn listed(&self, list: Vec<Value>) -> Vec<Value> {
        match self.lists_twice {
            true => [&list[..], &list[..]].concat(),
            false => list,
        }
    }
}

/// A running peer. It stops with the test's runtime.
#[derive(Clone)]
pub struct Peer {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Peer {
    /// A peer with collections of the given names and snapshot sizes.
    pub async fn start(collections: &[(&str, usize)]) -> Self {
        let inner = Inner {
            collections: collections
                .iter()
                .enumerate()
                .map(|(i, (name, len))| {
                    let collection = Collection {
                        points: 100 + i as u64,
                        body: noise(*len, i as u64 + 1),
                        ..Collection::default()
                    };
                    ((*name).to_owned(), collection)
                })
                .collect(),
            ..Inner::default()
        };
        let inner = Arc::new(Mutex::new(inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = router(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, inner }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Scripts the next requests to make a snapshot of `collection`.
    pub fn on_create(&self, collection: &str, script: impl IntoIterator<Item = Create>) {
        self.with(collection, |c| c.create.extend(script));
    }

    /// Scripts the next requests for the bytes of a snapshot of `collection`.
    pub fn on_fetch(&self, collection: &str, script: impl IntoIterator<Item = Fetch>) {
        self.with(collection, |c| c.fetch.extend(script));
    }

    /// Scripts the next uploads into `collection`.
    pub fn on_upload(&self, collection: &str, script: impl IntoIterator<Item = Upload>) {
        let mut inner = self.lock();
        inner
            .upload_into
            .entry(collection.to_owned())
            .or_default()
            .extend(script);
    }

    /// Scripts the next requests to stream a shard of `collection`.
    pub fn on_stream(&self, collection: &str, script: impl IntoIterator<Item = Fetch>) {
        self.with(collection, |c| c.stream.extend(script));
    }

    /// Gets a permit for each upload whose body ends early, which the peer may see after the client has told of it.
    pub fn broken_uploads(&self) -> Arc<Semaphore> {
        let mut inner = self.lock();
        let broken = inner.broken_uploads.get_or_insert_with(|| Arc::new(Semaphore::new(0)));
        broken.clone()
    }

    /// Gets a permit for each stream of a shard that nobody reads any more.
    pub fn dropped_streams(&self) -> Arc<Semaphore> {
        let mut inner = self.lock();
        let dropped = inner.dropped_streams.get_or_insert_with(|| Arc::new(Semaphore::new(0)));
        dropped.clone()
    }

    /// Names of the snapshots that are there now.
    pub fn snapshots(&self, collection: &str) -> Vec<String> {
        let inner = self.lock();
        let found = inner.collections.get(collection);
        found
            .map(|c| c.snapshots.iter().map(|s| s.name.clone()).collect())
            .unwrap_or_default()
    }

    /// Puts somebody else's snapshot there.
    pub fn add_foreign(&self, collection: &str, name: &str) {
        let snapshot = Snapshot {
            name: name.to_owned(),
            bytes: noise(100, 99),
            checksum: None,
            size: 100,
            s3: false,
        };
        self.with(collection, |c| c.snapshots.push(snapshot));
    }

    /// The bytes that the snapshots of `collection` have.
    pub fn body_of(&self, collection: &str) -> Bytes {
        self.lock().collections[collection].body.clone()
    }

    /// How many requests of the log contain `text`.
    pub fn requests(&self, text: &str) -> usize {
        self.lock().log.iter().filter(|line| line.contains(text)).count()
    }

    /// Replaces the key that it accepts when points are counted the `nth` time from now.
    pub fn change_key_at_count(&self, nth: usize) {
        let peer = self.clone();
        self.lock().on_count = Some(Box::new(move || match nth {
            0 | 1 => peer.lock().api_key = Some("another".into()),
            _ => peer.change_key_at_count(nth - 1),
        }));
    }

    pub fn with(&self, collection: &str, change: impl FnOnce(&mut Collection)) {
        change(self.lock().collections.get_mut(collection).unwrap());
    }
}

type Shared = State<Arc<Mutex<Inner>>>;

fn router(inner: Arc<Mutex<Inner>>) -> Router {
    Router::new()
        .route("/", get(version))
        .merge(restore::routes())
        .merge(shard::routes())
        .route("/readyz", get(ready))
        .route("/cluster", get(cluster))
        .route("/collections", get(collections))
        .route("/aliases", get(aliases))
        .route("/collections/{c}", get(collection))
        .route("/collections/{c}/cluster", get(shards))
        .route("/collections/{c}/points/count", post(count))
        .route("/collections/{c}/snapshots", get(list).post(create))
        .route("/collections/{c}/snapshots/{n}", get(fetch).delete(remove))
        .route("/collections/{c}/shards/{s}/snapshots", post(create_of_shard))
        .layer(middleware::from_fn_with_state(inner.clone(), watch))
        .with_state(inner)
}

async fn watch(State(inner): Shared, request: Request, next: Next) -> Response {
    let range = request
        .headers()
        .get(header::RANGE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    let path = request.uri().path().to_owned();
    let key = request
        .headers()
        .get("api-key")
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    if inner.lock().unwrap().frozen {
        std::future::pending::<()>().await;
    }
    let (denied, answer, scoped) = {
        let mut inner = inner.lock().unwrap();
        let line = format!("{} {path} {range}", request.method());
        inner.log.push(line);
        let inner = &*inner;
        let token = key.as_ref().and_then(|key| inner.tokens.get(key));
        let open = path == "/" || path == "/readyz";
        let answer = inner.answers.get(&path).filter(|_| request.method() == Method::GET);
        (
            !open && token.is_none() && inner.api_key.is_some() && inner.api_key != key,
            answer.cloned(),
            token.and_then(|token| scoped(inner, token, request.method(), &path)),
        )
    };
    if denied {
        // Plain text, as the real one.
        return (
            StatusCode::UNAUTHORIZED,
            "Must provide an API key or an Authorization bearer token",
        )
            .into_response();
    }
    if let Some(answer) = scoped {
        return answer;
    }
    if let Some(answer) = answer {
        return ([(header::CONTENT_TYPE, "application/json")], answer).into_response();
    }
    if request.method() == Method::HEAD {
        return StatusCode::NOT_FOUND.into_response();
    }
    next.run(request).await
}

/// What a key for certain collections is answered in the place of what others are.
fn scoped(inner: &Inner, token: &BTreeMap<String, bool>, method: &Method, path: &str) -> Option<Response> {
    let forbidden = |what: &str| Some(error(403, &format!("Forbidden: {what} is required")));
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["cluster"] => forbidden("Global access"),
        ["collections"] => {
            let own = inner.collections.keys().filter(|name| token.contains_key(*name));
            let own: Vec<_> = own.map(|name| json!({"name": name})).collect();
            Some(ok(json!({"collections": own})))
        }
        ["aliases"] => Some(ok(json!({"aliases": []}))),
        ["collections", _, "snapshots", "recover" | "upload"] => forbidden("Global access"),
        ["collections", name, ref rest @ ..] => {
            let writes = method == Method::DELETE || (method == Method::POST && rest.contains(&"snapshots"));
            match token.get(name) {
                None => forbidden(&format!("Access to collection {name}")),
                Some(false) if writes => forbidden(&format!("Write access to collection {name}")),
                _ => None,
            }
        }
        _ => None,
    }
}

fn ok(result: Value) -> Response {
    Json(json!({"result": result, "status": "ok", "time": 0.001})).into_response()
}

fn error(code: u16, text: &str) -> Response {
    let body = Json(json!({"status": {"error": text}, "time": 0.001}));
    (StatusCode::from_u16(code).unwrap(), body).into_response()
}

fn forbidden() -> Response {
    error(403, "Forbidden: Global manage access is required")
}

fn missing(name: &str) -> Response {
    error(404, &format!("Not found: Collection `{name}` doesn't exist!"))
}

async fn ready(State(inner): Shared) -> &'static str {
    if inner.lock().unwrap().deaf {
        std::future::pending::<()>().await;
    }
    "all shards are ready"
}

async fn version(State(inner): Shared) -> Response {
    let version = inner.lock().unwrap().version.unwrap_or("1.18.3");
    Json(json!({"title": "scripted peer", "version": version})).into_response()
}

async fn cluster(State(inner): Shared) -> Response {
    let inner = inner.lock().unwrap();
    match inner.cluster_hidden {
        true => error(403, "Forbidden: Global access is required"),
        false => ok(inner.cluster.clone().unwrap_or(json!({"status": "disabled"}))),
    }
}

async fn collections(State(inner): Shared) -> Response {
    let inner = inner.lock().unwrap();
    let names: Vec<_> = inner.collections.keys().map(|name| json!({"name": name})).collect();
    ok(json!({"collections": inner.listed(names)}))
}

async fn aliases(State(inner): Shared) -> Response {
    let inner = inner.lock().unwrap();
    let list: Vec<_> = inner
        .aliases
        .iter()
        .map(|(a, c)| json!({"alias_name": a, "collection_name": c}))
        .collect();
    ok(json!({"aliases": inner.listed(list)}))
}

async fn collection(State(inner): Shared, Path(c): Path<String>) -> Response {
    match inner.lock().unwrap().collections.get_mut(&c) {
        Some(found) if found.broken => not_loaded(),
        Some(found) => ok(json!({
            "status": found.told_status(),
            "points_count": found.points,
            "optimizer_status": match found.cramped {
                true => json!({"error": CRAMPED}),
                false => json!("ok"),
            },
            "config": {
                "params": {
                    "vectors": {"size": found.size.unwrap_or(4), "distance": "Dot"},
                    "sharding_method": found.custom_sharding.then_some("custom"),
                },
                "new_field": found.new_field.then_some(1),
                "metadata": found.metadata,
            },
            "payload_schema": {},
        })),
        None => missing(&c),
    }
}

fn not_loaded() -> Response {
    error(
        500,
        "Service internal error: 1 of 1 read operations failed: failed to load local shard",
    )
}

async fn shards(State(inner): Shared, Path(c): Path<String>) -> Response {
    let inner = inner.lock().unwrap();
    let Some(found) = inner.collections.get(&c) else {
        return missing(&c);
    };
    let state = found.shard_state.unwrap_or("Active");
    let remote = match found.remote_shards {
        true => json!([{"shard_id": 1, "peer_id": 2, "state": "Active"}]),
        false => json!([]),
    };
    ok(json!({
        "peer_id": PEER_ID,
        "shard_count": 1 + found.lost_shards,
        "local_shards": [{
            "shard_id": 0,
            "points_count": found.points,
            "state": state,
            "shard_key": found.custom_sharding.then_some("a"),
        }],
        "remote_shards": remote,
        "shard_transfers": [],
        "resharding_operations": found.resharding.then(|| json!([{"shard_id": 1, "direction": "up"}])),
    }))
}

async fn count(State(inner): Shared, Path(c): Path<String>, Json(body): Json<Value>) -> Response {
    let happens = inner.lock().unwrap().on_count.take();
    if let Some(happens) = happens {
        happens();
    }
    match inner.lock().unwrap().collections.get(&c) {
        Some(found) if found.broken => not_loaded(),
        Some(found) if found.refuses_exact && body["exact"] == true => {
            error(400, "Bad request: Exact search disabled!. Help: Set exact=false.")
        }
        Some(found) => ok(json!({"count": found.points})),
        None => missing(&c),
    }
}

fn described(snapshot: &Snapshot) -> Value {
    json!({
        "name": snapshot.name,
        "creation_time": null,
        "size": snapshot.size,
        "checksum": snapshot.checksum,
    })
}

/// As [`described`], but of a bucket its keys are listed, in which not everything stands for itself.
fn listed(snapshot: &Snapshot) -> Value {
    let key = |name: &str| {
        let byte = |b: u8| match b {
            b'-' | b'.' | b' ' | b'_' => char::from(b).to_string(),
            _ if b.is_ascii_alphanumeric() => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        };
        name.bytes().map(byte).collect::<String>()
    };
    let mut listed = described(snapshot);
    if snapshot.s3 {
        listed["name"] = json!(key(&snapshot.name));
    }
    listed
}

async fn list(State(inner): Shared, Path(c): Path<String>) -> Response {
    match inner.lock().unwrap().collections.get(&c) {
        Some(found) => {
            let others = found.others.iter().map(|name| json!({"name": name, "size": 1}));
            ok(found.snapshots.iter().map(listed).chain(others).collect())
        }
        None => missing(&c),
    }
}

fn make(inner: &Mutex<Inner>, c: &str, at: OffsetDateTime, change: impl FnOnce(&mut Snapshot)) -> Option<Snapshot> {
    let stamp = at
        .format(format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]"))
        .unwrap();
    let mut inner = inner.lock().unwrap();
    let found = inner.collections.get_mut(c)?;
    let mut snapshot = Snapshot {
        name: format!("{c}-{PEER_ID}-{stamp}.snapshot"),
        checksum: Some(qdrant_backup::base::hash::sha256_hex(&found.body)),
        bytes: found.body.clone(),
        size: found.body.len() as i64,
        s3: false,
    };
    let points = found.points;
    change(&mut snapshot);
    found.snapshots.retain(|s| s.name != snapshot.name);
    found.snapshots.push(snapshot.clone());
    inner
        .made
        .insert(qdrant_backup::base::hash::sha256_hex(&snapshot.bytes), points);
    Some(snapshot)
}

/// Ends the connection without an answer.
fn hang_up() -> Response {
    let body = Body::from_stream(stream::once(async {
        Err::<Bytes, _>(std::io::Error::other("scripted"))
    }));
    Response::builder()
        .header(header::CONTENT_LENGTH, 10)
        .body(body)
        .unwrap()
}

async fn create(
    State(inner): Shared,
    Path(c): Path<String>,
    Query(q): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    // As a real one behind a proxy that asks it in HTTP/1.0.
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    assert_eq!(
        q.get("wait").map(String::as_str),
        Some("true"),
        "wait=false answers 202 whatever happens"
    );
    let now = OffsetDateTime::now_utc();
    let script = {
        let mut inner = inner.lock().unwrap();
        if inner.read_only {
            return forbidden();
        }
        let Some(found) = inner.collections.get_mut(&c) else {
            return missing(&c);
        };
        found.create.pop_front()
    };
    let answer = |made: Option<Snapshot>| made.map_or_else(|| missing(&c), |s| ok(described(&s)));
    match script {
        None => answer(make(&inner, &c, now, |_| {})),
        Some(Create::Forbidden) => forbidden(),
        Some(Create::Fails(text)) => error(500, text),
        Some(Create::FailsBesideAnothers) => {
            make(&inner, &c, now, |_| {});
            error(500, "No space left on device")
        }
        Some(Create::OfAnother) => answer(make(&inner, &c, now, |s| s.name = format!("another-{}", s.name))),
        Some(Create::AnswerLost) => {
            make(&inner, &c, now, |_| {});
            hang_up()
        }
        Some(Create::Held { reached, go }) => {
            // Like the real one, it goes on when the client goes away.
            let work = tokio::spawn(async move {
                reached.add_permits(1);
                go.acquire().await.unwrap().forget();
                make(&inner, &c, now, |_| {}).map(|s| ok(described(&s)))
            });
            work.await.unwrap().unwrap_or_else(|| error(404, "gone"))
        }
        Some(Create::WrongChecksum) => {
            let sum = Some(qdrant_backup::base::hash::sha256_hex(b"other bytes"));
            answer(make(&inner, &c, now, |s| s.checksum = sum))
        }
        Some(Create::WrongLength(more)) => answer(make(&inner, &c, now, |s| s.size += more)),
        Some(Create::SameSecond) => {
            // The list that the client saw before names it already, because the peer looks into the future here.
            let inner = inner.lock().unwrap();
            let theirs = inner.collections[&c].snapshots.first().cloned();
            ok(described(&theirs.expect("a foreign snapshot")))
        }
        Some(Create::Overwritten) => {
            let ours = make(&inner, &c, now, |_| {});
            make(&inner, &c, now, |s| {
                s.bytes = noise(s.bytes.len(), 77);
                s.checksum = Some(qdrant_backup::base::hash::sha256_hex(&s.bytes));
            });
            answer(ours)
        }
        Some(Create::ThenCollectionGone) => {
            let made = make(&inner, &c, now, |_| {});
            inner.lock().unwrap().collections.remove(&c);
            answer(made)
        }
        Some(Create::OnS3) => answer(make(&inner, &c, now, |s| {
            s.checksum = None;
            s.s3 = true;
        })),
    }
}

/// Of a shard: there is 0 only, and of that nobody wants any.
async fn create_of_shard(State(inner): Shared, Path((c, s)): Path<(String, u32)>, headers: HeaderMap) -> Response {
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let inner = inner.lock().unwrap();
    match inner.collections.contains_key(&c) {
        _ if inner.read_only => forbidden(),
        false => missing(&c),
        true => error(404, &format!("Not found: shard {s} not found")),
    }
}

async fn remove(State(inner): Shared, Path((c, n)): Path<(String, String)>) -> Response {
    let mut inner = inner.lock().unwrap();
    if inner.read_only {
        return forbidden();
    }
    let late = inner.late.take();
    let answer = removed(&mut inner, &c, &n);
    if let Some((c, snapshot)) = late {
        inner.collections.entry(c).or_default().snapshots.push(snapshot);
    }
    answer
}

fn removed(inner: &mut Inner, c: &str, n: &str) -> Response {
    let Some(found) = inner.collections.get_mut(c) else {
        return missing(c);
    };
    let before = found.snapshots.len();
    found.snapshots.retain(|s| s.name != n);
    match found.snapshots.len() < before {
        true => ok(json!(true)),
        false => error(404, &format!("Not found: Snapshot {n} not found")),
    }
}

async fn fetch(State(inner): Shared, Path((c, n)): Path<(String, String)>, headers: HeaderMap) -> Response {
    assert_eq!(headers.get(header::ACCEPT_ENCODING).unwrap(), "identity");
    let (snapshot, script) = {
        let mut inner = inner.lock().unwrap();
        let Some(found) = inner.collections.get_mut(&c) else {
            return (
                StatusCode::NOT_FOUND,
                format!("Not found: Collection `{c}` doesn't exist!"),
            )
                .into_response();
        };
        let Some(snapshot) = found.snapshots.iter().find(|s| s.name == n).cloned() else {
            return (StatusCode::NOT_FOUND, "Not found: Snapshot not found").into_response();
        };
        (snapshot, found.fetch.pop_front())
    };
    let mut bytes = snapshot.bytes.clone();
    match &script {
        Some(Fetch::Gone) => return (StatusCode::NOT_FOUND, "Not found: Snapshot not found").into_response(),
        Some(Fetch::Unavailable) => return (StatusCode::SERVICE_UNAVAILABLE, "busy").into_response(),
        Some(Fetch::FlipBit(at)) => {
            let mut copy = bytes.to_vec();
            copy[*at] ^= 1;
            bytes = copy.into();
        }
        Some(Fetch::Replaced) => bytes = noise(bytes.len(), 55),
        _ => {}
    }
    // A flipped bit on the way does not change the file's ETag; a replaced file does.
    let etag = match &script {
        Some(Fetch::Replaced) => "\"other\"".to_owned(),
        _ => format!("\"{:x}\"", crc32c::crc32c(&snapshot.bytes)),
    };
    if !snapshot.s3 && headers.get(header::IF_MATCH).is_some_and(|v| v != etag.as_str()) {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    let range = headers
        .get(header::RANGE)
        .and_then(|v| v.to_str().ok())
        .and_then(|r| r.strip_prefix("bytes="));
    let start: usize = match range.filter(|_| !snapshot.s3) {
        Some(range) => range.trim_end_matches('-').parse().unwrap(),
        None => 0,
    };
    let total = bytes.len();
    let rest = bytes.slice(start..);
    let mut response = Response::builder();
    if !snapshot.s3 {
        response = response
            .header(header::ETAG, etag)
            .header(header::ACCEPT_RANGES, "bytes");
        if !matches!(script, Some(Fetch::CleanEnd(_))) {
            response = response.header(header::CONTENT_LENGTH, rest.len());
        }
    }
    if start > 0 {
        let range = format!("bytes {start}-{}/{total}", total - 1);
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, range);
    }
    response.body(scripted(rest, script)).unwrap()
}

/// The body of an answer, as the script wants it.
fn scripted(rest: Bytes, script: Option<Fetch>) -> Body {
    let pieces = |bytes: Bytes| {
        let chunks: Vec<_> = (0..bytes.len())
            .step_by(8192)
            .map(|at| bytes.slice(at..bytes.len().min(at + 8192)))
            .collect();
        stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>))
    };
    let head = |n: usize| pieces(rest.slice(..n.min(rest.len())));
    match script {
        Some(Fetch::Cut(n)) => {
            Body::from_stream(head(n).chain(stream::once(async { Err(std::io::Error::other("scripted")) })))
        }
        Some(Fetch::CleanEnd(n)) => Body::from_stream(head(n)),
        Some(Fetch::Stall(n)) => Body::from_stream(head(n).chain(stream::pending())),
        Some(Fetch::Held { after, reached, go }) => {
            let tail = pieces(rest.slice(after..));
            let wait = stream::once(async move {
                reached.add_permits(1);
                go.acquire().await.unwrap().forget();
                tail
            })
            .flatten();
            Body::from_stream(head(after).chain(wait))
        }
        Some(Fetch::HeldThenCut { after, reached, go }) => {
            let cut = stream::once(async move {
                reached.add_permits(1);
                go.acquire().await.unwrap().forget();
                Err(std::io::Error::other("scripted"))
            });
            Body::from_stream(head(after).chain(cut))
        }
        _ => Body::from_stream(pieces(rest).map(|r| Ok::<_, Infallible>(r.unwrap()))),
    }
}
