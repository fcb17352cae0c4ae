//! `list` and `show`: what backups there are. They need no Qdrant.

use super::text::{Align, ago, count, plain, shortened, size, table};
use super::{print, print_json};
use crate::base::error::Result;
use crate::repository::catalog::{self, Aged, Detail, Proof, ProofVerdict, Summary};
use crate::repository::names::BackupId;
use crate::wire::store::Store;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;
use time::OffsetDateTime;

/// So many characters of a selection are listed; `show` has it all.
const SELECTED: usize = 40;

/// Prints the newest `limit` backups.
pub(crate) async fn list(store: &dyn Store, limit: usize, now: OffsetDateTime, json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Backups {
        backups: Vec<Aged>,
    }
    let backups = catalog::list(store, limit, now).await?;
    match json {
        true => print_json(&Backups {
            backups: backups.into_iter().map(|b| Aged::new(b, now)).collect(),
        }),
        false if backups.is_empty() => print(&format!("{} has no backup yet\n", store.url())),
        false => print(&listed(&backups, now)),
    }
}

/// Prints what the backup `id` holds.
pub(crate) async fn show(store: &dyn Store, id: BackupId, now: OffsetDateTime, json: bool) -> Result<()> {
    let detail = catalog::show(store, id, now).await?;
    match json {
        true => print_json(&detail),
        false => print(&shown(&detail, &store.url(), now)),
    }
}

fn listed(backups: &[Summary], now: OffsetDateTime) -> String {
    let row = |b: &Summary| {
        [
            b.id.to_string(),
            b.marks_text(),
            b.age(now).map(ago).unwrap_or_default(),
            count(b.collections as u64),
            count(b.points),
            size(b.bytes),
            b.partly()
                .map(|s| shortened(&s.to_string(), SELECTED))
                .unwrap_or_default(),
        ]
    };
    let columns = [
        ("ID", Align::Left),
        ("STATUS", Align::Left),
        ("AGE", Align::Right),
        ("COLLECTIONS", Align::Right),
        ("POINTS", Align::Right),
        ("SIZE", Align::Right),
        ("SELECTED", Align::Left),
    ];
    let mut text = table(columns, &backups.iter().map(row).collect::<Vec<_>>());
    for backup in backups {
        if let Some(problem) = &backup.problem {
            let _ = writeln!(text, "{}: {}", backup.id, plain(problem));
        }
        for why in backup.not_restorable.values() {
            let _ = writeln!(text, "{}: {}", backup.id, plain(why));
        }
    }
    text
}

fn shown(detail: &Detail, store: &str, now: OffsetDateTime) -> String {
    let (manifest, summary) = (&detail.manifest, &detail.summary);
    let age = Duration::try_from(now - manifest.finished_at).unwrap_or_default();
    let took = (manifest.finished_at - manifest.started_at).as_seconds_f64();
    let mut text = format!(
        "Backup {} is {}: {} of Qdrant {}, made {} in {took:.1} s\n{store}/{}\n\n",
        summary.id,
        summary.marks_text(),
        size(manifest.bytes()),
        plain(&manifest.qdrant.version),
        ago(age),
        summary.id.manifest(),
    );
    if let Some(selection) = summary.partly() {
        let _ = writeln!(text, "selected when it was made: {}\n", plain(&selection.to_string()));
    }
    for (what, proof) in [("verified", &summary.verified), ("drilled", &summary.drilled)] {
        if let Some(Proof { verdict, at }) = proof {
            let ago = at.and_then(|at| Duration::try_from(now - at).ok()).map(ago);
            let found = match verdict {
                ProofVerdict::Intact => "intact",
                ProofVerdict::Damaged => "DAMAGED",
                ProofVerdict::Failed => "FAILED",
                ProofVerdict::Unknown => "not understood",
            };
            let _ = writeln!(
                text,
                "{what} {}: {found}",
                ago.as_deref().unwrap_or("at an unknown time")
            );
        }
    }
    if let Some(pin) = &summary.pinned {
        let by = pin
            .by
            .as_ref()
            .map(|by| format!(" by {}", plain(by)))
            .unwrap_or_default();
        let note = pin
            .note
            .as_ref()
            .map(|note| format!(": {}", plain(note)))
            .unwrap_or_default();
        let _ = writeln!(text, "pinned{by}{note}");
    }
    if summary.marks.len() > 1 {
        text.push('\n');
    }
    let rows: Vec<_> = manifest
        .collections
        .iter()
        .map(|c| {
            let keys: Vec<_> = c.artifacts.iter().map(|a| a.key.as_str()).collect();
            [c.name.clone(), count(c.points_after), size(c.bytes()), keys.join(" ")]
        })
        .collect();
    let columns = [
        ("COLLECTION", Align::Left),
        ("POINTS", Align::Right),
        ("SIZE", Align::Right),
        ("OBJECT", Align::Left),
    ];
    text += &table(columns, &rows);
    for failure in &manifest.failed {
        let _ = writeln!(
            text,
            "MISSING  {}: {}",
            plain(&failure.collection),
            plain(&failure.error.message)
        );
    }
    for why in summary.not_restorable.values() {
        let _ = writeln!(text, "NOT RESTORABLE  {}", plain(why));
    }
    let of_collections = manifest.collections.iter().flat_map(|c| &c.warnings);
    for warning in manifest.warnings.iter().chain(of_collections) {
        let _ = writeln!(text, "warning  {}", plain(warning));
    }
    text
}
