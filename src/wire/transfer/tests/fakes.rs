//! A source that follows a script, and a store in memory with faults.

use crate::base::error::{BoxError, Code, Error, Result};
use crate::wire::store::{ByteStream, Condition, Folder, ObjectMeta, Source, Store, Version};
use crate::wire::transfer::Expected;
use async_trait::async_trait;
use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::{
    collections::HashMap,
    future::pending,
    ops::Range,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use time::OffsetDateTime;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

/// Bytes in which no two places look alike.
pub(super) fn body(len: usize) -> Vec<u8> {
    (0..len.div_ceil(8) as u64)
        .flat_map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .take(len)
        .collect()
}

pub(super) fn expected(bytes: &[u8]) -> Expected {
    let hash = digest::digest(&digest::SHA256, bytes);
    Expected {
        bytes: bytes.len() as u64,
        sha256: hash.as_ref().try_into().ok(),
        crc32c: None,
    }
}

/// Bytes alive, and the most there ever were.
#[derive(Default)]
pub(super) struct Alive {
    now: AtomicUsize,
    pub(super) most: AtomicUsize,
}

struct Tracked(Vec<u8>, Arc<Alive>);

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.1.now.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

#[derive(Clone)]
pub(super) struct Script {
    bytes: Arc<Vec<u8>>,
    chunk: usize,
    at: usize,
    claims: u64,
    silent_after: Option<usize>,
    fails_after: Option<usize>,
    pause: Duration,
    alive: Option<Arc<Alive>>,
}

impl Script {
    pub(super) fn new(bytes: &[u8], chunk: usize) -> Self {
        Self {
            bytes: Arc::new(bytes.to_vec()),
            chunk,
            at: 0,
            claims: bytes.len() as u64,
            silent_after: None,
            fails_after: None,
            pause: Duration::ZERO,
            alive: None,
        }
    }

    pub(super) fn claiming(mut self, len: u64) -> Self {
        self.claims = len;
        self
    }

    pub(super) fn silent_after(mut self, bytes: usize) -> Self {
        self.silent_after = Some(bytes);
        self
    }

    pub(super) fn failing_after(mut self, bytes: usize) -> Self {
        self.fails_after = Some(bytes);
        self
    }

    pub(super) fn pausing(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    pub(super) fn counting_memory(mut self) -> Self {
        self.alive = Some(Arc::default());
        self
    }

    pub(super) fn memory(&self) -> Arc<Alive> {
        self.alive.clone().unwrap_or_default()
    }

    /// Does not upgrade any more once the source has been dropped.
    pub(super) fn gone(&self) -> Weak<Vec<u8>> {
        Arc::downgrade(&self.bytes)
    }
}

#[async_trait]
impl Source for Script {
    fn len(&self) -> u64 {
        self.claims
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.silent_after.is_some_and(|at| self.at >= at) {
            pending::<()>().await;
        }
        if self.fails_after.is_some_and(|at| self.at >= at) {
            return Some(Err(Error::new(Code::SnapshotChanged, "it is another one")));
        }
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        let end = self.bytes.len().min(self.at + self.chunk);
        let chunk = &self.bytes[self.at..end];
        self.at = end;
        if chunk.is_empty() {
            return None;
        }
        Some(Ok(match &self.alive {
            None => Bytes::copy_from_slice(chunk),
            Some(alive) => {
                let now = alive.now.fetch_add(chunk.len(), Ordering::SeqCst) + chunk.len();
                alive.most.fetch_max(now, Ordering::SeqCst);
                Bytes::from_owner(Tracked(chunk.to_vec(), Arc::clone(alive)))
            }
        }))
    }

    async fn seek(&mut self, offset: u64) -> Result<()> {
        self.at = offset as usize;
        Ok(())
    }
}

/// Read once, as a stream.
#[async_trait]
impl ByteStream for Script {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        Source::next(self).await
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// At so many bytes received, goes on from the other offset.
    Resume(Vec<(usize, usize)>),
    OtherCrc,
    NoCrc,
    OtherSize,
    NoDelete,
    /// Calls the object complete after the first chunk.
    StopsReading,
    SilentAfter(usize),
    SlowCommit(Duration),
    /// Before each chunk.
    Pausing(Duration),
    /// Reads the body in a task of its own, as an HTTP connection does.
    ReadsInATask,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    faults: Vec<Fault>,
    objects: Mutex<HashMap<String, Vec<u8>>>,
    received: watch::Sender<usize>,
    task: Mutex<Option<JoinHandle<Result<Vec<u8>>>>>,
}

impl Memory {
    pub(super) fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    pub(super) fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.objects.lock().unwrap().get(key).cloned()
    }

    /// Bytes that came out of the source, those that came twice counted twice.
    pub(super) fn received(&self) -> usize {
        *self.received.borrow()
    }

    pub(super) async fn until_received(&self, bytes: usize) {
        let mut received = self.received.subscribe();
        received.wait_for(|n| *n >= bytes).await.unwrap();
    }

    pub(super) async fn reading_task(&self) -> Result<Result<Vec<u8>>, BoxError> {
        let task = self.task.lock().unwrap().take().ok_or("no task")?;
        Ok(task.await?)
    }
}

async fn read(faults: Vec<Fault>, received: watch::Sender<usize>, mut source: Box<dyn Source>) -> Result<Vec<u8>> {
    let mut held = Vec::new();
    let mut resumes = Vec::new();
    for fault in &faults {
        if let Fault::Resume(at) = fault {
            resumes.extend(at.iter().copied());
        }
    }
    source.seek(0).await?;
    loop {
        for fault in &faults {
            match fault {
                Fault::SilentAfter(bytes) if held.len() >= *bytes => pending().await,
                Fault::StopsReading if !held.is_empty() => return Ok(held),
                Fault::Pausing(pause) => sleep(*pause).await,
                _ => {}
            }
        }
        if let Some((at, to)) = resumes.first().copied()
            && held.len() >= at
        {
            resumes.remove(0);
            source.seek(to as u64).await?;
            held.truncate(to);
        }
        let Some(chunk) = source.next().await else {
            return Ok(held);
        };
        let chunk = chunk?;
        received.send_modify(|n| *n += chunk.len());
        held.extend_from_slice(&chunk);
    }
}

impl Memory {
    async fn write(&self, key: &str, source: Box<dyn Source>) -> Result<ObjectMeta> {
        let reading = read(self.faults.clone(), self.received.clone(), source);
        let held = if self.faults.contains(&Fault::ReadsInATask) {
            *self.task.lock().unwrap() = Some(tokio::spawn(reading));
            pending().await
        } else {
            reading.await?
        };
        let mut meta = ObjectMeta {
            key: key.into(),
            size: held.len() as u64,
            version: Version("1".into()),
            crc32c: Some(crc32c::crc32c(&held)),
            updated: OffsetDateTime::UNIX_EPOCH,
        };
        for fault in &self.faults {
            match fault {
                Fault::OtherCrc => meta.crc32c = meta.crc32c.map(|crc| crc ^ 1),
                Fault::NoCrc => meta.crc32c = None,
                Fault::OtherSize => meta.size += 1,
                Fault::SlowCommit(time) => sleep(*time).await,
                _ => {}
            }
        }
        self.objects.lock().unwrap().insert(key.into(), held);
        Ok(meta)
    }
}

/// A stream as what [`read`] reads.
struct Once(Box<dyn ByteStream>);

#[async_trait]
impl Source for Once {
    fn len(&self) -> u64 {
        unreachable!("nobody knows it")
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        self.0.next().await
    }

    async fn seek(&mut self, offset: u64) -> Result<()> {
        assert_eq!(offset, 0, "no byte can be had again");
        Ok(())
    }
}

#[async_trait]
impl Store for Memory {
    fn url(&self) -> String {
        "memory:".into()
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, _: Condition) -> Result<ObjectMeta> {
        self.write(key, source).await
    }

    async fn put_stream(&self, key: &str, stream: Box<dyn ByteStream>) -> Result<ObjectMeta> {
        self.write(key, Box::new(Once(stream))).await
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        if self.faults.contains(&Fault::NoDelete) {
            return Err(Error::new(Code::StoreForbidden, "may not delete"));
        }
        assert_eq!(version.0, "1");
        Ok(self.objects.lock().unwrap().remove(key).is_some())
    }

    async fn get(
        &self,
        _: &str,
        _: Option<Range<u64>>,
        _: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        unreachable!("the relay does not read back")
    }

    async fn head(&self, _: &str) -> Result<Option<ObjectMeta>> {
        unreachable!("the relay does not look")
    }

    async fn list(&self, _: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        unreachable!("the relay does not list")
    }

    async fn folder(&self, _: &str) -> Result<Folder> {
        unreachable!("the relay does not list")
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}
