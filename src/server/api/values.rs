//! Values that several answers have.

use super::words;
use crate::ops::restore::Via;
use crate::repository::{catalog, manifest, selection};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Which collections were asked for; no list at all: everything.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Selection {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    collections: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<String>,
}

impl From<selection::Selection> for Selection {
    fn from(selection: selection::Selection) -> Self {
        Self {
            collections: selection.collections,
            include: selection.include,
            exclude: selection.exclude,
        }
    }
}

/// A Qdrant, as it is told from others.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    url: String,
    /// Peer ids of its nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<u64>,
}

impl From<manifest::Source> for Source {
    fn from(source: manifest::Source) -> Self {
        Self {
            name: source.name,
            url: source.url,
            peers: source.peers,
        }
    }
}

words! {
    /// Whether a backup has all that was asked for.
    BackupStatus, from manifest::Status: Complete, Partial
}

words! {
    /// What is known of a backup's worth, see [`catalog::Mark`].
    BackupMark, from catalog::Mark:
        Good, Partial, Damaged, DrillFailed, Unreadable, NotRestorable, Unproven, Future, Verified, Drilled, Pinned, Scoped
}

words! {
    /// What a verification or a drill came to; `unknown`: its record is not understood.
    ProofVerdict, from catalog::ProofVerdict: Intact, Damaged, Failed, Unknown
}

/// What a verification or a drill found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Proof {
    verdict: ProofVerdict,
    #[serde(with = "time::serde::rfc3339::option")]
    at: Option<OffsetDateTime>,
}

impl From<catalog::Proof> for Proof {
    fn from(proof: catalog::Proof) -> Self {
        Self {
            verdict: proof.verdict.into(),
            at: proof.at,
        }
    }
}

/// That a backup is kept, whatever the policy says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Pin {
    #[serde(with = "time::serde::rfc3339::option")]
    at: Option<OffsetDateTime>,
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl From<catalog::Pin> for Pin {
    fn from(pin: catalog::Pin) -> Self {
        Self {
            at: pin.at,
            by: pin.by,
            note: pin.note,
        }
    }
}

/// Transfer to Qdrant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    #[default]
    Auto,
    Url,
    Upload,
}

impl From<Via> for Transport {
    fn from(via: Via) -> Self {
        match via {
            Via::Auto => Self::Auto,
            Via::Url => Self::Url,
            Via::Upload => Self::Upload,
        }
    }
}

impl From<Transport> for Via {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Auto => Self::Auto,
            Transport::Url => Self::Url,
            Transport::Upload => Self::Upload,
        }
    }
}
