//! Buckets, objects and upload sessions.

use crate::faults::{Faults, On};
use axum::response::{IntoResponse, Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// The service persists resumable uploads in multiples of this.
pub(crate) const BLOCK: u64 = 256 * 1024;

/// A stored object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Name within the bucket.
    pub name: String,
    /// Generation; a new one for every write.
    pub generation: i64,
    /// Length in bytes.
    pub size: u64,
    /// CRC32C (Castagnoli).
    pub crc32c: u32,
    /// The bytes, unless the emulator discards them.
    pub data: Option<Bytes>,
    /// Content type, empty when none was given.
    pub content_type: String,
    /// Custom metadata.
    pub metadata: BTreeMap<String, String>,
    /// When it was written.
    pub updated: SystemTime,
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// HTTP method.
    pub method: String,
    /// Path and query; for gRPC the path names the call.
    pub target: String,
    /// The `Content-Range` header.
    pub content_range: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Host` header, or the authority of HTTP/2.
    pub host: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

/// A request that is not granted.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = json!({"error": {"code": self.status, "message": self.message}});
        (status, axum::Json(body)).into_response()
    }
}

/// Bytes that arrive: kept, or only counted and summed.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) len: u64,
    crc: u32,
    /// CRC32C up to the last whole block.
    crc_of_blocks: u32,
    data: Option<BytesMut>,
}

impl Content {
    pub(crate) fn new(discard: bool) -> Self {
        Self {
            len: 0,
            crc: 0,
            crc_of_blocks: 0,
            data: (!discard).then(BytesMut::new),
        }
    }

    pub(crate) fn crc(&self) -> u32 {
        self.crc
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if let Some(data) = &mut self.data {
            data.extend_from_slice(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = usize::try_from(BLOCK - self.len % BLOCK).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.crc = crc32c::crc32c_append(self.crc, now);
            self.len += now.len() as u64;
            if self.len.is_multiple_of(BLOCK) {
                self.crc_of_blocks = self.crc;
            }
            rest = later;
        }
    }

    /// Forgets what is not a whole block, as the service does when an upload breaks off.
    pub(crate) fn keep_whole_blocks(&mut self) {
        self.len -= self.len % BLOCK;
        self.crc = self.crc_of_blocks;
        if let Some(data) = &mut self.data {
            data.truncate(usize::try_from(self.len).unwrap_or(usize::MAX));
        }
    }

    /// Flips a bit of the last byte.
    pub(crate) fn corrupt(&mut self) {
        if let Some(last) = self.data.as_mut().and_then(|d| d.last_mut()) {
            *last ^= 1;
        }
        self.crc ^= 1;
        if let Some(data) = &self.data {
            self.crc = crc32c::crc32c(data);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) bucket: String,
    pub(crate) name: String,
    pub(crate) meta: Value,
    pub(crate) if_generation: Option<i64>,
    pub(crate) content: Content,
    pub(crate) done: Option<Object>,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    pub(crate) sessions: HashMap<u64, Arc<tokio::sync::Mutex<Session>>>,
    pub(crate) denied: BTreeSet<String>,
    pub(crate) log: Vec<RequestLine>,
    sequence: i64,
}

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) url: String,
    pub(crate) discard: bool,
    pub(crate) faults: Faults,
    /// Sessions that were cancelled.
    pub(crate) cancelled: tokio::sync::Semaphore,
    state: Mutex<Store>,
}

impl App {
    pub(crate) fn new(url: String, discard: bool) -> Self {
        Self {
            url,
            discard,
            faults: Faults::default(),
            cancelled: tokio::sync::Semaphore::new(0),
            state: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Store> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what a fault, a denied permission or a missing bucket forbids, in the order of the real service.
    pub(crate) fn admit(&self, kind: On, permission: &str, bucket: &str, name: &str) -> Result<(), Refusal> {
        if let Some(status) = self.faults.status(kind, name) {
            return Err(Refusal::new(status, format!("fault: {status}")));
        }
        let state = self.state();
        state.require_bucket(bucket)?;
        state.require(permission, bucket)
    }
}

impl Store {
    pub(crate) fn next(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn create_bucket(&mut self, bucket: &str) -> bool {
        let new = !self.buckets.contains_key(bucket);
        self.buckets.entry(bucket.to_string()).or_default();
        new
    }

    pub(crate) fn require_bucket(&self, bucket: &str) -> Result<(), Refusal> {
        match self.buckets.contains_key(bucket) {
            true => Ok(()),
            false => Err(Refusal::new(404, "The specified bucket does not exist.")),
        }
    }

    pub(crate) fn require(&self, permission: &str, bucket: &str) -> Result<(), Refusal> {
        let denied = self.denied.contains(permission);
        let text = || format!("Caller does not have {permission} access to the bucket {bucket}.");
        if denied { Err(Refusal::new(403, text())) } else { Ok(()) }
    }

    pub(crate) fn find(&self, bucket: &str, name: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.get(name)
    }

    /// The object, if it also has this generation (0: any) and precondition.
    pub(crate) fn get(
        &self,
        bucket: &str,
        name: &str,
        generation: i64,
        if_generation: Option<i64>,
    ) -> Result<&Object, Refusal> {
        let missing = || Refusal::new(404, format!("No such object: {bucket}/{name}"));
        let object = self.find(bucket, name).ok_or_else(missing)?;
        if generation != 0 && generation != object.generation {
            return Err(missing());
        }
        if if_generation.is_some_and(|g| g != object.generation) {
            return Err(condition_not_met());
        }
        Ok(object)
    }

    pub(crate) fn list(&self, bucket: &str, prefix: &str) -> Vec<Object> {
        let objects = self.buckets.get(bucket).into_iter().flatten();
        objects
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(_, object)| object.clone())
            .collect()
    }

    pub(crate) fn remove(&mut self, bucket: &str, name: &str) {
        self.buckets.get_mut(bucket).map(|b| b.remove(name));
    }

    /// Whether a write under this precondition may happen. Replacing an object needs the right to delete it.
    pub(crate) fn may_write(&self, bucket: &str, name: &str, if_generation: Option<i64>) -> Result<(), Refusal> {
        self.require_bucket(bucket)?;
        let current = self.find(bucket, name).map_or(0, |o| o.generation);
        if if_generation.is_some_and(|g| g != current) {
            return Err(condition_not_met());
        }
        if current != 0 {
            self.require("storage.objects.delete", bucket)?;
        }
        Ok(())
    }

    pub(crate) fn insert(
        &mut self,
        bucket: &str,
        name: &str,
        content: Content,
        meta: &Value,
        if_generation: Option<i64>,
    ) -> Result<Object, Refusal> {
        self.may_write(bucket, name, if_generation)?;
        if let Some(wanted) = meta["crc32c"].as_str()
            && wanted != crc_text(content.crc)
        {
            return Err(Refusal::new(400, "the CRC32C does not match"));
        }
        let pairs = meta["metadata"].as_object().into_iter().flatten();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let object = Object {
            name: name.to_string(),
            generation: 1_700_000_000_000_000 + self.next(),
            size: content.len,
            crc32c: content.crc,
            data: content.data.map(BytesMut::freeze),
            content_type: text(&meta["contentType"]),
            metadata: pairs.map(|(k, v)| (k.clone(), text(v))).collect(),
            updated: SystemTime::now(),
        };
        let objects = self.buckets.entry(bucket.to_string()).or_default();
        objects.insert(name.to_string(), object.clone());
        Ok(object)
    }
}

pub(crate) fn condition_not_met() -> Refusal {
    Refusal::new(412, "At least one of the pre-conditions you specified did not hold.")
}

/// CRC32C as the JSON API writes it: base64 of the big-endian bytes.
pub(crate) fn crc_text(crc: u32) -> String {
    BASE64_STANDARD.encode(crc.to_be_bytes())
}
