//! The restore operation: from a plan to the truth about what Qdrant has afterwards.
//!
//! Qdrant's 200 means that it took a snapshot, not that the collection has what the backup has. So nothing is called restored
//! before its count and configuration were compared with the manifest, and a sample of its points was read with their vectors.

mod command;
mod compare;
mod converge;
mod each;
mod execute;
mod failed;
mod plan;
mod report;
mod sampled;
mod shards;
mod step;
mod swap;
mod target;
mod text;
mod transfers;
mod turns;
mod uploaded;
mod version;

pub use command::Interface;
pub use compare::Difference;
pub use converge::{Points, Timeouts};
pub use plan::{Refusal, RestorePlan};
pub use report::{Failed, RestoreOutcome, RestoreReport, Restored, Unchanged};
pub use step::{Existing, RestoreStep, Standing};
pub use swap::{AliasAction, AliasPlan};

pub(crate) use command::command;
#[cfg(test)]
pub(crate) use command::samples;
pub(crate) use execute::{Restoring, restore_one};
pub(crate) use turns::Turns;

use crate::base::error::{ErrorInfo, Result};
use crate::base::total::total;
use crate::ops::context::Context;
use crate::ops::events::{Counts, Operation};
use crate::ops::progress::Progress;
use crate::ops::run::{self, Conclusion, LeaseMode};
use crate::repository::names::DrillTag;
use crate::repository::selection::Selection;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The backup's id, or `latest`.
    pub id: String,
    /// With `latest`: that of this time.
    pub not_after: Option<OffsetDateTime>,
    /// Which of its collections.
    pub selection: Selection,
    /// New name; `{}` in it stands for the name in the backup.
    pub into: Option<String>,
    /// Whether collections that have points may be overwritten.
    pub overwrite: bool,
    /// The only ones that may be overwritten, by their names in the backup; none: [`Self::overwrite`] says it for all.
    pub overwrite_only: Vec<String>,
    /// Whether that holds for those of another Qdrant than the backup's, too.
    pub other_source: bool,
    /// Whether nobody is to be asked before anything is overwritten.
    pub yes: bool,
    /// The targets whose points somebody has agreed to lose, who was asked; `None`: nobody was.
    pub agreed: Option<BTreeSet<String>>,
    /// Whether a collection that exists is compared instead of restored: equal, it is left out; else it stays, and is a failure.
    pub skip_existing: bool,
    /// Whether aliases that point elsewhere are moved to what is restored.
    pub move_aliases: bool,
    /// Restore beside the live collection, and then move its aliases in one operation.
    pub swap: bool,
    /// Number of replicas of each shard, in place of the backup's, of collections that do not exist.
    pub replication_factor: Option<u32>,
    /// Transfer to Qdrant.
    pub via: Via,
    /// Whether to go on without the lease, whoever has it.
    pub no_lock: bool,
    /// How long to wait for Qdrant after it reported a restore as done.
    pub patience: Timeouts,
    /// By which face.
    pub form: Interface,
}

/// Transfer to Qdrant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// By URL where the store can sign one, else by upload.
    #[default]
    Auto,
    /// Qdrant fetches the object from a signed URL.
    Url,
    /// This process pushes the object.
    Upload,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "by signed URL or upload",
            Self::Url => "by signed URL",
            Self::Upload => "by upload",
        })
    }
}

impl RestoreRequest {
    /// Whether the points of a collection of the backup may be overwritten.
    pub(super) fn overwrites(&self, name: &str) -> bool {
        self.overwrite || self.is_named(name)
    }

    /// Whether it is one of those that alone may be overwritten.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.overwrite_only.iter().any(|only| only == name)
    }
}

/// What a restore would do. Changes nothing.
pub async fn plan(ctx: &Context, request: &RestoreRequest) -> Result<RestorePlan> {
    plan::make(ctx, request, None).await
}

/// The plan of a drill: every collection under its temporary name, no alias touched.
pub(crate) async fn plan_drill(ctx: &Context, request: &RestoreRequest, drill: DrillTag) -> Result<RestorePlan> {
    plan::make(ctx, request, Some(drill)).await
}

/// Restores what `request` asks for into the Qdrant of `ctx`, under the lease, so that no backup or other restore works at
/// the same time; or without, see [`crate::repository::lease::Guard`]. `Err`: nothing was changed. `Ok`: see [`RestoreReport::status`]; failures are an `Ok` here, so that the state of
/// each collection can be shown, and an error by [`RestoreReport::error`].
pub async fn run(
    ctx: &Context,
    request: &RestoreRequest,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<RestoreReport> {
    let wanted = LeaseMode::Preferred {
        no_lock: request.no_lock,
    };
    run::run(&ctx.on_store(), Operation::Restore, wanted, progress, cancel, |run| {
        execute::run(ctx, request, run)
    })
    .await
}

impl Conclusion for RestoreReport {
    fn failure(&self) -> Option<ErrorInfo> {
        self.error().map(|error| (&error).into())
    }

    fn counts(&self) -> Counts {
        Counts {
            collections: Some(self.collections.len()),
            bytes: total(self.collections.iter().map(|c| c.bytes)),
            ..Counts::default()
        }
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}
