//! The truth after Qdrant's 200: waiting until the collection serves, and comparing it with the backup.

use super::compare::{differences, in_both, index_differences};
use super::sampled::sampled;
use super::shards::set_parameter;
use super::target::{TargetState, target_state};
use crate::base::error::{Code, Error, Result};
use crate::base::json::Packed;
use crate::base::snapshot::ArtifactKind;
use crate::base::total::total;
use crate::ops::run::Run;
use crate::repository::manifest::{self, Description};
use crate::wire::qdrant::{CollectionInfo, Count, Nodes, Qdrant, SnapshotOf};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A failure is to be told soon.
const STATE_PATIENCE: Duration = Duration::from_secs(15);

/// How long to wait for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For shards to be Active and the count to be right.
    pub converge: Duration,
    /// For the status to become green; a collection that is being optimized serves all the same.
    pub green: Duration,
    /// Between two looks, at most: the first come sooner, one after the other.
    pub poll: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            converge: Duration::from_secs(120),
            green: Duration::from_secs(60),
            poll: Duration::from_millis(500),
        }
    }
}

/// How many points a collection must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Points {
    /// At least.
    pub min: u64,
    /// At most. The same as `min` when nothing was written while the backup was made; else the truth lies between.
    pub max: u64,
    /// Whether these are estimates.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Points {
    /// What the manifest says.
    pub fn of(collection: &manifest::Collection) -> Self {
        // Of each shard by itself: one may have grown while another one shrank.
        let shards = Self::of_shards(collection);
        let (min, max) = match collection.is_by_shards() && shards.len() == collection.artifacts.len() {
            true => (
                total(shards.values().map(|points| points.min)),
                total(shards.values().map(|points| points.max)),
            ),
            false => {
                let (a, b) = (collection.points_before, collection.points_after);
                (a.min(b), a.max(b))
            }
        };
        Self {
            min,
            max,
            estimated: collection.points_estimated,
        }
    }

    /// What the manifest says of each shard that was saved by itself.
    pub(crate) fn of_shards(collection: &manifest::Collection) -> BTreeMap<u32, Self> {
        let artifacts = collection.artifacts.iter();
        artifacts
            .filter_map(|artifact| {
                let ArtifactKind::Shard(shard) = artifact.kind else {
                    return None;
                };
                let (before, after) = artifact.points_before.zip(artifact.points_after)?;
                let points = Self {
                    min: before.min(after),
                    max: before.max(after),
                    estimated: collection.points_estimated,
                };
                Some((shard, points))
            })
            .collect()
    }

    /// Of estimates only some and none are told apart.
    fn admits(&self, found: Count) -> bool {
        match found.is_exact && !self.estimated {
            true => (self.min..=self.max).contains(&found.points),
            false => found.points > 0 || self.min == 0,
        }
    }
}

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = if self.estimated { "about " } else { "" };
        match self.min == self.max {
            true => write!(f, "{about}{} points", self.min),
            false if self.estimated => write!(f, "about {} to {} points", self.min, self.max),
            false => write!(f, "{} to {} points (written to during the backup)", self.min, self.max),
        }
    }
}

/// What a collection must be like.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedCollection {
    pub(crate) points: Points,
    /// Of each shard, where each was saved by itself.
    pub(crate) shards: BTreeMap<u32, Points>,
    pub(crate) config: Packed,
    pub(crate) payload_schema: Packed,
    /// The backup's, where the collection existed before and has one of its own.
    pub(crate) or_schema: Packed,
    /// As well as the backup's: it changed while the snapshot was made.
    pub(crate) or: Option<Description>,
    /// Whether fields that only Qdrant has are differences; a newer release has fields of its own.
    pub(crate) to_the_letter: bool,
}

impl ExpectedCollection {
    /// Wants another number of replicas than the backup has.
    pub(super) fn set_replication_factor(&mut self, factor: u32) {
        let with = |config: &Packed| {
            let mut config = config.value();
            set_parameter(&mut config, "replication_factor", factor.into());
            Packed::from(config)
        };
        self.config = with(&self.config);
        if let Some(or) = &mut self.or {
            or.config = with(&or.config);
        }
    }
}

/// What it is like.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) points: u64,
    /// Whether that number, and that of the backup, is exact.
    pub(crate) is_exact: bool,
    pub(crate) sampled: usize,
    pub(crate) notes: Vec<String>,
}

/// Waits until the collection serves, and compares it. An error when it is not as wanted.
pub(crate) async fn converge(
    nodes: &Nodes,
    name: &str,
    wanted: &ExpectedCollection,
    patience: &Timeouts,
) -> Result<Found> {
    let count = wait_for_points(nodes, name, wanted, patience).await?;
    let count = count.map_err(|problem| {
        unequal(format!(
            "collection {name:?}: {problem}, {} s after Qdrant reported it restored",
            patience.converge.as_secs()
        ))
    })?;
    compared(nodes, name, wanted, patience, count).await
}

/// Compares a collection in the same way that was there before, without waiting.
pub(super) async fn compare_now(nodes: &Nodes, name: &str, wanted: &ExpectedCollection) -> Result<Found> {
    let at_once = Timeouts {
        converge: Duration::ZERO,
        green: Duration::ZERO,
        poll: Duration::ZERO,
    };
    let count = wait_for_points(nodes, name, wanted, &at_once).await?;
    let count = count.map_err(|problem| unequal(format!("collection {name:?}: {problem}")))?;
    compared(nodes, name, wanted, &at_once, count).await
}

/// Compares all but the count.
async fn compared(
    nodes: &Nodes,
    name: &str,
    wanted: &ExpectedCollection,
    patience: &Timeouts,
    count: Count,
) -> Result<Found> {
    let qdrant = nodes.of(None);
    let points = count.points;
    let info = wait_until_green(qdrant, name, patience).await?;
    let is_exact = count.is_exact && !wanted.points.estimated;
    let mut notes = Vec::new();
    if !is_exact {
        notes.push(format!(
            "its number of points cannot be compared exactly (strict mode): it has about {points}, the backup has {}",
            wanted.points
        ));
    }
    match info.status.as_str() {
        "green" => {}
        "red" => {
            return Err(unequal(format!(
                "collection {name:?}: its status is red: Qdrant reports an error in it"
            )));
        }
        status => notes.push(format!("its status is {status}: it serves while Qdrant optimizes it")),
    }
    let mut differ = differences("config", &wanted.config.value(), &info.config.value());
    let (indexes, kept) = index_differences(
        &wanted.payload_schema.value(),
        &wanted.or_schema.value(),
        &info.payload_schema.value(),
    );
    differ.extend(indexes);
    notes.extend(kept);
    if let Some(or) = &wanted.or {
        let schema = or.payload_schema.value();
        let mut other = differences("config", &or.config.value(), &info.config.value());
        other.extend(index_differences(&schema, &schema, &info.payload_schema.value()).0);
        differ = in_both(differ, &other);
    }
    if !wanted.to_the_letter {
        let (new, real) = differ.into_iter().partition(|d| d.backup.is_null());
        differ = real;
        let new: Vec<_> = new;
        notes.extend(
            new.iter()
                .map(|d: &super::Difference| format!("{d}: a field added by this release")),
        );
    }
    if !differ.is_empty() {
        let list: Vec<_> = differ.iter().map(ToString::to_string).collect();
        return Err(unequal(format!("collection {name:?}: {}", list.join("; "))));
    }
    let sampled = sampled(nodes, name, &info.config.value(), count).await?;
    notes.extend(sampled.notes);
    Ok(Found {
        points,
        is_exact,
        sampled: sampled.points,
        notes,
    })
}

/// The count, once all shards are Active and it is right, or what is wrong with it when there is no more patience; of each
/// replica by itself, where each was restored by itself.
async fn wait_for_points(
    nodes: &Nodes,
    name: &str,
    wanted: &ExpectedCollection,
    patience: &Timeouts,
) -> Result<Result<Count, String>> {
    let qdrant = nodes.of(None);
    let deadline = Instant::now() + patience.converge;
    let mut pauses = pauses(patience.poll);
    loop {
        let mut problem = inactive(qdrant, name).await?;
        if problem.is_none() {
            problem = uneven(nodes, name, &wanted.shards).await?;
        }
        let problem = match problem {
            Some(problem) => problem,
            None => match qdrant.count(name).await? {
                found if wanted.points.admits(found) => return Ok(Ok(found)),
                found => format!("it has {} points, the backup has {}", found.points, wanted.points),
            },
        };
        if Instant::now() >= deadline {
            return Ok(Err(problem));
        }
        sleep(pauses.next().unwrap_or(patience.poll)).await;
    }
}

/// What replica has other points than its shard in the backup: right after a restore one may be empty that is Active.
async fn uneven(nodes: &Nodes, name: &str, wanted: &BTreeMap<u32, Points>) -> Result<Option<String>> {
    if wanted.is_empty() {
        return Ok(None);
    }
    for node in nodes.all() {
        let (map, _) = node.shards(name).await?;
        for shard in &map.local_shards {
            let Some(wanted) = wanted.get(&shard.shard_id) else {
                continue;
            };
            let found = node
                .count(SnapshotOf {
                    collection: name,
                    kind: ArtifactKind::Shard(shard.shard_id),
                })
                .await?;
            if !wanted.admits(found) {
                return Ok(Some(format!(
                    "shard {} on peer {} has {} points, the backup has {wanted}",
                    shard.shard_id, map.peer_id, found.points
                )));
            }
        }
    }
    Ok(None)
}

/// From 20 ms on each one is twice as long as the one before: small collections are ready at once.
fn pauses(longest: Duration) -> impl Iterator<Item = Duration> {
    let first = Duration::from_millis(20);
    (0..).map(move |n| first.saturating_mul(1 << n.min(20)).min(longest))
}

/// What keeps a shard from serving.
async fn inactive(qdrant: &Qdrant, name: &str) -> Result<Option<String>> {
    let (map, _) = match qdrant.shards(name).await {
        Ok(found) => found,
        // The count tells then.
        Err(e) if e.code() == Code::QdrantForbidden => return Ok(None),
        Err(e) => return Err(e),
    };
    for (shard, replicas) in map.replicas() {
        if let Some(replica) = replicas.iter().find(|replica| !replica.is_active()) {
            let on = match replica.peer == map.peer_id {
                true => String::new(),
                false => format!(" on peer {}", replica.peer),
            };
            return Ok(Some(format!("shard {shard} is {}{on}", replica.state)));
        }
    }
    Ok(None)
}

/// The collection when it is green, or when there was no more patience.
async fn wait_until_green(qdrant: &Qdrant, name: &str, patience: &Timeouts) -> Result<CollectionInfo> {
    let deadline = Instant::now() + patience.green;
    let mut pauses = pauses(patience.poll);
    loop {
        let info = qdrant.collection(name).await?;
        if info.status == "green" || Instant::now() >= deadline {
            return Ok(info);
        }
        sleep(pauses.next().unwrap_or(patience.poll)).await;
    }
}

pub(super) fn unequal(text: String) -> Error {
    Error::new(Code::RestoreUnequal, text)
        .remedy("do not use it; read Qdrant's log, then restore it again or from another backup")
}

/// What a collection is like now.
pub(super) enum State {
    /// It does not exist.
    Absent,
    /// It does, and is so.
    Exists(String),
    /// That could not be found out.
    Unknown(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("it does not exist"),
            Self::Exists(how) => write!(f, "it exists {how}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// What a collection is like now; never fails.
pub(super) async fn state(run: &Run, qdrant: &Qdrant, name: &str) -> State {
    let looked = run.clean_up(STATE_PATIENCE, async {
        match target_state(qdrant, name).await {
            Ok(TargetState::Absent) => State::Absent,
            Ok(TargetState::Whole { info, points }) => {
                let shards = inactive(qdrant, name).await.ok().flatten().map(|s| format!(", {s}"));
                State::Exists(format!(
                    "with {points} points, status {}{}",
                    info.status,
                    shards.unwrap_or_default()
                ))
            }
            Ok(TargetState::Unreadable { info, problem }) => State::Exists(match info {
                Some(info) => format!("with unknown points ({problem}), status {}", info.status),
                None => format!("and its state is unreadable ({problem})"),
            }),
            Err(e) => State::Unknown(e.chain()),
        }
    });
    looked
        .await
        .unwrap_or_else(|| State::Unknown("Qdrant does not respond".to_owned()))
}
