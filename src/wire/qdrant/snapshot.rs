//! What Qdrant says of a snapshot, and what can be read from its name.

use crate::base::error::{Code, Error, Result};
use crate::base::hash::parse_sha256;
use crate::base::snapshot::ArtifactKind;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use std::fmt;
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

const STAMP: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]");
const STAMP_LEN: usize = "2026-11-22-12-56-37".len();

/// Of a collection with a longer name Qdrant may make no snapshot: it puts up to 70 bytes behind it, in the name of the folder in which
/// it works, and a file system takes 255 (seen on 1.18.3: of 195 bytes there is none).
pub(crate) const LONGEST_NAME: usize = 180;

/// What a snapshot is of: a collection, or the replica of one of its shards on the node that is asked.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOf<'a> {
    pub collection: &'a str,
    pub kind: ArtifactKind,
}

impl<'a> From<&'a str> for SnapshotOf<'a> {
    fn from(collection: &'a str) -> Self {
        Self {
            collection,
            kind: ArtifactKind::Collection,
        }
    }
}

impl<'a> From<&'a String> for SnapshotOf<'a> {
    fn from(collection: &'a String) -> Self {
        collection.as_str().into()
    }
}

/// For messages.
impl fmt::Display for SnapshotOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ArtifactKind::Collection => write!(f, "collection {:?}", self.collection),
            ArtifactKind::Shard(id) => write!(f, "shard {id} of collection {:?}", self.collection),
        }
    }
}

impl SnapshotOf<'_> {
    /// The path of its snapshots, or of what is `below` them.
    pub(super) fn path(&self, below: &[&str]) -> Vec<String> {
        self.path_to(&[&["snapshots"], below].concat())
    }

    /// The path of its number of points.
    pub(super) fn count_path(&self) -> Vec<String> {
        self.path_to(&["points", "count"])
    }

    /// The path of its points.
    pub(super) fn scroll_path(&self) -> Vec<String> {
        self.path_to(&["points", "scroll"])
    }

    fn path_to(self, what: &[&str]) -> Vec<String> {
        let mut path = vec!["collections".to_owned(), self.collection.to_owned()];
        if let ArtifactKind::Shard(id) = self.kind {
            path.extend(["shards".to_owned(), id.to_string()]);
        }
        path.extend(what.iter().map(|&segment| segment.to_owned()));
        path
    }
}

/// A snapshot on a node (Qdrant's `SnapshotDescription`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// File name.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 as lower-case hex. Absent with S3 snapshot storage and for uploaded files.
    pub checksum: Option<String>,
}

impl Snapshot {
    /// Refuses what Qdrant never answers: the name becomes part of a URL, the checksum is compared.
    pub(super) fn checked(self, doing: &str) -> Result<Self> {
        let wrong = |what: String| Err(Error::new(Code::QdrantUnexpected, format!("{doing}: {what}")));
        if matches!(self.name.as_str(), "" | "." | "..") || self.name.contains(['/', '\\', '\0']) {
            return wrong(format!("{:?} is not a valid snapshot name", self.name));
        }
        match &self.checksum {
            Some(sum) if parse_sha256(sum).is_none() => wrong(format!("{sum:?} is not a valid SHA-256")),
            _ => Ok(self),
        }
    }

    /// With the name by which Qdrant made it, and knows it in every other request: of S3 snapshot storage it lists the keys of the
    /// bucket, in which some characters are percent-encoded (seen on 1.18.3).
    pub(super) fn named_as_made(mut self, collection: &str) -> Self {
        let is_of = |name: &str| name.strip_prefix(collection).is_some_and(|rest| rest.starts_with('-'));
        if !is_of(&self.name)
            && let Ok(name) = percent_decode_str(&self.name).decode_utf8()
            && is_of(&name)
        {
            self.name = name.into_owned();
        }
        self
    }

    /// The SHA-256 that Qdrant computed, if it did.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.checksum.as_deref().and_then(parse_sha256)
    }
}

/// `{collection}-{peer_id}-{Y-m-d-H-M-S}.snapshot`, of a shard `{collection}-shard-{id}-{Y-m-d-H-M-S}.snapshot`: the time is that
/// of the request, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotName {
    /// The collection, as far as the name tells.
    pub collection: String,
    /// The node; the name of a shard's snapshot does not tell it.
    pub peer: Option<u64>,
    /// When it was asked for, to the second, by the node's clock.
    pub requested_at: OffsetDateTime,
}

impl SnapshotName {
    /// Reads a name; `None` when it is not one that Qdrant makes for a snapshot of this kind.
    pub(crate) fn parse(name: &str, kind: ArtifactKind) -> Option<Self> {
        let stem = name.strip_suffix(".snapshot")?;
        let (head, stamp) = stem.split_at_checked(stem.len().checked_sub(STAMP_LEN)?)?;
        let head = head.strip_suffix('-')?;
        let (collection, peer) = match kind {
            ArtifactKind::Collection => {
                let (collection, peer) = head.rsplit_once('-')?;
                (collection, Some(peer.parse().ok()?))
            }
            ArtifactKind::Shard(id) => (head.strip_suffix(&format!("-shard-{id}"))?, None),
        };
        Some(Self {
            collection: collection.to_owned(),
            peer,
            requested_at: PrimitiveDateTime::parse(stamp, STAMP).ok()?.assume_utc(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_key_of_a_bucket_is_the_name_that_was_made() {
        for (collection, listed, name) in [
            ("docs", "docs-1-x.snapshot", "docs-1-x.snapshot"),
            ("q#x", "q%23x-1-x.snapshot", "q#x-1-x.snapshot"),
            ("向", "%E5%90%91-1-x.snapshot", "向-1-x.snapshot"),
            ("a%20b", "a%2520b-1-x.snapshot", "a%20b-1-x.snapshot"),
            // In a directory it has its own name.
            ("a%20b", "a%20b-1-x.snapshot", "a%20b-1-x.snapshot"),
            // Somebody else's.
            ("docs", "doc%73.snapshot", "doc%73.snapshot"),
            ("docs", "my%20docs-1-x.snapshot", "my%20docs-1-x.snapshot"),
            ("q#x", "q%23x%FF-1", "q%23x%FF-1"),
        ] {
            let snapshot = Snapshot {
                name: listed.into(),
                size: 1,
                checksum: None,
            };
            assert_eq!(snapshot.named_as_made(collection).name, name);
        }
    }

    #[test]
    fn a_name_tells_collection_node_and_second() {
        let parse = |name, kind| {
            let name = SnapshotName::parse(name, kind)?;
            assert_eq!(name.requested_at, datetime!(2026-11-22 12:56:37 UTC));
            Some((name.collection, name.peer))
        };
        assert_eq!(
            parse(
                "my-docs-6125099711558545-2026-11-22-12-56-37.snapshot",
                ArtifactKind::Collection
            ),
            Some(("my-docs".to_owned(), Some(6_125_099_711_558_545)))
        );
        // The one form may be taken for the other.
        let shard = "my-docs-shard-12-2026-11-22-12-56-37.snapshot";
        assert_eq!(
            parse(shard, ArtifactKind::Shard(12)),
            Some(("my-docs".to_owned(), None))
        );
        assert_eq!(parse(shard, ArtifactKind::Shard(2)), None);
        assert_eq!(
            parse(shard, ArtifactKind::Collection),
            Some(("my-docs-shard".to_owned(), Some(12)))
        );
        for other in [
            "",
            ".snapshot",
            "uploaded.snapshot",
            "a-b-2026-11-22-12-56-37.snapshot",
            "é-2026-11-22-12-56-3.snapshot",
            "docs-shard-0-2026-11-22-12-56-37.tar",
        ] {
            for kind in [ArtifactKind::Collection, ArtifactKind::Shard(0)] {
                assert_eq!(SnapshotName::parse(other, kind), None, "{other}");
            }
        }
    }

    #[test]
    fn a_description_that_could_lead_elsewhere_is_refused() {
        let good = Snapshot {
            name: "a.snapshot".into(),
            size: 1,
            checksum: None,
        };
        assert!(good.clone().checked("x").is_ok());
        for name in ["", "..", "../a", "a/b", "a\\b"] {
            let bad = Snapshot {
                name: name.into(),
                ..good.clone()
            };
            assert_eq!(bad.checked("x").unwrap_err().code(), Code::QdrantUnexpected, "{name}");
        }
        let bad = Snapshot {
            checksum: Some("abc".into()),
            ..good
        };
        assert_eq!(bad.checked("x").unwrap_err().code(), Code::QdrantUnexpected);
    }
}
