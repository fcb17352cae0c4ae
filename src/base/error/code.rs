//! The codes of errors: for each its exit code, its HTTP status, what it means, and what to do about it. One table, from which
//! `docs/reference/errors.md` is made.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $code:ident, exit $exit:literal, http $http:literal, $remedy:literal;)+) => {
        /// What went wrong, as a stable word for scripts and alerts. The words are part of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[doc = $meaning])+ $code,)+
        }

        impl Code {
            /// Every code, by exit code.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// Process exit code of a command that ends with such an error.
            pub fn exit_code(self) -> u8 {
                match self {
                    $(Self::$code => $exit,)+
                }
            }

            /// HTTP status of a request that ends with such an error.
            pub fn http_status(self) -> u16 {
                match self {
                    $(Self::$code => $http,)+
                }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => concat!($($meaning),+).trim_ascii(),)+
                }
            }

            /// What usually helps. The remedy of an error itself knows more.
            pub fn usual_remedy(self) -> &'static str {
                match self {
                    $(Self::$code => $remedy,)+
                }
            }
        }
    };
}

codes! {
    /// Internal error.
    Internal, exit 1, http 500, "report it with the log; the request id finds the lines of a request";
    /// A variable or flag is missing or malformed.
    ConfigInvalid, exit 2, http 500, "correct each variable or flag that the message names; `qdrant-backup check` tests the result";
    /// The request or the command line is malformed: bad JSON, unknown field, bad pattern.
    BadRequest, exit 2, http 400, "correct the request as the message says";
    /// The store has backups of another Qdrant and none of this one.
    SourceMismatch, exit 2, http 409, "give each Qdrant a store of its own; or allow it once with `backup --new-source`";
    /// Some collections were saved, some were not. The backup is kept, and counts as a failure.
    BackupPartial, exit 3, http 500, "read the report: each failed collection has its own cause and remedy";
    /// No collection could be saved.
    BackupFailed, exit 4, http 500, "read the report: each failed collection has its own cause and remedy";
    /// There was nothing to back up; an empty backup is never called a success.
    NothingToBackUp, exit 4, http 500, "check QDRANT_URL, BACKUP_INCLUDE and BACKUP_EXCLUDE; has Qdrant lost its collections?";
    /// Another run holds the lease.
    RunInProgress, exit 5, http 409, "wait until it ends; the lease of a run that died expires by itself";
    /// Qdrant does not answer: no connection, or 5xx after all retries.
    QdrantUnreachable, exit 6, http 503, "check QDRANT_URL, network and firewall, and whether Qdrant runs";
    /// No TLS with Qdrant: one side refuses the other's certificate, or only one of them speaks TLS.
    QdrantTls, exit 6, http 502, "correct the certificate that the message names, or QDRANT_CA_FILE, QDRANT_CLIENT_CERT_FILE and QDRANT_CLIENT_KEY_FILE";
    /// Qdrant wants a key, or another one (401).
    QdrantUnauthorized, exit 6, http 502, "set QDRANT_API_KEY or QDRANT_API_KEY_FILE to a key that Qdrant accepts";
    /// The key may not do this (403).
    QdrantForbidden, exit 6, http 502, "use the full key, or a JWT with `rw` on the collections";
    /// Qdrant could not do what it was asked for, and said why (4xx, 5xx).
    QdrantFailed, exit 6, http 502, "read Qdrant's reason in the message, and Qdrant's own log";
    /// Qdrant's disk is full.
    DiskFull, exit 6, http 507, "make room on Qdrant's disk, or lower BACKUP_CONCURRENCY or RESTORE_CONCURRENCY: fewer snapshots are there at once";
    /// Qdrant answered something that is not in its API.
    QdrantUnexpected, exit 6, http 502, "check that QDRANT_URL is Qdrant itself and no proxy's page";
    /// This version of the tool cannot back up this Qdrant, or restore into it, correctly.
    Unsupported, exit 6, http 502, "read docs/explanation/guarantees.md; a newer version may support it";
    /// The store does not answer.
    StoreUnreachable, exit 7, http 503, "check BACKUP_STORE, network and firewall; for a directory, its disk";
    /// There are no credentials for the store, or it does not accept them (401).
    StoreUnauthorized, exit 7, http 502, "run as an account that exists and is enabled; `gcloud auth application-default login` outside Google Cloud";
    /// The store refuses the action (403, EACCES): a right is missing, or what the message names is in the way.
    StoreForbidden, exit 7, http 502, "grant the account or user the right that the message names";
    /// The store keeps an object that is to be deleted or replaced: a retention policy, or a hold.
    StoreRetained, exit 7, http 502, "wait until the retention ends, or release the hold; a bucket for backups can have no retention policy";
    /// The bucket or directory does not exist.
    StoreMissing, exit 7, http 502, "mount or create it, or correct BACKUP_STORE";
    /// The store is full.
    StoreFull, exit 7, http 507, "make room: `qdrant-backup prune` shows what the retention policy would delete";
    /// An object exists that must not exist, or changed although it must not.
    StoreConflict, exit 7, http 502, "run it again; if it fails again, find out who else writes into this store";
    /// Any other refusal or failure of the store.
    StoreFailed, exit 7, http 502, "read the store's reason in the message";
    /// There is no collection of that name: in Qdrant, or in the backup.
    CollectionNotFound, exit 8, http 404, "check the name; `qdrant-backup show ID` lists the collections of a backup";
    /// The store has no backup of that id, or none that is `latest`.
    BackupNotFound, exit 8, http 404, "`qdrant-backup list` shows the backups; make one with `qdrant-backup backup`";
    /// The store tells of no run of that id, or of none that is at work.
    RunNotFound, exit 8, http 404, "`qdrant-backup watch` follows the newest run that is at work; a run tells of itself a second after its start";
    /// No, or too little, progress within the deadline.
    Stalled, exit 9, http 503, "check network and load of the side that the message names, then run it again";
    /// Fewer (or more) bytes arrived than were promised.
    LengthMismatch, exit 9, http 502, "run it again; if it fails again, check the network and what stands between";
    /// The bytes that arrived are not the bytes that were promised.
    ChecksumMismatch, exit 9, http 502, "run it again; if it fails again, check disk and memory of Qdrant's machine";
    /// A snapshot vanished or changed while it was read.
    SnapshotChanged, exit 9, http 502, "run it again; nobody else may delete Qdrant's snapshots meanwhile";
    /// What is stored is not what was saved.
    BackupDamaged, exit 9, http 500, "use another backup, and make a new one now; `qdrant-backup verify all` tests the others";
    /// The run was told to stop.
    Cancelled, exit 10, http 503, "run it again; what it could not clean up, the next run removes";
    /// The lease was lost in mid-run; the run stopped before it could commit.
    LeaseLost, exit 10, http 503, "run it again; if it recurs, check the connection to the store and raise BACKUP_LEASE_SECS";
    /// The plan of a restore has refusals, or a drill has no Qdrant; nothing was changed.
    RestoreRefused, exit 11, http 409, "read the plan: each refusal says what allows it";
    /// A backup is not deleted: it is pinned, it is the newest good one, or it is not understood; nothing was changed.
    DeleteRefused, exit 11, http 409, "read the message: it says what keeps the backup";
    /// Not everything could be restored; the report says what is where.
    RestoreFailed, exit 12, http 502, "read the report: `next` is the command or request that tries the rest again";
    /// Qdrant called a restore done, but the result differs from the backup.
    RestoreUnequal, exit 12, http 502, "do not use the result; read the report for what differs";
    /// This version does not read backups of that kind, usually a newer version's. That says nothing about the backup's worth.
    BackupUnsupported, exit 13, http 501, "use the version of qdrant-backup that made the backup, or a newer one";
    /// The result could not be written to standard output or into a file; whatever was done is done.
    OutputFailed, exit 14, http 500, "send the output to where there is room; `qdrant-backup list` shows what was done";
}

impl Code {
    /// Whether nothing was begun, because the request itself was at fault or another run was in the way: then nothing failed
    /// that an alert should count. For other codes [`super::Error::refused`] says it.
    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Self::BadRequest | Self::RunInProgress)
    }

    /// Whether Qdrant does not accept the key, or does not let it do this. A restore needs a right on all that there is, so what
    /// is refused for one collection is refused for each.
    pub(crate) fn refuses_key(self) -> bool {
        matches!(self, Self::QdrantUnauthorized | Self::QdrantForbidden)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The word in the API, as serde writes it.
        serde::Serialize::serialize(self, f)
    }
}
