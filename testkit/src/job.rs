//! A Qdrant, a store, the tasks of one execution, and what must hold when it has ended.

use crate::process::{self, End};
use crate::sample::Client;
use crate::store::TestStore;
use embedded_qdrant::{Node, NodeOptions};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use qdrant_backup::repository::catalog;
use qdrant_backup::repository::manifest::{self, Manifest, Status};
use qdrant_backup::repository::names::Name;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::Path;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinHandle;

pub const TASKS: u32 = 8;
pub const EXECUTION: &str = "qdrant-backup-x7k2p";

/// A store, and the tasks of one execution that back the Qdrant at `url` up into it.
pub struct Execution {
    pub url: String,
    at: TestStore,
}

impl Deref for Execution {
    type Target = TestStore;

    fn deref(&self) -> &TestStore {
        &self.at
    }
}

/// The collections that the task `index` does, of `c00`, `c01`, …: the order of their names goes round the tasks.
pub fn share(index: u32, collections: u32) -> Vec<String> {
    (index..collections).step_by(TASKS as usize).map(name).collect()
}

pub fn name(i: u32) -> String {
    format!("c{i:02}")
}

/// Runs a command to its end.
pub async fn end_of(mut command: Command) -> End {
    process::finish(command.spawn().unwrap()).await
}

/// The embedded node with collections `c00`, `c01`, … of different sizes, one of them empty.
pub async fn node(collections: u32) -> (Node, TempDir) {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions::new(data.path())).await.unwrap();
    let client = Client::new(node.url(), None);
    for i in 0..collections {
        let path = format!("/collections/{}", name(i));
        let body = json!({"vectors": {"size": 4, "distance": "Dot"}});
        client.call("PUT", &path, Some(body)).await.unwrap();
        let points: Vec<_> = (0..i)
            .map(|p| json!({"id": p, "vector": [p, i, 1, 2], "payload": {"of": i}}))
            .collect();
        if !points.is_empty() {
            let path = format!("{path}/points?wait=true");
            client
                .call("PUT", &path, Some(json!({"points": points})))
                .await
                .unwrap();
        }
    }
    (node, data)
}

impl Execution {
    pub async fn in_directory(url: &str) -> Self {
        Self::new(url, TestStore::in_directory().await)
    }

    pub async fn in_bucket(url: &str) -> Self {
        Self::new(url, TestStore::in_emulator().await)
    }

    pub async fn both(url: &str) -> [Self; 2] {
        [Self::in_directory(url).await, Self::in_bucket(url).await]
    }

    fn new(url: &str, at: TestStore) -> Self {
        Self {
            url: url.to_owned(),
            at,
        }
    }

    /// The binary with these arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = process::command(args, &self.url, Path::new("/"));
        command.envs(self.env());
        command
    }

    /// The task `index` of the execution, tried `attempt` times before, of at most 3.
    pub fn task(&self, index: u32, attempt: u32) -> Command {
        let mut command = self.command(&["backup", "--json"]);
        command
            .env("CLOUD_RUN_EXECUTION", EXECUTION)
            .env("CLOUD_RUN_TASK_INDEX", index.to_string())
            .env("CLOUD_RUN_TASK_COUNT", TASKS.to_string())
            .env("CLOUD_RUN_TASK_ATTEMPT", attempt.to_string())
            .env("BACKUP_JOB_MAX_RETRIES", "3")
            .env("LOG_FORMAT", "text");
        command
    }

    /// Begins these tasks at once.
    pub async fn begin(&self, tasks: impl IntoIterator<Item = u32>, attempt: u32) -> Running {
        let mut running = BTreeMap::new();
        for index in tasks {
            let child = self.task(index, attempt).spawn().unwrap();
            let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
            running.insert(index, (pid, tokio::spawn(process::finish(child))));
        }
        Running(running)
    }

    pub async fn run(&self, task: u32, attempt: u32) -> End {
        end_of(self.task(task, attempt)).await
    }

    pub async fn cli(&self, args: &[&str]) -> End {
        end_of(self.command(args)).await
    }

    /// How many parts there are.
    pub async fn parts(&self) -> usize {
        self.keys().await.iter().filter(|key| key.contains("/parts/")).count()
    }

    /// The only backup there is.
    pub async fn manifest(&self) -> Manifest {
        let list = catalog::list(&*self.store, 10, time::OffsetDateTime::now_utc())
            .await
            .unwrap();
        assert_eq!(list.len(), 1, "there is exactly one backup");
        manifest::read(&*self.store, &list[0].id).await.unwrap()
    }

    /// One manifest with each collection once, everything it names there and right, nothing else but the records of the
    /// execution, and what killed attempts at the tasks `killed` left. With a peer there is no structure to verify.
    pub async fn is_whole(&self, collections: u32, killed: &[u32], when: &str) -> Manifest {
        let manifest = self.manifest().await;
        assert_eq!(manifest.status, Status::Complete, "{when}");
        let names: Vec<_> = manifest.collections.iter().map(|c| c.name.clone()).collect();
        assert_eq!(names, (0..collections).map(name).collect::<Vec<_>>(), "{when}");
        let mut named = BTreeSet::new();
        for artifact in manifest.collections.iter().flat_map(|c| &c.artifacts) {
            assert!(named.insert(artifact.key.clone()), "{when}: {} twice", artifact.key);
            let bytes = manifest::read_small(&*self.store, &artifact.key, u64::MAX)
                .await
                .unwrap();
            let sum = qdrant_backup::base::hash::sha256_hex(&bytes.unwrap());
            assert_eq!(sum, artifact.sha256, "{when}: {}", artifact.key);
        }
        assert_eq!(named.len(), collections as usize, "{when}");
        let twice: Vec<_> = killed.iter().flat_map(|task| share(*task, collections)).collect();
        self.is_clean(&twice, when).await;
        for key in self.keys().await {
            match Name::parse(&key) {
                Some(Name::Manifest(_) | Name::JobPlan(_) | Name::JobPart { .. }) => {}
                Some(Name::Artifact { .. }) if named.contains(&key) => {}
                Some(Name::Artifact { folder, .. } | Name::Intent { folder, .. }) if twice.contains(&folder) => {}
                other => panic!("{when}: {key} is left: {other:?}"),
            }
        }
        assert_eq!(self.parts().await, collections as usize, "{when}");
        manifest
    }

    /// No lease, no snapshot on Qdrant, and nothing that may still become one; but for the collections `killed` an attempt may
    /// have died before it could ask Qdrant for one.
    pub async fn is_clean(&self, killed: &[String], when: &str) {
        let open = |key: &String| match Name::parse(key) {
            Some(Name::Intent { folder, .. }) => !killed.contains(&folder),
            name => name == Some(Name::Lock),
        };
        let left: Vec<_> = self.keys().await.into_iter().filter(open).collect();
        assert_eq!(left, [""; 0], "{when}");
        let client = Client::new(&self.url, None);
        let list = client.call("GET", "/collections", None).await.unwrap();
        for collection in list["collections"].as_array().unwrap() {
            let path = format!("/collections/{}/snapshots", collection["name"].as_str().unwrap());
            let snapshots = client.call("GET", &path, None).await.unwrap();
            assert_eq!(snapshots, json!([]), "{when}: {path}");
        }
    }

    /// As [`Execution::is_whole`], and the tool itself finds it intact.
    pub async fn is_verified(&self, collections: u32, killed: &[u32], when: &str) {
        self.is_whole(collections, killed, when).await;
        let (code, out, err) = self.cli(&["verify", "latest"]).await;
        assert_eq!(code, Some(0), "{when}: {out}{err}");
    }
}

/// Tasks under way.
pub struct Running(BTreeMap<u32, (Pid, JoinHandle<End>)>);

impl Running {
    /// Ends one by SIGKILL.
    pub async fn kill(&mut self, task: u32) {
        let (pid, end) = self.0.remove(&task).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        assert_eq!(end.await.unwrap().0, None, "task {task} had not ended before");
    }

    /// Ends all by SIGKILL that have not ended by themselves.
    pub async fn kill_all(self) {
        for (pid, end) in self.0.into_values() {
            if !end.is_finished() {
                // It may end just now.
                let _ = kill_process(pid, Signal::KILL);
            }
            end.await.unwrap();
        }
    }

    pub fn signal(&self, task: u32, signal: Signal) {
        kill_process(self.0[&task].0, signal).unwrap();
    }

    /// Waits until all have ended but one, and tells which one that is.
    pub async fn all_but_one(&mut self) -> (u32, BTreeMap<u32, End>) {
        let mut ends = BTreeMap::new();
        let pids: BTreeMap<u32, Pid> = self.0.iter().map(|(task, (pid, _))| (*task, *pid)).collect();
        let tasks = std::mem::take(&mut self.0).into_iter();
        let mut waits: FuturesUnordered<_> = tasks
            .map(|(task, (_, mut end))| async move {
                let ended = (&mut end).await.unwrap();
                (task, ended)
            })
            .collect();
        while waits.len() > 1 {
            let (task, end) = waits.next().await.unwrap();
            ends.insert(task, end);
        }
        let last = *pids.keys().find(|task| !ends.contains_key(task)).unwrap();
        let wait = tokio::spawn(async move { waits.next().await.unwrap().1 });
        self.0.insert(last, (pids[&last], wait));
        (last, ends)
    }

    /// Waits until all have ended.
    pub async fn ends(self) -> BTreeMap<u32, End> {
        let mut ends = BTreeMap::new();
        for (task, (_, end)) in self.0 {
            ends.insert(task, end.await.unwrap());
        }
        ends
    }
}

/// All of these ended with exit code 0; what they reported.
pub fn succeeded(ends: &BTreeMap<u32, End>, when: &str) -> Vec<Value> {
    let report = |(task, (code, out, err)): (&u32, &End)| {
        assert_eq!(*code, Some(0), "{when}: task {task}: {out}{err}");
        serde_json::from_str(out).unwrap()
    };
    ends.iter().map(report).collect()
}
