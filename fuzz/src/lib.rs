//! What must hold for any bytes that are taken for a snapshot: the readers never panic, say the same whatever the pieces are in which
//! the bytes come, need no more memory than the bytes allow, and call nothing whole that is not whole for the library by which Qdrant
//! reads archives.

// The readers, by links to their files: alone they compile in seconds.
pub mod base {
    #[allow(dead_code, unused_imports, unreachable_pub)]
    pub mod snapshot;
    pub mod total;
}
mod library;
mod memory;
pub mod mutate;

use base::snapshot::split::{BLOCK, Finder, Next};
use base::snapshot::{ArtifactKind, Expected, Structure};

/// Beside what is kept of the bytes: messages, and the tables while they are small.
const ALWAYS: usize = 256 << 10;
/// Bytes that may be kept for each byte that was read: a table of names while it grows, at most.
const PER_BYTE: usize = 4;

/// Checks all of it.
pub fn check(data: &[u8]) {
    for kind in [ArtifactKind::Shard(0), ArtifactKind::Collection] {
        let expected = Expected {
            kind,
            shards: Vec::new(),
            holds_points: true,
        };
        let problems = within(data, || read(&expected, data, || 16 << 10));
        let mut seed = data.len() as u64 | 1;
        let in_pieces = read(&expected, data, || {
            seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
            1 + usize::try_from(seed % 3000).unwrap()
        });
        assert_eq!(problems, in_pieces, "{kind:?} in pieces");
        if problems.is_empty() {
            assert!(library::is_whole(kind, data), "{kind:?} is called whole");
        }
    }
    within(data, || divide(data));
}

/// Does `work`, of which the memory must not depend on what `data` says of itself.
fn within<T>(data: &[u8], work: impl FnOnce() -> T) -> T {
    let (result, peak) = memory::peak(work);
    let allowed = ALWAYS + PER_BYTE * data.len();
    assert!(peak <= allowed, "{peak} bytes of memory for {} of data", data.len());
    result
}

/// What is said of a snapshot that comes in pieces as long as `piece` says.
fn read(expected: &Expected, data: &[u8], mut piece: impl FnMut() -> usize) -> Vec<String> {
    let mut structure = Structure::new(expected.clone());
    let mut rest = data;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().min(rest.len()));
        structure.feed(now);
        rest = later;
    }
    structure.finish()
}

/// Finds the shards in a collection's snapshot, as a restore of an older backup does.
fn divide(data: &[u8]) -> usize {
    let mut finder = Finder::new(data.len() as u64);
    let mut at = 0;
    loop {
        let start = usize::try_from(at).unwrap();
        let Some(block) = data.get(start..start + BLOCK) else {
            assert!(at == 0, "asks for what is not there");
            return 0;
        };
        match finder.block(at, block.try_into().unwrap()) {
            Ok(Next::Block(next)) => {
                assert!(next > at, "never ends");
                at = next;
            }
            Ok(Next::End) => break,
            Err(_) => return 0,
        }
    }
    finder.finish().len()
}
