//! Starting and stopping a node.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::error::{Error, Result};
use crate::http;
use crate::storage::{Storage, blocking};

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
            clock: Arc::new(OffsetDateTime::now_utc),
        }
    }
}

/// A running node. Dropping it ends it too, but only [`Node::stop`] waits for the end.
pub struct Node {
    address: SocketAddr,
    server: JoinHandle<()>,
    tasks: TaskTracker,
    storage: Arc<Storage>,
    shutdown: CancellationToken,
    _end_when_dropped: DropGuard,
}

impl Node {
    /// Opens the data directory, listens, and serves.
    ///
    /// Fails if the directory cannot be opened, another node uses it, or the address is
    /// taken.
    pub async fn start(options: NodeOptions) -> Result<Self> {
        let data_dir = options.data_dir.clone();
        let storage = Arc::new(blocking(move || Storage::open(&data_dir)).await?);
        let listening = |error: &std::io::Error| Error::io(format_args!("listen on {}", options.listen), error);
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|error| listening(&error))?;
        let address = listener.local_addr().map_err(|error| listening(&error))?;

        let tasks = TaskTracker::new();
        let shutdown = CancellationToken::new();
        let router = http::router(storage.clone(), tasks.clone(), &options)?;
        let ended = shutdown.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            // Accept errors are handled within; serving ends only when told to.
            let _ = axum::serve(listener, router).with_graceful_shutdown(ended).await;
        });
        tracing::info!(%address, data_dir = %options.data_dir.display(), "embedded node listens on {address}");
        Ok(Self {
            address,
            server,
            tasks,
            storage,
            _end_when_dropped: shutdown.clone().drop_guard(),
            shutdown,
        })
    }

    /// The URL without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, waits for what runs, and flushes everything to disk. After
    /// it another node may use the data directory.
    ///
    /// Transfers still under way are given a few seconds; a client that has stopped
    /// reading does not keep the node.
    pub async fn stop(self) {
        self.shutdown.cancel();
        let mut server = self.server;
        if tokio::time::timeout(GRACE, &mut server).await.is_err() {
            server.abort();
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.storage.close().await;
    }
}

const GRACE: std::time::Duration = std::time::Duration::from_secs(5);
