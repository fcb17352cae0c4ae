//! A backup of the sample collections, and everything that can befall its objects behind the tool's back.

use super::process;
use super::run::{context, keys};
use super::sample::{Client, fill};
use embedded_qdrant::{Node, NodeOptions};
use gcs_emulator::Emulator;
use qdrant_backup::base::hash::sha256_hex;
use qdrant_backup::ops::backup;
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::repository::manifest::{Manifest, read_small};
use qdrant_backup::repository::names::BackupId;
use qdrant_backup::repository::selection::Selection;
use qdrant_backup::wire::store::{self, GcsOptions, Store};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub const BUCKET: &str = "test-bucket";

/// A store with one backup in it, and the objects as they were.
pub struct Lab {
    pub store: Arc<dyn Store>,
    pub id: BackupId,
    pub manifest: Manifest,
    pub emulator: Option<Emulator>,
    originals: BTreeMap<String, Vec<u8>>,
    dir: TempDir,
}

impl Lab {
    /// A backup in a directory.
    pub async fn in_directory() -> Self {
        Self::new(None).await
    }

    /// A backup in a bucket.
    pub async fn in_bucket() -> Self {
        let emulator = Emulator::start().await.unwrap();
        emulator.create_bucket(BUCKET);
        Self::new(Some(emulator)).await
    }

    async fn new(emulator: Option<Emulator>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let node = Node::start(NodeOptions::new(data.path())).await.unwrap();
        fill(&Client::new(node.url(), None), "", 10).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let options = GcsOptions {
            endpoint: emulator.as_ref().map(|e| e.url().to_owned()),
            ..GcsOptions::default()
        };
        let store = store::open(&url_of(&emulator, &dir), options).await.unwrap();
        let ctx = context(&node.url(), store.clone());
        let progress = Progress::new(ctx.clock.now());
        let report = backup::run(&ctx, &Selection::default(), &progress, &CancellationToken::new())
            .await
            .unwrap();
        node.stop().await;
        let mut lab = Self {
            manifest: qdrant_backup::repository::manifest::read(&*store, &report.id)
                .await
                .unwrap(),
            id: report.id,
            store,
            emulator,
            originals: BTreeMap::new(),
            dir,
        };
        for key in keys(&*lab.store).await {
            let bytes = lab.bytes(&key).await;
            lab.originals.insert(key, bytes);
        }
        lab
    }

    /// Environment of a process or service that works with this store.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![
            ("QDRANT_URL", "http://127.0.0.1:1".to_owned()),
            ("BACKUP_STORE", url_of(&self.emulator, &self.dir)),
        ];
        env.extend(
            self.emulator
                .as_ref()
                .map(|e| ("STORAGE_EMULATOR_HOST", e.url().to_owned())),
        );
        env
    }

    /// Runs the binary; exit code and both outputs.
    pub async fn cli(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = process::command(args, "http://127.0.0.1:1", self.dir.path());
        command.envs(self.env());
        let (code, out, err) = process::finish(command.spawn().unwrap()).await;
        (code.unwrap(), out, err)
    }

    pub async fn bytes(&self, key: &str) -> Vec<u8> {
        read_small(&*self.store, key, u64::MAX).await.unwrap().unwrap()
    }

    /// The bytes of an object as they were backed up.
    pub fn original(&self, key: &str) -> Vec<u8> {
        self.originals[key].clone()
    }

    /// Key of the artifact of a collection.
    pub fn key(&self, collection: &str) -> String {
        let found = self.manifest.collections.iter().find(|c| c.name == collection).unwrap();
        found.artifacts[0].key.clone()
    }

    /// Writes an object past the tool.
    pub async fn put(&self, key: &str, bytes: &[u8]) {
        match &self.emulator {
            Some(emulator) => drop(emulator.plant(BUCKET, &format!("lab/{key}"), bytes.to_vec())),
            None => {
                std::fs::create_dir_all(self.path(key).parent().unwrap()).unwrap();
                std::fs::write(self.path(key), bytes).unwrap();
            }
        }
    }

    pub async fn delete(&self, key: &str) {
        if let Some(meta) = self.store.head(key).await.unwrap() {
            assert!(self.store.delete(key, &meta.version).await.unwrap());
        }
    }

    pub fn path(&self, key: &str) -> PathBuf {
        self.dir.path().join(key)
    }

    /// Writes the manifest with a change.
    pub async fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut manifest: Value = serde_json::from_slice(&self.bytes(&self.id.manifest()).await).unwrap();
        change(&mut manifest);
        self.put(&self.id.manifest(), &serde_json::to_vec(&manifest).unwrap())
            .await;
    }

    /// Makes `bytes` the artifact of `collection`, recorded as if Qdrant itself had sent them.
    pub async fn record(&self, collection: &str, bytes: &[u8]) {
        let key = self.key(collection);
        self.put(&key, bytes).await;
        let version = self.store.head(&key).await.unwrap().unwrap().version.0;
        let (sha256, crc32c) = (sha256_hex(bytes), format!("{:08x}", crc32c::crc32c(bytes)));
        self.edit(|manifest| {
            let artifact = &mut of(manifest, collection)["artifacts"][0];
            artifact["bytes"] = bytes.len().into();
            artifact["sha256"] = sha256.into();
            artifact["crc32c"] = crc32c.into();
            artifact["version"] = version.into();
        })
        .await;
    }

    /// Everything as it was, versions included, and no record of a check.
    pub async fn mend(&self) {
        for key in keys(&*self.store).await {
            if !self.originals.contains_key(&key) {
                self.delete(&key).await;
            }
        }
        self.put(&self.id.manifest(), &self.original(&self.id.manifest())).await;
        for collection in &self.manifest.collections {
            self.record(&collection.name, &self.original(&collection.artifacts[0].key))
                .await;
        }
    }
}

/// A collection in a manifest.
pub fn of<'a>(manifest: &'a mut Value, collection: &str) -> &'a mut Value {
    let list = manifest["collections"].as_array_mut().unwrap();
    list.iter_mut().find(|c| c["name"] == collection).unwrap()
}

fn url_of(emulator: &Option<Emulator>, dir: &TempDir) -> String {
    match emulator {
        Some(_) => format!("gs://{BUCKET}/lab"),
        None => url::Url::from_directory_path(dir.path()).unwrap().to_string(),
    }
}
