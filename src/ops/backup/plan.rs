//! The plan of a backup: what will be saved and from where. A value that prints; nothing is changed by making one.

use super::replicas::Spread;
use crate::base::error::{Code, Error, Result};
use crate::base::release::release;
use crate::base::text::plain;
use crate::repository::aliases::Aliases;
use crate::repository::manifest::{QdrantInfo, Topology};
use crate::repository::selection::{self, Filter, Selection};
use crate::repository::sharding;
use crate::repository::unit::{Mode, SnapshotMode, Unit};
use crate::wire::qdrant::{Nodes, Qdrant};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Collections whose shards are asked for at once.
const ASKED_AT_ONCE: usize = 8;

/// A name that was asked for, and that is none. Its text is a part of that of its error, which does not repeat it.
#[derive(Debug, thiserror::Error)]
#[error("no collection {0:?}")]
pub(super) struct NoSuchCollection(pub(super) String);

/// What will be saved.
#[derive(Clone, Debug)]
pub struct BackupPlan {
    /// The Qdrant it will be saved from.
    pub qdrant: QdrantInfo,
    /// In the order of their collections' names.
    pub units: Vec<Unit>,
    /// By which of the modes they were planned.
    pub(crate) mode: SnapshotMode,
    /// Those of each collection that has any.
    pub(crate) aliases: Aliases,
    /// What the reader should know.
    pub warnings: Vec<String>,
    /// The nodes that have the units.
    pub(crate) nodes: Nodes,
    /// What they are like, if Qdrant is clustered.
    pub map: Vec<NodeState>,
}

/// One node of a cluster.
#[derive(Clone, Debug, Serialize)]
pub struct NodeState {
    pub peer: u64,
    pub url: String,
    /// Release of the Qdrant that it runs.
    pub version: String,
    /// How many replicas of the selected collections it has in each state.
    pub replicas: BTreeMap<String, usize>,
    /// How many of them are saved from it.
    pub units: usize,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<_> = self.replicas.iter().map(|(state, n)| format!("{n} {state}")).collect();
        let states = match states.is_empty() {
            true => "none".to_owned(),
            false => states.join(", "),
        };
        let Self {
            peer,
            url,
            version,
            units,
            ..
        } = self;
        write!(
            f,
            "{url} is peer {peer}, Qdrant {version}; replicas: {states}; {units} would be saved from it"
        )
    }
}

impl BackupPlan {
    /// The names of the collections, in their order.
    pub fn collections(&self) -> Vec<String> {
        let mut names: Vec<_> = self.units.iter().map(|unit| unit.collection.clone()).collect();
        names.dedup();
        names
    }
}

/// Plans a backup of what `selection` names, or says why there can be none.
pub async fn make(qdrant: &Qdrant, selection: &Selection, mode: SnapshotMode) -> Result<BackupPlan> {
    // Before anything is asked: a bad pattern is the caller's mistake, whatever Qdrant's state.
    let filter = Filter::new(selection)?;
    let nodes = qdrant.nodes().await?;
    let versions = nodes.versions().await?;
    let of_nodes = versions
        .iter()
        .map(|(peer, version)| (nodes.of(Some(*peer)), version.as_str()));
    let mode = possible(mode, of_nodes)?;
    let (version, mut warnings) = version(&nodes, &versions);
    let existing = qdrant.collections().await?;
    let names = choose(&filter, qdrant, selection, existing)?;
    let mut aliases = Aliases::from(qdrant.aliases().await?);
    aliases.retain(&names);
    let Units {
        units,
        replicas,
        warnings: cramped,
    } = units(&nodes, names, mode).await?;
    warnings.extend(cramped);
    let map = nodes
        .by_peer()
        .iter()
        .map(|(peer, node)| NodeState {
            peer: *peer,
            url: node.url(),
            version: versions.get(peer).cloned().unwrap_or_default(),
            replicas: replicas.get(peer).cloned().unwrap_or_default(),
            units: units.iter().filter(|unit| unit.node == Some(*peer)).count(),
        })
        .collect();
    let scoped_key = nodes.is_hidden;
    if scoped_key {
        warnings.push(format!(
            "{SCOPED_KEY}; Qdrant is treated as a single node, only each collection's own shards were checked"
        ));
    }
    let topology = match nodes.are_several() {
        true => Topology::Cluster {
            peers: nodes.by_peer().keys().copied().collect(),
        },
        false => Topology::Standalone,
    };
    Ok(BackupPlan {
        qdrant: QdrantInfo {
            version,
            topology,
            scoped_key,
            source: None,
            extra: BTreeMap::new(),
        },
        warnings,
        units,
        mode,
        aliases,
        nodes,
        map,
    })
}

impl fmt::Display for BackupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (collections, units) = (self.collections().len(), self.units.len());
        writeln!(
            f,
            "Qdrant {}: a backup would save {collections} collections by {units} snapshots",
            self.qdrant.version
        )?;
        for node in &self.map {
            writeln!(f, "  {node}")?;
        }
        for unit in &self.units {
            write!(f, "  {}", plain(&unit.to_string()))?;
            if let Some(node) = unit.node {
                write!(f, " from peer {node}")?;
            }
            match unit.mode {
                Mode::File => writeln!(f)?,
                Mode::Stream => writeln!(f, ", streamed")?,
            }
        }
        self.warnings
            .iter()
            .try_for_each(|w| writeln!(f, "warning  {}", plain(w)))
    }
}

/// A key that is refused the cluster status is one for certain collections, and Qdrant leaves the others out of its list.
pub const SCOPED_KEY: &str =
    "the key may not read the cluster status, so it may see only some of the collections and aliases";

pub(super) struct Units {
    pub(super) units: Vec<Unit>,
    /// Of each peer, how many replicas it has in each state.
    replicas: BTreeMap<u64, BTreeMap<String, usize>>,
    /// Why some are not saved as the others are.
    pub(super) warnings: Vec<String>,
}

/// What each collection is saved as: whole where there is one node, by its shards where it has shard keys, there are several nodes,
/// or they are streamed. With [`SnapshotMode::Auto`] what Qdrant lacks room for is streamed; of one node as a whole, which may yet
/// be saved by a file.
pub(super) async fn units(nodes: &Nodes, names: Vec<String>, mode: SnapshotMode) -> Result<Units> {
    let streams = mode == SnapshotMode::Stream;
    if nodes.by_peer().is_empty() && mode == SnapshotMode::File {
        return Ok(Units {
            units: names.iter().map(|name| Unit::whole(name)).collect(),
            replicas: BTreeMap::new(),
            warnings: Vec::new(),
        });
    }
    let qdrant = nodes.of(None);
    let mut looks = stream::iter(names)
        .map(|name| async move {
            match qdrant.shards(&name).await {
                Err(e)
                    if matches!(
                        e.code(),
                        Code::QdrantUnreachable | Code::QdrantTls | Code::QdrantUnauthorized
                    ) =>
                {
                    Err(e)
                }
                looked => {
                    let is_cramped = mode == SnapshotMode::Auto
                        && looked.is_ok()
                        && qdrant.collection(&name).await.is_ok_and(|info| info.lacks_room);
                    Ok((name, looked, is_cramped))
                }
            }
        })
        .buffered(ASKED_AT_ONCE);
    let (mut units, mut spread) = (Vec::new(), Spread::default());
    let mut replicas: BTreeMap<u64, BTreeMap<String, usize>> = BTreeMap::new();
    let mut warnings = Vec::new();
    while let Some((name, looked, is_cramped)) = looks.try_next().await? {
        let by = match streams || is_cramped {
            true => Mode::Stream,
            false => Mode::File,
        };
        if is_cramped {
            warnings.push(format!(
                "collection {name:?}: Qdrant's disk has no room to optimize it, so it is streamed"
            ));
        }
        if let Ok((map, _)) = &looked {
            for replica in map.replicas().into_values().flatten() {
                *replicas
                    .entry(replica.peer)
                    .or_default()
                    .entry(replica.state)
                    .or_default() += 1;
            }
        }
        let by_shards = match looked {
            // Of nodes that are not known.
            Ok((map, _)) if nodes.by_peer().is_empty() && !map.remote_shards.is_empty() => Ok(Vec::new()),
            Ok((map, raw)) if streams || nodes.are_several() || sharding::is_custom(&Value::Null, &raw) => {
                spread.units(&name, &map)
            }
            Ok(_) => Ok(Vec::new()),
            Err(e) => Err(e),
        };
        match by_shards {
            Ok(shards) if !shards.is_empty() => units.extend(shards.into_iter().map(|unit| unit.by(by))),
            // Whoever saves it asks again, and tells what is wrong with this one.
            _ => units.push(Unit::whole(&name).by(by)),
        }
    }
    Ok(Units {
        units,
        replicas,
        warnings,
    })
}

/// Warns of nodes of different versions; the highest one is that of the backup.
fn version(nodes: &Nodes, versions: &BTreeMap<u64, String>) -> (String, Vec<String>) {
    let distinct: BTreeSet<&String> = versions.values().collect();
    let different = (distinct.len() > 1).then(|| {
        let of_nodes = versions.iter().map(|(peer, version)| {
            let url = nodes.of(Some(*peer)).url();
            format!("{url} has {version}")
        });
        let list = of_nodes.collect::<Vec<_>>().join(", ");
        format!("the nodes have different versions, so that a restore may not take all shards: {list}; bring all to the newest")
    });
    let by_age = |version: &&String| release(version);
    let newest = versions.values().max_by_key(by_age).cloned().unwrap_or_default();
    let oldest = versions.values().min_by_key(by_age).map(String::as_str);
    let warnings = different.into_iter().chain(oldest.and_then(version_warning)).collect();
    (newest, warnings)
}

/// The mode, as far as these nodes take it with their versions.
pub(super) fn possible<'a>(
    mode: SnapshotMode,
    nodes: impl IntoIterator<Item = (&'a Qdrant, &'a str)>,
) -> Result<SnapshotMode> {
    let streams = nodes
        .into_iter()
        .try_for_each(|(node, version)| require_streams(node, version));
    match (mode, streams) {
        (SnapshotMode::Stream, Err(refused)) => Err(refused),
        (SnapshotMode::Auto, Err(_)) => Ok(SnapshotMode::File),
        (mode, _) => Ok(mode),
    }
}

/// Refuses to stream where a stream can harm the collection.
pub(super) fn require_streams(node: &Qdrant, version: &str) -> Result<()> {
    match release(version) >= Some((1, 17, 0)) {
        true => Ok(()),
        false => Err(Error::new(
            Code::Unsupported,
            format!(
                "{} is Qdrant {version}: before 1.17 streaming a shard can freeze its collection until the stream ends",
                node.url()
            ),
        )
        .remedy("update Qdrant, or set SNAPSHOT_MODE=file")),
    }
}

/// What Qdrant's changelog says of snapshots made by old versions.
fn version_warning(version: &str) -> Option<String> {
    let found = release(version)?;
    if found < (1, 15, 5) {
        Some(format!(
            "Qdrant {version}: before 1.15.5 a snapshot created during writes can be corrupt; update Qdrant"
        ))
    } else if found < (1, 16, 0) {
        Some(format!(
            "Qdrant {version} is older than 1.16, the oldest supported version"
        ))
    } else {
        None
    }
}

/// The names of the `existing` collections that are selected; none at all is an error.
pub(super) fn choose(
    filter: &Filter,
    qdrant: &Qdrant,
    selection: &Selection,
    existing: Vec<String>,
) -> Result<Vec<String>> {
    let names = filter.pick(selection, &existing).map_err(|missing| {
        let meant = selection::meant(missing, &existing).map_or_else(String::new, |meant| format!("{meant}; "));
        Error::new(
            Code::CollectionNotFound,
            format!("{} has no collection {missing:?}", qdrant.url()),
        )
        .because(NoSuchCollection(missing.clone()))
        .remedy(format!("{meant}run `qdrant-backup check` to see the collections"))
        .over_http(format!("{meant}send GET /v1/collections to see the collections"))
    })?;
    if names.is_empty() {
        return Err(Error::new(
            Code::NothingToBackUp,
            format!(
                "{} has {} collections, none of them is selected",
                qdrant.url(),
                existing.len()
            ),
        )
        .remedy("check the URL, the key's rights and the patterns; an empty backup would look like a good one"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qdrant() -> Qdrant {
        Qdrant::new(crate::wire::qdrant::Options::new("http://127.0.0.1:1".parse().unwrap())).unwrap()
    }

    fn chosen(selection: Selection) -> Result<Vec<String>> {
        let existing = ["docs-a", "docs-b", "tmp-1", "向量"].map(str::to_owned).to_vec();
        choose(&Filter::new(&selection)?, &qdrant(), &selection, existing)
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn names_and_patterns_choose_collections() {
        let all = Selection::default();
        assert_eq!(chosen(all.clone()).unwrap().len(), 4);
        let include = Selection {
            include: list(&["docs-*", "向?"]),
            ..all.clone()
        };
        assert_eq!(chosen(include).unwrap(), list(&["docs-a", "docs-b", "向量"]));
        let exclude = Selection {
            exclude: list(&["tmp-*"]),
            include: list(&["*-?"]),
            ..all.clone()
        };
        assert_eq!(chosen(exclude).unwrap(), list(&["docs-a", "docs-b"]));
        let named = Selection {
            collections: list(&["tmp-1"]),
            ..all
        };
        assert_eq!(chosen(named).unwrap(), list(&["tmp-1"]));
    }

    #[test]
    fn a_choice_of_nothing_is_an_error() {
        let code = |s| chosen(s).unwrap_err().code();
        let all = Selection::default();
        assert_eq!(
            code(Selection {
                collections: list(&["nope"]),
                ..all.clone()
            }),
            Code::CollectionNotFound
        );
        assert_eq!(
            code(Selection {
                collections: list(&[""]),
                ..all.clone()
            }),
            Code::BadRequest
        );
        assert_eq!(
            code(Selection {
                include: list(&["x*"]),
                ..all.clone()
            }),
            Code::NothingToBackUp
        );
        assert_eq!(
            code(Selection {
                exclude: list(&["*"]),
                ..all.clone()
            }),
            Code::NothingToBackUp
        );
        assert_eq!(
            code(Selection {
                include: list(&["a["]),
                ..all
            }),
            Code::BadRequest
        );
    }

    #[test]
    fn old_versions_are_warned_about() {
        // Those before 1.15.5 for more than their age.
        let [older, old] = ["1.15.4", "1.15.5"].map(|version| version_warning(version).unwrap());
        assert!(
            older.contains("1.15.5") && old.contains("1.16") && older != old,
            "{older} {old}"
        );
        for fine in ["1.16.0", "1.18.3", "1.19.0-dev", "unknown"] {
            assert_eq!(version_warning(fine), None, "{fine}");
        }
    }
}
