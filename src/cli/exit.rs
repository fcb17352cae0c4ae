//! The end of the program. The exit codes, as the help shows them, are decided by [`crate::base::error::Code::exit_code`].

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Runtime;

/// What blocking work gets that nobody waits for any more. A read of a disk can take any time and cannot be ended from outside;
/// Cloud Run and Docker kill a second after the service has given up on what is under way.
const LAST_WORK: Duration = Duration::from_millis(500);

/// What a command gets to clean up after a signal, whatever holds it up: some steps of a few seconds each.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(30);

/// Exit code of `status` where a collection is not protected.
pub(super) const NOT_PROTECTED: u8 = 1;

/// Exit codes and what they mean.
pub const EXITS: [(u8, &str); 15] = [
    (0, "done: everything that was asked for"),
    (
        NOT_PROTECTED,
        "`status`: not everything is protected; any command: internal error",
    ),
    (2, "configuration or command line"),
    (3, "partial: some collections were saved, some were not"),
    (4, "no collection was saved"),
    (5, "another backup, restore, drill or prune is running"),
    (6, "Qdrant: unreachable, refuses the key, full, or fails"),
    (7, "store: unreachable, missing, forbidden, full, or fails"),
    (8, "no such collection, backup or run"),
    (9, "data: stalled, cut, changed or damaged"),
    (10, "stopped by a signal, or the lease was lost"),
    (11, "the restore or deletion was refused; nothing was changed"),
    (
        12,
        "the restore failed, or the result differs from the backup; the report says what is where",
    ),
    (13, "the backup is of a newer or other kind than this version reads"),
    (14, "the result could not be written"),
];

/// The table below the help.
pub(super) fn table() -> String {
    let rows = EXITS.iter().map(|(code, meaning)| format!("  {code:>2}  {meaning}\n"));
    format!("Exit codes:\n{}", rows.collect::<String>())
}

/// Runs the program to its end, and not longer.
pub fn run_to_end(program: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("failed to start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let exit = runtime.block_on(program);
    runtime.shutdown_timeout(LAST_WORK);
    exit
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::base::error::{Code, Error};

    /// Every code, in the order of the exits that the table gives them.
    const CODES: [(Code, u8); 39] = [
        (Code::Internal, 1),
        (Code::ConfigInvalid, 2),
        (Code::BadRequest, 2),
        (Code::SourceMismatch, 2),
        (Code::BackupPartial, 3),
        (Code::BackupFailed, 4),
        (Code::NothingToBackUp, 4),
        (Code::RunInProgress, 5),
        (Code::QdrantUnreachable, 6),
        (Code::QdrantTls, 6),
        (Code::QdrantUnauthorized, 6),
        (Code::QdrantForbidden, 6),
        (Code::QdrantFailed, 6),
        (Code::DiskFull, 6),
        (Code::QdrantUnexpected, 6),
        (Code::Unsupported, 6),
        (Code::StoreUnreachable, 7),
        (Code::StoreUnauthorized, 7),
        (Code::StoreForbidden, 7),
        (Code::StoreRetained, 7),
        (Code::StoreMissing, 7),
        (Code::StoreFull, 7),
        (Code::StoreConflict, 7),
        (Code::StoreFailed, 7),
        (Code::CollectionNotFound, 8),
        (Code::BackupNotFound, 8),
        (Code::RunNotFound, 8),
        (Code::Stalled, 9),
        (Code::LengthMismatch, 9),
        (Code::ChecksumMismatch, 9),
        (Code::SnapshotChanged, 9),
        (Code::BackupDamaged, 9),
        (Code::Cancelled, 10),
        (Code::RestoreRefused, 11),
        (Code::DeleteRefused, 11),
        (Code::RestoreFailed, 12),
        (Code::RestoreUnequal, 12),
        (Code::BackupUnsupported, 13),
        (Code::OutputFailed, 14),
    ];

    #[test]
    fn a_thread_that_nobody_waits_for_does_not_keep_the_program() {
        let (told, ended) = std::sync::mpsc::channel();
        let (free, held) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let program = async {
                let (begun, begins) = tokio::sync::oneshot::channel();
                drop(tokio::task::spawn_blocking(move || (begun.send(()), held.recv())));
                begins.await.unwrap();
                ExitCode::SUCCESS
            };
            told.send(run_to_end(program))
        });
        let ended = ended.recv_timeout(Duration::from_secs(20));
        drop(free);
        assert_eq!(ended, Ok(ExitCode::SUCCESS));
    }

    #[test]
    fn the_help_tells_the_exit_codes_that_errors_have() {
        for (code, exit) in CODES {
            assert_eq!(Error::new(code, "").exit_code(), exit, "{code}");
        }
        assert_eq!(Error::new(Code::LeaseLost, "").exit_code(), 10);
        assert_eq!(Code::ALL.len(), CODES.len() + 1);
        let table = table();
        for exit in 0..=14 {
            assert!(table.contains(&format!("\n  {exit:>2}  ")), "{exit} is not in the help");
        }
    }
}
