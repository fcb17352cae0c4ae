//! The shards in the snapshot of a whole collection, each as the snapshot of that shard alone.
//!
//! The entries of shard 3 are `3/…`; in a snapshot of the shard they are the same without `3/`. So its archive is made of the same
//! headers with shorter names, the same content, and an end marker. Only headers are read to find that out: a reader may skip what is
//! between them.

use super::tar::LARGEST_FILE;
use super::tar::header::{checksum, number, short_name, until_nul};
use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) use super::tar::BLOCK;

/// What ends an archive.
pub(crate) const MARKER: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Entries of one snapshot; Qdrant makes some dozens for each shard.
const MOST_ENTRIES: usize = 100_000;
/// Bytes of headers that are kept.
const MOST_HEADERS: usize = 64 << 20;

/// An entry in the archive of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its header.
    pub(crate) head: Vec<u8>,
    /// Where its content is in the snapshot of the collection, up to the next header.
    pub(crate) content: Range<u64>,
}

/// The archive of each shard.
pub(crate) type Shards = BTreeMap<u32, Vec<Part>>;

/// What a reader is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Give the block at this offset.
    Block(u64),
    /// Nothing: all is known.
    End,
}

/// Finds the shards in a snapshot of so many bytes.
pub(crate) struct Finder {
    length: u64,
    shards: Shards,
    entries: usize,
    headers: usize,
    /// The header of a sparse file goes on in the next block.
    open: Option<Open>,
}

/// A header of which blocks are missing.
struct Open {
    shard: Option<u32>,
    head: Vec<u8>,
    size: u64,
}

impl Finder {
    pub(crate) fn new(length: u64) -> Self {
        Self {
            length,
            shards: Shards::new(),
            entries: 0,
            headers: 0,
            open: None,
        }
    }

    /// Takes the block at `at`: first the one at 0, then the one that it asks for.
    ///
    /// # Errors
    /// Why the snapshot cannot be divided.
    pub(crate) fn block(&mut self, at: u64, block: &[u8; BLOCK]) -> Result<Next, String> {
        let behind = at + BLOCK as u64;
        if let Some(mut open) = self.open.take() {
            open.head.extend_from_slice(block);
            self.count(BLOCK)?;
            return match block[504] {
                0 => self.entry(open, behind),
                _ => self.more(open, behind),
            };
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Next::End);
        }
        let broken = |why: &str| format!("at byte {at}: {why}");
        if number(&block[148..156]) != Some(checksum(block)) {
            return Err(broken("invalid entry header"));
        }
        let size = number(&block[124..136]).filter(|size| *size <= LARGEST_FILE);
        let Some(size) = size else {
            return Err(broken("invalid size of an entry"));
        };
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(broken("too many entries"));
        }
        let flag = block[156];
        let name = short_name(block);
        let name = String::from_utf8_lossy(until_nul(&name)).into_owned();
        let (shard, inside) = match name.split_once('/') {
            Some((shard, inside)) if !inside.is_empty() => {
                let id = shard.parse::<u32>().ok().filter(|id| id.to_string() == shard);
                (id, inside)
            }
            // Files of the collection, and the folders of its shards.
            _ => (None, ""),
        };
        let is_plain = matches!(flag, b'0' | 0 | b'5' | b'S');
        if !is_plain {
            return Err(broken("an entry of another kind than Qdrant makes"));
        }
        let open = Open {
            shard,
            head: match shard {
                Some(_) => renamed(block, inside).ok_or_else(|| broken("a name that cannot be shortened"))?,
                None => Vec::new(),
            },
            size,
        };
        self.count(BLOCK)?;
        match flag == b'S' && block[482] != 0 {
            true => self.more(open, behind),
            false => self.entry(open, behind),
        }
    }

    /// The archive of each shard, after [`Next::End`].
    pub(crate) fn finish(self) -> Shards {
        self.shards
    }

    fn more(&mut self, open: Open, behind: u64) -> Result<Next, String> {
        self.open = Some(open);
        self.next(behind)
    }

    fn entry(&mut self, open: Open, behind: u64) -> Result<Next, String> {
        let end = behind + open.size.next_multiple_of(BLOCK as u64);
        if let Some(shard) = open.shard {
            self.shards.entry(shard).or_default().push(Part {
                head: open.head,
                content: behind..end,
            });
        }
        self.next(end)
    }

    fn next(&self, at: u64) -> Result<Next, String> {
        match at.checked_add(BLOCK as u64).is_some_and(|end| end <= self.length) {
            true => Ok(Next::Block(at)),
            false => Err(format!(
                "it ends within an entry, or without an end marker, after {} bytes",
                self.length
            )),
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), String> {
        self.headers += bytes;
        match self.headers > MOST_HEADERS {
            true => Err("its headers are too large".to_owned()),
            false => Ok(()),
        }
    }
}

/// The header with another name, if it has the room.
fn renamed(block: &[u8; BLOCK], name: &str) -> Option<Vec<u8>> {
    // Of a POSIX archive a part of the name stands elsewhere.
    let has_prefix = &block[257..263] == b"ustar\0" && block[345] != 0;
    if has_prefix || name.len() >= 100 {
        return None;
    }
    let mut head = *block;
    head[..100].fill(0);
    head[..name.len()].copy_from_slice(name.as_bytes());
    let sum = format!("{:06o}\0 ", checksum(&head));
    head[148..156].copy_from_slice(sum.as_bytes());
    Some(head.to_vec())
}

/// Bytes of the archive of a shard.
pub(crate) fn length(parts: &[Part]) -> u64 {
    let parts = parts
        .iter()
        .map(|part| part.head.len() as u64 + (part.content.end - part.content.start));
    crate::base::total::total(parts).saturating_add(MARKER.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::snapshot::{ArtifactKind, Expected, Structure};

    /// Reads as a reader does that can skip.
    fn find(archive: &[u8]) -> Result<Shards, String> {
        let mut finder = Finder::new(archive.len() as u64);
        let mut at = 0;
        loop {
            let from = at as usize;
            let block: &[u8; BLOCK] = archive
                .get(from..from + BLOCK)
                .and_then(|block| block.try_into().ok())
                .ok_or("asked for a block behind the end")?;
            match finder.block(at, block)? {
                Next::Block(next) => at = next,
                Next::End => return Ok(finder.finish()),
            }
        }
    }

    fn archive(parts: &[Part], from: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&part.head);
            bytes.extend_from_slice(&from[part.content.start as usize..part.content.end as usize]);
        }
        bytes.extend_from_slice(&[0; 2 * BLOCK]);
        assert_eq!(bytes.len() as u64, length(parts));
        bytes
    }

    fn problems(kind: ArtifactKind, shards: &[u32], bytes: &[u8]) -> Vec<String> {
        let mut structure = Structure::new(Expected {
            kind,
            shards: shards.to_vec(),
            holds_points: true,
        });
        structure.feed(bytes);
        structure.finish()
    }

    fn two_shards() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content).unwrap();
        };
        for shard in [1, 12] {
            let mut segment = tar::Builder::new(Vec::new());
            for file in ["snapshot/files/segment.json", "snapshot/files/version.info"] {
                let mut header = tar::Header::new_gnu();
                header.set_size(700);
                segment.append_data(&mut header, file, &[shard as u8; 700][..]).unwrap();
            }
            add(&format!("{shard}/segments/0a.tar"), &segment.into_inner().unwrap());
            add(&format!("{shard}/wal/open-1"), &[7; 1000]);
            add(&format!("{shard}/replica_state.json"), b"{}");
            add(&format!("{shard}/shard_config.json"), b"{}");
        }
        for file in [
            "version.info",
            "config.json",
            "shard_key_mapping.json",
            "payload_index.json",
        ] {
            add(file, b"{}");
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn each_shard_is_a_snapshot_of_its_own() {
        let whole = two_shards();
        assert_eq!(problems(ArtifactKind::Collection, &[1, 12], &whole), [""; 0]);
        let shards = find(&whole).unwrap();
        assert_eq!(shards.keys().copied().collect::<Vec<_>>(), [1, 12]);
        for (shard, parts) in &shards {
            let one = archive(parts, &whole);
            assert_eq!(problems(ArtifactKind::Shard(*shard), &[], &one), [""; 0]);
            let names: Vec<_> = tar::Archive::new(&one[..])
                .entries()
                .unwrap()
                .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
                .collect();
            assert_eq!(
                names,
                [
                    "segments/0a.tar",
                    "wal/open-1",
                    "replica_state.json",
                    "shard_config.json"
                ]
            );
        }
    }

    #[test]
    fn what_is_cut_is_divided_nowhere() {
        let whole = two_shards();
        // Its last two blocks are the marker, of which one is enough to see the end.
        for end in (0..whole.len() - BLOCK).step_by(BLOCK / 2) {
            assert!(find(&whole[..end]).is_err(), "{end} of {}", whole.len());
        }
        let mut claims = whole.clone();
        claims[124..136].copy_from_slice(b"77777777777\0");
        let sum = format!("{:06o}\0 ", checksum(claims[..BLOCK].try_into().unwrap()));
        claims[148..156].copy_from_slice(sum.as_bytes());
        assert!(find(&claims).is_err());
    }
}
