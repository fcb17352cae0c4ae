//! The two sums of an object: SHA-256 as lower-case hex, the form that Qdrant and the manifest use, and CRC32C, which Cloud
//! Storage computes.

use aws_lc_rs::digest;
use crc_fast::{CrcAlgorithm, Digest};
use std::fmt::Write;

/// CRC32C (Castagnoli) of some bytes, whose sum is `crc32c`, with `bytes` after them; the sum of no bytes is 0.
pub fn crc32c_append(crc32c: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc32c));
    digest.update(bytes);
    // 32 bits wide.
    digest.finalize() as u32
}

/// SHA-256 of `bytes` as lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
            let _ = write!(text, "{b:02x}");
            text
        })
}

/// The 32 bytes that 64 hex digits stand for.
pub(crate) fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_is_the_one_of_cloud_storage_however_the_bytes_are_cut() {
        // The check value of CRC-32/ISCSI in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32c_append(0, b"123456789"), 0xE306_9283);
        assert_eq!(crc32c_append(0, b""), 0);
        let bytes: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        // The kinds of code for short, medium and long pieces, at places that are not aligned. Compared with the implementation
        // that Google's client uses.
        for len in (0..600).chain([1023, 4096, 16_384, 65_537]) {
            for start in [0, 1, 13] {
                let (head, tail) = bytes[start..start + len].split_at(len / 3);
                let sum = crc32c_append(crc32c_append(0, head), tail);
                assert_eq!(
                    sum,
                    crc32c::crc32c(&bytes[start..start + len]),
                    "{len} bytes from {start}"
                );
            }
        }
    }

    #[test]
    fn hex_reads_back() {
        // The example of FIPS 180-2.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        assert_eq!(hex(&parse_sha256(abc).unwrap()), abc);
        assert!(parse_sha256("abc").is_none() && parse_sha256(&"+1".repeat(32)).is_none());
    }
}
