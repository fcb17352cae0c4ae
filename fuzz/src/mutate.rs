//! Mutations that come behind the checksums of headers: numbers of any size, cuts between entries, other names.

/// Numbers without a pattern.
pub struct Random(pub u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from((self.0 >> 33) % n.max(1) as u64).unwrap_or_default()
    }
}

const BLOCK: usize = 512;

/// Where the headers are, those of archives inside as well.
fn headers(data: &[u8]) -> Vec<usize> {
    let blocks = (0..data.len().saturating_sub(BLOCK - 1)).step_by(BLOCK);
    blocks.filter(|at| data[at + 257..].starts_with(b"ustar")).collect()
}

/// Writes the checksum of a header into it.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Seals all headers.
pub fn seal_all(data: &mut [u8]) {
    for at in headers(data) {
        seal(&mut data[at..at + BLOCK]);
    }
}

/// A number of any size in a field of a header.
fn claim(field: &mut [u8], random: &mut Random) {
    let any = u64::MAX >> random.below(64);
    if random.below(2) == 0 && any < 1 << 33 {
        field.copy_from_slice(format!("{any:011o}\0").as_bytes());
        return;
    }
    field.fill(0);
    field[0] = 0x80;
    field[4..12].copy_from_slice(&any.to_be_bytes());
}

/// Changes `data`, of which `size` bytes are meant and no more than all may be; its size then.
pub fn mutate(data: &mut [u8], size: usize, random: &mut Random) -> usize {
    let found = headers(&data[..size]);
    if found.is_empty() {
        return size;
    }
    let at = found[random.below(found.len())];
    match random.below(7) {
        0 => claim(&mut data[at + 124..at + 136], random),
        1 => data[at + 156] = b"0L5SxKg\0"[random.below(8)],
        2 => {
            // The hole: what was its content is all that is stored.
            let stored = data[at + 124..at + 136].to_vec();
            let header = &mut data[at..at + BLOCK];
            header[156] = b'S';
            header[386..483].fill(0);
            header[386..398].copy_from_slice(b"00000000000\0");
            header[398..410].copy_from_slice(&stored);
            claim(&mut header[410..422], random);
            header[422..434].copy_from_slice(b"00000000000\0");
            header.copy_within(410..422, 483);
        }
        3 => {
            // A clean end between two entries.
            let end = (at + 2 * BLOCK).min(data.len());
            data[at..end].fill(0);
            return end;
        }
        // After an entry, or within the end marker.
        4 => return [at, size.saturating_sub(1 + random.below(2 * BLOCK))][random.below(2)],
        5 => {
            // An entry goes, or the next ones change places.
            let other = found[random.below(found.len())];
            let (from, to) = (at.max(other), at.min(other));
            data.copy_within(from..size, to);
            return size - (from - to);
        }
        _ => data[at + random.below(100)] = b"/.a0w\0"[random.below(6)],
    }
    seal(&mut data[at..at + BLOCK]);
    size
}
