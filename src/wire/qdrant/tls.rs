//! TLS to Qdrant: whom a connection trusts, who it says that it is, and why one does not come about.

mod client;
mod failure;
mod files;

pub(super) use client::Renewed;
pub(super) use failure::{Attempt, failure};
pub(crate) use files::FileProblem;

use std::path::PathBuf;

/// The files of a TLS connection, all in PEM form. They are read when a client is made, and again when they change.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// What the settings are called, for messages.
    pub names: TlsNames,
    /// Certificates of authorities that are trusted beside those of the system.
    pub ca: Option<PathBuf>,
    /// The client certificate with its issuers, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What the settings of a connection are called.
#[derive(Clone, Copy, Debug)]
pub struct TlsNames {
    pub url: &'static str,
    pub ca: &'static str,
    pub cert: &'static str,
    pub key: &'static str,
}

impl Default for TlsNames {
    fn default() -> Self {
        Self {
            url: "QDRANT_URL",
            ca: "QDRANT_CA_FILE",
            cert: "QDRANT_CLIENT_CERT_FILE",
            key: "QDRANT_CLIENT_KEY_FILE",
        }
    }
}

impl Tls {
    /// All that is wrong with the files.
    pub(crate) fn problems(&self) -> Vec<FileProblem> {
        files::read(self).err().unwrap_or_default()
    }
}
