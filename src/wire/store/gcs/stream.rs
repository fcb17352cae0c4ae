//! Writing an object of unknown length: while one chunk is sent, the next one is read.

use super::{
    Action, GcsStore, WRITE_ID, content_type,
    json_api::NewObject,
    session::{BLOCK, Session, Uploaded},
};
use crate::base::error::{Code, Error, Result};
use crate::base::hash::crc32c_append;
use crate::wire::store::{ByteStream, ObjectMeta, Version, valid_key};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use serde_json::json;
use time::OffsetDateTime;

/// Bytes of a chunk. Two are in memory for each stream, one that is sent and one that is read; what the service takes for the
/// confirmation of one (often a tenth of a second) passes while the next is read.
pub(super) const CHUNK: usize = 64 * BLOCK;

impl GcsStore {
    pub(super) async fn upload_stream(&self, key: &str, stream: Box<dyn ByteStream>) -> Result<ObjectMeta> {
        valid_key(key)?;
        let mut chunks = Chunks::new(stream, self.chunk);
        // A stream that fails at its beginning costs the store nothing.
        let first = chunks.next().await?;
        let write_id = uuid::Uuid::new_v4().to_string();
        let object = NewObject {
            name: &self.name(key),
            content_type: content_type(key),
            metadata: json!({ WRITE_ID: write_id }),
        };
        let begun = Session::begin(&self.json, object, self.call(Action::Create, "write", key)).await;
        let mut session = match begun {
            Err(error) if error.code() == Code::StoreForbidden => return Err(self.already_exists(key, error).await),
            begun => begun?,
        };
        let sent = send(&mut session, &mut chunks, first).await;
        match sent {
            Ok(object) => self.accept(key, &meta(key, &object)?, chunks.sent()).await,
            Err(error) => {
                // Once the last byte was sent there may be an object, whose answer was lost.
                let may_exist = chunks.is_over || session.has_ended();
                session.cancel().await;
                match may_exist {
                    true => self.settle(key, error, chunks.sent(), &write_id).await,
                    false => Err(error),
                }
            }
        }
    }
}

async fn send(session: &mut Session, chunks: &mut Chunks, first: Bytes) -> Result<Uploaded> {
    let mut chunk = first;
    while !chunks.is_over {
        let sent = chunk.clone();
        (chunk, ()) = tokio::try_join!(chunks.next(), session.send(chunk))?;
        chunks.spare = sent.try_into_mut().ok();
    }
    session.finish(chunk, chunks.crc32c).await
}

/// A stream in chunks of one size, of which the last may be shorter.
struct Chunks {
    stream: Box<dyn ByteStream>,
    size: usize,
    /// What came beyond a chunk.
    beyond: Bytes,
    /// That of a chunk that was confirmed, for another one: what one thread frees, the allocator does not give to another.
    spare: Option<BytesMut>,
    len: u64,
    crc32c: u32,
    /// Whether the chunk that was read last is the last one.
    is_over: bool,
}

impl Chunks {
    fn new(stream: Box<dyn ByteStream>, size: usize) -> Self {
        Self {
            stream,
            size,
            beyond: Bytes::new(),
            spare: None,
            len: 0,
            crc32c: 0,
            is_over: false,
        }
    }

    /// Reads until there is more than a chunk, or all.
    async fn next(&mut self) -> Result<Bytes> {
        let mut chunk = self.spare.take().unwrap_or_else(|| BytesMut::with_capacity(self.size));
        chunk.clear();
        loop {
            let taken = self.beyond.split_to(self.beyond.len().min(self.size - chunk.len()));
            chunk.extend_from_slice(&taken);
            if !self.beyond.is_empty() {
                return Ok(chunk.freeze());
            }
            match self.stream.next().await {
                Some(bytes) => {
                    self.beyond = bytes?;
                    self.len += self.beyond.len() as u64;
                    if self.stream.crc32c().is_none() {
                        self.crc32c = crc32c_append(self.crc32c, &self.beyond);
                    }
                }
                None => {
                    self.crc32c = self.stream.crc32c().unwrap_or(self.crc32c);
                    self.is_over = true;
                    return Ok(chunk.freeze());
                }
            }
        }
    }

    /// Length and CRC32C of all.
    fn sent(&self) -> (u64, u32) {
        (self.len, self.crc32c)
    }
}

fn meta(key: &str, object: &Uploaded) -> Result<ObjectMeta> {
    let crc32c = object.crc32c.as_deref().and_then(|text| {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    });
    let size = object.size.parse().map_err(|e| {
        let text = format!("{key}: the answer of the service has no size of the object");
        Error::new(Code::StoreFailed, text).because(e)
    });
    Ok(ObjectMeta {
        key: key.to_owned(),
        size: size?,
        version: Version(object.generation.clone()),
        crc32c,
        updated: object.updated.unwrap_or(OffsetDateTime::UNIX_EPOCH),
    })
}
