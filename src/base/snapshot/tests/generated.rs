//! Archives that no program writes: every part of them is made up, and they lie in each other.

use super::{ArtifactKind, BLOCK, Expected, Random, SEED, STEPS, claim, expected, seal};
use crate::base::snapshot::{LONGEST_PART, Structure};
use std::time::Instant;

const ROUNDS: u32 = 4000;
/// For the one who has changed the reader: `cargo test --lib -- --ignored made_up`.
const MANY: u32 = 200_000;
/// Names that mean something, and some that must not.
const NAMES: [&str; 26] = [
    "",
    ".",
    "../x",
    "/x",
    "version.info",
    "./config.json",
    "config.json/",
    "0/wal",
    "0/wal/open-1",
    "0/replica_state.json",
    "7/shard_config.json",
    "+7/wal",
    "0/segments/a.tar",
    "0/segments/b.tar",
    "0/segments/c/files/segment.json",
    "snapshot/files/segment.json",
    "snapshot/files/version.info",
    "0/segments/",
    "wal",
    "wal/open-1",
    "replica_state.json",
    "shard_config.json",
    "segments/a.tar",
    "segments/b/files/segment.json",
    "segments/b/files/version.info",
    "segments/b/",
];

fn archive(random: &mut Random, depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(6) {
        entry(&mut bytes, random, depth);
    }
    match random.below(5) {
        0 | 1 => bytes.resize(bytes.len() + 2 * BLOCK, 0),
        2 => bytes.resize(bytes.len() + BLOCK, 0),
        3 => bytes.truncate(random.below(bytes.len() + 1)),
        _ => {}
    }
    bytes
}

fn entry(bytes: &mut Vec<u8>, random: &mut Random, depth: usize) {
    let kind = b"000005LLSSSxK27"[random.below(15)];
    let content = match random.below(4) {
        _ if kind == b'L' => [
            "0/segments/",
            &"y/".repeat(random.below(9)),
            &"z".repeat(random.below(4200)),
        ]
        .concat()
        .into(),
        0 | 1 if depth < 2 => archive(random, depth + 1),
        2 => vec![0; random.below(2000)],
        _ => vec![b'x'; random.below(1500)],
    };
    let mut header = [0; BLOCK];
    let name = NAMES[random.below(NAMES.len())];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[257..265].copy_from_slice(b"ustar  \0");
    header[156] = kind;
    octal(&mut header[124..136], content.len() as u64);
    let mut more = Vec::new();
    if kind == b'S' {
        more = map(&mut header, random, content.len() as u64);
    }
    if random.below(12) == 0 {
        claim(&mut header[124..136], random);
    }
    seal(&mut header);
    if random.below(30) == 0 {
        header[random.below(BLOCK)] ^= 1;
    }
    bytes.extend([&header[..], &more, &content].concat());
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

fn octal(field: &mut [u8], number: u64) {
    field.copy_from_slice(format!("{number:011o}\0").as_bytes());
}

/// The map of a sparse file of which so many bytes are stored: the fields of the header, and the blocks after it.
fn map(header: &mut [u8; BLOCK], random: &mut Random, mut stored: u64) -> Vec<u8> {
    let (mut extents, mut at) = (Vec::new(), 0);
    while stored > 0 && extents.len() < 60 {
        at += random.below(2000) as u64;
        let len = if random.below(8) == 0 {
            stored
        } else {
            1 + random.below(40) as u64
        }
        .min(stored);
        extents.push((at, len));
        (at, stored) = (at + len, stored - len);
    }
    extents.push((at + stored, 0));
    let mut table = vec![0; extents.len() * 24];
    for (place, (offset, len)) in table.chunks_exact_mut(24).zip(extents) {
        octal(&mut place[..12], offset);
        octal(&mut place[12..], len);
    }
    let last = table.len() - 24;
    octal(&mut header[483..495], at + stored);
    if random.below(3) == 0 {
        claim(&mut table[last..last + 12], random);
        header.as_mut_slice()[483..495].copy_from_slice(&table[last..last + 12]);
    }
    let (first, rest) = table.split_at(table.len().min(96));
    header[386..386 + first.len()].copy_from_slice(first);
    header[482] = u8::from(!rest.is_empty());
    let blocks = rest
        .chunks(504)
        .map(|part| [part, &vec![0; BLOCK - part.len()]].concat());
    let mut blocks: Vec<_> = blocks.collect();
    let many = blocks.len();
    blocks
        .iter_mut()
        .take(many.saturating_sub(1))
        .for_each(|block| block[504] = 1);
    blocks.concat()
}

/// What is said of an archive that comes in pieces as long as `piece` says.
fn read(expected: &Expected, bytes: &[u8], mut piece: impl FnMut() -> usize) -> Vec<String> {
    let mut structure = Structure::new(expected.clone());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().min(rest.len()));
        structure.feed(now);
        rest = later;
    }
    for (shard, found) in &structure.contents.shards {
        let kept = found.segments.keys().chain([shard]);
        assert!(
            kept.clone().all(|name| name.len() <= LONGEST_PART),
            "{:?}",
            kept.max_by_key(|n| n.len())
        );
    }
    structure.finish()
}

fn fuzz(rounds: u32) {
    let random = &mut Random(SEED);
    let (mut bytes_read, mut whole, mut holes) = (0, 0, 0);
    let kinds = [ArtifactKind::Collection, ArtifactKind::Shard(0)].map(|kind| Expected { kind, ..expected() });
    for round in 0..rounds {
        let expected = &kinds[round as usize % 2];
        let bytes = archive(random, 0);
        let before = STEPS.get();
        let problems = read(expected, &bytes, || 16 << 10);
        let steps = STEPS.get() - before;
        // Maps of sparse files are the densest: eight steps at most for each hole, of which the map has a line of 24 bytes.
        let allowed = 64 + bytes.len() as u64;
        assert!(
            steps <= allowed,
            "round {round}: {steps} steps for {} bytes",
            bytes.len()
        );
        assert_eq!(
            read(expected, &bytes, || 1 + random.below(900)),
            problems,
            "round {round}: in pieces"
        );
        bytes_read += bytes.len();
        whole += u32::from(!problems.iter().any(|p| p.contains("corrupt")));
        holes += u32::from(problems.iter().any(|p| p.contains("the limit is")));
    }
    assert!(
        whole > rounds / 10 && holes > rounds / 50,
        "{whole} are read to their end, {holes} claim too much"
    );
    assert!(bytes_read > rounds as usize * BLOCK);
}

#[test]
fn a_made_up_archive_costs_no_more_steps_than_its_bytes_and_is_the_same_in_pieces() {
    fuzz(ROUNDS);
}

#[test]
#[ignore = "takes a minute"]
#[allow(clippy::print_stdout)]
fn many_made_up_archives() {
    let begun = Instant::now();
    fuzz(MANY);
    println!("{MANY} archives, each read twice, in {:?}", begun.elapsed());
}
