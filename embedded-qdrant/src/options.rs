//! How to run a node.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::cluster::Cluster;

/// What tells the time that goes into the names of snapshots.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// How to run a node. Start from [`NodeOptions::new`] and change what matters.
#[derive(Clone)]
pub struct NodeOptions {
    /// Where everything is kept; made if missing, and what is in it is opened. Only one
    /// node at a time may use it.
    pub data_dir: PathBuf,
    /// Where to listen; port 0 takes a free one. Default: `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// The key that may do everything. Without any key everybody may.
    pub api_key: Option<String>,
    /// The key that may only read.
    pub read_only_key: Option<String>,
    /// The release that `GET /` shows. Default: `1.18.3`.
    pub version: String,
    /// The peer id, which is a part of the names of snapshots.
    pub peer_id: u64,
    /// The cluster that this node is a peer of. Default: none, so that `GET /cluster`
    /// answers `disabled` and there are no shard keys.
    ///
    /// The nodes of a cluster differ in `peer_id`, and are started before there are
    /// collections; one that ended may start again with the data that it had.
    pub cluster: Option<Cluster>,
    /// Default: the system's time.
    pub clock: Clock,
}

impl NodeOptions {
    /// The defaults over that data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            api_key: None,
            read_only_key: None,
            version: "1.18.3".to_owned(),
            peer_id: 5_218_746_318_950_237,
            cluster: None,
            clock: Arc::new(OffsetDateTime::now_utc),
        }
    }
}
