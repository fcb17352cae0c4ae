//! Directories and files beneath the root, reached one step at a time and never through a symbolic link: whoever may write
//! into the store must not choose what this process reads, writes or deletes elsewhere. The root itself may be one: that is
//! the operator's choice.

use super::failed;
use crate::base::error::{Code, Error, Result};
use crate::base::shell::word;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Only the owner reads a backup.
const FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER: Mode = Mode::RWXU;
/// Links that are told of.
const MOST_TOLD: usize = 100;

/// A directory that is open. What is done in it is done there, wherever its name leads meanwhile.
#[derive(Debug)]
pub(super) struct Directory {
    file: File,
    path: PathBuf,
}

impl Directory {
    /// Opens the root, which must be there.
    ///
    /// # Errors
    /// [`Code::StoreMissing`] if there is no such directory.
    pub(super) fn root(path: &Path) -> Result<Self> {
        let missing = |text: &str, remedy: String| {
            Error::new(Code::StoreMissing, format!("{} {text}", path.display())).remedy(remedy)
        };
        match rustix::fs::open(path, folder_flags() - OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => Ok(Self {
                file: fd.into(),
                path: path.to_owned(),
            }),
            Err(Errno::NOENT) => Err(missing(
                "does not exist",
                format!(
                    "mount the disk that it is on; if nothing was ever stored there, create it: mkdir -p {}",
                    word(&path.display().to_string())
                ),
            )),
            Err(Errno::NOTDIR) => Err(missing("is not a directory", "name a directory".into())),
            Err(e) => Err(failed("open", path, e)),
        }
    }

    /// The path of an entry, for messages.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a directory in this one; `None` where there is none.
    pub(super) fn folder(&self, name: &str) -> Result<Option<Self>> {
        match rustix::fs::openat(&self.file, name, folder_flags(), Mode::empty()) {
            Ok(fd) => Ok(Some(Self {
                file: fd.into(),
                path: self.path(name),
            })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.stat(name)?; // which tells of a link
                Ok(None)
            }
            Err(e) => Err(failed("open", &self.path(name), e)),
        }
    }

    /// Opens a directory in this one, and makes it if it is missing; `None` when somebody removed either meanwhile.
    pub(super) fn make_folder(&self, name: &str) -> Result<Option<Self>> {
        match rustix::fs::mkdirat(&self.file, name, FOLDER) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(failed("create", &self.path(name), e)),
        }
        if let Some(folder) = self.folder(name)? {
            return Ok(Some(folder));
        }
        self.obstacle(name, FileType::Directory)?.map_or(Ok(None), Err)
    }

    /// The error of an entry that is not what is to be there; `None` when it is, or there is no entry.
    pub(super) fn obstacle(&self, name: &str, wanted: FileType) -> Result<Option<Error>> {
        let Some(stat) = self.stat(name)? else {
            return Ok(None);
        };
        let what = match FileType::from_raw_mode(stat.st_mode) {
            kind if kind == wanted => return Ok(None),
            FileType::Symlink => "a symbolic link (not followed)",
            FileType::Directory => "a directory",
            FileType::RegularFile => "a file",
            _ => "neither a file nor a directory",
        };
        let text = format!("{} blocks the path: it is {what}", self.path(name).display());
        let remedy = "move it away; for a store on another disk, set BACKUP_STORE to its path";
        Ok(Some(Error::new(Code::StoreFailed, text).remedy(remedy)))
    }

    /// Refuses a link where a folder of the store itself is to be: taken for an empty one, all backups in it would seem gone.
    pub(super) fn refuse_link(&self, name: &str) -> Result<()> {
        // What is no link, or not there, has nothing to read.
        let Ok(to) = rustix::fs::readlinkat(&self.file, name, Vec::new()) else {
            return Ok(());
        };
        let text = format!(
            "{} is a symbolic link to {} (not followed)",
            self.path(name).display(),
            to.to_string_lossy()
        );
        Err(Error::new(Code::StoreFailed, text).remedy(
            "mount the other disk at that path (a bind mount works), or move the whole store there and set \
             BACKUP_STORE to that directory",
        ))
    }

    /// What the file system says of a plain file; `None` where there is none.
    pub(super) fn file(&self, name: &str) -> Result<Option<Stat>> {
        Ok(self.stat(name)?.filter(is_file))
    }

    /// Opens a plain file for reading; `None` where there is none.
    pub(super) fn open(&self, name: &str) -> Result<Option<(File, Stat)>> {
        if self.file(name)?.is_none() {
            return Ok(None);
        }
        // It may have been replaced since: no link is followed, and no other end of a pipe waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let at = |e| failed("read", &self.path(name), e);
        match rustix::fs::openat(&self.file, name, flags, Mode::empty()) {
            Ok(fd) => {
                let stat = rustix::fs::fstat(&fd).map_err(at)?;
                Ok(is_file(&stat).then(|| (fd.into(), stat)))
            }
            Err(Errno::NOENT | Errno::LOOP) => Ok(None),
            Err(e) => Err(at(e)),
        }
    }

    /// Makes a file that must not be there.
    pub(super) fn create(&self, name: &str) -> Result<File> {
        self.open_to_write(name, OFlags::CREATE | OFlags::EXCL)
    }

    /// Opens a file, or makes it.
    pub(super) fn open_or_create(&self, name: &str) -> Result<File> {
        self.open_to_write(name, OFlags::CREATE)
    }

    fn open_to_write(&self, name: &str, how: OFlags) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | how;
        let opened = rustix::fs::openat(&self.file, name, flags, FILE);
        opened
            .map(File::from)
            .map_err(|e| failed("create", &self.path(name), e))
    }

    /// The entries, with what each of them is.
    pub(super) fn entries(&self) -> Result<Vec<(String, FileType)>> {
        let at = |e| failed("list", &self.path, e);
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.file).map_err(at)? {
            let entry = entry.map_err(at)?;
            // What is no UTF-8 was not written by this store.
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            match entry.file_type() {
                _ if matches!(name, "." | "..") => {}
                // Not every file system says it here; and a link is told of.
                FileType::Unknown | FileType::Symlink => {
                    let stat = self.stat(name)?;
                    found.extend(stat.map(|stat| (name.to_owned(), FileType::from_raw_mode(stat.st_mode))));
                }
                kind => found.push((name.to_owned(), kind)),
            }
        }
        Ok(found)
    }

    /// Gives an entry a second name, which must not be there.
    pub(super) fn link(&self, name: &str, to: &Self, new: &str) -> io::Result<()> {
        Ok(rustix::fs::linkat(&self.file, name, &to.file, new, AtFlags::empty())?)
    }

    /// Moves an entry to where another one may be.
    pub(super) fn rename(&self, name: &str, to: &Self, new: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.file, name, &to.file, new)?)
    }

    /// Deletes a file.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.file, name, AtFlags::empty())?)
    }

    /// Deletes a directory that is empty.
    pub(super) fn remove_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.file, name, AtFlags::REMOVEDIR)?)
    }

    /// The number of its kind of file system, as statfs(2) has it.
    pub(super) fn file_system(&self) -> Option<u32> {
        // Its type differs between machines.
        #[allow(clippy::unnecessary_cast)]
        rustix::fs::fstatfs(&self.file).ok().map(|stat| stat.f_type as u32)
    }

    /// Makes the names in it durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| failed("sync", &self.path, e))
    }

    /// What the file system says of an entry itself. Tells of a link.
    fn stat(&self, name: &str) -> Result<Option<Stat>> {
        match rustix::fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                if FileType::from_raw_mode(stat.st_mode).is_symlink() {
                    warn_of_link(self.path(name));
                }
                Ok(Some(stat))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(failed("look up", &self.path(name), e)),
        }
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file()
}

/// Tells of a link, once in the life of the process: the store is listed again and again.
fn warn_of_link(path: PathBuf) {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() < MOST_TOLD && !told.contains(&path) {
        tracing::warn!(path = %path.display(), "{} is a symbolic link: not followed, not part of the store", path.display());
        told.insert(path);
    }
}
