//! A tar archive told entry by entry while its bytes pass: nothing is kept but the header at hand, so memory is constant
//! whatever the archive holds.
//!
//! It reads what Qdrant writes: the GNU format with long names (`L`) and sparse files (`S`). Unlike a reader of files it tells an
//! archive that ends with its marker from one that merely ends, and names the byte at which one is broken.

pub(super) mod header;

use header::{checksum, number, short_name, until_nul};

pub(crate) const BLOCK: usize = 512;
/// What the headers of the GNU format have for a magic number and a version.
const GNU: &[u8; 8] = b"ustar  \0";
/// No name in a snapshot is longer.
const LONGEST_NAME: u64 = 4096;
/// No file in a snapshot is longer: 1 PiB, where ext4 ends at 16 TiB. Leaves room for sums of lengths.
pub(super) const LARGEST_FILE: u64 = 1 << 50;
/// Extents of a sparse file that are remembered: more than a nested archive can sensibly have.
const MOST_EXTENTS: usize = 1 << 16;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// Anything else, by its type flag.
    Other(u8),
}

/// The events of an archive, in its order.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// An entry begins.
    Entry { name: &'a str, kind: Kind },
    /// Bytes of the entry's content.
    Data(&'a [u8]),
    /// So many bytes of its content are zeros that are not stored.
    Hole(u64),
    /// The entry is complete.
    End,
}

/// How an archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With two blocks of zeros, as a finished archive does.
    Marker,
    /// After a whole entry, without the marker.
    NoMarker,
    /// In the middle of an entry.
    Cut,
}

/// Where and why an archive cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TarError {
    /// Offset of the byte in the archive.
    pub(super) at: u64,
    pub(super) why: String,
}

/// The reader. After an error it takes no more bytes.
pub(super) struct Tar {
    state: State,
    block: Box<[u8; BLOCK]>,
    filled: usize,
    /// Offset of the next byte.
    at: u64,
    long_name: Vec<u8>,
    sparse: Sparse,
}

enum State {
    Header,
    LongName {
        left: u64,
        padding: u64,
    },
    Extents {
        entry: Pending,
    },
    Data {
        left: u64,
        padding: u64,
    },
    Padding {
        left: u64,
    },
    /// Since the first block of zeros.
    Zeros {
        seen: u64,
    },
    TarError,
}

/// An entry whose header goes on in further blocks.
struct Pending {
    name: String,
    size: u64,
}

/// The map of a sparse file.
#[derive(Default)]
struct Sparse {
    /// Offset and length of what is stored, ascending.
    extents: std::collections::VecDeque<(u64, u64)>,
    /// Length of the whole file, holes included.
    real: u64,
    /// Sum of the lengths so far.
    stored: u64,
    /// End of the last extent.
    end: u64,
    /// Offset in the file of the next byte.
    at: u64,
}

impl Tar {
    pub(super) fn new() -> Self {
        Self {
            state: State::Header,
            block: Box::new([0; BLOCK]),
            filled: 0,
            at: 0,
            long_name: Vec::new(),
            sparse: Sparse::default(),
        }
    }

    /// Takes the next bytes of the archive.
    pub(super) fn feed(&mut self, mut bytes: &[u8], tell: &mut dyn FnMut(Event<'_>)) -> Result<(), TarError> {
        while !bytes.is_empty() {
            let taken = self.step(bytes, tell).inspect_err(|_| self.state = State::TarError)?;
            self.at += taken as u64;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// As [`Tar::feed`] of so many zeros, in a few steps however many they are: a count costs its writer nothing. Only what
    /// real bytes have begun, a header or a name, is fed zero by zero; what follows it takes all of them at once.
    pub(super) fn feed_zeros(&mut self, mut count: u64, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), TarError> {
        while count > 0 {
            let taken = match &mut self.state {
                // The last byte of an entry is fed, so that its end is told.
                State::Data { left, .. } => (*left - 1).min(count),
                State::Zeros { .. } | State::TarError => count,
                State::Header | State::LongName { .. } | State::Extents { .. } | State::Padding { .. } => 0,
            };
            match &mut self.state {
                State::Data { left, .. } => *left -= taken,
                State::Zeros { seen } => *seen += taken,
                _ => {}
            }
            self.at += taken;
            count -= taken;
            let few = count.min(BLOCK as u64);
            self.feed(&[0; BLOCK][..few as usize], tell)?;
            count -= few;
        }
        Ok(())
    }

    /// How it ended, after the last byte.
    pub(super) fn ending(&self) -> Ending {
        match self.state {
            State::Zeros { seen } if seen >= 2 * BLOCK as u64 => Ending::Marker,
            State::Zeros { .. } => Ending::NoMarker,
            State::Header if self.filled == 0 && self.long_name.is_empty() => Ending::NoMarker,
            _ => Ending::Cut,
        }
    }

    /// Whether it was given up.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.state, State::TarError)
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.at
    }

    /// Takes some of `bytes`, which are not empty, and says how many.
    fn step(&mut self, bytes: &[u8], tell: &mut dyn FnMut(Event<'_>)) -> Result<usize, TarError> {
        #[cfg(test)]
        STEPS.set(STEPS.get() + 1);
        match &mut self.state {
            State::Header | State::Extents { .. } => {
                let taken = bytes.len().min(BLOCK - self.filled);
                self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                self.filled += taken;
                if self.filled == BLOCK {
                    self.filled = 0;
                    let header_at = self.at + taken as u64 - BLOCK as u64;
                    match std::mem::replace(&mut self.state, State::TarError) {
                        State::Extents { entry } => self.more_extents(entry, header_at, tell)?,
                        _ => self.header(header_at, tell)?,
                    }
                }
                Ok(taken)
            }
            State::LongName { left, padding } => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.long_name.extend_from_slice(&bytes[..taken]);
                *left -= taken as u64;
                if *left == 0 {
                    self.state = padded(*padding);
                }
                Ok(taken)
            }
            State::Data { left, padding } => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                let end = (*left == 0).then_some(*padding);
                self.content(&bytes[..taken], tell);
                if let Some(padding) = end {
                    self.finish_entry(padding, tell);
                }
                Ok(taken)
            }
            State::Padding { left } => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Header;
                }
                Ok(taken)
            }
            State::Zeros { seen } => match bytes.iter().position(|byte| *byte != 0) {
                None => {
                    *seen += bytes.len() as u64;
                    Ok(bytes.len())
                }
                Some(i) => Err(TarError {
                    at: self.at + i as u64,
                    why: "data after the end of the archive".into(),
                }),
            },
            State::TarError => Ok(bytes.len()),
        }
    }

    fn header(&mut self, at: u64, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), TarError> {
        let broken = |why: &str| TarError { at, why: why.into() };
        let too_large = |why: String| TarError { at, why };
        if self.block.iter().all(|byte| *byte == 0) {
            if !self.long_name.is_empty() {
                return Err(broken("a long name has no entry"));
            }
            self.state = State::Zeros { seen: BLOCK as u64 };
            return Ok(());
        }
        if number(&self.block[148..156]) != Some(checksum(&self.block)) {
            return Err(broken("invalid entry header: wrong checksum"));
        }
        let size = length(&self.block[124..136], "the size of an entry").map_err(too_large)?;
        let flag = self.block[156];
        if matches!(flag, b'L' | b'S') && self.block[257..265] != GNU[..] {
            return Err(broken("a long name or a sparse file outside the GNU format"));
        }
        if flag == b'L' {
            if size == 0 {
                return Err(broken("the name of an entry is empty"));
            }
            if size > LONGEST_NAME || !self.long_name.is_empty() {
                return Err(broken("the name of an entry is too long"));
            }
            self.state = State::LongName {
                left: size,
                padding: padding(size),
            };
            return Ok(());
        }
        let name = match self.long_name.is_empty() {
            true => short_name(&self.block),
            false => std::mem::take(&mut self.long_name),
        };
        let name = String::from_utf8_lossy(until_nul(&name)).into_owned();
        if flag == b'S' {
            self.sparse = Sparse {
                real: length(&self.block[483..495], "the size of a sparse file").map_err(too_large)?,
                ..Sparse::default()
            };
            self.sparse.add(&self.block[386..482]).map_err(too_large)?;
            let entry = Pending { name, size };
            return match self.block[482] {
                0 => self.begin_sparse(entry, at, tell),
                _ => {
                    self.state = State::Extents { entry };
                    Ok(())
                }
            };
        }
        let kind = match flag {
            b'0' | 0 => Kind::File,
            b'5' => Kind::Directory,
            other => Kind::Other(other),
        };
        self.sparse = Sparse::default();
        tell(Event::Entry { name: &name, kind });
        self.begin_content(size, tell);
        Ok(())
    }

    fn more_extents(&mut self, entry: Pending, at: u64, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), TarError> {
        let added = self.sparse.add(&self.block[..504]);
        added.map_err(|why| TarError { at, why })?;
        if self.block[504] == 0 {
            return self.begin_sparse(entry, at, tell);
        }
        self.state = State::Extents { entry };
        Ok(())
    }

    fn begin_sparse(&mut self, entry: Pending, at: u64, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), TarError> {
        if self.sparse.stored != entry.size || self.sparse.end != self.sparse.real {
            return Err(TarError {
                at,
                why: "the map of a sparse file does not fit its size".into(),
            });
        }
        tell(Event::Entry {
            name: &entry.name,
            kind: Kind::File,
        });
        self.begin_content(entry.size, tell);
        Ok(())
    }

    fn begin_content(&mut self, size: u64, tell: &mut dyn FnMut(Event<'_>)) {
        match size {
            0 => self.finish_entry(0, tell),
            left => {
                self.state = State::Data {
                    left,
                    padding: padding(size),
                }
            }
        }
    }

    /// Tells stored bytes, and the holes before and between them.
    fn content(&mut self, mut bytes: &[u8], tell: &mut dyn FnMut(Event<'_>)) {
        while let Some((offset, len)) = self.sparse.extents.front_mut() {
            if bytes.is_empty() {
                return;
            }
            if *offset > self.sparse.at {
                tell(Event::Hole(*offset - self.sparse.at));
                self.sparse.at = *offset;
            }
            let taken = bytes.len().min(usize::try_from(*len).unwrap_or(usize::MAX));
            tell(Event::Data(&bytes[..taken]));
            bytes = &bytes[taken..];
            self.sparse.at += taken as u64;
            *offset += taken as u64;
            *len -= taken as u64;
            if *len == 0 {
                self.sparse.extents.pop_front();
            }
        }
        if !bytes.is_empty() {
            tell(Event::Data(bytes));
        }
    }

    fn finish_entry(&mut self, padding: u64, tell: &mut dyn FnMut(Event<'_>)) {
        if self.sparse.real > self.sparse.at {
            tell(Event::Hole(self.sparse.real - self.sparse.at));
        }
        tell(Event::End);
        self.state = padded(padding);
    }
}

impl Sparse {
    /// Adds a table of 24-byte descriptors; unused ones are zeros.
    fn add(&mut self, table: &[u8]) -> Result<(), String> {
        for entry in table.chunks_exact(24).filter(|entry| entry[0] != 0 && entry[12] != 0) {
            let number = |field| length(field, "a number in the map of a sparse file");
            let (offset, len) = (number(&entry[..12])?, number(&entry[12..])?);
            if offset < self.end {
                return Err("the map of a sparse file is out of order".into());
            }
            // But for the last one they fill whole blocks.
            if len > 0 && !self.stored.is_multiple_of(BLOCK as u64) {
                return Err("the map of a sparse file is not aligned to blocks".into());
            }
            self.end = offset + len;
            self.stored = self.stored.saturating_add(len);
            if len > 0 && self.extents.len() < MOST_EXTENTS {
                self.extents.push_back((offset, len));
            }
        }
        Ok(())
    }
}

/// A length or an offset that a header claims.
fn length(field: &[u8], what: &str) -> Result<u64, String> {
    match number(field) {
        None => Err(format!("{what} is not a valid number")),
        Some(claimed) if claimed > LARGEST_FILE => {
            Err(format!("{what} is {claimed} bytes; the limit is {LARGEST_FILE}"))
        }
        Some(claimed) => Ok(claimed),
    }
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

fn padded(padding: u64) -> State {
    match padding {
        0 => State::Header,
        left => State::Padding { left },
    }
}

#[cfg(test)]
thread_local! {
    /// Steps that readers of this thread have taken.
    pub(super) static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}
