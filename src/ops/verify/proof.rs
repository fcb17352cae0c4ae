//! The proof that a snapshot holds what its manifest says: asked of the engine that has opened it.
//!
//! There is no other copy to compare with, so beside count, configuration and indexes the data is compared with itself: sampled
//! points have vectors of the right kind, a search with a stored vector finds its point, and the scores of the ten best are
//! those that their vectors have.

use crate::repository::manifest::{Artifact, Collection};
use crate::repository::names::ArtifactKind;
use embedded_qdrant::OpenedSnapshot;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Points that are read with vectors and payload, at most.
const SAMPLES: usize = 32;
/// Samples that are searched with, for each vector name.
const SEARCHED: usize = 8;
const TOP: usize = 10;
/// Sums of 32-bit floats in another order differ by less.
const TOLERANCE: f64 = 1e-3;

/// What was compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    /// Exact count.
    pub(super) points: u64,
    /// Points that were read with their vectors.
    pub(super) sampled: usize,
    /// Searches that were made with their vectors.
    pub(super) searches: usize,
    /// What differs from the manifest; empty: it is proven.
    pub(super) problems: Vec<String>,
    /// What is odd and yet no fault.
    pub(super) warnings: Vec<String>,
}

/// Compares an opened snapshot with the manifest and with itself. That of a shard has neither configuration nor payload indexes of its
/// own. Blocks.
///
/// # Errors
/// The engine's, when it cannot answer.
pub(super) fn prove(
    opened: &OpenedSnapshot,
    collection: &Collection,
    artifact: &Artifact,
) -> Result<Comparison, embedded_qdrant::Error> {
    let mut proved = Comparison {
        points: opened.count()? as u64,
        ..Comparison::default()
    };
    let before = artifact.points_before.unwrap_or(collection.points_before);
    let after = artifact.points_after.unwrap_or(collection.points_after);
    let (low, high) = (before.min(after), before.max(after));
    let is_as_counted = match collection.points_estimated {
        true => proved.points > 0 || low == 0,
        false => (low..=high).contains(&proved.points),
    };
    if !is_as_counted {
        let counted = if low == high {
            low.to_string()
        } else {
            format!("{low} to {high}")
        };
        proved.problems.push(format!(
            "it has {} points, expected {counted} (counted by the backup)",
            proved.points
        ));
    }
    let info = opened.info()?;
    if artifact.kind == ArtifactKind::Collection {
        compare_config(&mut proved, collection, &info["config"]);
        compare_indexes(&mut proved, collection, &info["payload_schema"]);
    }

    let samples = sample(opened)?;
    proved.sampled = samples.len();
    if samples.is_empty() && proved.points > 0 {
        proved.problems.push("no point is readable".into());
    }
    let params = &info["config"]["params"];
    let mut searched: BTreeMap<String, usize> = BTreeMap::new();
    for point in &samples {
        for (name, vector) in vectors(&point["vector"]) {
            if let Err(problem) = right_kind(params, &name, vector) {
                proved.problems.push(format!("point {}: {problem}", point["id"]));
                continue;
            }
            let times = searched.entry(name.clone()).or_default();
            if *times < SEARCHED && searchable(params, &name, vector) {
                *times += 1;
                proved.searches += 1;
                if let Some(problem) = search(opened, params, &name, &point["id"], vector)? {
                    proved.problems.push(format!(
                        "a search with the vector {name:?} of point {}: {problem}",
                        point["id"]
                    ));
                }
            }
        }
    }
    Ok(proved)
}

fn compare_config(proved: &mut Comparison, collection: &Collection, found: &Value) {
    let recorded = &collection.config.value();
    // It may have changed while the snapshot was made.
    let later = collection.changed_to.as_ref().map(|later| later.config.value());
    let later = later.as_ref().unwrap_or(recorded);
    for part in ["vectors", "sparse_vectors"] {
        let of = |config: &Value| match without_nulls(&config["params"][part]) {
            Value::Null => json!({}),
            value => value,
        };
        let (recorded, later, found) = (of(recorded), of(later), of(found));
        if recorded != found && later != found {
            proved
                .problems
                .push(format!("its {part} are {found}, expected {recorded}"));
        }
    }
    if without_nulls(recorded) != without_nulls(found) && without_nulls(later) != without_nulls(found) {
        // Qdrant shows defaults that it does not store, and this differs between releases.
        proved
            .warnings
            .push("its configuration differs in details from that in the manifest".into());
    }
}

fn compare_indexes(proved: &mut Comparison, collection: &Collection, found: &Value) {
    let types = |schema: &Value| -> BTreeMap<String, Value> {
        let fields = schema.as_object().into_iter().flatten();
        fields
            .map(|(field, index)| (field.clone(), index["data_type"].clone()))
            .collect()
    };
    let (recorded, found) = (types(&collection.payload_schema.value()), types(found));
    let later = collection
        .changed_to
        .as_ref()
        .map(|later| types(&later.payload_schema.value()));
    if recorded != found && later.as_ref() != Some(&found) {
        proved.problems.push(format!(
            "its payload indexes are {}, expected {}",
            json!(found),
            json!(recorded)
        ));
    }
}

/// Points from the beginning and, where ids are UUIDs, from all over.
fn sample(opened: &OpenedSnapshot) -> Result<Vec<Value>, embedded_qdrant::Error> {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let spread = (1..8).map(|i| json!(format!("{:x}0000000-0000-4000-8000-000000000000", 2 * i)));
    for offset in [Value::Null].into_iter().chain(spread) {
        let limit = if offset.is_null() { SAMPLES / 2 } else { 2 };
        let page =
            opened.scroll(json!({"offset": offset, "limit": limit, "with_vector": true, "with_payload": true}))?;
        let points = page["points"].as_array().cloned().unwrap_or_default();
        found.extend(points.into_iter().map(|point| (point["id"].to_string(), point)));
    }
    Ok(found.into_values().take(SAMPLES).collect())
}

/// The vectors of a point by name; the unnamed one has the empty name.
fn vectors(vector: &Value) -> Vec<(String, &Value)> {
    match vector {
        Value::Object(named) => named.iter().map(|(name, vector)| (name.clone(), vector)).collect(),
        Value::Null => Vec::new(),
        unnamed => vec![(String::new(), unnamed)],
    }
}

/// The configuration of a dense vector.
fn dense<'a>(params: &'a Value, name: &str) -> Option<&'a Value> {
    let vectors = &params["vectors"];
    match name {
        "" if vectors["size"].is_u64() => Some(vectors),
        name => vectors.get(name),
    }
}

fn right_kind(params: &Value, name: &str, vector: &Value) -> Result<(), String> {
    let finite = |list: &[Value]| list.iter().all(|x| x.as_f64().is_some_and(f64::is_finite));
    let Some(config) = dense(params, name) else {
        let (Some(indices), Some(values)) = (vector["indices"].as_array(), vector["values"].as_array()) else {
            return Err(format!("the vector {name:?} is not configured"));
        };
        return match indices.len() == values.len() && finite(values) {
            true => Ok(()),
            false => Err(format!("the sparse vector {name:?} is malformed")),
        };
    };
    let size = config["size"].as_u64();
    let row = |row: &Value| {
        let list = row.as_array().map(Vec::as_slice).unwrap_or_default();
        Some(list.len() as u64) == size && finite(list)
    };
    let right = match vector.as_array() {
        Some(rows) if rows.first().is_some_and(Value::is_array) => rows.iter().all(row),
        _ => row(vector),
    };
    if right {
        Ok(())
    } else {
        Err(format!("the vector {name:?} is not {} finite numbers", config["size"]))
    }
}

/// Whether the best score of a search with the vector is known beforehand.
fn searchable(params: &Value, name: &str, vector: &Value) -> bool {
    let multi = vector[0].is_array();
    let weighted = !params["sparse_vectors"][name]["modifier"].is_null();
    !multi && (dense(params, name).is_some() || !weighted)
}

/// Searches the ten best for a stored vector; says what is wrong with them.
fn search(
    opened: &OpenedSnapshot,
    params: &Value,
    name: &str,
    id: &Value,
    vector: &Value,
) -> Result<Option<String>, embedded_qdrant::Error> {
    let mut query =
        json!({"query": vector, "limit": TOP, "with_vector": true, "with_payload": false, "params": {"exact": true}});
    if !name.is_empty() {
        query["using"] = json!(name);
    }
    let answer = opened.query(query)?;
    let hits = answer["points"].as_array().cloned().unwrap_or_default();
    let metric = Metric::of(dense(params, name));
    let own = metric.score(vector, vector);
    let Some(best) = hits.first().and_then(|hit| hit["score"].as_f64()) else {
        return Ok(Some("it finds nothing".into()));
    };
    if metric.is_worse(best, own) {
        return Ok(Some(format!(
            "the best score is {best}, that of the point itself is {own}"
        )));
    }
    // More points than fit into the answer may be as good.
    let crowded = hits.len() == TOP
        && hits
            .iter()
            .all(|hit| !hit["score"].as_f64().is_some_and(|score| metric.is_worse(score, own)));
    if metric.best_is_highest() && !crowded && !hits.iter().any(|hit| hit["id"] == *id) {
        return Ok(Some("it does not find the point itself".into()));
    }
    // Other types than 32-bit floats are rounded when they are stored.
    let exact =
        dense(params, name).is_none_or(|config| config["datatype"].is_null() || config["datatype"] == "float32");
    for hit in hits.iter().filter(|_| exact) {
        let of_hit = vectors(&hit["vector"]).into_iter().find(|(n, _)| n == name);
        let (Some((_, stored)), Some(score)) = (of_hit, hit["score"].as_f64()) else {
            return Ok(Some(format!("point {} is found without its vector", hit["id"])));
        };
        let expected = metric.score(vector, stored);
        if (score - expected).abs() > tolerance(expected) {
            return Ok(Some(format!(
                "point {} has the score {score}, its vector gives {expected}",
                hit["id"]
            )));
        }
    }
    Ok(None)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Metric {
    Cosine,
    Dot,
    Euclid,
    Manhattan,
}

impl Metric {
    /// Sparse vectors are compared by their dot product.
    fn of(dense: Option<&Value>) -> Self {
        match dense.and_then(|config| config["distance"].as_str()) {
            Some("Cosine") => Self::Cosine,
            Some("Euclid") => Self::Euclid,
            Some("Manhattan") => Self::Manhattan,
            _ => Self::Dot,
        }
    }

    /// Whether no point is nearer to a vector than the one that has it.
    fn best_is_highest(self) -> bool {
        self != Self::Dot
    }

    fn is_worse(self, score: f64, than: f64) -> bool {
        match self {
            Self::Cosine | Self::Dot => score < than - tolerance(than),
            Self::Euclid | Self::Manhattan => score > than + tolerance(than),
        }
    }

    fn score(self, a: &Value, b: &Value) -> f64 {
        let pairs = pairs(a, b);
        let sum = |f: fn((f64, f64)) -> f64| pairs.iter().copied().map(f).sum::<f64>();
        match self {
            Self::Dot => sum(|(x, y)| x * y),
            Self::Euclid => sum(|(x, y)| (x - y) * (x - y)).sqrt(),
            Self::Manhattan => sum(|(x, y)| (x - y).abs()),
            Self::Cosine => {
                let norm = (sum(|(x, _)| x * x) * sum(|(_, y)| y * y)).sqrt();
                if norm > 0.0 { sum(|(x, y)| x * y) / norm } else { 0.0 }
            }
        }
    }
}

/// Both numbers of each dimension; dimensions of sparse vectors that either has not are left out.
fn pairs(a: &Value, b: &Value) -> Vec<(f64, f64)> {
    let number = |x: &Value| x.as_f64().unwrap_or(f64::NAN);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    if a.is_array() {
        return list(a).iter().map(number).zip(list(b).iter().map(number)).collect();
    }
    let sparse = |v: &Value| -> BTreeMap<u64, f64> {
        list(&v["indices"])
            .iter()
            .filter_map(Value::as_u64)
            .zip(list(&v["values"]).iter().map(number))
            .collect()
    };
    let b = sparse(b);
    sparse(a)
        .into_iter()
        .filter_map(|(i, x)| Some((x, *b.get(&i)?)))
        .collect()
}

fn tolerance(score: f64) -> f64 {
    TOLERANCE * score.abs().max(1.0)
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}
