//! Catalogues of a size that no test would back up: manifests without objects, written past the tool.

use crate::peer::PEER_ID;
use qdrant_backup::repository::names::{ArtifactKind, BackupId};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Stands for each backup's id and time.
const ID: &str = "2000-01-01T00-00-00Z";
const TIME: &str = "2000-01-01T00:00:00Z";

/// Name of the collection of this number.
pub fn name(number: usize) -> String {
    format!("collection-{number:04}")
}

/// Good backups, one a day, the newest an hour old, as [`name`] names their collections.
pub fn write_backups(store: &Path, backups: usize, collections: usize) {
    let newest = OffsetDateTime::now_utc() - Duration::from_secs(3600);
    write_backups_until(newest, store, backups, collections);
}

/// As [`write_backups`], the newest of this time.
pub fn write_backups_until(newest: OffsetDateTime, store: &Path, backups: usize, collections: usize) {
    let names: Vec<_> = (0..collections).map(name).collect();
    let sizes: Vec<_> = names.iter().map(|name| (name.as_str(), 3, 39424)).collect();
    let one = template(&sizes).to_string();
    for day in 0..backups {
        write(store, newest - Duration::from_secs(86_400) * day as u32, &one);
    }
}

/// A good backup of collections of these names, points and bytes.
pub fn write_backup(
    at: OffsetDateTime,
    store: &Path,
    collections: &[(&str, u64, u64)],
    change: impl FnOnce(&mut Value),
) {
    let mut manifest = template(collections);
    change(&mut manifest);
    write(store, at, &manifest.to_string());
}

fn write(store: &Path, at: OffsetDateTime, template: &str) {
    let id = BackupId::at(at);
    let text = template
        .replace(ID, &id.to_string())
        .replace(TIME, &id.time().format(&Rfc3339).unwrap());
    let path = store.join(id.manifest());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn template(collections: &[(&str, u64, u64)]) -> Value {
    json!({
        "format": 1, "id": ID, "status": "complete", "tool_version": "0.1.0", "started_at": TIME, "finished_at": TIME,
        "qdrant": {
            "version": "1.18.3",
            "topology": {"kind": "standalone"},
            "source": {"url": "http://127.0.0.1:6333", "peers": [PEER_ID]},
        },
        "selection": {},
        "collections": collections.iter().map(collection).collect::<Vec<_>>(),
    })
}

/// As a real Qdrant describes one without anything special.
fn collection((name, points, bytes): &(&str, u64, u64)) -> Value {
    let id: BackupId = ID.parse().unwrap();
    json!({
        "name": name,
        "config": {
            "params": {
                "vectors": {"size": 4, "distance": "Dot"}, "shard_number": 1, "replication_factor": 1,
                "write_consistency_factor": 1, "on_disk_payload": true,
            },
            "hnsw_config": {
                "m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": false,
            },
            "optimizer_config": {
                "deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
                "max_segment_size": null, "memmap_threshold": null, "indexing_threshold": 10000, "flush_interval_sec": 5,
                "max_optimization_threads": null,
            },
            "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1},
            "quantization_config": null,
        },
        "payload_schema": {},
        "aliases": [],
        "points_before": points,
        "points_after": points,
        "shards": {
            "peer_id": PEER_ID, "shard_count": 1,
            "local_shards": [{"shard_id": 0, "points_count": points, "state": "Active"}],
            "remote_shards": [], "shard_transfers": [],
        },
        "artifacts": [{
            "key": id.artifact(name, &ArtifactKind::Collection, 1), "storage": "object", "kind": "collection",
            "node": PEER_ID, "bytes": bytes,
            "sha256": "762cbf7e91f7e1e6e46ca8b28cb457c2174e927d6ac683ce5d257305b23d4e9e",
            "sha256_confirmed_by_qdrant": true, "crc32c": "a51f29d5", "version": "9961c1-6b071f6a.2941fc99-9a00",
            "snapshot": format!("{name}-{PEER_ID}-2000-01-01-00-00-00.snapshot"),
            "requested_at": TIME, "created_at": TIME,
        }],
    })
}
