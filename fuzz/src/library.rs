//! The signs of a whole snapshot, as the library finds them by which Qdrant reads archives.

use crate::base::snapshot::ArtifactKind;
use std::collections::BTreeMap;
use std::io::Read;

/// The names and contents in an archive, as far as the library reads it.
fn entries(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.ok()?;
        let mut content = Vec::new();
        // Files of tens of megabytes, of which nearly all is holes.
        entry.by_ref().take(1 << 20).read_to_end(&mut content).ok()?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let parts: Vec<_> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        Some((parts.join("/"), content))
    };
    archive.entries().unwrap().map_while(read).collect()
}

/// Whether it has all the signs of being complete.
pub(crate) fn is_whole(kind: ArtifactKind, bytes: &[u8]) -> bool {
    let all = entries(bytes);
    if !bytes.ends_with(&[0; 1024]) {
        return false;
    }
    if let ArtifactKind::Shard(_) = kind {
        let last: Vec<_> = all.iter().rev().take(2).map(|(name, _)| name.as_str()).collect();
        return last == ["shard_config.json", "replica_state.json"] && is_shard(&all);
    }
    let has = |file: &&str| all.iter().any(|(name, _)| name == file);
    let mut shards: BTreeMap<&str, Vec<(String, Vec<u8>)>> = BTreeMap::new();
    for (name, content) in &all {
        let (shard, inside) = name.split_once('/').unwrap_or((name, ""));
        if shard.parse::<u32>().is_ok_and(|id| id.to_string() == shard) {
            shards
                .entry(shard)
                .or_default()
                .push((inside.to_owned(), content.clone()));
        }
    }
    [
        "version.info",
        "config.json",
        "shard_key_mapping.json",
        "payload_index.json",
    ]
    .iter()
    .all(has)
        && shards.values().all(|shard| is_shard(shard))
}

/// Whether a shard of these entries has its log, its files, and all of each segment.
fn is_shard(all: &[(String, Vec<u8>)]) -> bool {
    let mut segments: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, content) in all {
        let Some(name) = name.strip_prefix("segments/") else {
            continue;
        };
        match name.split_once('/') {
            Some((segment, file)) => {
                let files = segments.entry(segment.to_owned()).or_default();
                files.extend(file.strip_prefix("files/").map(str::to_owned));
            }
            None => {
                let Some(segment) = name.strip_suffix(".tar") else {
                    continue;
                };
                let inside = entries(content).into_iter();
                let files = inside.filter_map(|(name, _)| Some(name.strip_prefix("snapshot/files/")?.to_owned()));
                segments.entry(segment.to_owned()).or_default().extend(files);
            }
        }
    }
    let has = |wanted: &str| all.iter().any(|(name, _)| name == wanted);
    let is_loadable = |files: &Vec<String>| {
        let mut needed = ["segment.json", "version.info"].iter();
        needed.all(|needed| files.iter().any(|name| name == needed))
    };
    has("replica_state.json")
        && has("shard_config.json")
        && all.iter().any(|(name, _)| name == "wal" || name.starts_with("wal/"))
        && !segments.is_empty()
        && segments.values().all(is_loadable)
}
