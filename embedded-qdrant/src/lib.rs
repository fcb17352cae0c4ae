//! A small HTTP node over Qdrant's own engine (`qdrant-edge`), for demos and tests of
//! backup and restore where no Qdrant server is at hand.
//!
//! It stores for real and its snapshots are real: a collection snapshot has the layout of
//! a Qdrant 1.18 server, is made of the engine's own segment files, and is restored by
//! opening it in the engine. Never a part of what ships.
//!
//! ```no_run
//! # async fn example() -> Result<(), embedded_qdrant::Error> {
//! let node = embedded_qdrant::Node::start(embedded_qdrant::NodeOptions::new("./data")).await?;
//! println!("{}/collections", node.url());
//! node.stop().await;
//! # Ok(()) }
//! ```
//!
//! # What it serves
//! - `/`, `/healthz`, `/readyz`, `/livez`, `/cluster`
//! - collections: list, create, info, delete, `exists`, `cluster`, payload `index`,
//!   `optimizations` (as told by [`Node::script_optimizations`])
//! - shards: several of them, shard keys (in cluster mode), `points/count`,
//!   `points/scroll`, snapshots stored and streamed, `upload`, `recover`
//! - points: upsert, delete by ids, `count`, `scroll`, `search`, `query` (nearest only)
//! - aliases: list, per collection, change
//! - snapshots: create, list, download with ranges, delete, `upload`, `recover` from a URL
//! - API keys: one for everything, one for reading
//!
//! # Where it differs from a Qdrant server
//! - Which shard a point belongs to is not what Qdrant's hash ring says. As there it is
//!   decided by the point's id and the ids of the shards, and never changes.
//! - Several nodes of one process make a [`Cluster`] by sharing its value, without consensus
//!   and without sending anything. A replica that a restore or an update left behind has the
//!   data before the request is answered, unless [`Cluster::hold_transfers`] says otherwise.
//!   Collections that are made or dropped while a node is down are not so on that node.
//! - A streamed snapshot is on the node's disk while it is read, so that writes go on.
//! - Nothing works in the background: no HNSW graph is built and no segment merged. A
//!   search compares with every vector, so it is exact.
//! - While a snapshot is written, reads of that collection go on and writes wait.
//! - The engine does not replay its write-ahead log. So every write is flushed before it
//!   is answered, and operations that are only in the log of a server's snapshot, which
//!   the server had not applied yet, are not restored.
//! - Sections of a configuration that tune background work are kept, shown and put into
//!   snapshots, and have no effect.

mod aliases;
mod cluster;
mod collection;
mod config;
mod disk;
mod error;
mod http;
mod names;
mod node;
mod options;
mod points;
mod snapshot;
mod storage;

pub use cluster::{Cluster, ShardKey, Transfer};
pub use error::{Error, Result};
pub use http::Optimizations;
pub use node::Node;
pub use options::{Clock, NodeOptions};
pub use snapshot::opened::{OpenedSnapshot, open_shard, open_snapshot};
