//! Points over REST: the bodies that clients send, the engine's requests made of them,
//! and the answers in Qdrant's shape.

use std::collections::{BTreeMap, HashSet};

use qdrant_edge::{
    CountRequest, Distance, EdgeShard, Filter, NamedQuery, Payload, PointId, PointInsertOperations, PointOperations,
    PointStructPersisted, QueryEnum, Record as EngineRecord, ScoredPoint, ScrollRequest, SearchParams, SearchRequest,
    SparseVector, VectorInternal, VectorPersisted, VectorStructInternal, VectorStructPersisted, WithPayloadInterface,
    WithVector,
};
use serde::{Deserialize, Serialize};

use crate::cluster::{ShardKey, ShardKeySelector, Topology};
use crate::error::{Error, Result};

/// What shards say, each with its key.
pub(crate) type Parts<T> = Vec<(Option<ShardKey>, T)>;

/// A question about points: put to each shard, and answered from what they say.
pub(crate) trait Question: Clone + Send + Sync + 'static {
    /// What one shard says.
    type Part: Send + 'static;
    /// `result` of the request.
    type Answer: Serialize;

    /// The shards that are asked; without it all.
    fn shard_key(&self) -> Option<&ShardKeySelector>;
    /// Refuses what makes no sense to any shard.
    fn check(&self) -> Result<()>;
    fn ask(&self, shard: &EdgeShard) -> Result<Self::Part>;
    fn answer(self, parts: Parts<Self::Part>) -> Self::Answer;
}

/// Body of `PUT /collections/{c}/points`.
#[derive(Debug, Deserialize)]
pub(crate) struct Upsert {
    points: Vec<PointStructPersisted>,
    shard_key: Option<ShardKeySelector>,
}

/// Body of `POST /collections/{c}/points/delete`, by ids.
#[derive(Debug, Deserialize)]
pub(crate) struct Delete {
    points: Vec<PointId>,
    shard_key: Option<ShardKeySelector>,
}

impl Upsert {
    /// What to do on which shard; points with the same ids are replaced.
    pub(crate) fn divide(&self, topology: &Topology) -> Result<BTreeMap<u32, PointOperations>> {
        for point in &self.points {
            let VectorStructPersisted::Named(named) = &point.vector else {
                continue;
            };
            for vector in named.values() {
                if let VectorPersisted::Sparse(sparse) = vector {
                    check_sparse(sparse)?;
                }
            }
        }
        let divided = topology.divide(self.shard_key.as_ref(), &self.points, |point| point.id)?;
        let upsert = |points| PointOperations::UpsertPoints(PointInsertOperations::PointsList(points));
        Ok(divided.into_iter().map(|(id, points)| (id, upsert(points))).collect())
    }
}

impl Delete {
    /// What to do on which shard; ids that are not there are ignored.
    pub(crate) fn divide(&self, topology: &Topology) -> Result<BTreeMap<u32, PointOperations>> {
        let divided = topology.divide(self.shard_key.as_ref(), &self.points, |id| *id)?;
        let delete = |ids| PointOperations::DeletePoints { ids };
        Ok(divided.into_iter().map(|(id, ids)| (id, delete(ids))).collect())
    }
}

/// Body of `POST /collections/{c}/points/count`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Count {
    exact: Option<bool>,
    filter: Option<Filter>,
    shard_key: Option<ShardKeySelector>,
}

/// `result` of a count.
#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    pub(crate) count: usize,
}

impl Question for Count {
    type Part = usize;
    type Answer = Counted;

    fn shard_key(&self) -> Option<&ShardKeySelector> {
        self.shard_key.as_ref()
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn ask(&self, shard: &EdgeShard) -> Result<usize> {
        Ok(shard.count(CountRequest {
            filter: self.filter.clone(),
            exact: self.exact.unwrap_or(true),
        })?)
    }

    /// A point that two shard keys have counts twice, as on a Qdrant server.
    fn answer(self, parts: Parts<usize>) -> Counted {
        Counted {
            count: parts.into_iter().map(|(_, count)| count).sum(),
        }
    }
}

/// Body of `POST /collections/{c}/points/scroll`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Scroll {
    offset: Option<PointId>,
    limit: Option<usize>,
    filter: Option<Filter>,
    with_payload: Option<WithPayloadInterface>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
    shard_key: Option<ShardKeySelector>,
}

/// `result` of a scroll: one page ordered by id, and the id where the next one begins.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    points: Vec<Record>,
    next_page_offset: Option<PointId>,
}

/// One point of a page.
#[derive(Debug, Serialize)]
struct Record {
    id: PointId,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<Vector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_key: Option<ShardKey>,
}

impl Scroll {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(10)
    }
}

impl Question for Scroll {
    type Part = Vec<EngineRecord>;
    type Answer = Page;

    fn shard_key(&self) -> Option<&ShardKeySelector> {
        self.shard_key.as_ref()
    }

    fn check(&self) -> Result<()> {
        match self.limit {
            Some(0) => Err(Error::validation(
                "Validation error in JSON body: [limit: value 0 invalid, must be 1 or larger]",
            )),
            _ => Ok(()),
        }
    }

    /// One more than a page, which is where the next one begins.
    fn ask(&self, shard: &EdgeShard) -> Result<Vec<EngineRecord>> {
        let (records, _) = shard.scroll(ScrollRequest {
            offset: self.offset,
            limit: Some(self.limit().saturating_add(1)),
            filter: self.filter.clone(),
            with_payload: self.with_payload.clone(),
            with_vector: self.with_vector.clone().unwrap_or(WithVector::Bool(false)),
            order_by: None,
        })?;
        Ok(records)
    }

    fn answer(self, parts: Parts<Vec<EngineRecord>>) -> Page {
        let mut points: Vec<Record> = Vec::new();
        for (key, records) in parts {
            points.extend(records.into_iter().map(|record| Record {
                id: record.id,
                payload: record.payload,
                vector: record.vector.map(Vector::from),
                shard_key: key.clone(),
            }));
        }
        points.sort_by_key(|point| point.id);
        points.dedup_by_key(|point| point.id);
        let next_page_offset = points.get(self.limit()).map(|point| point.id);
        points.truncate(self.limit());
        Page {
            points,
            next_page_offset,
        }
    }
}

/// Body of `POST /collections/{c}/points/search`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Search {
    vector: SearchVector,
    #[serde(flatten)]
    options: SearchOptions,
}

/// Body of `POST /collections/{c}/points/query`: of Qdrant's kinds of query, nearest only.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Query {
    query: Nearest,
    using: Option<String>,
    #[serde(flatten)]
    options: SearchOptions,
}

#[derive(Debug, Clone, Deserialize)]
struct SearchOptions {
    limit: Option<usize>,
    offset: Option<usize>,
    filter: Option<Filter>,
    params: Option<SearchParams>,
    score_threshold: Option<f32>,
    with_payload: Option<WithPayloadInterface>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
    shard_key: Option<ShardKeySelector>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum SearchVector {
    Unnamed(Vec<f32>),
    Named { name: String, vector: QueryVector },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Nearest {
    Plain(QueryVector),
    Explicit { nearest: QueryVector },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum QueryVector {
    Dense(Vec<f32>),
    Sparse(SparseVector),
}

impl From<QueryVector> for VectorInternal {
    fn from(vector: QueryVector) -> Self {
        match vector {
            QueryVector::Dense(values) => Self::Dense(values),
            QueryVector::Sparse(sparse) => Self::Sparse(sparse),
        }
    }
}

/// One hit of a search.
#[derive(Debug, Serialize)]
pub(crate) struct Hit {
    id: PointId,
    version: u64,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<Vector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_key: Option<ShardKey>,
}

/// The hits of one shard, best first.
pub(crate) struct Found {
    /// Whether the best has the lowest score.
    ascending: bool,
    points: Vec<ScoredPoint>,
}

/// `result` of a query.
#[derive(Debug, Serialize)]
pub(crate) struct Hits {
    points: Vec<Hit>,
}

impl Question for Search {
    type Part = Found;
    type Answer = Vec<Hit>;

    fn shard_key(&self) -> Option<&ShardKeySelector> {
        self.options.shard_key.as_ref()
    }

    fn check(&self) -> Result<()> {
        match &self.vector {
            SearchVector::Named { vector, .. } => check_query(vector),
            SearchVector::Unnamed(_) => Ok(()),
        }
    }

    fn ask(&self, shard: &EdgeShard) -> Result<Found> {
        let (query, using) = match self.vector.clone() {
            SearchVector::Unnamed(values) => (VectorInternal::Dense(values), None),
            SearchVector::Named { name, vector } => (vector.into(), Some(name)),
        };
        self.options.ask(shard, query, using)
    }

    fn answer(self, parts: Parts<Found>) -> Vec<Hit> {
        self.options.best(parts)
    }
}

impl Query {
    fn vector(&self) -> &QueryVector {
        let (Nearest::Plain(query) | Nearest::Explicit { nearest: query }) = &self.query;
        query
    }
}

impl Question for Query {
    type Part = Found;
    type Answer = Hits;

    fn shard_key(&self) -> Option<&ShardKeySelector> {
        self.options.shard_key.as_ref()
    }

    fn check(&self) -> Result<()> {
        check_query(self.vector())
    }

    fn ask(&self, shard: &EdgeShard) -> Result<Found> {
        self.options
            .ask(shard, self.vector().clone().into(), self.using.clone())
    }

    fn answer(self, parts: Parts<Found>) -> Hits {
        Hits {
            points: self.options.best(parts),
        }
    }
}

impl SearchOptions {
    fn limits(&self) -> (usize, usize) {
        (self.offset.unwrap_or(0), self.limit.unwrap_or(10))
    }

    fn ask(&self, shard: &EdgeShard, query: VectorInternal, using: Option<String>) -> Result<Found> {
        let name = using.clone().unwrap_or_default();
        let distance = shard.config().vectors.get(&name).map(|vector| vector.distance);
        let (offset, limit) = self.limits();
        let points = shard.search(SearchRequest {
            query: QueryEnum::Nearest(NamedQuery { query, using }),
            filter: self.filter.clone(),
            params: self.params,
            limit: limit.saturating_add(offset),
            offset: 0,
            with_payload: self.with_payload.clone(),
            with_vector: self.with_vector.clone(),
            score_threshold: self.score_threshold,
        })?;
        Ok(Found {
            ascending: matches!(distance, Some(Distance::Euclid | Distance::Manhattan)),
            points,
        })
    }

    /// The best of all shards, best first.
    fn best(&self, parts: Parts<Found>) -> Vec<Hit> {
        let ascending = parts.iter().any(|(_, found)| found.ascending);
        let mut hits = Vec::new();
        for (key, found) in parts {
            hits.extend(found.points.into_iter().map(|point| Hit {
                id: point.id,
                version: point.version,
                score: point.score,
                payload: point.payload,
                vector: point.vector.map(Vector::from),
                shard_key: key.clone(),
            }));
        }
        // Stable: hits of one score stay as the engine ordered them.
        hits.sort_by(|one: &Hit, other| match ascending {
            true => one.score.total_cmp(&other.score),
            false => other.score.total_cmp(&one.score),
        });
        let mut seen = HashSet::new();
        let (offset, limit) = self.limits();
        let once = hits.into_iter().filter(|hit| seen.insert(hit.id));
        once.skip(offset).take(limit).collect()
    }
}

fn check_query(query: &QueryVector) -> Result<()> {
    match query {
        QueryVector::Sparse(sparse) => check_sparse(sparse),
        QueryVector::Dense(_) => Ok(()),
    }
}

/// The engine trusts a sparse vector to have as many values as indices and no index twice.
fn check_sparse(sparse: &SparseVector) -> Result<()> {
    SparseVector::new(sparse.indices.clone(), sparse.values.clone())
        .map(|_| ())
        .map_err(|error| Error::validation(format_args!("Validation error in JSON body: {error}")))
}

/// A vector as clients see it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Vector {
    Dense(Vec<f32>),
    Multi(Vec<Vec<f32>>),
    Sparse(SparseVector),
    Named(BTreeMap<String, Vector>),
}

impl From<VectorInternal> for Vector {
    fn from(vector: VectorInternal) -> Self {
        match vector {
            VectorInternal::Dense(values) => Self::Dense(values),
            VectorInternal::Sparse(sparse) => Self::Sparse(sparse),
            VectorInternal::MultiDense(multi) => Self::Multi(multi.into_multi_vectors()),
        }
    }
}

impl From<VectorStructInternal> for Vector {
    fn from(vector: VectorStructInternal) -> Self {
        match vector {
            VectorStructInternal::Single(values) => Self::Dense(values),
            VectorStructInternal::MultiDense(multi) => Self::Multi(multi.into_multi_vectors()),
            VectorStructInternal::Named(named) => Self::Named(
                named
                    .into_iter()
                    .map(|(name, vector)| (name, Self::from(vector)))
                    .collect(),
            ),
        }
    }
}
