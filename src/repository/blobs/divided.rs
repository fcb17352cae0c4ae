//! The object of a whole collection, read as the snapshot of one of its shards.

use super::{Blob, BlobSource};
use crate::base::error::{Code, Error, Result};
use crate::base::snapshot::split::{self, BLOCK, Finder, MARKER, Next, Part, Shards};
use crate::wire::store::{Source, Store};
use async_trait::async_trait;
use bytes::{Buf, Bytes};
use std::sync::Arc;

/// What is not needed is read all the same, if it is no more than this: asking anew takes longer.
const NEAR: u64 = 4 << 20;

/// Finds the shards in the object of a whole collection. Content of entries is passed over.
///
/// # Errors
/// [`Code::BackupDamaged`] for what is no such snapshot.
pub(crate) async fn divide(store: &Arc<dyn Store>, blob: &Blob) -> Result<Shards> {
    let mut source = BlobSource::new(store.clone(), blob);
    let mut finder = Finder::new(blob.meta.size);
    let mut buffer = Bytes::new();
    let mut next = Next::Block(0);
    while let Next::Block(at) = next {
        let block = block(&mut source, &mut buffer, at).await?;
        next = finder.block(at, &block).map_err(|why| {
            Error::new(
                Code::BackupDamaged,
                format!(
                    "{}/{} cannot be divided into its shards: {why}",
                    store.url(),
                    blob.meta.key
                ),
            )
            .remedy("verify the backup (`qdrant-backup verify ID`), or restore this collection from another one")
        })?;
    }
    Ok(finder.finish())
}

/// The block at `at`; `buffer` is what was read ahead of the source's offset.
async fn block(source: &mut BlobSource, buffer: &mut Bytes, at: u64) -> Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    let mut filled = 0;
    // Offset of the first byte in the buffer.
    let begins = source.at - buffer.len() as u64;
    if at > source.at + NEAR {
        buffer.clear();
        source.seek(at).await?;
    }
    let mut skip = at.saturating_sub(if buffer.is_empty() { source.at } else { begins });
    while filled < BLOCK {
        if buffer.is_empty() {
            *buffer = match source.next().await {
                Some(chunk) => chunk?,
                None => {
                    return Err(Error::new(
                        Code::BackupDamaged,
                        format!("{}/{} ends too early", source.store.url(), source.key),
                    )
                    .remedy("restore this collection from another backup"));
                }
            };
        }
        let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(buffer.len());
        buffer.advance(passed);
        skip -= passed as u64;
        let taken = buffer.len().min(BLOCK - filled);
        buffer.copy_to_slice(&mut block[filled..filled + taken]);
        filled += taken;
    }
    Ok(block)
}

/// The snapshot of a shard out of that of its collection.
pub(crate) struct ShardSource {
    blob: BlobSource,
    parts: Vec<Part>,
    /// The part that is read; their number: the end marker.
    part: usize,
    /// Bytes of it, or of the marker, that were handed out.
    within: u64,
}

impl ShardSource {
    pub(crate) fn new(store: Arc<dyn Store>, blob: &Blob, parts: Vec<Part>) -> Self {
        Self {
            blob: BlobSource::new(store, blob),
            parts,
            part: 0,
            within: 0,
        }
    }

    async fn step(&mut self) -> Result<Option<Bytes>> {
        while let Some(part) = self.parts.get(self.part) {
            let head = part.head.len() as u64;
            if self.within < head {
                let rest = part.head[self.within as usize..].to_vec();
                self.within = head;
                return Ok(Some(rest.into()));
            }
            let at = part.content.start + (self.within - head);
            if at >= part.content.end {
                self.part += 1;
                self.within = 0;
                continue;
            }
            self.blob.seek(at).await?;
            let Some(chunk) = self.blob.next().await else {
                return Err(Error::new(
                    Code::LengthMismatch,
                    format!("{}/{} ended early", self.blob.store.url(), self.blob.key),
                ));
            };
            let mut chunk = chunk?;
            let most = usize::try_from(part.content.end - at).unwrap_or(usize::MAX);
            if chunk.len() > most {
                // The rest belongs to others; where it goes on is asked for anew.
                chunk.truncate(most);
            }
            self.within += chunk.len() as u64;
            return Ok(Some(chunk));
        }
        let rest = &MARKER[(self.within as usize).min(MARKER.len())..];
        self.within = MARKER.len() as u64;
        Ok((!rest.is_empty()).then(|| Bytes::from_static(rest)))
    }
}

#[async_trait]
impl Source for ShardSource {
    fn len(&self) -> u64 {
        split::length(&self.parts)
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        self.step().await.transpose()
    }

    async fn seek(&mut self, offset: u64) -> Result<()> {
        (self.part, self.within) = (0, offset);
        while let Some(part) = self.parts.get(self.part) {
            let length = part.head.len() as u64 + (part.content.end - part.content.start);
            if self.within < length {
                break;
            }
            self.within -= length;
            self.part += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::store::{BytesSource, Condition, DirStore};

    /// A snapshot of two shards with long and with short entries.
    fn snapshot() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for shard in 0..2_u8 {
            for (file, length) in [
                ("segments/a.tar", 9 << 20),
                ("wal/open-1", 1000),
                ("shard_config.json", 0),
            ] {
                let mut header = tar::Header::new_gnu();
                header.set_size(length);
                let content: Vec<u8> = (0..length).map(|i| (i % 251) as u8 + shard).collect();
                tar.append_data(&mut header, format!("{shard}/{file}"), &content[..])
                    .unwrap();
            }
        }
        tar.into_inner().unwrap()
    }

    #[tokio::test]
    async fn a_shard_is_read_as_its_own_snapshot_from_any_offset() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(DirStore::open(dir.path()).await.unwrap());
        let whole = snapshot();
        let meta = store
            .put("a", Box::new(BytesSource::new(whole.clone())), Condition::Absent)
            .await
            .unwrap();
        let blob = Blob { meta };
        let shards = divide(&store, &blob).await.unwrap();
        assert_eq!(shards.len(), 2);
        for (shard, parts) in shards {
            let mut source = ShardSource::new(store.clone(), &blob, parts);
            let mut bytes = Vec::new();
            while let Some(chunk) = source.next().await {
                bytes.extend_from_slice(&chunk.unwrap());
            }
            assert_eq!(bytes.len() as u64, source.len());
            let mut names = Vec::new();
            for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
                let mut entry = entry.unwrap();
                names.push(entry.path().unwrap().to_string_lossy().into_owned());
                let mut content = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
                assert!(
                    content
                        .iter()
                        .enumerate()
                        .all(|(i, byte)| *byte == (i % 251) as u8 + shard as u8)
                );
            }
            assert_eq!(names, ["segments/a.tar", "wal/open-1", "shard_config.json"]);
            for offset in [
                0,
                1,
                511,
                512,
                9 << 20,
                bytes.len() as u64 - 1024,
                bytes.len() as u64 - 1,
                bytes.len() as u64,
            ] {
                source.seek(offset).await.unwrap();
                let mut rest = Vec::new();
                while let Some(chunk) = source.next().await {
                    rest.extend_from_slice(&chunk.unwrap());
                }
                assert!(rest == bytes[offset as usize..], "{offset}");
            }
        }
    }
}
