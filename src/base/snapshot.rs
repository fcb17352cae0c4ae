//! Whether the tar of a snapshot has all that a restore needs. Read as its bytes pass; memory does not depend on its size.
//!
//! What Qdrant 1.16 to 1.19 write (`collection/snapshots.rs`, `local_shard/snapshot.rs` and `segment/snapshot.rs` there):
//! ```text
//!                 whole collection                 one shard
//! segment         {shard}/segments/{uuid}.tar      segments/{uuid}.tar        nested: snapshot/files/…
//!   or, streamed                                   segments/{uuid}/…          files/…
//! write-ahead log {shard}/wal, {shard}/wal/*       wal, wal/*
//! state           {shard}/replica_state.json …     replica_state.json, shard_config.json
//! collection      version.info, config.json, shard_key_mapping.json, payload_index.json
//! ```
//! A segment's `segment.json` and `version.info` are written last, as are the shard's state and the collection's files, so what
//! was cut between two entries lacks some of them. Of one shard it is asked that its state ends the archive: a stream that fails
//! inside Qdrant ends as if it were whole, without a length or a checksum that would tell. Everything else comes and goes with versions (`newest_clocks.json`,
//! `applied_seq.json`, `segments_manifest.json`, RocksDB's files) and is not asked for. Qdrant does not finish the nested
//! archives: they have no end marker, unlike the outer one.

pub(crate) mod split;
mod tar;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tar::{Ending, Event, Kind, Tar};

/// Files without which a collection cannot be restored.
const COLLECTION: [&str; 4] = [
    "version.info",
    "config.json",
    "shard_key_mapping.json",
    "payload_index.json",
];
/// Files without which a shard cannot be restored; without the log Qdrant takes the shard as absent.
const SHARD: [&str; 2] = ["replica_state.json", "shard_config.json"];
/// Files without which a segment cannot be loaded.
const SEGMENT: [&str; 2] = ["segment.json", "version.info"];
/// Where the files of a segment are, nested and streamed.
const NESTED: &str = "snapshot/files/";
const STREAMED: &str = "files/";

/// No file system takes longer names of files and folders, in bytes.
const LONGEST_PART: usize = 255;
/// Characters of a name that are told.
const TOLD: usize = 300;
/// What is said of one snapshot, at most.
const MOST_PROBLEMS: usize = 20;
/// Shards and segments that are kept account of; Qdrant has far fewer.
const MOST_PARTS: usize = 100_000;

/// What an artifact is a snapshot of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactKind {
    /// A whole collection of a standalone node.
    Collection,
    /// The shard of this id.
    Shard(u32),
}

/// What is known of a snapshot before it is read.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What it is a snapshot of.
    pub kind: ArtifactKind,
    /// Shards that a whole collection must have.
    pub shards: Vec<u32>,
    /// Whether the collection had any points: only an empty shard may be without segments.
    pub holds_points: bool,
}

/// Reads the structure of one snapshot.
pub struct Structure {
    outer: Tar,
    contents: Contents,
}

struct Contents {
    expected: Expected,
    collection: SeenFiles<4>,
    shards: BTreeMap<String, Shard>,
    parts: usize,
    nested: Option<Nested>,
    /// What the last two entries are, by [`SHARD`].
    last: [Option<usize>; 2],
    problems: Vec<String>,
    more_problems: usize,
}

#[derive(Default)]
struct Shard {
    log: bool,
    files: SeenFiles<2>,
    segments: BTreeMap<String, SeenFiles<2>>,
}

/// The archive of a segment that is being read.
struct Nested {
    name: String,
    shard: String,
    segment: String,
    tar: Tar,
}

/// Which files of a table have been seen.
type SeenFiles<const N: usize> = [bool; N];

impl Structure {
    /// A reader for a snapshot of which this is known.
    pub fn new(expected: Expected) -> Self {
        let mut contents = Contents {
            collection: SeenFiles::default(),
            shards: BTreeMap::new(),
            parts: 0,
            nested: None,
            last: [None; 2],
            problems: Vec::new(),
            more_problems: 0,
            expected,
        };
        match contents.expected.kind {
            ArtifactKind::Collection => {
                for shard in contents.expected.shards.clone() {
                    contents.shards.entry(shard.to_string()).or_default();
                }
            }
            ArtifactKind::Shard(_) => drop(contents.shards.entry(String::new()).or_default()),
        }
        Self {
            outer: Tar::new(),
            contents,
        }
    }

    /// Takes the next bytes of the snapshot.
    pub fn feed(&mut self, bytes: &[u8]) {
        let contents = &mut self.contents;
        if let Err(broken) = self.outer.feed(bytes, &mut |event| contents.take(event)) {
            contents.problem(format!("the archive is corrupt at byte {}: {}", broken.at, broken.why));
        }
    }

    /// What is wrong with the snapshot, after its last byte. Empty: nothing.
    pub fn finish(self) -> Vec<String> {
        let Self { outer, mut contents } = self;
        let whole = match outer.ending() {
            _ if outer.is_broken() => false,
            Ending::Marker => true,
            Ending::NoMarker => {
                contents.problem(format!(
                    "the archive has no end marker: truncated after byte {}",
                    outer.offset()
                ));
                true
            }
            Ending::Cut => {
                contents.problem(format!(
                    "the archive ends inside an entry, after byte {}",
                    outer.offset()
                ));
                true
            }
        };
        // Of what lies behind a broken entry nothing is known.
        if whole {
            contents.missing();
        }
        if contents.more_problems > 0 {
            contents.problems.push(format!("and {} more", contents.more_problems));
        }
        contents.problems
    }
}

impl Contents {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Entry { name, kind } => self.entry(name, kind),
            Event::Data(bytes) => self.in_nested(|tar, tell| tar.feed(bytes, tell)),
            Event::Hole(len) => self.in_nested(|tar, tell| tar.feed_zeros(len, tell)),
            Event::End => self.end_of_nested(),
        }
    }

    fn entry(&mut self, name: &str, kind: Kind) {
        self.last = [self.last[1], None];
        let Some(path) = self.checked_path(name, kind, "") else {
            return;
        };
        let (shard, inside) = match self.expected.kind {
            ArtifactKind::Shard(_) => ("", path.as_str()),
            ArtifactKind::Collection => match path.split_once('/') {
                Some((shard, inside)) => (shard, inside),
                None => {
                    if kind == Kind::File
                        && let Some(i) = COLLECTION.iter().position(|file| *file == path)
                        && std::mem::replace(&mut self.collection[i], true)
                    {
                        self.duplicate(&path);
                    }
                    return;
                }
            },
        };
        if !self.shards.contains_key(shard) {
            // Folders of collections are numbers; anything else is none of ours.
            let is_number = shard.parse::<u32>().is_ok_and(|id| id.to_string() == shard);
            if !is_number || !self.one_more_part() {
                return;
            }
            self.shards.insert(shard.to_owned(), Shard::default());
        }
        let (shard, inside) = (shard.to_owned(), inside.to_owned());
        self.shard_entry(&path, &shard, &inside, kind);
    }

    fn shard_entry(&mut self, path: &str, shard: &str, inside: &str, kind: Kind) {
        let Some(found) = self.shards.get_mut(shard) else {
            return;
        };
        if inside == "wal" || inside.starts_with("wal/") {
            found.log = true;
        } else if let Some(i) = SHARD.iter().position(|file| *file == inside && kind == Kind::File) {
            self.last[1] = Some(i);
            if std::mem::replace(&mut found.files[i], true) {
                self.duplicate(path);
            }
        } else if let Some(rest) = inside.strip_prefix("segments/") {
            match rest.split_once('/') {
                // What is streamed into it comes next, or the stream ended here.
                None if kind == Kind::Directory => {
                    if self.expected.kind != ArtifactKind::Collection {
                        self.segment(shard, rest);
                    }
                }
                None => match rest.strip_suffix(".tar") {
                    Some(segment) if found.segments.contains_key(segment) => self.duplicate(path),
                    Some(segment) => {
                        self.nested = Some(Nested {
                            name: path.to_owned(),
                            shard: shard.to_owned(),
                            segment: segment.to_owned(),
                            tar: Tar::new(),
                        });
                        self.segment(shard, segment);
                    }
                    // Hidden files of a live directory and the like.
                    None => {}
                },
                Some((segment, file)) => {
                    self.segment(shard, segment);
                    self.segment_file(path, shard, segment, file.strip_prefix(STREAMED), kind);
                }
            }
        }
    }

    /// Accounts for a segment.
    fn segment(&mut self, shard: &str, segment: &str) {
        let known = |found: &Shard| found.segments.contains_key(segment);
        if !self.shards.get(shard).is_some_and(known) && self.one_more_part() {
            let found = self.shards.entry(shard.to_owned()).or_default();
            found.segments.insert(segment.to_owned(), SeenFiles::default());
        }
    }

    fn segment_file(&mut self, path: &str, shard: &str, segment: &str, file: Option<&str>, kind: Kind) {
        let Some(i) = SEGMENT
            .iter()
            .position(|known| Some(*known) == file && kind == Kind::File)
        else {
            return;
        };
        let found = self
            .shards
            .get_mut(shard)
            .and_then(|found| found.segments.get_mut(segment));
        if found.is_some_and(|files| std::mem::replace(&mut files[i], true)) {
            self.duplicate(path);
        }
    }

    fn in_nested(&mut self, feed: impl FnOnce(&mut Tar, &mut dyn FnMut(Event<'_>)) -> Result<(), tar::TarError>) {
        // Out of its place for the call, which tells this very struct what it finds.
        let Some(mut nested) = self.nested.take() else {
            return;
        };
        let Nested {
            name,
            shard,
            segment,
            tar,
            ..
        } = &mut nested;
        let fed = feed(tar, &mut |event| {
            if let Event::Entry { name: inner, kind } = event
                && let Some(path) = self.checked_path(inner, kind, name)
            {
                let whole = format!("{name}: {path}");
                self.segment_file(&whole, shard, segment, path.strip_prefix(NESTED), kind);
            }
        });
        if let Err(broken) = fed {
            self.problem(format!("{name} is corrupt at its byte {}: {}", broken.at, broken.why));
        }
        self.nested = Some(nested);
    }

    fn end_of_nested(&mut self) {
        let Some(nested) = self.nested.take() else {
            return;
        };
        // No marker is no fault here, see the module's text.
        if nested.tar.ending() == Ending::Cut && !nested.tar.is_broken() {
            self.problem(format!(
                "{} ends inside an entry, after its byte {}",
                nested.name,
                nested.tar.offset()
            ));
        }
    }

    /// The path without `./`; none, and a problem, for what Qdrant would refuse or what would leave its directory.
    fn checked_path(&mut self, name: &str, kind: Kind, within: &str) -> Option<String> {
        let told = match name.char_indices().nth(TOLD) {
            Some((end, _)) => format!("{:?}…", &name[..end]),
            None => format!("{name:?}"),
        };
        let shown = match within {
            "" => format!("entry {told}"),
            within => format!("entry {told} of {within}"),
        };
        if let Kind::Other(flag) = kind {
            self.problem(format!(
                "{shown} has type {:?}; Qdrant accepts only files and directories",
                char::from(flag)
            ));
            return None;
        }
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            self.problem(format!("{shown} points outside its directory"));
            return None;
        }
        let parts: Vec<_> = name
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        // Names are kept as long as the snapshot is read.
        if parts.iter().any(|part| part.len() > LONGEST_PART) {
            self.problem(format!("{shown} has a part of more than {LONGEST_PART} bytes"));
            return None;
        }
        Some(parts.join("/"))
    }

    /// Says what a restore would miss.
    fn missing(&mut self) {
        if self.expected.kind == ArtifactKind::Collection {
            self.lacking("the snapshot", &COLLECTION, self.collection);
        }
        for (id, shard) in std::mem::take(&mut self.shards) {
            let what = match id.as_str() {
                "" => "the shard".to_owned(),
                id => format!("shard {id}"),
            };
            self.lacking(&what, &SHARD, shard.files);
            let is_one = self.expected.kind != ArtifactKind::Collection;
            if is_one && shard.files == [true; 2] && self.last != [Some(0), Some(1)] {
                self.problem(format!("the last entries of {what} are not {}", SHARD.join(" and ")));
            }
            if !shard.log {
                self.problem(format!(
                    "{what} has no write-ahead log (wal): Qdrant treats it as not in the snapshot"
                ));
            }
            if shard.segments.is_empty() && self.expected.holds_points {
                self.problem(format!("{what} has no segment"));
            }
            for (segment, files) in shard.segments {
                self.lacking(&format!("segment {segment} of {what}"), &SEGMENT, files);
            }
        }
    }

    fn lacking<const N: usize>(&mut self, what: &str, files: &[&str; N], seen: SeenFiles<N>) {
        for (file, _) in files.iter().zip(seen).filter(|(_, seen)| !seen) {
            self.problem(format!("{what} has no {file}"));
        }
    }

    fn one_more_part(&mut self) -> bool {
        self.parts += 1;
        if self.parts == MOST_PARTS {
            self.problem(format!("more than {MOST_PARTS} shards and segments"));
        }
        self.parts < MOST_PARTS
    }

    fn duplicate(&mut self, path: &str) {
        self.problem(format!("{path} occurs twice"));
    }

    fn problem(&mut self, text: String) {
        match self.problems.len() < MOST_PROBLEMS {
            true => self.problems.push(text),
            false => self.more_problems += 1,
        }
    }
}

#[cfg(test)]
mod tests;
