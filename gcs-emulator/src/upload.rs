//! Uploads over the JSON API: resumable sessions and multipart.

use crate::{
    connection::Connection,
    faults::{Armed, Fault, On},
    grpc,
    state::{App, BLOCK, Content, Object, Refusal, Session, crc_text},
};
use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, Path, Query, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Mutex;

type Parameters = Query<HashMap<String, String>>;

/// `POST /upload/storage/v1/b/{bucket}/o`.
pub(crate) async fn start(
    State(app): State<Arc<App>>,
    Path(bucket): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let if_generation = parameters.get("ifGenerationMatch");
    let if_generation = if_generation
        .map(|g| g.parse::<i64>())
        .transpose()
        .map_err(|_| Refusal::new(400, "ifGenerationMatch is not a number"))?;
    let mut meta: Value = Value::Null;
    let name = parameters.get("name").cloned().unwrap_or_default();
    app.admit(On::Start, "storage.objects.create", &bucket, &name)?;
    app.state().may_write(&bucket, &name, if_generation)?;
    match parameters.get("uploadType").map(String::as_str) {
        Some("resumable") => {
            if !body.is_empty() {
                meta = parse(&body)?;
            }
            let session = Session {
                bucket,
                name,
                meta,
                if_generation,
                content: Content::new(app.discard),
                done: None,
            };
            let mut state = app.state();
            let id = state.next().unsigned_abs();
            let session = Arc::new(Mutex::new(session));
            state.sessions.insert(id, session);
            // Not built from the Host header: the client leaves the port out of it.
            // With a secret in the query, as the real one has it.
            let location = format!(
                "{}/upload/session/{id}?uploadType=resumable&upload_id=secret-{id}",
                app.url
            );
            Ok((StatusCode::OK, [("location", location)]).into_response())
        }
        Some("multipart") => {
            let parts = multipart(&headers, &body)?;
            meta = parse(&parts[0])?;
            if let Some(trailer) = parts.get(2) {
                meta["crc32c"] = parse(trailer)?["crc32c"].clone();
            }
            let mut content = Content::new(app.discard);
            content.append(&parts[1]);
            let inserted = app.state().insert(&bucket, &name, content, &meta, if_generation)?;
            Ok(Json(json_object(&bucket, &inserted)).into_response())
        }
        _ => Err(Refusal::new(400, "uploadType")),
    }
}

/// `PUT` on a session: bytes, or the question how many are persisted.
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path(id): Path<u64>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Response, Refusal> {
    let range = ContentRange::parse(&headers)?;
    let session = app.state().sessions.get(&id).cloned();
    let session = session.ok_or_else(|| Refusal::new(404, "no such upload session"))?;
    // A question that overtakes the end of a broken PUT waits for it here.
    let mut session = session.lock().await;
    let session = &mut *session;
    let kind = match range {
        ContentRange::Query { .. } => On::Query,
        _ => On::Put,
    };
    if let Some(status) = app.faults.status(kind, &session.name) {
        drain(&mut body).await?;
        return Err(Refusal::new(status, format!("fault: {status}")));
    }
    if let Some(done) = &session.done {
        return Ok(Json(json_object(&session.bucket, done)).into_response());
    }
    let sum = headers.get("x-goog-hash").and_then(|v| v.to_str().ok());
    let (start, last, total) = match range {
        ContentRange::Bytes { start, last, total } => (start, last, total),
        // That was all.
        ContentRange::Query { total: Some(total) } if total == session.content.len => {
            return commit(&app, session, sum, &connection).await;
        }
        ContentRange::Query { .. } => return Ok(incomplete(session)),
    };
    let have = session.content.len;
    let forgets = |f| matches!(f, Fault::Forget { from } if have >= from);
    if let Some(forgets) = app.faults.take(&session.name, forgets) {
        drain(&mut body).await?;
        session.content = Content::new(app.discard);
        forgets.happens();
        return Ok(incomplete(session));
    }
    let broken = |f| {
        matches!(
            f,
            Fault::ResetPut { .. } | Fault::Unavailable { .. } | Fault::PersistLess { .. }
        )
    };
    let fault = app.faults.take(&session.name, broken);
    let stall = app.faults.take(&session.name, |f| matches!(f, Fault::Stall { .. }));
    if let Some(answer) = receive(session, start, &mut body, fault, stall, &connection).await? {
        return Ok(answer);
    }
    if let Some(corrupt) = app.faults.take(&session.name, |f| f == Fault::CorruptPut) {
        session.content.corrupt();
        corrupt.happens();
    }
    if !last {
        return Ok(incomplete(session));
    }
    if total.is_some_and(|total| total != session.content.len) {
        return Err(Refusal::new(400, "the upload does not have the promised length"));
    }
    commit(&app, session, sum, &connection).await
}

/// `DELETE` on a session.
pub(crate) async fn cancel(State(app): State<Arc<App>>, Path(id): Path<u64>) -> StatusCode {
    app.state().sessions.remove(&id);
    app.cancelled.add_permits(1);
    StatusCode::from_u16(499).unwrap_or(StatusCode::NO_CONTENT)
}

/// Reads a PUT into the session; an answer when a fault ends it.
async fn receive(
    session: &mut Session,
    start: u64,
    body: &mut Body,
    fault: Option<Armed>,
    stall: Option<Armed>,
    connection: &Connection,
) -> Result<Option<Response>, Refusal> {
    let end = match fault.as_ref().map(Armed::fault) {
        Some(Fault::ResetPut { after: n } | Fault::Unavailable { after: n } | Fault::PersistLess { keep: n }) => {
            start + n
        }
        _ => u64::MAX,
    };
    let mut stall = stall.map(|armed| match armed.fault() {
        Fault::Stall { after } => (start + after, armed),
        _ => (0, armed),
    });
    let mut at = start;
    while at < end {
        if let Some((_, armed)) = stall.take_if(|(after, _)| at >= *after) {
            armed.happens();
            armed.released().await;
        }
        let frame = match body.frame().await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(e)) => {
                session.content.keep_whole_blocks();
                return Err(Refusal::new(499, format!("the client went away: {e}")));
            }
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let have = session.content.len;
        if at > have {
            return Err(Refusal::new(400, "a gap in the upload"));
        }
        // What is persisted already is not looked at again, as in the real service.
        let skip = usize::try_from(have - at).unwrap_or(usize::MAX).min(data.len());
        let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(data.len());
        session.content.append(&data[skip.min(room)..room]);
        at += data.len() as u64;
    }
    let Some(armed) = fault else { return Ok(None) };
    session.content.keep_whole_blocks();
    let answer = match armed.fault() {
        Fault::ResetPut { .. } => {
            connection.cut();
            StatusCode::NO_CONTENT.into_response()
        }
        Fault::Unavailable { .. } => {
            drain(body).await?;
            Refusal::new(503, "fault: unavailable").into_response()
        }
        _ => {
            drain(body).await?;
            incomplete(session)
        }
    };
    armed.happens();
    Ok(Some(answer))
}

/// Makes the object; `sum` is the `x-goog-hash` that it must have.
async fn commit(
    app: &App,
    session: &mut Session,
    sum: Option<&str>,
    connection: &Connection,
) -> Result<Response, Refusal> {
    let name = session.name.clone();
    if sum.is_some_and(|sum| sum != format!("crc32c={}", crc_text(session.content.crc()))) {
        return Err(Refusal::new(400, "the CRC32C does not match"));
    }
    if let Some(slow) = app.faults.take(&name, |f| f == Fault::SlowCommit) {
        slow.happens();
        slow.released().await;
    }
    if let Some(corrupt) = app.faults.take(&name, |f| f == Fault::Corrupt) {
        session.content.corrupt();
        corrupt.happens();
    }
    let content = std::mem::replace(&mut session.content, Content::new(app.discard));
    let inserted = app
        .state()
        .insert(&session.bucket, &name, content, &session.meta, session.if_generation)?;
    session.done = Some(inserted.clone());
    let withheld = app.faults.take(&name, |f| f == Fault::WithholdAnswer);
    if let Some(withheld) = withheld {
        withheld.happens();
        withheld.released().await;
    }
    if let Some(lose) = app.faults.take(&name, |f| f == Fault::LoseAnswer) {
        connection.cut();
        lose.happens();
    }
    Ok(Json(json_object(&session.bucket, &inserted)).into_response())
}

async fn drain(body: &mut Body) -> Result<(), Refusal> {
    while let Some(frame) = body.frame().await {
        frame.map_err(|e| Refusal::new(499, format!("the client went away: {e}")))?;
    }
    Ok(())
}

/// 308 with the persisted range, none when nothing is persisted.
fn incomplete(session: &Session) -> Response {
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    if let Some(last) = session.content.len.checked_sub(1)
        && let Ok(range) = HeaderValue::from_str(&format!("bytes=0-{last}"))
    {
        response.headers_mut().insert("range", range);
    }
    response
}

enum ContentRange {
    /// `bytes */*`, or `bytes */N` with N > 0, which ends an upload that has all of its bytes.
    Query { total: Option<u64> },
    /// `bytes a-b/N`, `a-*/*`, `a-b/*`, and `*/0`, the one PUT of an empty object.
    Bytes {
        start: u64,
        /// The PUT holds the last byte, so it finishes the upload.
        last: bool,
        total: Option<u64>,
    },
}

impl ContentRange {
    fn parse(headers: &HeaderMap) -> Result<Self, Refusal> {
        let bad = || Refusal::new(400, "malformed Content-Range");
        let value = headers.get("content-range").ok_or_else(bad)?;
        let value = value.to_str().map_err(|_| bad())?;
        let (range, total) = value
            .strip_prefix("bytes ")
            .and_then(|v| v.split_once('/'))
            .ok_or_else(bad)?;
        let total = match total {
            "*" => None,
            n => Some(n.parse().map_err(|_| bad())?),
        };
        match range.split_once('-') {
            None if total == Some(0) => Ok(Self::Bytes {
                start: 0,
                last: true,
                total,
            }),
            None => Ok(Self::Query { total }),
            Some((start, end)) => {
                let start: u64 = start.parse().map_err(|_| bad())?;
                let end: Option<u64> = match end {
                    "*" => None,
                    end => Some(end.parse().map_err(|_| bad())?),
                };
                let whole = |end: u64| (end + 1).saturating_sub(start).is_multiple_of(BLOCK);
                if total.is_none() && !end.is_none_or(whole) {
                    return Err(Refusal::new(400, "a chunk must be a multiple of 256 KiB"));
                }
                let last = end.is_none() || end.map(|end| end + 1) == total;
                Ok(Self::Bytes { start, last, total })
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes).map_err(|e| Refusal::new(400, format!("bad JSON: {e}")))
}

fn multipart(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Bytes>, Refusal> {
    let bad = || Refusal::new(400, "malformed multipart body");
    let kind = headers.get("content-type").and_then(|v| v.to_str().ok());
    let boundary = kind.and_then(|k| k.split("boundary=").nth(1)).ok_or_else(bad)?;
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let find = |needle: &[u8], from: usize| {
        let found = body[from..].windows(needle.len()).position(|w| w == needle);
        found.map(|p| p + from)
    };
    let mut parts = Vec::new();
    let mut at = find(delimiter.as_bytes(), 0).ok_or_else(bad)?;
    while let Some(header_end) = find(b"\r\n\r\n", at) {
        let end = find(format!("\r\n{delimiter}").as_bytes(), header_end + 2).ok_or_else(bad)?;
        parts.push(body.slice(header_end + 4..end.max(header_end + 4)));
        at = end + 2 + delimiter.len();
    }
    if parts.len() < 2 { Err(bad()) } else { Ok(parts) }
}

/// An object as the JSON API shows it.
pub(crate) fn json_object(bucket: &str, object: &Object) -> Value {
    let time = grpc::object(bucket, object).update_time.map(|t| t.to_string());
    json!({
        "kind": "storage#object",
        "bucket": bucket,
        "name": object.name,
        "generation": object.generation.to_string(),
        "metageneration": "1",
        "size": object.size.to_string(),
        "crc32c": crc_text(object.crc32c),
        "contentType": object.content_type,
        "metadata": object.metadata,
        "storageClass": "STANDARD",
        "timeCreated": time,
        "updated": time,
    })
}
