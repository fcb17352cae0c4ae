//! What a restore would do.

use super::super::values::{Selection, Source, Transport};
use super::super::{all, words};
use super::PointRange;
use crate::base::error::ErrorInfo;
use crate::ops::restore;
use crate::repository::names::BackupId;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RestorePlan {
    id: BackupId,
    /// What was asked for when the backup was made.
    selection: Selection,
    /// Release of the Qdrant that it is of.
    backup_version: String,
    /// URL of the Qdrant to restore into.
    target: String,
    /// Its release.
    target_version: String,
    /// Which Qdrant the backup is of, if it tells.
    source: Option<Source>,
    target_source: Source,
    via: Transport,
    collections: Vec<RestorePlanStep>,
    warnings: Vec<String>,
    /// What forbids it; it runs only without any.
    refusals: Vec<RestoreRefusal>,
}

/// What would be done for one collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RestorePlanStep {
    /// Its name in the backup.
    source: String,
    /// The collection that is written.
    target: String,
    points: PointRange,
    /// Bytes to move.
    bytes: u64,
    /// What is there now and would be replaced.
    overwrites: Option<Overwritten>,
    /// Where an existing target's configuration differs; Qdrant keeps the existing one.
    differences: Vec<ConfigDifference>,
    aliases: Vec<AliasStep>,
    warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Overwritten {
    Readable {
        points: u64,
    },
    /// Qdrant cannot tell what it has.
    Unreadable {
        problem: String,
    },
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ConfigDifference {
    /// E.g. `config.params.vectors.size`.
    path: String,
    /// In the backup; null when it is not there.
    backup: Value,
    /// On Qdrant; null when it is not there.
    qdrant: Value,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct AliasStep {
    alias: String,
    /// The collection that it points to now.
    now: Option<String>,
    action: AliasStepAction,
}

words! {
    /// What is done with an alias; `conflict`, `skip`: nothing, see [`restore::AliasAction`].
    AliasStepAction, from restore::AliasAction: Set, Keep, Move, Conflict, Skip
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct RestoreRefusal {
    /// The collection of the backup that it is about; null: all.
    collection: Option<String>,
    #[serde(flatten)]
    error: ErrorInfo,
}

impl From<restore::RestorePlan> for RestorePlan {
    fn from(plan: restore::RestorePlan) -> Self {
        Self {
            id: plan.id,
            selection: plan.selection.into(),
            backup_version: plan.backup_version,
            target: plan.target,
            target_version: plan.target_version,
            source: plan.source.map(Into::into),
            target_source: plan.target_source.into(),
            via: plan.via.into(),
            collections: all(plan.collections),
            warnings: plan.warnings,
            refusals: all(plan.refusals),
        }
    }
}

impl From<restore::RestoreStep> for RestorePlanStep {
    fn from(step: restore::RestoreStep) -> Self {
        Self {
            source: step.source,
            target: step.target,
            points: step.points.into(),
            bytes: step.bytes,
            overwrites: step.overwrites.map(|existing| match existing {
                restore::Existing::Readable { points } => Overwritten::Readable { points },
                restore::Existing::Unreadable { problem } => Overwritten::Unreadable { problem },
            }),
            differences: all(step.differences),
            aliases: all(step.aliases),
            warnings: step.warnings,
        }
    }
}

impl From<restore::Difference> for ConfigDifference {
    fn from(difference: restore::Difference) -> Self {
        Self {
            path: difference.path,
            backup: difference.backup,
            qdrant: difference.qdrant,
        }
    }
}

impl From<restore::AliasPlan> for AliasStep {
    fn from(plan: restore::AliasPlan) -> Self {
        Self {
            alias: plan.alias,
            now: plan.now,
            action: plan.action.into(),
        }
    }
}

impl From<restore::Refusal> for RestoreRefusal {
    fn from(refusal: restore::Refusal) -> Self {
        Self {
            collection: refusal.collection,
            error: refusal.error,
        }
    }
}
