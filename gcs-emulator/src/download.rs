//! Downloads and metadata over the JSON API.

use crate::{
    faults::{Fault, On},
    state::{App, Refusal, crc_text},
    upload::json_object,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};
use http::HeaderMap;
use std::{collections::HashMap, io, ops::Range, sync::Arc};

/// `GET /{bucket}/{name}` by a signed URL. The signature must be there and is not looked at.
pub(crate) async fn signed(
    State(app): State<Arc<App>>,
    path: Path<(String, String)>,
    Query(mut parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if !parameters.contains_key("X-Goog-Signature") {
        return Err(Refusal::new(403, "anonymous caller: the URL is not signed"));
    }
    parameters.insert("alt".to_owned(), "media".to_owned());
    answer(&app, path, &parameters, &headers)
}

/// `GET /storage/v1/b/{bucket}/o/{name}`, with `alt=media` the bytes.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    path: Path<(String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    match answer(&app, path, &parameters, &headers) {
        Ok(response) => response,
        Err(refusal) if is_media(&parameters) => refusal.into_text(),
        Err(refusal) => refusal.into_response(),
    }
}

fn is_media(parameters: &HashMap<String, String>) -> bool {
    parameters.get("alt").is_some_and(|alt| alt == "media")
}

fn answer(
    app: &App,
    Path((bucket, name)): Path<(String, String)>,
    parameters: &HashMap<String, String>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    app.admit(On::Read, "storage.objects.get", &bucket, &name)?;
    let number = |key: &str| parameters.get(key).and_then(|v| v.parse::<i64>().ok());
    let generation = number("generation").unwrap_or(0);
    let object = app
        .state()
        .get(&bucket, &name, generation, number("ifGenerationMatch"))?
        .clone();
    if !is_media(parameters) {
        return Ok(Json(json_object(&bucket, &object)).into_response());
    }
    let data = object.data.clone();
    let data = data.ok_or_else(|| Refusal::new(501, "this emulator discards what is uploaded"))?;
    let asked = headers.get("range").and_then(|v| v.to_str().ok());
    let range = match asked {
        Some(text) => byte_range(text, data.len())
            .ok_or_else(|| Refusal::new(416, format!("range {text} of {} bytes", data.len())))?,
        None => 0..data.len(),
    };
    let mut response = Response::builder()
        .header("content-type", &object.content_type)
        .header("content-length", range.len())
        .header("x-goog-generation", object.generation)
        .header("x-goog-metageneration", 1)
        .header("x-goog-hash", format!("crc32c={}", crc_text(object.crc32c)))
        .header("x-goog-stored-content-length", object.size)
        .header("x-goog-stored-content-encoding", "identity")
        .header("x-goog-storage-class", "STANDARD");
    if asked.is_some() {
        let last = range.end - 1;
        let text = format!("bytes {}-{last}/{}", range.start, data.len());
        response = response.status(206).header("content-range", text);
    }
    let mut part = data.slice(range);
    if let Some(corrupt) = app.faults.take(&name, |f| f == Fault::CorruptRead) {
        part = flip_a_bit(&part);
        corrupt.happens();
    }
    let reset = app.faults.take(&name, |f| matches!(f, Fault::ResetRead { .. }));
    let body = match reset.as_ref().map(|r| r.fault()) {
        Some(Fault::ResetRead { after }) => {
            let end = usize::try_from(after).unwrap_or(usize::MAX).min(part.len());
            cut_after(part.slice(..end))
        }
        _ => Body::from(part),
    };
    reset.inspect(|r| r.happens());
    response.body(body).map_err(|e| Refusal::new(500, e.to_string()))
}

/// `bytes=a-b`, `bytes=a-`, `bytes=-n`; `None` when it holds no byte.
fn byte_range(text: &str, len: usize) -> Option<Range<usize>> {
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (start, end) {
        ("", n) => len.saturating_sub(n.parse().ok()?)..len,
        (start, "") => start.parse().ok()?..len,
        (start, end) => start.parse().ok()?..end.parse::<usize>().ok()?.saturating_add(1).min(len),
    };
    (range.start < range.end).then_some(range)
}

fn flip_a_bit(bytes: &Bytes) -> Bytes {
    let mut copy = BytesMut::from(&bytes[..]);
    if let Some(last) = copy.last_mut() {
        *last ^= 1;
    }
    copy.freeze()
}

/// A body that breaks off: the server closes the connection without the promised length.
fn cut_after(bytes: Bytes) -> Body {
    let sent = stream::once(async { Ok(bytes) });
    let reset = stream::once(async {
        // The server sends what it has, the head of the answer at least, when the body makes it wait.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(sent.chain(reset))
}
