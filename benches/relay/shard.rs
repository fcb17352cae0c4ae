//! The tar of a shard as Qdrant streams it, made of nothing but its structure and the [pattern](crate::peers::pattern).

/// A part of the tar.
pub(crate) enum Part {
    Bytes(Vec<u8>),
    /// So many bytes of the pattern from its beginning on, a multiple of [`RECORD`].
    Pattern(u64),
}

impl Part {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern(bytes) => *bytes,
        }
    }
}

const RECORD: usize = 512;
/// Largest file: the size of one is told by eleven octal digits.
const LARGEST: u64 = 1 << 30;
const SEGMENT: &str = "segments/6f1e6c1a-5e0e-4a39-9d3b-0f6d5f6f0c11/files";

/// One of `bytes` bytes or some more.
pub(crate) fn shard(bytes: u64) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut left, mut number) = (bytes.next_multiple_of(RECORD as u64), 0);
    while left > 0 {
        let size = left.min(LARGEST);
        parts.push(Part::Bytes(header(&format!("{SEGMENT}/page_{number}.dat"), size, b'0')));
        parts.push(Part::Pattern(size));
        (left, number) = (left - size, number + 1);
    }
    let mut rest = Vec::new();
    for file in ["segment.json", "version.info"] {
        small(&mut rest, &format!("{SEGMENT}/{file}"));
    }
    rest.extend(header("wal/", 0, b'5'));
    for file in ["replica_state.json", "shard_config.json"] {
        small(&mut rest, file);
    }
    rest.resize(rest.len() + 2 * RECORD, 0);
    parts.push(Part::Bytes(rest));
    parts
}

fn small(tar: &mut Vec<u8>, name: &str) {
    tar.extend(header(name, 2, b'0'));
    tar.extend(b"{}");
    tar.resize(tar.len().next_multiple_of(RECORD), 0);
}

/// The header of an entry, in the form of POSIX.
fn header(name: &str, size: u64, kind: u8) -> Vec<u8> {
    let mut header = vec![0; RECORD];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(257, "ustar");
    put(263, "00");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}
