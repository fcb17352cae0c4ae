//! Points over REST: the bodies that clients send, the engine's requests made of them,
//! and the answers in Qdrant's shape.

use std::collections::BTreeMap;

use qdrant_edge::{
    CountRequest, EdgeShard, Filter, NamedQuery, Payload, PointId, PointInsertOperations, PointOperations,
    PointStructPersisted, QueryEnum, ScoredPoint, ScrollRequest, SearchParams, SearchRequest, SparseVector,
    UpdateOperation, VectorInternal, VectorPersisted, VectorStructInternal, VectorStructPersisted,
    WithPayloadInterface, WithVector,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Body of `PUT /collections/{c}/points`.
#[derive(Debug, Deserialize)]
pub(crate) struct Upsert {
    points: Vec<PointStructPersisted>,
}

impl Upsert {
    /// Writes the points; points with the same ids are replaced.
    pub(crate) fn run(self, shard: &EdgeShard) -> Result<()> {
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
        let list = PointInsertOperations::PointsList(self.points);
        let upsert = PointOperations::UpsertPoints(list);
        Ok(shard.update(UpdateOperation::PointOperation(upsert))?)
    }
}

/// Body of `POST /collections/{c}/points/delete`, by ids.
#[derive(Debug, Deserialize)]
pub(crate) struct Delete {
    points: Vec<PointId>,
}

impl Delete {
    /// Removes the points; ids that are not there are ignored.
    pub(crate) fn run(self, shard: &EdgeShard) -> Result<()> {
        let delete = PointOperations::DeletePoints { ids: self.points };
        Ok(shard.update(UpdateOperation::PointOperation(delete))?)
    }
}

/// Body of `POST /collections/{c}/points/count`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Count {
    exact: Option<bool>,
    filter: Option<Filter>,
}

/// `result` of a count.
#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    pub(crate) count: usize,
}

impl Count {
    pub(crate) fn run(self, shard: &EdgeShard) -> Result<Counted> {
        let count = shard.count(CountRequest {
            filter: self.filter,
            exact: self.exact.unwrap_or(true),
        })?;
        Ok(Counted { count })
    }
}

/// Body of `POST /collections/{c}/points/scroll`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Scroll {
    offset: Option<PointId>,
    limit: Option<usize>,
    filter: Option<Filter>,
    with_payload: Option<WithPayloadInterface>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
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
}

impl Scroll {
    pub(crate) fn run(self, shard: &EdgeShard) -> Result<Page> {
        if self.limit == Some(0) {
            return Err(Error::validation(
                "Validation error in JSON body: [limit: value 0 invalid, must be 1 or larger]",
            ));
        }
        let (records, next_page_offset) = shard.scroll(ScrollRequest {
            offset: self.offset,
            limit: self.limit,
            filter: self.filter,
            with_payload: self.with_payload,
            with_vector: self.with_vector.unwrap_or(WithVector::Bool(false)),
            order_by: None,
        })?;
        let points = records.into_iter().map(|record| Record {
            id: record.id,
            payload: record.payload,
            vector: record.vector.map(Vector::from),
        });
        Ok(Page {
            points: points.collect(),
            next_page_offset,
        })
    }
}

/// Body of `POST /collections/{c}/points/search`.
#[derive(Debug, Deserialize)]
pub(crate) struct Search {
    vector: SearchVector,
    #[serde(flatten)]
    options: SearchOptions,
}

/// Body of `POST /collections/{c}/points/query`: of Qdrant's kinds of query, nearest only.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    query: Nearest,
    using: Option<String>,
    #[serde(flatten)]
    options: SearchOptions,
}

#[derive(Debug, Deserialize)]
struct SearchOptions {
    limit: Option<usize>,
    offset: Option<usize>,
    filter: Option<Filter>,
    params: Option<SearchParams>,
    score_threshold: Option<f32>,
    with_payload: Option<WithPayloadInterface>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SearchVector {
    Unnamed(Vec<f32>),
    Named { name: String, vector: QueryVector },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Nearest {
    Plain(QueryVector),
    Explicit { nearest: QueryVector },
}

#[derive(Debug, Deserialize)]
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
}

impl From<ScoredPoint> for Hit {
    fn from(point: ScoredPoint) -> Self {
        Self {
            id: point.id,
            version: point.version,
            score: point.score,
            payload: point.payload,
            vector: point.vector.map(Vector::from),
        }
    }
}

impl Search {
    /// The hits, best first.
    pub(crate) fn run(self, shard: &EdgeShard) -> Result<Vec<Hit>> {
        let (query, using) = match self.vector {
            SearchVector::Unnamed(values) => (VectorInternal::Dense(values), None),
            SearchVector::Named { name, vector } => (vector.into(), Some(name)),
        };
        self.options.run(shard, query, using)
    }
}

impl Query {
    /// The hits, best first.
    pub(crate) fn run(self, shard: &EdgeShard) -> Result<Vec<Hit>> {
        let (Nearest::Plain(query) | Nearest::Explicit { nearest: query }) = self.query;
        self.options.run(shard, query.into(), self.using)
    }
}

impl SearchOptions {
    fn run(self, shard: &EdgeShard, query: VectorInternal, using: Option<String>) -> Result<Vec<Hit>> {
        if let VectorInternal::Sparse(sparse) = &query {
            check_sparse(sparse)?;
        }
        let hits = shard.search(SearchRequest {
            query: QueryEnum::Nearest(NamedQuery { query, using }),
            filter: self.filter,
            params: self.params,
            limit: self.limit.unwrap_or(10),
            offset: self.offset.unwrap_or(0),
            with_payload: self.with_payload,
            with_vector: self.with_vector,
            score_threshold: self.score_threshold,
        })?;
        Ok(hits.into_iter().map(Hit::from).collect())
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
