//! The log lines that alerts and dashboards count: one at the end of each run. Their fields are part of the API.
//!
//! | `event` | `outcome` | and |
//! |---|---|---|
//! | `backup_finished` | `good`, `partial`, `failed` | `collections`: how many were saved; `bytes` |
//! | `verify_finished` | `good`, `damaged`; `failed`: could not be checked, or is intact and that could not be recorded | `bytes` |
//! | `restore_finished` | `good`, `failed` | `collections`, `bytes` |
//! | `drill_finished` | `proven`, `failed` | `collections`, `bytes` |
//! | `prune_finished` | `good`, `failed` | `deleted`: how many backups; `bytes` |
//!
//! All have `seconds` (whole), and `code` unless all is well; all but the last have `backup`, once there is one. A run that is refused
//! because another one works, because the request makes no sense (`bad_request`), or a restore because of its
//! plan, ends nothing and gets no line. In JSON they pass whatever the
//! log level. Of a backup that the tasks of a job make, the task that ends it writes the line; a task that has to give up in its
//! last attempt writes one, too, since the backup may then never end.

use crate::base::error::{Code, Error, Result};
use crate::ops::backup;
use crate::ops::drill;
use crate::ops::restore;
use crate::repository::names::BackupId;
use time::Duration;

/// A backup ended; `id`, as soon as it had one. Of those that the tasks of a job make, whoever ends it tells.
pub(crate) fn backup(id: Option<BackupId>, took: Duration, result: &Result<backup::Report>) {
    match result {
        Ok(report) => backup_ended(took, report),
        Err(error) => backup_failed(id, took, error.code()),
    }
}

/// A backup came to its end.
pub(crate) fn backup_ended(took: Duration, report: &backup::Report) {
    let outcome = match report.status {
        backup::Outcome::Complete => "good",
        backup::Outcome::Partial => "partial",
        backup::Outcome::Failed => "failed",
    };
    let code = report.error().map(|error| error.code());
    let (id, saved) = (Some(report.id), (report.collections.len(), report.bytes()));
    line("backup", outcome, id, took, code, saved);
}

/// Nothing came of a backup, or of a task's last attempt at its share.
pub(crate) fn backup_failed(id: Option<BackupId>, took: Duration, code: Code) {
    if !code.is_refusal() {
        line("backup", "failed", id, took, Some(code), (0, 0));
    }
}

/// The line of a run that concerns collections.
fn line(
    run: &str,
    outcome: &str,
    id: Option<BackupId>,
    took: Duration,
    code: Option<Code>,
    (collections, bytes): (usize, u64),
) {
    let event = format!("{run}_finished");
    tracing::info!(
        event = event.as_str(),
        outcome,
        backup = id.map(display),
        code = code.map(display),
        collections,
        bytes,
        seconds = seconds(took),
        "{run} finished: {outcome}"
    );
}

/// A backup was read back.
pub(crate) fn verify(id: BackupId, took: Duration, outcome: &str, code: Option<Code>, bytes: u64) {
    tracing::info!(
        event = "verify_finished",
        outcome,
        backup = %id,
        code = code.map(display),
        bytes,
        seconds = seconds(took),
        "verification finished: {outcome}"
    );
}

/// A restore ended.
pub(crate) fn restore(id: Option<BackupId>, took: Duration, result: &Result<restore::Report>) {
    let code = code(result, restore::Report::error);
    if code.is_some_and(|code| code.is_refusal() || code == Code::RestoreRefused) {
        return;
    }
    let outcome = if code.is_none() { "good" } else { "failed" };
    let restored = result.as_ref().map_or((0, 0), |r| {
        (r.collections.len(), r.collections.iter().map(|c| c.bytes).sum())
    });
    line("restore", outcome, id, took, code, restored);
}

/// A drill ended, on a server or by the engine.
pub(crate) fn drill(id: Option<BackupId>, took: Duration, result: &Result<drill::Drilled>) {
    let code = code(result, drill::Drilled::error);
    if code.is_some_and(Code::is_refusal) {
        return;
    }
    let outcome = if code.is_none() { "proven" } else { "failed" };
    let restored = result.as_ref().map_or((0, 0), |d| {
        (d.collections.len(), d.collections.iter().map(|c| c.bytes).sum())
    });
    line("drill", outcome, id, took, code, restored);
}

/// Backups were deleted, or were to be.
pub(crate) fn prune(took: Duration, deleted: usize, bytes: u64, failed: Option<Code>) {
    if failed == Some(Code::RunInProgress) {
        return;
    }
    let outcome = if failed.is_none() { "good" } else { "failed" };
    tracing::info!(
        event = "prune_finished",
        outcome,
        code = failed.map(display),
        deleted,
        bytes,
        seconds = seconds(took),
        "prune finished: {outcome}"
    );
}

fn code<R>(result: &Result<R>, error: impl FnOnce(&R) -> Option<Error>) -> Option<Code> {
    match result {
        Ok(report) => error(report).map(|error| error.code()),
        Err(error) => Some(error.code()),
    }
}

/// Whole seconds, rounded: the JSON for Cloud Logging has fractions as texts, which a metric cannot take. A clock that was set
/// back makes no negative time.
fn seconds(took: Duration) -> u64 {
    u64::try_from((took + Duration::milliseconds(500)).whole_seconds()).unwrap_or_default()
}
