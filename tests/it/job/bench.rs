//! A Qdrant, a store, the tasks of one execution, and what must hold when it has ended.

use crate::support::process;
use crate::support::run::keys;
use crate::support::sample::Client;
use embedded_qdrant::{Node, NodeOptions};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gcs_emulator::Emulator;
use qdrant_backup::repository::catalog;
use qdrant_backup::repository::manifest::{self, Manifest, Status};
use qdrant_backup::repository::names::Name;
use qdrant_backup::wire::store::{self, GcsOptions, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;

pub(crate) const TASKS: u32 = 8;
pub(crate) const EXECUTION: &str = "qdrant-backup-x7k2p";
const BUCKET: &str = "test-bucket";

/// Exit code (none: killed) and both outputs.
pub(crate) type End = (Option<i32>, String, String);

/// A store, and the environment of processes that back the Qdrant at `url` up into it.
pub(crate) struct Bench {
    pub(crate) url: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) gcs: Option<Emulator>,
    pub(crate) dir: TempDir,
}

/// The collections that the task `index` does, of `c00`, `c01`, …: the order of their names goes round the tasks.
pub(crate) fn share(index: u32, collections: u32) -> Vec<String> {
    (index..collections).step_by(TASKS as usize).map(name).collect()
}

pub(crate) fn name(i: u32) -> String {
    format!("c{i:02}")
}

/// A process holds the open files of the test for a moment between its fork and its exec, and with them their locks: the
/// engine must not open any then.
static FORKS: RwLock<()> = RwLock::const_new(());

pub(crate) async fn spawn(mut command: Command) -> Child {
    let _turn = FORKS.read().await;
    command.spawn().unwrap()
}

/// Runs a command to its end.
pub(crate) async fn end_of(command: Command) -> End {
    process::finish(spawn(command).await).await
}

/// The embedded node with collections `c00`, `c01`, … of different sizes, one of them empty.
pub(crate) async fn node(collections: u32) -> (Node, TempDir) {
    let _turn = FORKS.write().await;
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

impl Bench {
    pub(crate) async fn in_directory(url: &str) -> Self {
        Self::new(url, None).await
    }

    pub(crate) async fn in_bucket(url: &str) -> Self {
        let gcs = Emulator::start().await.unwrap();
        gcs.create_bucket(BUCKET);
        Self::new(url, Some(gcs)).await
    }

    pub(crate) async fn both(url: &str) -> [Self; 2] {
        [Self::in_directory(url).await, Self::in_bucket(url).await]
    }

    async fn new(url: &str, gcs: Option<Emulator>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = GcsOptions {
            endpoint: gcs.as_ref().map(|gcs| gcs.url().to_owned()),
            ..GcsOptions::default()
        };
        let place = match gcs {
            Some(_) => format!("gs://{BUCKET}/p"),
            None => url::Url::from_directory_path(dir.path()).unwrap().to_string(),
        };
        Self {
            url: url.to_owned(),
            store: store::open(&place, options).await.unwrap(),
            gcs,
            dir,
        }
    }

    /// The binary with these arguments.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = process::command(args, &self.url, self.dir.path());
        if let Some(gcs) = &self.gcs {
            command
                .env("BACKUP_STORE", format!("gs://{BUCKET}/p"))
                .env("STORAGE_EMULATOR_HOST", gcs.url());
        }
        command
    }

    /// The task `index` of the execution, tried `attempt` times before, of at most 3.
    pub(crate) fn task(&self, index: u32, attempt: u32) -> Command {
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
    pub(crate) async fn begin(&self, tasks: impl IntoIterator<Item = u32>, attempt: u32) -> Running {
        let mut running = BTreeMap::new();
        for index in tasks {
            let child = spawn(self.task(index, attempt)).await;
            let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
            running.insert(index, (pid, tokio::spawn(process::finish(child))));
        }
        Running(running)
    }

    pub(crate) async fn run(&self, task: u32, attempt: u32) -> End {
        end_of(self.task(task, attempt)).await
    }

    pub(crate) async fn cli(&self, args: &[&str]) -> End {
        end_of(self.command(args)).await
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        keys(&*self.store).await
    }

    /// How many parts there are.
    pub(crate) async fn parts(&self) -> usize {
        self.keys().await.iter().filter(|key| key.contains("/parts/")).count()
    }

    /// The only backup there is.
    pub(crate) async fn manifest(&self) -> Manifest {
        let list = catalog::list(&*self.store, 10, time::OffsetDateTime::now_utc())
            .await
            .unwrap();
        assert_eq!(list.len(), 1, "there is exactly one backup");
        manifest::read(&*self.store, &list[0].id).await.unwrap()
    }

    /// One manifest with each collection once, everything it names there and right, nothing else but the records of the
    /// execution, and what killed attempts at the tasks `killed` left. With a peer there is no structure to verify.
    pub(crate) async fn is_whole(&self, collections: u32, killed: &[u32], when: &str) -> Manifest {
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
    pub(crate) async fn is_clean(&self, killed: &[String], when: &str) {
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

    /// As [`Bench::is_whole`], and the tool itself finds it intact.
    pub(crate) async fn is_verified(&self, collections: u32, killed: &[u32], when: &str) {
        self.is_whole(collections, killed, when).await;
        let (code, out, err) = self.cli(&["verify", "latest"]).await;
        assert_eq!(code, Some(0), "{when}: {out}{err}");
    }
}

/// Tasks under way.
pub(crate) struct Running(BTreeMap<u32, (Pid, JoinHandle<End>)>);

impl Running {
    /// Ends one by SIGKILL.
    pub(crate) async fn kill(&mut self, task: u32) {
        let (pid, end) = self.0.remove(&task).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        assert_eq!(end.await.unwrap().0, None, "task {task} had not ended before");
    }

    /// Ends all by SIGKILL that have not ended by themselves.
    pub(crate) async fn kill_all(self) {
        for (pid, end) in self.0.into_values() {
            if !end.is_finished() {
                // It may end just now.
                let _ = kill_process(pid, Signal::KILL);
            }
            end.await.unwrap();
        }
    }

    pub(crate) fn signal(&self, task: u32, signal: Signal) {
        kill_process(self.0[&task].0, signal).unwrap();
    }

    /// Waits until all have ended but one, and tells which one that is.
    pub(crate) async fn all_but_one(&mut self) -> (u32, BTreeMap<u32, End>) {
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
    pub(crate) async fn ends(self) -> BTreeMap<u32, End> {
        let mut ends = BTreeMap::new();
        for (task, (_, end)) in self.0 {
            ends.insert(task, end.await.unwrap());
        }
        ends
    }
}

/// All of these ended with exit code 0; what they reported.
pub(crate) fn succeeded(ends: &BTreeMap<u32, End>, when: &str) -> Vec<Value> {
    let report = |(task, (code, out, err)): (&u32, &End)| {
        assert_eq!(*code, Some(0), "{when}: task {task}: {out}{err}");
        serde_json::from_str(out).unwrap()
    };
    ends.iter().map(report).collect()
}
