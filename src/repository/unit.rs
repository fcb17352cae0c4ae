//! The unit of work: one artifact.

use crate::base::snapshot::ArtifactKind;
use crate::wire::qdrant::SnapshotOf;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One artifact to be saved: what is planned, scheduled, shown, retried, and recorded by intents and by the parts of a job.
/// Records that name a collection only are those of a whole collection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unit {
    pub collection: String,
    /// None: the whole collection of a single node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// Peer id of the node that it is taken from; none: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
}

/// How the bytes leave Qdrant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Qdrant writes a snapshot to its disk, which is fetched and then deleted.
    #[default]
    File,
    /// Qdrant writes a shard into the connection, and no snapshot to its disk.
    Stream,
}

/// By which of the two modes units are saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotMode {
    #[default]
    File,
    Stream,
    /// The first one where Qdrant's disk has room, else the second one; and of one node the first one, where Qdrant optimizes a
    /// collection without end.
    Auto,
}

fn is_default(mode: &Mode) -> bool {
    *mode == Mode::default()
}

impl Unit {
    /// All of a collection of a single node.
    pub fn whole(collection: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            shard: None,
            node: None,
            mode: Mode::File,
        }
    }

    /// One shard, as the node `peer` has it.
    pub(crate) fn shard(collection: &str, shard: u32, peer: u64) -> Self {
        Self {
            shard: Some(shard),
            node: Some(peer),
            ..Self::whole(collection)
        }
    }

    pub(crate) fn by(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    pub fn kind(&self) -> ArtifactKind {
        self.shard.map_or(ArtifactKind::Collection, ArtifactKind::Shard)
    }

    /// What Qdrant is to make a snapshot of.
    pub(crate) fn snapshot(&self) -> SnapshotOf<'_> {
        SnapshotOf {
            collection: &self.collection,
            kind: self.kind(),
        }
    }
}

/// As people call it: a whole collection by its name.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.collection)?;
        match self.shard {
            Some(shard) => write!(f, "/shard {shard}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn records_of_a_whole_collection_are_what_they_always_were() {
        let whole = Unit::whole("docs");
        assert_eq!(to_value(&whole).unwrap(), json!({"collection": "docs"}));
        assert_eq!(from_value::<Unit>(json!({"collection": "docs"})).unwrap(), whole);
        let shard = Unit {
            shard: Some(3),
            node: Some(u64::MAX),
            ..whole
        };
        assert_eq!(from_value::<Unit>(to_value(&shard).unwrap()).unwrap(), shard);
        assert_eq!(shard.to_string(), "docs/shard 3");
    }
}
