//! How much of an answer is taken: what one means to say is far less, and whoever says more may mean harm.

/// Names of collections; each of them makes work for the whole of a backup.
pub(super) const MOST_NAMES: usize = 100_000;
/// A collection with a million fields in its metadata is none.
pub(super) const HEAVIEST: usize = 32 << 20;

const NAMES: usize = 32 << 20;
const LIST: usize = 16 << 20;
const DESCRIPTION: usize = 16 << 20;
const SHORT: usize = 1 << 20;

/// What is taken of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) bytes: usize,
    /// What to do about a larger one.
    pub(super) remedy: &'static str,
}

impl Limit {
    /// That of a request's path. `points`: for answers with points in them.
    pub(super) fn of(path: &[&str], points: usize) -> Self {
        match path {
            ["collections"] => Self {
                bytes: NAMES,
                remedy: "delete collections that are not needed; tenants can share one by a payload field",
            },
            ["aliases"] => Self {
                bytes: LIST,
                remedy: "delete aliases that are not needed",
            },
            ["cluster"] => Self::short(),
            [.., "snapshots"] => Self {
                bytes: LIST,
                remedy: "delete snapshots that are not needed: DELETE /collections/NAME/snapshots/SNAPSHOT",
            },
            ["collections", _] | [.., "cluster" | "optimizations"] => Self {
                bytes: DESCRIPTION,
                remedy: "make the collection's metadata smaller or less nested: PATCH /collections/NAME",
            },
            [.., "scroll"] => Self {
                bytes: points,
                remedy: "make the points smaller",
            },
            _ => Self::short(),
        }
    }

    /// That of an answer which says whether something was done, or why not.
    pub(super) fn short() -> Self {
        Self {
            bytes: SHORT,
            remedy: "check that the URL is Qdrant's REST API, and check Qdrant's version",
        }
    }
}
