//! What reading costs, whatever the archive says of itself: mutations of a snapshot that Qdrant's engine wrote.
#![allow(clippy::unwrap_used)]

mod generated;
mod shards;

use super::tar::STEPS;
use super::{ArtifactKind, Expected, Structure};
use embedded_qdrant::{Node, NodeOptions};
use serde_json::json;

const BLOCK: usize = 512;
const ROUNDS: u64 = 400;
/// A number in a header.
const ZERO: &[u8; 12] = b"00000000000\0";
/// The same for every run.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// A snapshot of a collection with some points, as the engine writes it.
async fn snapshot() -> Vec<u8> {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions::new(data.path())).await.unwrap();
    let (client, collection) = (reqwest::Client::new(), format!("{}/collections/c", node.url()));
    let points: Vec<_> = (0..50)
        .map(|id| json!({"id": id, "vector": [id, 1, 2, 3], "payload": {"n": id}}))
        .collect();
    for (path, body) in [
        ("", json!({"vectors": {"size": 4, "distance": "Dot"}})),
        ("/points?wait=true", json!({"points": points})),
    ] {
        let request = client.put(format!("{collection}{path}")).json(&body);
        request.send().await.unwrap().error_for_status().unwrap();
    }
    let made = client.post(format!("{collection}/snapshots")).send().await.unwrap();
    let made: serde_json::Value = made.json().await.unwrap();
    let name = made["result"]["name"].as_str().unwrap();
    let request = client.get(format!("{collection}/snapshots/{name}"));
    let bytes = request.send().await.unwrap().error_for_status().unwrap().bytes().await;
    node.stop().await;
    bytes.unwrap().to_vec()
}

fn expected() -> Expected {
    Expected {
        kind: ArtifactKind::Collection,
        shards: vec![0],
        holds_points: true,
    }
}

/// What is said of an archive, and the steps that this took.
fn read(expected: Expected, bytes: &[u8]) -> (Vec<String>, u64) {
    let before = STEPS.get();
    let mut structure = Structure::new(expected);
    bytes.chunks(16 << 10).for_each(|piece| structure.feed(piece));
    (structure.finish(), STEPS.get() - before)
}

/// Numbers without a pattern.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

/// A number in a header as its owner would like it: of any size.
fn claim(field: &mut [u8], random: &mut Random) {
    field.fill(0);
    field[0] = 0x80;
    let any = u64::MAX >> random.below(64);
    field[4..12].copy_from_slice(&any.to_be_bytes());
}

/// Makes a header say something else, and seals it again; the hole is the favourite.
fn forge(header: &mut [u8], random: &mut Random) {
    match random.below(4) {
        0 => claim(&mut header[124..136], random),
        1 => header[156] = b"0L5SxK"[random.below(6)],
        2 => header[random.below(BLOCK)] = u8::try_from(random.below(256)).unwrap(),
        _ => {
            // What was its content is all that is stored, and behind that is a hole.
            let size = header[124..136].to_vec();
            header[156] = b'S';
            header[386..483].fill(0);
            header[386..398].copy_from_slice(ZERO);
            header[398..410].copy_from_slice(&size);
            claim(&mut header[410..422], random);
            header[422..434].copy_from_slice(ZERO);
            header.copy_within(410..422, 483);
        }
    }
    seal(header);
}

/// Writes the checksum of a header into it.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Where the headers of an archive are, those of an archive inside it as well.
fn headers(archive: &[u8]) -> Vec<usize> {
    let blocks = (0..archive.len()).step_by(BLOCK);
    blocks.filter(|at| archive[at + 257..].starts_with(b"ustar")).collect()
}

fn mutate(original: &[u8], headers: &[usize], random: &mut Random) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => drop(bytes.splice(at..at, original[..BLOCK].iter().copied())),
            3 => drop(bytes.drain(at..(at + random.below(2000)).min(bytes.len()))),
            _ => {
                let header = headers[random.below(headers.len())];
                if let Some(header) = bytes.get_mut(header..header + BLOCK) {
                    forge(header, random);
                }
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

#[tokio::test]
async fn no_archive_costs_more_steps_than_its_bytes_allow() {
    let original = snapshot().await;
    let (problems, steps) = read(expected(), &original);
    assert_eq!(problems, [""; 0]);
    assert!(steps > 0);
    let headers = headers(&original);
    assert!(headers.len() > 20, "{} headers", headers.len());
    let random = &mut Random(SEED);
    let (mut broken, mut holes) = (0, 0);
    for round in 0..ROUNDS {
        let bytes = mutate(&original, &headers, random);
        let (problems, steps) = read(expected(), &bytes);
        // One for each piece, header, content and padding, in the archive and in the one inside; then some for each hole.
        let allowed = 64 + bytes.len() as u64 / 64;
        assert!(
            steps <= allowed,
            "round {round}: {steps} steps for {} bytes",
            bytes.len()
        );
        broken += u32::from(!problems.is_empty());
        holes += u32::from(problems.iter().any(|problem| problem.contains("the limit is")));
    }
    assert!(
        broken > 100 && holes > 10,
        "{broken} broken, {holes} of them by a number"
    );
}
