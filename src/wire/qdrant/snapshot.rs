//! What Qdrant says of a snapshot, and what can be read from its name.

use crate::base::error::{Code, Error, Result};
use crate::base::hash::parse_sha256;
use serde::Deserialize;
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

const STAMP: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]");
const STAMP_LEN: usize = "2026-11-22-12-56-37".len();

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

    /// The SHA-256 that Qdrant computed, if it did.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.checksum.as_deref().and_then(parse_sha256)
    }
}

/// `{collection}-{peer_id}-{Y-m-d-H-M-S}.snapshot`: the time is that of the request, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotName {
    /// The collection, as far as the name tells.
    pub collection: String,
    /// The node.
    pub peer: u64,
    /// When it was asked for, to the second, by the node's clock.
    pub requested_at: OffsetDateTime,
}

impl SnapshotName {
    /// Reads a name; `None` when it is not one that Qdrant makes for a collection.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".snapshot")?;
        let (head, stamp) = stem.split_at_checked(stem.len().checked_sub(STAMP_LEN)?)?;
        let (collection, peer) = head.strip_suffix('-')?.rsplit_once('-')?;
        Some(Self {
            collection: collection.to_owned(),
            peer: peer.parse().ok()?,
            requested_at: PrimitiveDateTime::parse(stamp, STAMP).ok()?.assume_utc(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_name_tells_collection_node_and_second() {
        assert_eq!(
            SnapshotName::parse("my-docs-6125099711558545-2026-11-22-12-56-37.snapshot"),
            Some(SnapshotName {
                collection: "my-docs".into(),
                peer: 6_125_099_711_558_545,
                requested_at: datetime!(2026-11-22 12:56:37 UTC),
            })
        );
        for other in [
            "",
            ".snapshot",
            "uploaded.snapshot",
            "a-b-2026-11-22-12-56-37.snapshot",
            "é-2026-11-22-12-56-3.snapshot",
            "docs-shard-0-2026-11-22-12-56-37.tar",
        ] {
            assert_eq!(SnapshotName::parse(other), None, "{other}");
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
