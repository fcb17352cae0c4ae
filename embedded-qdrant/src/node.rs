//! Starting and stopping a node.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::error::{Error, Result};
use crate::http::{self, Optimizations, Scripts};
use crate::options::NodeOptions;
use crate::storage::{Storage, blocking};

/// A running node. Dropping it ends it too, but only [`Node::stop`] waits for the end.
pub struct Node {
    address: SocketAddr,
    server: JoinHandle<()>,
    tasks: TaskTracker,
    storage: Arc<Storage>,
    optimizations: Arc<Scripts>,
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
        let (peer_id, cluster) = (options.peer_id, options.cluster.clone().unwrap_or_default());
        let storage = Arc::new(blocking(move || Storage::open(&data_dir, peer_id, cluster)).await?);
        let listening = |error: &std::io::Error| Error::io(format_args!("listen on {}", options.listen), error);
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|error| listening(&error))?;
        let address = listener.local_addr().map_err(|error| listening(&error))?;

        let tasks = TaskTracker::new();
        let optimizations = Arc::new(Scripts::default());
        let shutdown = CancellationToken::new();
        let router = http::router(storage.clone(), tasks.clone(), optimizations.clone(), &options)?;
        storage.join().await?;
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
            optimizations,
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

    /// Says what the next requests for a collection's optimizations on this node are told,
    /// each entry once; the last one goes on to hold. Without a script there are none.
    pub fn script_optimizations(&self, collection: &str, script: impl IntoIterator<Item = Optimizations>) {
        self.optimizations.extend(collection, script);
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
