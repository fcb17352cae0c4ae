//! `relay-bench restore`: the upload of a restore beside a `curl` upload of the same file.
//!
//! The file lies in a `file://` store and is in the page cache; the receiver is [`crate::node`]. Three ways, each a process
//! of its own, in turns:
//! - `curl -F snapshot=@file`;
//! - the restore operation from a store that keeps a CRC32C of each object, as a bucket does: the bytes are read once, and
//!   their CRC32C is compared with the manifest before the last of them is sent (their SHA-256 is for Qdrant to compare);
//! - the restore operation from a directory, which keeps none: the whole file is read and compared with the manifest first.

use crate::Options;
use crate::Peer;
use crate::Result;
use crate::measure;
use crate::peers;
use crate::sha256;
use crate::table;
use crate::ways::{Cost, cpu_seconds, peak_bytes};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::Result as StoreResult;
use qdrant_backup::ops::context::{Context, Settings};
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::ops::restore::{self, RestoreRequest, Via};
use qdrant_backup::repository::unit::SnapshotMode;
use qdrant_backup::wire::qdrant::{Options as QdrantOptions, Qdrant};
use qdrant_backup::wire::store::{ByteStream, Condition, DirStore, Folder, ObjectMeta, Source, Store, Version};
use qdrant_backup::wire::transfer::Limits;
use serde_json::json;
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    ops::Range,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const UPLOAD: &str = "restore: upload, CRC32C on the way";
const THROUGHPUT: f64 = 0.9;
const PEAK_MB: f64 = 50.0;

const BACKUP: &str = "backups/2026-11-22T12-00-00Z";
const KEY: &str = "backups/2026-11-22T12-00-00Z/bench/collection.snapshot";

/// Measures all ways, prints the table and the verdict.
pub(crate) fn compare(options: &Options) -> Result<ExitCode> {
    let node = Peer::start("node")?;
    let mut rows = Vec::new();
    for &gib in &options.gib {
        let dir = tempfile::tempdir()?;
        let store = dir.path().to_str().ok_or("the temporary directory has no plain name")?;
        let crc32c = lay_out(dir.path(), (gib * f64::from(1 << 30)) as u64)?.to_string();
        let file = format!("{store}/{KEY}");
        let ways = [
            ("`curl -F`", "curl-upload"),
            (UPLOAD, "send"),
            ("restore: CRC32C of the whole file first, then the same", "check-send"),
        ];
        rows.extend(measure(gib, options.runs, &ways, |way, run| {
            let collection = format!("{way}-{run}");
            let mut args = match way {
                "curl-upload" => vec![way, &file, &node.address, &collection],
                _ => vec![way, store, &node.address, &collection],
            };
            if way == "send" {
                args.push(&crc32c);
            }
            args.into_iter().map(str::to_owned).collect()
        })?);
    }
    println!("{}", table(&rows));
    let throughput = rows
        .iter()
        .filter(|row| row.way == UPLOAD)
        .map(|row| row.throughput)
        .fold(f64::INFINITY, f64::min);
    let peak = rows.iter().map(|row| row.sample.peak_mb).fold(0.0, f64::max);
    if !options.verdict {
        return Ok(ExitCode::SUCCESS);
    }
    let lines = [
        (
            throughput >= THROUGHPUT,
            format!("upload {throughput:.2} of curl's throughput, at least {THROUGHPUT}"),
        ),
        (peak < PEAK_MB, format!("peak memory {peak:.1} MB, below {PEAK_MB}")),
    ];
    for (met, line) in &lines {
        println!("{}: {line}", if *met { "met" } else { "MISSED" });
    }
    Ok(match lines.iter().all(|(met, _)| *met) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Makes a backup of one collection in the directory, and returns the CRC32C of its file. Written through to the disk, so
/// that nothing is written while it is measured, and read once.
fn lay_out(dir: &Path, bytes: u64) -> Result<u32> {
    let path = dir.join(KEY);
    fs::create_dir_all(path.parent().ok_or("no parent")?)?;
    let pattern = peers::pattern();
    let mut file = BufWriter::new(File::create(&path)?);
    let (mut left, mut crc32c) = (bytes, 0);
    while left > 0 {
        let piece = &pattern[..left.min(pattern.len() as u64) as usize];
        file.write_all(piece)?;
        crc32c = crc32c::crc32c_append(crc32c, piece);
        left -= piece.len() as u64;
    }
    file.into_inner()?.sync_all()?;
    io::copy(&mut File::open(&path)?, &mut io::sink())?;
    let at = "2026-11-22T12:00:00Z";
    let manifest = json!({
        "format": 1, "id": BACKUP.rsplit('/').next(), "status": "complete", "tool_version": "bench",
        "started_at": at, "finished_at": at,
        "qdrant": {"version": "1.18.3", "topology": {"kind": "standalone"}},
        "selection": {},
        "collections": [{
            "name": "bench", "config": {}, "payload_schema": {}, "aliases": [], "points_before": 0, "points_after": 0,
            "shards": {},
            "artifacts": [{
                "key": KEY, "storage": "object", "kind": "collection", "bytes": bytes, "sha256": sha256(bytes),
                "sha256_confirmed_by_qdrant": true, "crc32c": format!("{crc32c:08x}"), "version": "1",
                "snapshot": "bench.snapshot", "requested_at": at, "created_at": at,
            }],
        }],
    });
    fs::write(dir.join(BACKUP).join("manifest.json"), manifest.to_string())?;
    Ok(crc32c)
}

/// The way to measure by.
pub(crate) fn curl(file: &str, node: &str, collection: &str) -> Result<()> {
    let url = format!("http://{node}/collections/{collection}/snapshots/upload?wait=true&priority=snapshot");
    let form = format!("snapshot=@{file}");
    let out = Command::new("curl").args(["-sSf", "-F", &form, &url]).output()?;
    let answer = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() || !answer.contains("\"result\":true") {
        return Err(format!(
            "curl -F {form} {url}: {} {answer}",
            String::from_utf8_lossy(&out.stderr)
        )
        .into());
    }
    Cost {
        // curl has been waited for.
        cpu_seconds: cpu_seconds(15..=16)?,
        peak_bytes: 0,
    }
    .print()
}

/// The operation that ships, from plan to comparison. With `crc32c` the store says that of every object.
pub(crate) fn restore(dir: &str, node: &str, collection: &str, crc32c: Option<&str>) -> Result<()> {
    // The runtime of the shipped program.
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let dir = DirStore::open(Path::new(dir)).await?;
        let store: Arc<dyn Store> = match crc32c {
            Some(crc32c) => Arc::new(Keeping {
                dir,
                crc32c: crc32c.parse()?,
            }),
            None => Arc::new(dir),
        };
        let ctx = Context {
            notify: Default::default(),
            qdrant: Qdrant::new(QdrantOptions::new(format!("http://{node}").parse()?))?,
            store,
            clock: Clock::system(),
            who: "bench".to_owned(),
            settings: Settings {
                mode: SnapshotMode::File,
                concurrency: 1,
                restore_concurrency: 1,
                attempts: 1,
                backoff: Duration::ZERO,
                settle: Duration::ZERO,
                guard: None,
                limits: Limits::default(),
                rate: None,
                lease: Duration::from_secs(120),
                source: Default::default(),
            },
        };
        let request = RestoreRequest {
            id: "latest".to_owned(),
            into: Some(collection.to_owned()),
            via: Via::Upload,
            ..RestoreRequest::default()
        };
        let progress = Progress::new(ctx.clock.now());
        let report = restore::run(&ctx, &request, &progress, &CancellationToken::new()).await?;
        match report.error() {
            Some(error) => Err(error.into()),
            None => Cost {
                cpu_seconds: cpu_seconds(13..=14)?,
                peak_bytes: peak_bytes()?,
            }
            .print(),
        }
    })
}

/// A directory that knows the CRC32C of its one object.
#[derive(Debug)]
struct Keeping {
    dir: DirStore,
    crc32c: u32,
}

#[async_trait]
impl Store for Keeping {
    fn url(&self) -> String {
        self.dir.url()
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> StoreResult<ObjectMeta> {
        self.dir.put(key, source, condition).await
    }

    async fn put_stream(&self, key: &str, stream: Box<dyn ByteStream>) -> StoreResult<ObjectMeta> {
        self.dir.put_stream(key, stream).await
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> StoreResult<Option<BoxStream<'static, StoreResult<Bytes>>>> {
        self.dir.get(key, range, version).await
    }

    async fn head(&self, key: &str) -> StoreResult<Option<ObjectMeta>> {
        let mut meta = self.dir.head(key).await?;
        if let Some(meta) = meta.as_mut().filter(|meta| meta.key == KEY) {
            meta.crc32c = Some(self.crc32c);
        }
        Ok(meta)
    }

    async fn list(&self, prefix: &str) -> StoreResult<BoxStream<'static, StoreResult<ObjectMeta>>> {
        self.dir.list(prefix).await
    }

    async fn folder(&self, prefix: &str) -> StoreResult<Folder> {
        self.dir.folder(prefix).await
    }

    async fn delete(&self, key: &str, version: &Version) -> StoreResult<bool> {
        self.dir.delete(key, version).await
    }

    async fn check(&self) -> StoreResult<()> {
        self.dir.check().await
    }
}
