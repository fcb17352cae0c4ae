//! Points of what was restored, read with their vectors: of the collection, and of each shard, since Qdrant takes a shard of any vectors.

use super::converge::unequal;
use crate::base::error::{Code, Error, Result};
use crate::base::snapshot::ArtifactKind;
use crate::wire::qdrant::{Count, Nodes, Shape, SnapshotOf};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Points that are read of a collection.
const SAMPLE: usize = 100;
/// The same of each replica of each shard.
const OF_A_SHARD: usize = 3;
/// A collection may have many shards.
const LONGEST: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(super) struct Sampled {
    pub(super) points: usize,
    pub(super) notes: Vec<String>,
}

/// Reads points of the collection, which has `config` and so many points. An error when they are not as it says.
pub(super) async fn sampled(nodes: &Nodes, name: &str, config: &Value, count: Count) -> Result<Sampled> {
    let mut sampled = Sampled::default();
    let sample = match nodes.of(None).sample(name, SAMPLE).await {
        Ok(sample) => sample,
        Err(error) if is_refusal(&error) => {
            let note = format!("no points were read as a sample: {}", error.chain());
            sampled.notes.push(note);
            return Ok(sampled);
        }
        Err(error) => return Err(error),
    };
    if sample.is_cut {
        sampled.notes.push(format!(
            "only {} points were read as a sample, because they are large or reading them takes long",
            sample.points
        ));
    } else if count.is_exact && sample.points as u64 != count.points.min(SAMPLE as u64) {
        return Err(unequal(format!(
            "collection {name:?}: only {} are readable of the first {} points",
            sample.points,
            count.points.min(SAMPLE as u64)
        )));
    }
    // A collection without vectors is possible; a point without the vectors that the collection has is as well, but not all.
    if sample.points > 0 && sample.with_vectors == 0 && declares_vectors(config) {
        return Err(unequal(format!(
            "collection {name:?}: none of the {} sampled points has a vector",
            sample.points
        )));
    }
    require_configured(config, &sample.vectors, &format!("collection {name:?}"))?;
    sampled.points = sample.points;
    sampled.notes.extend(each_shard(nodes, name, config).await?);
    Ok(sampled)
}

/// The same of each replica, where there are several shards; a note where not all were read.
async fn each_shard(nodes: &Nodes, name: &str, config: &Value) -> Result<Option<String>> {
    let began = Instant::now();
    for node in nodes.all() {
        let map = match node.shards(name).await {
            Ok((map, _)) => map,
            // Which shards there are was not to be known before either.
            Err(error) if error.code() == Code::QdrantForbidden => return Ok(None),
            Err(error) => return Err(error),
        };
        if map.replicas().len() < 2 {
            return Ok(None);
        }
        for shard in &map.local_shards {
            let of = SnapshotOf {
                collection: name,
                kind: ArtifactKind::Shard(shard.shard_id),
            };
            let not_read = match node.sample(of, OF_A_SHARD).await {
                Ok(sample) => {
                    require_configured(config, &sample.vectors, &format!("{of} on peer {}", map.peer_id))?;
                    (began.elapsed() >= LONGEST).then(|| "reading them takes long".to_owned())
                }
                // Older releases have no such path.
                Err(error)
                    if is_refusal(&error)
                        || matches!(error.code(), Code::QdrantForbidden | Code::CollectionNotFound) =>
                {
                    Some(error.chain())
                }
                Err(error) => return Err(error),
            };
            if let Some(why) = not_read {
                return Ok(Some(format!("not of each shard points were read as a sample: {why}")));
            }
        }
    }
    Ok(None)
}

/// Nothing is wrong with a collection that may not be looked at.
fn is_refusal(error: &Error) -> bool {
    error.code() == Code::QdrantFailed && error.is_permanent()
}

fn declares_vectors(config: &Value) -> bool {
    let some = |v: &Value| v.as_object().is_some_and(|o| !o.is_empty());
    some(&config["params"]["vectors"]) || some(&config["params"]["sparse_vectors"])
}

fn require_configured(config: &Value, found: &BTreeSet<(String, Shape)>, of: &str) -> Result<()> {
    match found.iter().find_map(|(name, shape)| odd(config, name, *shape)) {
        None => Ok(()),
        Some(how) => Err(unequal(format!("{of}: {how}"))),
    }
}

/// In what the vector of that name is another one than that of the configuration.
fn odd(config: &Value, name: &str, shape: Shape) -> Option<String> {
    let (dense, sparse) = (&config["params"]["vectors"], &config["params"]["sparse_vectors"]);
    let size = match dense["size"].as_u64() {
        Some(size) if name.is_empty() => Some(size),
        _ => dense[name]["size"].as_u64(),
    };
    let which = match name {
        "" => "the vector of a point".to_owned(),
        name => format!("the vector {name:?} of a point"),
    };
    match (shape, size) {
        (Shape::Sparse, _) if sparse.get(name).is_some() => None,
        (Shape::Dense(found), Some(size)) if found as u64 == size => None,
        (Shape::Dense(found), Some(size)) => Some(format!(
            "{which} has {found} numbers, those of the collection have {size}"
        )),
        (Shape::Uneven, Some(size)) => Some(format!("{which} has rows of different sizes, not of {size} numbers")),
        _ => Some(format!("{which} is none that the collection has")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn vectors_are_those_of_the_configuration() {
        let unnamed = json!({"params": {"vectors": {"size": 4, "distance": "Dot"}}});
        let named = json!({"params": {
            "vectors": {"size": {"size": 2, "distance": "Dot"}, "text": {"size": 3, "distance": "Dot"}},
            "sparse_vectors": {"words": {}}
        }});
        let none = json!({"params": {}});
        for (config, name, shape, fits) in [
            (&unnamed, "", Shape::Dense(4), true),
            (&unnamed, "", Shape::Dense(8), false),
            (&unnamed, "", Shape::Uneven, false),
            (&unnamed, "text", Shape::Dense(4), false),
            (&named, "text", Shape::Dense(3), true),
            (&named, "text", Shape::Dense(2), false),
            (&named, "size", Shape::Dense(2), true),
            (&named, "words", Shape::Sparse, true),
            (&named, "words", Shape::Dense(3), false),
            (&named, "text", Shape::Sparse, false),
            (&named, "", Shape::Dense(2), false),
            (&none, "", Shape::Dense(4), false),
        ] {
            assert_eq!(odd(config, name, shape).is_none(), fits, "{config} {name:?} {shape:?}");
        }
    }
}
