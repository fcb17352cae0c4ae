//! What is a whole snapshot and what is not: archives as Qdrant 1.16 to 1.19 write them, and archives with one thing wrong,
//! both written by the library that Qdrant itself uses.

use qdrant_backup::ops::verify::{Expected, Structure};
use qdrant_backup::repository::names::ArtifactKind;
use std::io::{Read, Seek, SeekFrom, Write};
use tar::{Archive, Builder, EntryType, Header};

const SEGMENT: &str = "1f0e5d3c-0000-4000-8000-00000000000a";

/// Entries of an archive: names and contents; a name that ends in a slash is a directory.
type Entries = Vec<(String, Vec<u8>)>;

fn entry(name: impl Into<String>, content: impl AsRef<[u8]>) -> (String, Vec<u8>) {
    (name.into(), content.as_ref().to_vec())
}

fn pack(entries: &Entries) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_entry_type(if name.ends_with('/') {
            EntryType::Directory
        } else {
            EntryType::Regular
        });
        // The library refuses names that leave the directory, so they are written past it.
        if name.contains("..") || name.starts_with('/') {
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_slice()).unwrap();
        } else {
            builder.append_data(&mut header, name, content.as_slice()).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn without_marker(mut archive: Vec<u8>) -> Vec<u8> {
    assert!(archive.ends_with(&[0; 1024]));
    archive.truncate(archive.len() - 1024);
    archive
}

/// A file with holes, as the library stores it.
fn sparse_entry(builder: &mut Builder<Vec<u8>>, name: &str, data_at: &[u64]) {
    let mut file = tempfile::tempfile().unwrap();
    file.set_len(4 << 20).unwrap();
    for at in data_at {
        file.seek(SeekFrom::Start(*at)).unwrap();
        file.write_all(&[7; 4096]).unwrap();
    }
    builder.append_file(name, &mut file).unwrap();
}

/// The archive of a segment as Qdrant nests it: without an end marker.
fn segment(rocksdb: bool) -> Vec<u8> {
    let mut entries = Entries::new();
    if rocksdb {
        // 1.16 with older segments: backups of RocksDB stand before the files.
        entries.push(entry("snapshot/db_backup/", []));
        entries.push(entry("snapshot/db_backup/meta/1", "x"));
        entries.push(entry("snapshot/payload_index_db_backup/private/1/CURRENT", "x"));
    }
    entries.push(entry(
        "snapshot/files/vector_storage/vectors/chunk_0.mmap",
        vec![5; 70_000],
    ));
    entries.push(entry(
        format!("snapshot/files/payload_index/{}/data", "long-name".repeat(20)),
        "x",
    ));
    entries.push(entry("snapshot/files/segment.json", "{}"));
    entries.push(entry("snapshot/files/version.info", "0.6.0"));
    without_marker(pack(&entries))
}

/// A shard below `at` as this release writes it into a file.
fn shard(at: &str, release: u32) -> Entries {
    let mut entries = Entries::new();
    let wal = [
        entry(format!("{at}wal/open-1"), vec![1; 3000]),
        entry(format!("{at}wal/closed-0"), ""),
    ];
    if release >= 19 {
        entries.push(entry(format!("{at}segments_manifest.json"), "{}"));
    }
    entries.push(entry(format!("{at}segments/{SEGMENT}.tar"), segment(release == 16)));
    entries.push(entry(format!("{at}segments/{}b.tar", &SEGMENT[..35]), segment(false)));
    if release == 16 {
        entries.extend(wal);
    } else {
        entries.push(entry(format!("{at}newest_clocks.json"), "{}"));
        entries.push(entry(format!("{at}oldest_clocks.json"), "{}"));
        entries.extend(wal);
    }
    if release >= 17 {
        entries.push(entry(format!("{at}applied_seq.json"), "1"));
    }
    entries.push(entry(format!("{at}replica_state.json"), "{}"));
    entries.push(entry(format!("{at}shard_config.json"), "{}"));
    entries
}

fn collection(shards: &[u32], release: u32) -> Entries {
    let mut entries: Entries = shards.iter().flat_map(|id| shard(&format!("{id}/"), release)).collect();
    for name in [
        "version.info",
        "config.json",
        "shard_key_mapping.json",
        "payload_index.json",
    ] {
        entries.push(entry(name, "{}"));
    }
    entries
}

/// A shard as it is streamed: segments file by file, an empty log with its directory.
fn streamed() -> Entries {
    vec![
        entry(
            format!("segments/{SEGMENT}/files/vector_storage/vectors/chunk_0.mmap"),
            vec![5; 70_000],
        ),
        entry(format!("segments/{SEGMENT}/files/segment.json"), "{}"),
        entry(format!("segments/{SEGMENT}/files/version.info"), "0.6.0"),
        entry("newest_clocks.json", "{}"),
        entry("wal/", []),
        entry("wal/closed-255", vec![0; 1000]),
        entry("replica_state.json", "{}"),
        entry("shard_config.json", "{}"),
    ]
}

fn whole(shards: &[u32]) -> Expected {
    Expected {
        kind: ArtifactKind::Collection,
        shards: shards.to_vec(),
        holds_points: true,
    }
}

fn one_shard() -> Expected {
    Expected {
        kind: ArtifactKind::Shard(0),
        ..whole(&[])
    }
}

/// What is said of an archive; the same however its bytes are cut into pieces.
fn problems(expected: &Expected, bytes: &[u8]) -> Vec<String> {
    let read = |piece: usize| {
        let mut structure = Structure::new(expected.clone());
        bytes.chunks(piece).for_each(|chunk| structure.feed(chunk));
        structure.finish()
    };
    let found = read(bytes.len().max(1));
    for piece in [513, 4096] {
        assert_eq!(read(piece), found, "in pieces of {piece}");
    }
    found
}

#[track_caller]
fn refused(what: &str, expected: &Expected, bytes: &[u8], wanted: &[&str]) {
    let found = problems(expected, bytes);
    println!("{what:52} {}", found.join("; "));
    assert_eq!(found.len(), wanted.len(), "{what}: {found:#?}");
    for text in wanted {
        assert!(
            found.iter().any(|problem| problem.contains(text)),
            "{what}: {text:?} is not in {found:#?}"
        );
    }
}

#[test]
fn no_snapshot_of_a_supported_release_is_refused() {
    for release in 16..=19 {
        let found = problems(&whole(&[0, 3]), &pack(&collection(&[0, 3], release)));
        assert_eq!(found, [""; 0], "collection of 1.{release}");
        let found = problems(&one_shard(), &pack(&shard("", release)));
        assert_eq!(found, [""; 0], "stored shard of 1.{release}");
    }
    assert_eq!(problems(&one_shard(), &pack(&streamed())), [""; 0], "streamed shard");
    // A collection without shards (custom sharding before its first key), and an empty shard without a segment.
    assert_eq!(problems(&whole(&[]), &pack(&collection(&[], 18))), [""; 0]);
    let empty: Entries = shard("", 18)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("segments"))
        .collect();
    let expected = Expected {
        holds_points: false,
        ..one_shard()
    };
    assert_eq!(problems(&expected, &pack(&empty)), [""; 0]);
    // Archives that other tools pad to a whole record.
    let padded = [pack(&streamed()), vec![0; 9728]].concat();
    assert_eq!(problems(&one_shard(), &padded), [""; 0]);
}

#[test]
fn what_a_restore_would_miss_is_named() {
    let whole = whole(&[0]);
    let without = |name: &str| {
        let entries = collection(&[0], 18);
        pack(&entries.into_iter().filter(|(n, _)| !n.starts_with(name)).collect())
    };
    for name in [
        "version.info",
        "config.json",
        "shard_key_mapping.json",
        "payload_index.json",
    ] {
        refused(name, &whole, &without(name), &[&format!("the snapshot has no {name}")]);
    }
    refused(
        "no replica_state.json",
        &whole,
        &without("0/replica_state.json"),
        &["shard 0 has no replica_state.json"],
    );
    refused("no log", &whole, &without("0/wal"), &["shard 0 has no write-ahead log"]);
    refused(
        "no segment",
        &whole,
        &without("0/segments/"),
        &["shard 0 has no segment"],
    );
    let shard_0_only = pack(&collection(&[0], 18));
    let both = Expected {
        shards: vec![0, 1],
        ..whole.clone()
    };
    refused(
        "a shard missing altogether",
        &both,
        &shard_0_only,
        &[
            "shard 1 has no replica_state.json",
            "shard 1 has no shard_config.json",
            "shard 1 has no write-ahead log",
            "shard 1 has no segment",
        ],
    );

    let nested = |change: &dyn Fn(Entries) -> Vec<u8>| {
        let all: Entries = vec![
            entry("snapshot/files/data", vec![3; 2000]),
            entry("snapshot/files/segment.json", "{}"),
            entry("snapshot/files/version.info", "x"),
        ];
        let mut entries = collection(&[0], 18);
        let place = entries
            .iter_mut()
            .find(|(name, _)| name.ends_with(&format!("{SEGMENT}.tar")))
            .unwrap();
        place.1 = change(all);
        pack(&entries)
    };
    let of = |text: &str| format!("segment {SEGMENT} of shard 0 has no {text}");
    let dropped =
        nested(&|all| without_marker(pack(&all.into_iter().filter(|(n, _)| !n.ends_with(".json")).collect())));
    refused(
        "a segment without segment.json",
        &whole,
        &dropped,
        &[&of("segment.json")],
    );
    let cut = nested(&|all| pack(&all)[..512 + 2048].to_vec());
    refused(
        "a segment cut between entries",
        &whole,
        &cut,
        &[&of("segment.json"), &of("version.info")],
    );
    let cut = nested(&|all| pack(&all)[..512 + 700].to_vec());
    refused(
        "a segment cut within an entry",
        &whole,
        &cut,
        &["ends inside an entry", &of("segment.json"), &of("version.info")],
    );
    let garbled = nested(&|all| {
        let mut bytes = pack(&all);
        bytes[512 + 2048] ^= 1;
        bytes
    });
    refused(
        "a segment with a broken header",
        &whole,
        &garbled,
        &["is corrupt at its byte 2560", &of("segment.json"), &of("version.info")],
    );
    refused(
        "an empty segment",
        &whole,
        &nested(&|_| Vec::new()),
        &[&of("segment.json"), &of("version.info")],
    );
}

#[test]
fn a_cut_archive_is_never_whole() {
    for (expected, archive) in [
        (whole(&[0]), pack(&collection(&[0], 18))),
        (one_shard(), pack(&streamed())),
    ] {
        let end = archive.len() - 1024;
        // Every boundary of an entry and some bytes beside it, to the last byte of the marker.
        for at in (0..archive.len())
            .step_by(512)
            .chain([end + 1, archive.len() - 1, end - 1, 1])
        {
            let mut structure = Structure::new(expected.clone());
            structure.feed(&archive[..at]);
            let found = structure.finish();
            let cut = |text: &String| text.contains("no end marker") || text.contains("inside an entry");
            assert!(found.iter().any(cut), "cut after {at} of {}: {found:?}", archive.len());
        }
    }
    assert!(!problems(&whole(&[]), &[]).is_empty());
    let nothing = problems(&one_shard(), &[0; 1024]);
    assert!(
        nothing.iter().any(|text| text.contains("no replica_state.json")),
        "{nothing:?}"
    );
}

#[test]
fn what_qdrant_refuses_or_must_never_unpack_is_damage() {
    let with = |extra: (String, Vec<u8>)| pack(&collection(&[0], 18).into_iter().chain([extra]).collect());
    for name in ["../x", "0/../../x", "/etc/passwd", "0/segments/.."] {
        refused(
            name,
            &whole(&[0]),
            &with(entry(name, "x")),
            &["points outside its directory"],
        );
    }
    let mut builder = Builder::new(Vec::new());
    for (flag, kind) in [
        (EntryType::Symlink, "'2'"),
        (EntryType::Link, "'1'"),
        (EntryType::Fifo, "'6'"),
        (EntryType::Char, "'3'"),
    ] {
        let mut header = Header::new_gnu();
        header.set_entry_type(flag);
        header.set_size(0);
        builder.append_link(&mut header, "0/wal/x", "/etc/passwd").unwrap();
        let link = std::mem::replace(&mut builder, Builder::new(Vec::new()))
            .into_inner()
            .unwrap();
        let archive = [without_marker(link), pack(&collection(&[0], 18))].concat();
        refused(
            &format!("type {kind}"),
            &whole(&[0]),
            &archive,
            &[&format!("has type {kind}")],
        );
    }
    refused(
        "a file twice",
        &whole(&[0]),
        &with(entry("config.json", "{}")),
        &["config.json occurs twice"],
    );
    let again = with(entry(format!("0/segments/{SEGMENT}.tar"), segment(false)));
    refused("a segment twice", &whole(&[0]), &again, &["occurs twice"]);
    let behind = [pack(&collection(&[0], 18)), b"more".to_vec()].concat();
    refused(
        "data behind the end",
        &whole(&[0]),
        &behind,
        &["data after the end of the archive"],
    );
    let mut inside = pack(&collection(&[0], 18));
    let config = (0..inside.len())
        .step_by(512)
        .find(|at| inside[*at..].starts_with(b"config.json"))
        .unwrap();
    inside[config..config + 512].fill(0);
    refused(
        "a block of zeros inside",
        &whole(&[0]),
        &inside,
        &["data after the end of the archive"],
    );
    refused("no archive at all", &whole(&[0]), &[9; 4096], &["invalid entry header"]);
}

#[test]
fn nothing_said_of_a_hostile_archive_is_without_bound() {
    let many: Entries = (0..1000).map(|i| entry(format!("../{i}"), "")).collect();
    let found = problems(&whole(&[]), &pack(&many));
    assert!(
        found.len() < 30 && found.iter().any(|text| text.starts_with("and 9")),
        "{found:?}"
    );
    let mut long = Header::new_gnu();
    long.set_entry_type(EntryType::GNULongName);
    long.set_size(1 << 40);
    long.set_cksum();
    refused(
        "an endless name",
        &whole(&[]),
        long.as_bytes(),
        &["the name of an entry is too long"],
    );
}

#[test]
fn sparse_files_are_passed_over_and_segments_may_be_sparse() {
    let mut builder = Builder::new(Vec::new());
    // More extents than fit into one header.
    let extents: Vec<u64> = (0..60).map(|i| i * 65536).collect();
    for (name, at) in [
        ("0/wal/a", extents.as_slice()),
        ("0/wal/b", &[]),
        ("0/wal/c", &[0]),
        ("0/wal/d", &[(4 << 20) - 4096]),
    ] {
        sparse_entry(&mut builder, name, at);
    }
    // The archive of a segment with a hole inside one of its files.
    let nested = pack(&vec![
        entry("snapshot/files/segment.json", "{}"),
        entry(
            "snapshot/files/data",
            [vec![1; 8192], vec![0; 1 << 20], vec![2; 8192]].concat(),
        ),
        entry("snapshot/files/version.info", "x"),
    ]);
    let mut file = tempfile::tempfile().unwrap();
    let hole = 16384..1 << 20;
    assert!(nested[hole.clone()].iter().all(|byte| *byte == 0));
    file.write_all(&nested[..hole.start]).unwrap();
    file.seek(SeekFrom::Start(hole.end as u64)).unwrap();
    file.write_all(&nested[hole.end..]).unwrap();
    file.rewind().unwrap();
    builder
        .append_file(format!("0/segments/{SEGMENT}.tar"), &mut file)
        .unwrap();
    let rest: Entries = collection(&[0], 18)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("0/segments"))
        .collect();
    let archive = [without_marker(builder.into_inner().unwrap()), pack(&rest)].concat();
    let kinds: Vec<_> = Archive::new(archive.as_slice())
        .entries()
        .unwrap()
        .map(|e| e.unwrap().header().entry_type())
        .collect();
    assert!(
        kinds.iter().filter(|kind| **kind == EntryType::GNUSparse).count() >= 5,
        "this file system has no holes: {kinds:?}"
    );
    assert_eq!(problems(&whole(&[0]), &archive), [""; 0]);
}

/// A segment whose archive is stored as a sparse file with these extents, of which only garbage is stored.
fn hole(extents: &[(u64, u64)], size: u64, real: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path(format!("0/segments/{SEGMENT}.tar")).unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(size);
    let gnu = header.as_gnu_mut().unwrap();
    for (place, (offset, len)) in gnu.sparse.iter_mut().zip(extents) {
        place.set_offset(*offset);
        place.set_length(*len);
    }
    gnu.set_real_size(real);
    header.set_cksum();
    let stored = vec![b'x'; usize::try_from(size.min(1024)).unwrap()];
    [header.as_bytes().as_slice(), &stored, &[0; 1024]].concat()
}

/// What is said of an archive, if that is said soon.
fn problems_soon(what: &str, bytes: Vec<u8>) -> Vec<String> {
    let (told, found) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(problems(&whole(&[0]), &bytes)));
    let found = found.recv_timeout(std::time::Duration::from_secs(20));
    found.unwrap_or_else(|_| panic!("{what}: it is still being read"))
}

#[test]
fn a_hole_in_a_broken_segment_takes_no_time() {
    let largest = 1 << 50;
    let bytes = hole(&[(0, 1024), (largest, 0)], 1024, largest);
    assert_eq!(bytes.len(), 2560);
    let found = problems_soon("a hole of a pebibyte", bytes);
    let broken = format!("0/segments/{SEGMENT}.tar is corrupt at its byte 0");
    assert!(found.iter().any(|problem| problem.starts_with(&broken)), "{found:#?}");
}

#[test]
fn sizes_that_no_file_has_are_refused_by_name() {
    let most = i64::MAX as u64;
    for (what, extents, size, real) in [
        ("a hole", vec![(0, 1024), (1 << 60, 0)], 1024, 1 << 60),
        (
            "a little more than the largest",
            vec![(0, 1024), ((1 << 50) + 1, 0)],
            1024,
            (1 << 50) + 1,
        ),
        ("a hole to the largest offset", vec![(0, 1024), (most, 0)], 1024, most),
        ("no number of a file", vec![(0, 1024), (u64::MAX, 0)], 1024, u64::MAX),
        ("a length", vec![(0, most)], most, most),
        ("a size", vec![(0, 1024)], u64::MAX, 1024),
        (
            "an end beyond all numbers",
            vec![(1 << 49, 1024), (u64::MAX, u64::MAX)],
            1024,
            1 << 49,
        ),
    ] {
        let claimed = extents
            .iter()
            .flat_map(|(at, len)| [*at, *len])
            .chain([size, real])
            .max();
        let found = problems_soon(what, hole(&extents, size, real));
        let named = format!("is {} bytes; the limit is {}", claimed.unwrap(), 1_u64 << 50);
        assert!(found.len() == 1 && found[0].contains(&named), "{what}: {found:#?}");
    }
}

/// Another reader, as an oracle: whatever bit of a header is flipped, both read on or both stop.
#[test]
fn headers_are_read_as_qdrants_own_library_reads_them() {
    let archive = pack(&streamed());
    let theirs = |bytes: &[u8]| -> bool {
        let mut archive = Archive::new(bytes);
        let Ok(entries) = archive.entries() else {
            return false;
        };
        entries.into_iter().all(|entry| match entry {
            Ok(mut entry) => entry.read_to_end(&mut Vec::new()).is_ok(),
            Err(_) => false,
        })
    };
    assert!(theirs(&archive));
    let mut stopped = 0;
    for at in 0..512 {
        for bit in 0..8 {
            let mut bytes = archive.clone();
            bytes[at] ^= 1 << bit;
            if !theirs(&bytes) {
                stopped += 1;
                assert!(
                    !problems(&one_shard(), &bytes).is_empty(),
                    "byte {at}, bit {bit}: only Qdrant stops"
                );
            }
        }
    }
    assert!(stopped > 4000, "{stopped}");
}
