//! The fields of a header.

use super::BLOCK;

/// The name in the header itself: POSIX archives split it in two.
pub(in crate::base::snapshot) fn short_name(block: &[u8; BLOCK]) -> Vec<u8> {
    let (name, prefix) = (until_nul(&block[..100]), until_nul(&block[345..500]));
    match &block[257..263] == b"ustar\0" && !prefix.is_empty() {
        true => [prefix, b"/", name].concat(),
        false => name.to_vec(),
    }
}

pub(in crate::base::snapshot) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The sum of a header's bytes, with the field of the sum itself as spaces.
pub(in crate::base::snapshot) fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

/// Octal digits; numbers that need more have the first bit set and are binary.
pub(in crate::base::snapshot) fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (head, tail) = field.split_at(field.len().saturating_sub(8));
        let small = head
            .iter()
            .enumerate()
            .all(|(i, byte)| if i == 0 { *byte == 0x80 } else { *byte == 0 });
        // An eight-byte field has no head: its mark is part of the number.
        let bytes: [u8; 8] = tail.try_into().ok()?;
        return (small && !head.is_empty()).then(|| u64::from_be_bytes(bytes));
    }
    let text = std::str::from_utf8(until_nul(field)).ok()?.trim_matches(' ');
    u64::from_str_radix(text, 8).ok().filter(|_| !text.starts_with('+'))
}
