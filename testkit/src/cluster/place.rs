//! Where the journeys of clusters take place: on embedded nodes, or on the servers whose REST URLs `QDRANT_TEST_NODES` names, with
//! commas: one in cluster mode, or all of a cluster. A journey for another number of nodes takes place on embedded ones all the same.
//!
//! On servers everything that a test makes has its own prefix in its name, and only that is deleted.

use super::{Nodes, left, qdrant_with};
use crate::bench::Bench;
use crate::sample::Client;
use qdrant_backup::ops::backup::BackupReport;
use qdrant_backup::repository::selection::Selection;
use qdrant_backup::repository::unit::SnapshotMode;
use std::time::Duration;

const SERVERS: &str = "QDRANT_TEST_NODES";

/// The nodes of a cluster, on which a test has collections of its own.
pub struct ClusterPlace {
    pub urls: Vec<String>,
    /// What the names of all collections of this test contain.
    pub prefix: String,
    embedded: Option<Nodes>,
}

impl ClusterPlace {
    /// So many nodes: the servers if there are as many, or else embedded ones.
    pub async fn of(count: usize) -> Self {
        let servers = std::env::var(SERVERS).unwrap_or_default();
        let servers = servers.split(',').map(|url| url.trim().trim_end_matches('/'));
        let servers: Vec<String> = servers.filter(|url| !url.is_empty()).map(str::to_owned).collect();
        let embedded = match servers.len() == count {
            true => None,
            false => Some(Nodes::start(count as u64).await),
        };
        Self {
            urls: embedded.as_ref().map_or(servers, Nodes::urls),
            prefix: format!("t{}-", uuid::Uuid::new_v4().simple()),
            embedded,
        }
    }

    /// The name of a collection of this test.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn client(&self) -> Client {
        Client::new(&self.urls[0], None)
    }

    /// A backup of it, in a directory.
    pub async fn bench(&self, mode: SnapshotMode) -> Bench {
        let mut bench = Bench::new(&self.urls[0]).await;
        bench.ctx.qdrant = qdrant_with(&self.urls, |options| {
            if self.embedded.is_none() {
                options.request_timeout = Duration::from_secs(60);
            }
        });
        bench.ctx.settings.mode = mode;
        if self.embedded.is_none() {
            // Its optimizers are at work, and others use it.
            bench.ctx.settings.settle = Duration::from_secs(120);
        }
        bench
    }

    /// Backs up the collections of this test.
    pub async fn backup(&self, bench: &Bench) -> BackupReport {
        let selection = Selection {
            include: vec![format!("{}*", self.prefix)],
            ..Selection::default()
        };
        bench.run_for(&selection).await.unwrap()
    }

    /// The collections of this test; on embedded nodes all that there are.
    pub async fn collections(&self) -> Vec<String> {
        let of = if self.embedded.is_some() { "" } else { &self.prefix };
        collections(&self.client(), of).await
    }

    /// That nothing of a backup, a restore or a drill is on any node beside these collections.
    pub async fn has_only(&self, names: &[&str]) {
        let mut expected: Vec<_> = names.iter().map(|name| self.name(name)).collect();
        expected.sort();
        assert_eq!(self.collections().await, expected);
        for name in expected {
            assert_eq!(left(&self.urls, &name).await, [""; 0], "{name}");
        }
    }
}

async fn collections(client: &Client, prefix: &str) -> Vec<String> {
    let all = client.call("GET", "/collections", None).await.unwrap();
    let all = all["collections"].as_array().unwrap().iter();
    let mut names: Vec<_> = all.map(|c| c["name"].as_str().unwrap().to_owned()).collect();
    names.retain(|name| name.contains(prefix));
    names.sort();
    names
}

impl Drop for ClusterPlace {
    /// Servers are left as they were, also by a test that failed.
    fn drop(&mut self) {
        if self.embedded.is_some() {
            return;
        }
        let (client, prefix) = (self.client(), self.prefix.clone());
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                for name in collections(&client, &prefix).await {
                    client.delete(&name).await.unwrap();
                }
            });
        });
        let cleaned = cleaned.join();
        assert!(
            std::thread::panicking() || cleaned.is_ok(),
            "collections {}* are left",
            self.prefix
        );
    }
}
