//! The plan for one collection: its object, its target, and what is there already.

use super::RestoreRequest;
use super::command::command;
use super::compare::{Difference, differences, schema_differences};
use super::converge::{ExpectedCollection, Points, compare_now};
use super::plan::{Notes, Refusal, StepContext, Target};
use super::shards;
use super::swap::AliasPlan;
use super::target::{TargetState, target_state};
use crate::base::error::{Code, Error, Result};
use crate::base::hash::{parse_sha256, sha256_hex};
use crate::ops::context::Context;
use crate::repository::blobs::{self, Blob};
use crate::repository::manifest::{Artifact, Collection};
use crate::repository::names::{ArtifactKind, BackupId};
use crate::repository::sharding::Creation;
use crate::repository::unit::Unit;
use crate::wire::qdrant;
use serde::Serialize;

/// Characters that Qdrant refuses in the name of a collection.
const FORBIDDEN: [char; 11] = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u{1F}'];
const LONGEST_NAME: usize = 255;
/// With room for a number.
const LONGEST_NEW_NAME: usize = qdrant::LONGEST_NAME - 5;

/// What would be done for one collection.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreStep {
    /// Its name in the backup.
    pub source: String,
    /// The collection that is written.
    pub target: String,
    /// Points that it must have afterwards.
    pub points: Points,
    /// Bytes to move.
    pub bytes: u64,
    /// What is there now and would be replaced.
    pub overwrites: Option<Existing>,
    /// What is there now and stays as it is; `None`: the collection is restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// Where an existing target's configuration differs; Qdrant keeps the existing one.
    pub differences: Vec<Difference>,
    /// What becomes of the aliases.
    pub aliases: Vec<AliasPlan>,
    /// What the backup recorded as odd.
    pub warnings: Vec<String>,
    /// The objects to restore from: one of the whole collection, or one for each of its shards, in the order of their ids.
    #[serde(skip)]
    pub(super) from: Vec<From>,
    /// How the shards of one that is restored by its shards are made.
    #[serde(skip)]
    pub(super) creation: Option<Creation>,
    #[serde(skip)]
    pub(super) wanted: ExpectedCollection,
}

impl RestoreStep {
    /// Whether anything is done for it, but for its aliases.
    pub(crate) fn is_restored(&self) -> bool {
        self.standing.is_none()
    }

    pub(crate) fn unit(&self) -> Unit {
        Unit::whole(&self.source)
    }
}

/// The object to restore from.
#[derive(Clone, Debug)]
pub(super) struct From {
    pub(super) artifact: Artifact,
    pub(super) blob: Blob,
}

/// A target that exists.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Existing {
    /// It can be read.
    Readable {
        /// Its exact number of points.
        points: u64,
    },
    /// Qdrant cannot tell what it has, so it is taken for one that has points.
    Unreadable {
        /// What Qdrant says instead.
        problem: String,
    },
}

/// How a collection that exists, and is not to be touched, stands to the backup.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// By all that a restore ends with it is as a restore would have left it.
    Equal {
        points: u64,
        /// Whether that is an estimate.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        points_estimated: bool,
        /// Points that were read with their vectors.
        sampled: usize,
        /// What the reader should know.
        notes: Vec<String>,
    },
    /// It is not.
    Differs { why: String },
}

impl Existing {
    /// What would be replaced; `None`: nothing, it is empty.
    pub(super) fn lost(&self) -> Option<String> {
        match self {
            Self::Readable { points: 0 } => None,
            Self::Readable { points } => Some(format!("{points} points")),
            Self::Unreadable { .. } => Some("its content, which is unreadable".to_owned()),
        }
    }
}

/// Plans one collection; what is in the way becomes a refusal.
pub(super) async fn plan_step(
    of: &StepContext<'_>,
    collection: &Collection,
    to: String,
) -> Result<(RestoreStep, Notes)> {
    let StepContext {
        ctx, request, target, ..
    } = *of;
    let mut notes = Notes::default();
    let name = collection.name.as_str();
    let mut step = RestoreStep {
        source: name.to_owned(),
        points: Points::of(collection),
        bytes: collection.bytes(),
        overwrites: None,
        standing: None,
        differences: Vec::new(),
        aliases: Vec::new(),
        warnings: collection.warnings.clone(),
        from: Vec::new(),
        creation: None,
        wanted: ExpectedCollection {
            points: Points::of(collection),
            shards: Points::of_shards(collection),
            config: collection.config.clone(),
            payload_schema: collection.payload_schema.clone(),
            or_schema: collection.payload_schema.clone(),
            or: collection.changed_to.clone(),
            to_the_letter: of.to_the_letter,
        },
        target: to,
    };
    if let Some(error) = collection.cannot_be_restored() {
        let error = error
            .remedy("exclude it (--exclude NAME, or `exclude` in the request) to restore the others of this backup");
        notes.refusals.push(Refusal::of(Some(name), &error));
    }
    match source(ctx, of.id, collection).await {
        Ok(from) => step.from = from,
        // The store itself is in trouble: no plan.
        Err(e) if !matches!(e.code(), Code::BackupDamaged | Code::BackupUnsupported) => return Err(e),
        Err(e) => notes.refusals.push(Refusal::of(Some(name), &e)),
    }
    if let Some(factor) = request.replication_factor {
        step.wanted.set_replication_factor(factor);
    }
    let (places, replicas) = (of.nodes.all().len(), shards::most_replicas(collection));
    if request.replication_factor.is_none() && replicas > places && !of.nodes.is_hidden {
        notes.warnings.push(format!(
            "collection {name:?} had {replicas} replicas of a shard; on {} it will have {places}, one on each node",
            ctx.qdrant.url()
        ));
    }
    let creation = match collection.cannot_be_restored() {
        Some(_) => Ok(None),
        None => shards::creation(collection, of.nodes, request.replication_factor.is_some()),
    };
    match creation {
        Ok(creation) => {
            let has_keys = matches!(creation, Some(Creation::ByKeys(_)));
            if has_keys && of.nodes.by_peer().is_empty() && !of.nodes.is_hidden {
                notes.refuse(
                    Some(name),
                    format!("collection {name:?} has shard keys, and {} is not in cluster mode", ctx.qdrant.url()),
                    "enable cluster mode on it (QDRANT__CLUSTER__ENABLED=true, one node is enough), or restore into another one; or \
                     exclude the collection (--exclude NAME, or `exclude` in the request)",
                );
            }
            step.creation = creation;
        }
        Err(how) => {
            let text = format!("collection {name:?} has shards that Qdrant cannot be asked to create again: {how}");
            notes.refuse(
                Some(name),
                text,
                "exclude it (--exclude NAME, or `exclude` in the request) to restore the others of this backup",
            );
        }
    }
    let to = step.target.as_str();
    if !can_be_named(to) {
        let remedy = format!("use a name of 1 to {LONGEST_NAME} bytes without any of < > : \" / \\ | ? *");
        notes.refuse(Some(name), format!("invalid collection name {to:?}"), &remedy);
        return Ok((step, notes));
    }
    if to.len() > qdrant::LONGEST_NAME {
        notes.warnings.push(format!(
            "collection {to:?} would have a name of {} bytes: of more than {} Qdrant may be unable to make a snapshot, so it could not be backed up; choose a shorter one with {}",
            to.len(),
            qdrant::LONGEST_NAME,
            request.form.option("into")
        ));
    }
    if let Some(behind) = target.aliases.get(to) {
        let (into, swap) = (request.form.option("into"), request.form.option("swap"));
        notes.refuse(
            Some(name),
            format!("{to:?} is an alias of collection {behind:?} on the target"),
            &format!(
                "restore with {into} and another name, or with {swap}, which moves aliases; or delete the alias first"
            ),
        );
    } else if target.collections.contains(to) {
        let there = match target_state(&ctx.qdrant, to).await? {
            // Deleted since the collections were listed.
            TargetState::Absent => return Ok((step, notes)),
            there => there,
        };
        step.standing = standing(of, &step, &there).await?;
        if !step.is_restored() {
            return Ok((step, notes));
        }
        let (over, found) = over_existing(of, step, there);
        step = over;
        let same_shape = !step.differences.iter().any(is_of_shape);
        notes.refusals.extend(found.refusals);
        if step.creation.is_some() && same_shape {
            let beside = command(&request.under_new_names(of.id), false);
            if let Some(problem) = shards::differ(&ctx.qdrant, &step.target, collection).await? {
                let text = format!("collection {:?} exists {problem}", step.target);
                let remedy = format!("restore beside it: {beside}; or delete it first, if nothing in it is needed");
                notes.refuse(Some(name), text, &remedy);
            } else if let Some(doing) = shards::busy(&ctx.qdrant, &step.target).await? {
                notes.refuse(
                    Some(name),
                    doing,
                    &format!("{}; or restore beside it: {beside}", shards::WHEN_BUSY),
                );
            }
        }
    }
    Ok((step, notes))
}

/// Whether Qdrant takes it for the name of a collection.
pub(super) fn can_be_named(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(FORBIDDEN) && !matches!(name, "." | "..")
}

/// The objects that have the collection, compared with the manifest: one, or one for each of its shards.
async fn source(ctx: &Context, id: BackupId, collection: &Collection) -> Result<Vec<From>> {
    let mut artifacts: Vec<_> = collection.artifacts.iter().collect();
    artifacts.sort_by_key(|artifact| artifact.kind);
    let odd = match artifacts.as_slice() {
        [only] if only.kind == ArtifactKind::Collection => None,
        _ if !collection.is_by_shards() => Some(format!("it has {} objects", artifacts.len())),
        _ => collection
            .lacks_shard()
            .map(|shard| format!("it has no object of shard {shard}")),
    };
    if let Some(how) = odd {
        return Err(damaged(collection, &how));
    }
    let mut from = Vec::new();
    for artifact in artifacts {
        from.push(look_up(ctx, id, collection, artifact).await?);
    }
    Ok(from)
}

fn damaged(collection: &Collection, how: &str) -> Error {
    Error::new(Code::BackupDamaged, format!("collection {:?}: {how}", collection.name))
        .remedy("use another backup; the manifest was changed")
}

/// One object, compared with the manifest.
async fn look_up(ctx: &Context, id: BackupId, collection: &Collection, artifact: &Artifact) -> Result<From> {
    blobs::require_known(artifact)?;
    if let Some(how) = blobs::misplaced(artifact, &id, &collection.name) {
        return Err(damaged(collection, &how));
    }
    if parse_sha256(&artifact.sha256).is_none() {
        return Err(damaged(collection, "the manifest has no valid SHA-256 for it"));
    }
    let blob = blobs::look_up(&*ctx.store, artifact).await?;
    Ok(From {
        artifact: artifact.clone(),
        blob,
    })
}

/// How a collection that is only to be compared stands to the backup. `None`: it is to be restored, or it is empty and the backup's
/// is not, so that nothing is lost.
async fn standing(of: &StepContext<'_>, step: &RestoreStep, there: &TargetState) -> Result<Option<Standing>> {
    if !of.request.skip_existing || of.request.overwrites(&step.source) {
        return Ok(None);
    }
    let is_empty = match there {
        TargetState::Absent => return Ok(None),
        TargetState::Whole { points, .. } => *points == 0,
        TargetState::Unreadable { problem, .. } => {
            let why = format!("its content is unreadable: {problem}");
            return Ok(Some(Standing::Differs { why }));
        }
    };
    match compare_now(of.nodes, &step.target, &step.wanted).await {
        Ok(found) => Ok(Some(Standing::Equal {
            points: found.points,
            points_estimated: !found.is_exact,
            sampled: found.sampled,
            notes: found.notes,
        })),
        Err(error) if error.code() == Code::RestoreUnequal && is_empty => Ok(None),
        Err(error) if error.code() == Code::RestoreUnequal => Ok(Some(Standing::Differs { why: error.chain() })),
        Err(error) => Err(error),
    }
}

/// The target exists: what would be overwritten, and what cannot be.
fn over_existing(of: &StepContext<'_>, mut step: RestoreStep, there: TargetState) -> (RestoreStep, Notes) {
    let request = of.request;
    let mut notes = Notes::default();
    let (name, to) = (step.source.clone(), step.target.clone());
    let beside = command(&request.under_new_names(of.id), false);
    let (existing, info, told) = match there {
        TargetState::Absent => return (step, notes),
        TargetState::Whole { info, points } => {
            let told = format!("collection {to:?} exists on the target and has {points} points");
            (Existing::Readable { points }, Some(info), told)
        }
        TargetState::Unreadable { info, problem } => {
            let told = format!("collection {to:?} exists on the target, and its content is unreadable: {problem}");
            (Existing::Unreadable { problem }, info, told)
        }
    };
    let is_agreed = request.agreed.as_ref().is_none_or(|agreed| agreed.contains(&to));
    if existing.lost().is_some() && !(request.overwrites(&name) && is_agreed) {
        let overwrite = request.form.option("overwrite");
        notes.refuse(
            Some(&name),
            told,
            &format!("restore beside it, since {overwrite} would replace it permanently: {beside}"),
        );
    }
    step.overwrites = Some(existing);
    let Some(info) = info else {
        // What is there afterwards is compared with the backup.
        return (step, notes);
    };
    step.differences = differences("config", &step.wanted.config.value(), &info.config.value());
    if let Some(differs) = step
        .differences
        .iter()
        .filter(|d| is_of_shape(d))
        .min_by_key(|d| !is_method(d))
    {
        notes.refuse(
            Some(&name),
            format!("collection {to:?} exists with a different shape: {differs}"),
            &format!("restore beside it, since a restore does not change the shape of a collection: {beside}"),
        );
    }
    step.differences.extend(schema_differences(
        &step.wanted.payload_schema.value(),
        &info.payload_schema.value(),
    ));
    // An existing collection keeps its configuration: that is what it has to have afterwards.
    step.wanted.config = info.config;
    step.wanted.payload_schema = info.payload_schema;
    (step, notes)
}

/// What a restore does not change.
fn is_of_shape(difference: &Difference) -> bool {
    ["vectors", "sparse_vectors", "shard_number", "sharding_method"]
        .iter()
        .any(|f| {
            let at = format!("config.params.{f}");
            difference.path == at || difference.path.starts_with(&format!("{at}."))
        })
}

/// Whether the other differences come of this one.
fn is_method(difference: &Difference) -> bool {
    difference.path == "config.params.sharding_method"
}

/// A name for a copy of the collection `name`, short enough for Qdrant to make snapshots of it.
fn name_beside(name: &str, id: BackupId) -> String {
    let end = format!("-restored-{id}");
    if name.len() + end.len() <= LONGEST_NEW_NAME {
        return format!("{name}{end}");
    }
    // Two long names may differ at their ends only.
    let end = format!("-{}{end}", &sha256_hex(name.as_bytes())[..8]);
    let kept = name.floor_char_boundary(LONGEST_NEW_NAME - end.len());
    format!("{}{end}", &name[..kept])
}

/// The name under which a collection is restored.
pub(super) fn target_name(request: &RestoreRequest, collection: &Collection, id: BackupId, target: &Target) -> String {
    if let Some(into) = &request.into {
        return into.replace("{}", &collection.name);
    }
    if !request.swap {
        return collection.name.clone();
    }
    let stem = name_beside(&collection.name, id);
    let taken = |name: &str| target.collections.contains(name) || target.aliases.contains_key(name);
    let mut name = stem.clone();
    let mut n = 2;
    while taken(&name) {
        name = format!("{stem}-{n}");
        n += 1;
    }
    name
}

/// What stands already under the name that a swap would give first, and no alias points to: an earlier attempt's.
pub(super) fn left_beside(
    request: &RestoreRequest,
    collection: &Collection,
    id: BackupId,
    target: &Target,
) -> Option<String> {
    let name = request.swap.then(|| name_beside(&collection.name, id))?;
    let is_live = target.aliases.values().any(|to| *to == name);
    (target.collections.contains(&name) && !is_live).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_new_name_leaves_room_for_what_qdrant_puts_behind_it() {
        let id = BackupId::at(datetime!(2026-11-22 12:00 UTC));
        assert_eq!(name_beside("docs", id), "docs-restored-2026-11-22T12-00-00Z");
        let long = "向".repeat(60);
        let (one, other) = (
            name_beside(&format!("{long}1"), id),
            name_beside(&format!("{long}2"), id),
        );
        assert!(
            one.len() <= LONGEST_NEW_NAME && other.len() <= LONGEST_NEW_NAME,
            "{one}"
        );
        assert_ne!(one, other);
        assert!(
            one.starts_with("向向") && one.ends_with("-restored-2026-11-22T12-00-00Z"),
            "{one}"
        );
    }
}
