//! The scripted peer's side of a restore.

use super::{Collection, Inner, LONG_ERROR, Shared, error, hang_up, missing, ok};
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Multipart, Path, Query, State};
use axum::response::Response;
use axum::routing::{post, put};
use qdrant_backup::base::hash::sha256_hex;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// What to do with one upload.
#[derive(Clone, Debug)]
pub enum Upload {
    /// 403 after the body was read.
    Forbidden,
    /// 500: no space left.
    Full,
    /// Reads so many bytes, then the connection breaks.
    CutAfter(usize),
    /// A bit flips on the way, which Qdrant notices by the checksum.
    FlipBit,
    /// 200, and the collection has no points.
    Empty,
    /// 200, and a shard is Dead.
    Dead,
    /// 200, and the collection has other parameters.
    OtherConfig,
    /// 200, and the counts are right, but no point can be read.
    Unreadable,
    /// 200, and the configuration has a field more.
    NewField,
    /// Restores it, but the connection breaks before the answer.
    AnswerLost,
    /// The connection breaks before the answer, and the file is stored only after somebody has asked for its deletion.
    StoredLate,
    /// Says so on `reached` once the body is there, then waits for ever.
    Held { reached: Arc<Semaphore> },
    /// Says so on `reached` once the body is there, then waits for a permit of `go`, and restores it.
    HeldUntil {
        reached: Arc<Semaphore>,
        go: Arc<Semaphore>,
    },
    /// The same, and restores it also when the client has gone away meanwhile, as the real one does.
    GoesOn {
        reached: Arc<Semaphore>,
        go: Arc<Semaphore>,
    },
}

/// What to do with one request to fetch a snapshot.
#[derive(Clone, Copy, Debug)]
pub enum Recover {
    /// The connection breaks before the answer.
    AnswerLost,
    /// A proxy in front gives up waiting.
    GatewayTimeout,
    /// No answer ever comes.
    Silent,
}

pub(super) fn routes() -> Router<Arc<Mutex<Inner>>> {
    Router::new()
        .route("/collections/aliases", post(change_aliases))
        .route("/collections/{c}", axum::routing::delete(delete))
        .route("/collections/{c}/points/scroll", post(scroll))
        .route("/collections/{c}/snapshots/recover", put(recover))
        .route(
            "/collections/{c}/snapshots/upload",
            post(upload).layer(DefaultBodyLimit::disable()),
        )
}

/// Rights first, then the scheme, as the real one.
async fn recover(State(inner): Shared, Json(body): Json<Value>) -> Response {
    let by_http = body["location"].as_str().is_some_and(|l| l.starts_with("http"));
    let script = {
        let mut inner = inner.lock().unwrap();
        if inner.may_not_manage || inner.read_only {
            return error(403, "Forbidden: Global manage access is required");
        }
        by_http.then(|| inner.recover.pop_front()).flatten()
    };
    match script {
        Some(Recover::AnswerLost) => return hang_up(),
        Some(Recover::GatewayTimeout) => return error(504, "upstream request timeout"),
        Some(Recover::Silent) => std::future::pending().await,
        None => {}
    }
    match body["location"].as_str() {
        Some(location) if location.starts_with("http") => error(
            400,
            &format!("Bad request: Failed to download snapshot from {location}: nobody there"),
        ),
        location => error(
            400,
            &format!("Bad request: URL {location:?} with that scheme is not supported"),
        ),
    }
}

async fn upload(
    State(inner): Shared,
    Path(c): Path<String>,
    Query(q): Query<HashMap<String, String>>,
    mut form: Multipart,
) -> Response {
    assert_eq!(
        q.get("wait").map(String::as_str),
        Some("true"),
        "wait=false answers 202 whatever happens"
    );
    assert_eq!(
        q.get("priority").map(String::as_str),
        Some("snapshot"),
        "`replica` discards the data"
    );
    let script = {
        let mut inner = inner.lock().unwrap();
        let own = inner.upload_into.get_mut(&c).and_then(VecDeque::pop_front);
        own.or_else(|| inner.upload.pop_front())
    };
    let Ok(Some(mut field)) = form.next_field().await else {
        return error(400, "Multipart error: no field");
    };
    assert_eq!(field.name(), Some("snapshot"));
    let file = field.file_name().unwrap().to_owned();
    let mut bytes = Vec::new();
    loop {
        match field.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => {
                if let Some(broken) = &inner.lock().unwrap().broken_uploads {
                    broken.add_permits(1);
                }
                return error(400, "Multipart error: incomplete");
            }
        }
        if let Some(Upload::CutAfter(n)) = script
            && bytes.len() >= n
        {
            return hang_up();
        }
    }
    match &script {
        Some(Upload::Forbidden) => return error(403, "Forbidden: Global manage access is required"),
        Some(Upload::Full) => return error(500, LONG_ERROR),
        Some(Upload::FlipBit) => bytes[1000] ^= 1,
        Some(Upload::StoredLate) => {
            let late = stored(bytes.into(), file);
            inner.lock().unwrap().late = Some((c, late));
            return hang_up();
        }
        Some(Upload::Held { reached }) => {
            reached.add_permits(1);
            std::future::pending::<()>().await;
        }
        Some(Upload::HeldUntil { reached, go }) => {
            reached.add_permits(1);
            go.acquire().await.unwrap().forget();
        }
        _ => {}
    }
    if let Some(Upload::GoesOn { reached, go }) = &script {
        reached.add_permits(1);
        let go = go.clone();
        let rest = async move {
            go.acquire().await.unwrap().forget();
            finished(&inner, c, &q, bytes, file, script)
        };
        return tokio::spawn(rest).await.unwrap();
    }
    finished(&inner, c, &q, bytes, file, script)
}

/// What follows once the whole body is there.
fn finished(
    inner: &Mutex<Inner>,
    c: String,
    q: &HashMap<String, String>,
    bytes: Vec<u8>,
    file: String,
    script: Option<Upload>,
) -> Response {
    let sum = sha256_hex(&bytes);
    if q.get("checksum") != Some(&sum) {
        return error(
            400,
            &format!(
                "Bad request: Snapshot checksum mismatch: expected {:?}, got {sum}",
                q.get("checksum")
            ),
        );
    }
    let mut inner = inner.lock().unwrap();
    let Some(points) = inner.made.get(&sum).copied() else {
        return error(500, "not a snapshot of this peer");
    };
    let now = inner.collections.entry(c).or_default();
    restore(now, bytes.into(), points, file, script.as_ref());
    match script {
        Some(Upload::AnswerLost) => hang_up(),
        _ => ok(json!(true)),
    }
}

fn stored(body: Bytes, file: String) -> super::Snapshot {
    super::Snapshot {
        name: file,
        size: body.len() as i64,
        bytes: body,
        checksum: None,
        s3: false,
    }
}

fn restore(collection: &mut Collection, body: Bytes, points: u64, file: String, script: Option<&Upload>) {
    collection.body = body.clone();
    collection.points = points;
    collection.shard_state = None;
    collection.broken = false;
    collection.snapshots.push(stored(body, file));
    match script {
        Some(Upload::Empty) => collection.points = 0,
        Some(Upload::Dead) => collection.shard_state = Some("Dead"),
        Some(Upload::OtherConfig) => collection.size = Some(8),
        Some(Upload::NewField) => collection.new_field = true,
        Some(Upload::Unreadable) => collection.unreadable = true,
        _ => {}
    }
}

pub(super) async fn scroll(State(inner): Shared, Path(c): Path<String>, Json(body): Json<Value>) -> Response {
    let mut inner = inner.lock().unwrap();
    if inner.refuses_reads {
        return error(429, "Rate limiting exceeded");
    }
    if body == json!({"limit": 1, "with_payload": false, "with_vector": false}) {
        let happens = inner.on_probe.as_mut();
        happens.into_iter().for_each(|happens| happens());
        return ok(json!({"points": [], "next_page_offset": null}));
    }
    assert_eq!(body["with_vector"], json!(true));
    let Some(found) = inner.collections.get(&c) else {
        return missing(&c);
    };
    if found
        .most_points
        .is_some_and(|most| body["limit"].as_u64() > Some(most))
    {
        return error(400, "Bad request: Limit exceeded for \"limit\". Help: Reduce it.");
    }
    let all = if found.unreadable { 0 } else { found.points };
    let from = body["offset"].as_u64().unwrap_or_default();
    let to = (from + body["limit"].as_u64().unwrap()).min(all);
    let payload = json!({"text": "x".repeat(inner.point_bytes)});
    let points: Vec<_> = (from..to)
        .map(|id| json!({"id": id, "vector": [0.5, 0.5, 0.5, 0.5], "payload": payload}))
        .collect();
    ok(json!({"points": points, "next_page_offset": (to < all).then_some(to)}))
}

async fn delete(State(inner): Shared, Path(c): Path<String>) -> Response {
    let mut inner = inner.lock().unwrap();
    inner.aliases.retain(|(_, to)| *to != c);
    ok(json!(inner.collections.remove(&c).is_some()))
}

async fn change_aliases(State(inner): Shared, Json(body): Json<Value>) -> Response {
    let mut inner = inner.lock().unwrap();
    if inner.forgets_aliases {
        return ok(json!(true));
    }
    for action in body["actions"].as_array().unwrap() {
        let text = |v: &Value, key: &str| v[key].as_str().unwrap().to_owned();
        if let Some(made) = action.get("create_alias") {
            let (alias, to) = (text(made, "alias_name"), text(made, "collection_name"));
            if !inner.collections.contains_key(&to) {
                return missing(&to);
            }
            inner.aliases.retain(|(a, _)| *a != alias);
            inner.aliases.push((alias, to));
        } else if let Some(gone) = action.get("delete_alias") {
            let alias = text(gone, "alias_name");
            inner.aliases.retain(|(a, _)| *a != alias);
        }
    }
    ok(json!(true))
}
