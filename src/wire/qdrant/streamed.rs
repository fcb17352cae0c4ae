//! Reading a shard as Qdrant streams it: no snapshot is written to Qdrant's disk, and nothing can be asked for again.
//!
//! There is no length, checksum or range, and a failure inside Qdrant ends the stream as if it were whole: whether it is shows in
//! what arrived (`base::snapshot`). From 1.18.2 on Qdrant ends a stream that is not read for 300 s, and before that such a reader
//! holds the shard's lock for ever; so it is read until it ends or is dropped, which closes the connection.

use super::answer::refused;
use super::download::{text, unencoded};
use super::http::Http;
use crate::base::error::{Code, Error, Result};
use crate::wire::store::ByteStream;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::{Method, Response};
use tokio::time::timeout;
use url::Url;

/// What is shorter is collected, however small the pieces are in which it comes: each costs some memory beside its bytes.
const BLOCK: usize = 64 << 10;

/// A shard that is being read.
#[derive(Debug)]
pub struct ShardStream {
    http: Http,
    doing: String,
    /// Away after the last byte, and after a failure.
    response: Option<Response>,
    /// What came and is not handed out.
    collected: BytesMut,
    /// Bytes that came.
    at: u64,
    is_over: bool,
}

impl ShardStream {
    /// Asks for the stream and waits for its first bytes, for which Qdrant works through the updates that wait, and through the
    /// other snapshots of the shard.
    pub(super) async fn open(http: Http, url: Url, doing: String) -> Result<Self> {
        let limit = http.options().first_byte;
        let begin = async {
            let mut response = loop {
                let (request, sent) = http.with_key(http.request(Method::GET, url.clone()))?;
                http.options().pause.over().await;
                let mut response = request.send().await.map_err(|e| http.unreachable(&doing, e))?;
                match response.status().as_u16() {
                    200 => break response,
                    status if http.has_another_key(status, sent).await => {}
                    status => return Err(refused(status, &text(&mut response).await, &doing)),
                }
            };
            unencoded(&response, &doing)?;
            let first = response.chunk().await.map_err(|e| http.unreachable(&doing, e))?;
            Ok((response, first))
        };
        let (response, first) = timeout(limit, begin).await.map_err(|_| {
            Error::new(Code::Stalled, format!("{doing}: no byte within {limit:?}")).remedy(
                "wait until no other client reads or makes a snapshot of this shard, and check Qdrant's load; then try again. \
                 BACKUP_FIRST_BYTE_TIMEOUT_SECS is the limit",
            )
        })??;
        let first = first.unwrap_or_default();
        Ok(Self {
            at: first.len() as u64,
            collected: BytesMut::from(first),
            response: Some(response),
            is_over: false,
            doing,
            http,
        })
    }

    async fn step(&mut self) -> Result<Option<Bytes>> {
        let idle = self.http.options().idle;
        while self.collected.len() < BLOCK && !self.is_over {
            let Some(response) = &mut self.response else {
                return Err(Error::new(
                    Code::Internal,
                    format!("{}: read again after a failure", self.doing),
                ));
            };
            let piece = timeout(idle, response.chunk()).await.map_err(|_| {
                Error::new(
                    Code::Stalled,
                    format!("{}: no byte for {idle:?}, after {} bytes", self.doing, self.at),
                )
                .remedy("check Qdrant's load and the network; BACKUP_IDLE_TIMEOUT_SECS is the limit")
            })?;
            match piece.map_err(|e| self.http.unreachable(&self.doing, e))? {
                None => self.is_over = true,
                Some(piece) => {
                    self.at += piece.len() as u64;
                    if self.collected.is_empty() && piece.len() >= BLOCK {
                        return Ok(Some(piece));
                    }
                    self.collected.extend_from_slice(&piece);
                }
            }
        }
        let bytes = self.collected.split().freeze();
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}

#[async_trait]
impl ByteStream for ShardStream {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        let step = self.step().await;
        if self.is_over || step.is_err() {
            // Of what failed nothing more is read: Qdrant is told so at once.
            self.response = None;
        }
        step.transpose()
    }
}
