//! Snapshots of one shard that a Qdrant 1.18.3 made, in both forms: what is called whole is whole for the library, too, by which
//! Qdrant reads archives.

use super::{ArtifactKind, BLOCK, Expected, Random, SEED, headers, mutate, read, seal};
use std::collections::BTreeMap;
use std::io::Read;

const ROUNDS: u64 = 3000;
const STREAMED: &[u8] = include_bytes!("../../../../tests/fixtures/shards/streamed.tar");
const STORED: &[u8] = include_bytes!("../../../../tests/fixtures/shards/stored.tar");
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

fn problems(bytes: &[u8]) -> Vec<String> {
    let expected = Expected {
        kind: ArtifactKind::Shard(0),
        shards: Vec::new(),
        holds_points: true,
    };
    read(expected, bytes).0
}

/// The names and contents in an archive, as far as the library reads it.
fn entries(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.ok()?;
        let mut content = Vec::new();
        // Files of tens of megabytes, of which nearly all is holes.
        entry.by_ref().take(1 << 20).read_to_end(&mut content).ok()?;
        Some((String::from_utf8_lossy(&entry.path_bytes()).into_owned(), content))
    };
    archive.entries().unwrap().map_while(read).collect()
}

/// Whether a shard has all the signs of being complete.
fn is_whole(bytes: &[u8]) -> bool {
    let all = entries(bytes);
    let mut segments: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, content) in &all {
        let within = name.strip_prefix("segments/");
        let Some((segment, file)) = within.and_then(|name| match name.split_once('/') {
            Some((segment, file)) => Some((segment, Some(file))),
            None => Some((name.strip_suffix(".tar")?, None)),
        }) else {
            continue;
        };
        let files = segments.entry(segment.to_owned()).or_default();
        match file {
            Some(file) => files.extend(file.strip_prefix("files/").map(str::to_owned)),
            None => files.extend(
                entries(content)
                    .into_iter()
                    .filter_map(|(name, _)| Some(name.strip_prefix("snapshot/files/")?.to_owned())),
            ),
        }
    }
    let has = |files: &Vec<String>| {
        ["segment.json", "version.info"]
            .iter()
            .all(|f| files.iter().any(|name| name == f))
    };
    let last: Vec<_> = all.iter().rev().take(2).map(|(name, _)| name.as_str()).collect();
    bytes.ends_with(&END)
        && last == ["shard_config.json", "replica_state.json"]
        && all.iter().any(|(name, _)| name.starts_with("wal"))
        && !segments.is_empty()
        && segments.values().all(has)
}

#[test]
fn a_shard_in_either_form_is_whole() {
    for shard in [STREAMED, STORED] {
        assert_eq!(problems(shard), [""; 0]);
        assert!(is_whole(shard));
    }
}

#[test]
fn a_shard_that_was_cut_is_never_whole() {
    for shard in [STREAMED, STORED] {
        let end = shard.len() - END.len();
        for at in (0..shard.len())
            .step_by(BLOCK)
            .chain([1, end - 1, end + 1, shard.len() - 1])
        {
            assert_ne!(problems(&shard[..at]), [""; 0], "{at} of {} bytes", shard.len());
        }
    }
}

#[test]
fn nor_is_it_with_an_end_that_somebody_put_there() {
    for shard in [STREAMED, STORED] {
        let end = shard.len() - END.len();
        let cuts: Vec<_> = headers(shard).into_iter().filter(|at| *at < end).collect();
        assert!(cuts.len() > 4, "{}", cuts.len());
        for at in cuts {
            let cut = [&shard[..at], &END].concat();
            assert_ne!(problems(&cut), [""; 0], "{at} of {} bytes", shard.len());
        }
        // The last entry again, and another one behind all.
        let state = shard[..end].len() - 4 * BLOCK;
        let wal = headers(shard)
            .into_iter()
            .find(|at| shard[*at..].starts_with(b"wal/"))
            .unwrap();
        for behind in [
            &shard[state..end],
            &shard[state..state + 2 * BLOCK],
            &shard[wal..wal + BLOCK],
        ] {
            let more = [&shard[..end], behind, &END].concat();
            assert_ne!(problems(&more), [""; 0]);
        }
        let swapped = [
            &shard[..state],
            &shard[state + 2 * BLOCK..end],
            &shard[state..state + 2 * BLOCK],
            &END,
        ]
        .concat();
        let found = problems(&swapped);
        assert!(found.len() == 1 && found[0].contains("last entries"), "{found:?}");
    }
}

#[test]
fn any_flipped_bit_of_a_header_is_found() {
    for shard in [STREAMED, STORED] {
        for header in headers(shard) {
            for byte in (header..header + BLOCK).step_by(3) {
                let mut bytes = shard.to_vec();
                bytes[byte] ^= 1 << (byte % 8);
                assert_ne!(problems(&bytes), [""; 0], "byte {byte}");
            }
        }
    }
}

#[test]
fn what_is_called_whole_is_so_for_the_library_by_which_qdrant_reads() {
    let random = &mut Random(SEED);
    for shard in [STREAMED, STORED] {
        let headers = headers(shard);
        let (mut accepted, mut refused) = (0, 0);
        for round in 0..ROUNDS {
            let mut bytes = mutate(shard, &headers, random);
            if random.below(3) == 0 {
                // A name that is another one, sealed.
                let header = headers[random.below(headers.len())];
                if let Some(header) = bytes.get_mut(header..header + BLOCK) {
                    header[random.below(80)] = b"/.a0"[random.below(4)];
                    seal(header);
                }
            }
            match problems(&bytes).is_empty() {
                false => refused += 1,
                true => {
                    accepted += 1;
                    assert!(is_whole(&bytes), "round {round}");
                }
            }
        }
        assert!(
            accepted > 50 && refused > 1000,
            "{accepted} accepted, {refused} refused"
        );
    }
}
