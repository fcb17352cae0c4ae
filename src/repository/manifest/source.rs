//! Which Qdrant a backup is of: what tells two apart that are backed up into one store.

use crate::base::text::plain;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Which Qdrant a backup is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// `BACKUP_SOURCE_NAME`, the operator's own name for it. Between two that have one it decides alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it was reached; decides nothing, since every machine calls its own Qdrant `localhost`.
    #[serde(default)]
    pub url: String,
    /// Peer ids of its nodes, sorted; a standalone node has one, too. Empty: it did not tell them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<u64>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What is known of two sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// They are one Qdrant.
    Same,
    /// They are two.
    Different,
    /// Cannot be told: they have no names to compare, and one of them tells no peer ids.
    Unknown,
}

impl Source {
    /// Whether both are one Qdrant: by their names, or else by a peer id that both have.
    pub(crate) fn relation(&self, other: &Self) -> Relation {
        let same = match (&self.name, &other.name) {
            (Some(a), Some(b)) => a == b,
            _ if self.peers.is_empty() || other.peers.is_empty() => return Relation::Unknown,
            _ => self.peers.iter().any(|peer| other.peers.contains(peer)),
        };
        match same {
            true => Relation::Same,
            false => Relation::Different,
        }
    }

    /// Whether it tells anything by which it can be told from others.
    pub(crate) fn is_known(&self) -> bool {
        self.name.is_some() || !self.peers.is_empty()
    }

    /// Whether both are surely one Qdrant, or tell the same.
    pub(crate) fn is_same_series(&self, other: &Self) -> bool {
        self.relation(other) == Relation::Same || (self.name == other.name && self.peers == other.peers)
    }

    /// The same to a source that may not be known: a backup of an earlier version does not tell.
    pub(crate) fn relation_to(&self, other: Option<&Self>) -> Relation {
        other.map_or(Relation::Unknown, |other| self.relation(other))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name:?} at ")?;
        }
        f.write_str(&plain(&self.url))?;
        match self.peers.as_slice() {
            [] => Ok(()),
            [peer] => write!(f, " (peer {peer})"),
            [peer, ..] => write!(f, " (peer {peer} and {} more)", self.peers.len() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: Option<&str>, peers: &[u64]) -> Source {
        Source {
            name: name.map(str::to_owned),
            url: "http://localhost:6333".into(),
            peers: peers.to_vec(),
            ..Source::default()
        }
    }

    #[test]
    fn what_a_manifest_says_of_its_source_and_selection_is_one_plain_line() {
        let mean = "a\u{1b}[2J\n\u{202e}";
        let source = Source {
            url: mean.into(),
            ..source(Some(mean), &[])
        };
        let selection = crate::repository::selection::Selection {
            collections: vec![mean.into()],
            include: vec![mean.into()],
            exclude: vec![mean.into()],
        };
        for text in [source.to_string(), selection.to_string()] {
            assert!(!text.contains(crate::base::text::is_control), "{text:?}");
        }
    }

    #[test]
    fn names_decide_and_else_peers() {
        use Relation::{Different, Same, Unknown};
        let (a, b) = (Some("a"), Some("b"));
        for (one, other, relation) in [
            (source(a, &[1]), source(a, &[2]), Same),
            // A copy of a machine has the same peer id.
            (source(a, &[1]), source(b, &[1]), Different),
            (source(a, &[1]), source(None, &[1]), Same),
            (source(a, &[1]), source(None, &[2]), Different),
            (source(None, &[1, 2]), source(None, &[2, 3]), Same),
            (source(None, &[1]), source(None, &[2]), Different),
            (source(a, &[]), source(None, &[2]), Unknown),
            (source(None, &[]), source(None, &[]), Unknown),
        ] {
            assert_eq!(one.relation(&other), relation, "{one} / {other}");
            assert_eq!(other.relation(&one), relation, "{other} / {one}");
        }
        assert_eq!(source(a, &[1]).relation_to(None), Unknown);
    }
}
