//! `list` and `show`: what backups there are. They need no Qdrant.

use super::text::{Align, ago, count, plain, points, rounded, shortened, size, table};
use super::{print, print_json};
use crate::base::error::Result;
use crate::base::when::{self, When};
use crate::base::zone::Zone;
use crate::ops::prune::{self, Leftover};
use crate::ops::retention::Policy;
use crate::repository::catalog::{
    self, Detail, ListFilter, Listed, ListedBackup, Mark, Pin, Proof, ProofVerdict, Summary,
};
use crate::repository::names::{BackupId, has_come};
use crate::repository::selection;
use crate::wire::store::Store;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;
use time::OffsetDateTime;

/// Lines below a backup's own are no longer; `show` has all of it.
const WIDTH: usize = 80;

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Show at most this many
    #[arg(long, default_value_t = catalog::LISTED, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Show only backups with this collection
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Show only backups of this time or later, e.g. 2d, yesterday or '2026-11-25 03:00'
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show only good backups
    #[arg(long)]
    good: bool,
    /// Show times in UTC, not in the local zone
    #[arg(long)]
    utc: bool,
    /// Show also what killed runs left without a manifest, and when `prune` deletes it
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    fn filter(&self, now: OffsetDateTime, zone: &Zone) -> Result<ListFilter> {
        let since = match &self.since {
            None => None,
            Some(since) => Some(match when::required("--since", since, now, zone)? {
                When::At(at) | When::Day(at, _) => at,
            }),
        };
        Ok(ListFilter {
            limit: self.limit.into(),
            collection: self.collection.clone(),
            since,
            good: self.good,
        })
    }

    fn is_filtered(&self) -> bool {
        self.collection.is_some() || self.since.is_some() || self.good
    }
}

/// That no backup passes the filter, and which collection may have been meant.
fn nothing(args: &ListArgs, store: &str, collections: &BTreeSet<String>) -> String {
    let known: Vec<_> = collections.iter().cloned().collect();
    let name = args.collection.as_ref().filter(|name| !collections.contains(*name));
    let meant = name.and_then(|name| selection::meant(name, &known));
    let meant = meant.map_or_else(String::new, |meant| format!("; {meant}"));
    format!("{store} has no such backup{meant}\n")
}

/// Prints the newest backups; with a policy also what has no manifest, and when that goes.
pub(crate) async fn list(
    store: &dyn Store,
    args: ListArgs,
    policy: Option<&Policy>,
    now: OffsetDateTime,
    zone: &Zone,
) -> Result<()> {
    #[derive(Serialize)]
    struct Backups {
        backups: Vec<ListedBackup>,
        /// Whether there are more.
        is_cut: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        leftovers: Option<Vec<Leftover>>,
    }
    let zone = &if args.utc { Zone::utc() } else { zone.clone() };
    let filter = args.filter(now, zone)?;
    let Listed {
        backups,
        is_cut,
        collections,
    } = catalog::filtered(store, &filter, now).await?;
    let leftovers = match policy {
        Some(policy) => Some(prune::leftovers(store, policy, now).await?),
        None => None,
    };
    if args.json {
        return print_json(&Backups {
            backups: backups.into_iter().map(|b| ListedBackup::new(b, now)).collect(),
            is_cut,
            leftovers,
        });
    }
    let mut text = match backups.is_empty() {
        true if args.is_filtered() => nothing(&args, &store.url(), &collections),
        true => format!("{} has no backup yet\n", store.url()),
        false => listed(&backups, now, zone),
    };
    if is_cut {
        let more = usize::from(args.limit).saturating_mul(5);
        let _ = writeln!(
            text,
            "Older ones are not shown: --limit {more} shows more, --since and --collection select."
        );
    }
    if let (Some(leftovers), Some(policy)) = (leftovers, policy) {
        let unfinished = store.unfinished().await?;
        text += &match leftovers.is_empty() && unfinished.0 == 0 {
            true => "\nNo killed run has left anything.\n".to_owned(),
            false => left(&leftovers, unfinished, policy, now, zone),
        };
    }
    print(&text)
}

/// What has no manifest, and what has not even become an object.
fn left(
    leftovers: &[Leftover],
    (files, bytes): (usize, u64),
    policy: &Policy,
    now: OffsetDateTime,
    zone: &Zone,
) -> String {
    let when = |leftover: &Leftover| match leftover.prunable_at {
        _ if leftover.under_way => "no: a run is writing it".to_owned(),
        None => "stays: it is pinned".to_owned(),
        _ if leftover.reasons.is_empty() => "now".to_owned(),
        Some(at) if at > now => format!("from {} on", zone.minute(at)),
        Some(_) => "when its job's records go".to_owned(),
    };
    let row = |leftover: &Leftover| {
        let age = Duration::try_from(now - leftover.changed_at).unwrap_or_default();
        [
            leftover.id.to_string(),
            count(leftover.objects as u64),
            size(leftover.bytes),
            ago(age),
            when(leftover),
        ]
    };
    let columns = [
        ("NO BACKUP", Align::Left),
        ("OBJECTS", Align::Right),
        ("SIZE", Align::Right),
        ("CHANGED", Align::Right),
        ("PRUNE DELETES IT", Align::Left),
    ];
    let mut text = "\n".to_owned();
    if !leftovers.is_empty() {
        text += &table(columns, &leftovers.iter().map(row).collect::<Vec<_>>());
    }
    if files > 0 {
        text += &format!(
            "Unfinished files in .staging: {}, {}. A run that is under way writes them; those of a killed one are removed by the \
             next command a minute later, on a network file system a day later.\n",
            count(files as u64),
            size(bytes)
        );
    }
    if policy.is_empty() && !leftovers.is_empty() {
        text += "No retention rule is set, so `prune` deletes nothing: set e.g. RETAIN_DAILY=30.\n";
    }
    text
}

/// Prints what the backup `id` holds.
pub(crate) async fn show(store: &dyn Store, id: BackupId, now: OffsetDateTime, json: bool) -> Result<()> {
    let detail = catalog::show(store, id, now).await?;
    match json {
        true => print_json(&detail),
        false => print(&shown(&detail, &store.url(), now)),
    }
}

fn listed(backups: &[Summary], now: OffsetDateTime, zone: &Zone) -> String {
    let row = |b: &Summary| {
        [
            b.id.to_string(),
            zone.short(b.id.time(), now),
            b.marks.first().map(Mark::to_string).unwrap_or_default(),
            proof(b, now),
            count(b.collections as u64),
            size(b.bytes),
        ]
    };
    let begun = zone.name(now);
    let columns = [
        ("ID", Align::Left),
        (begun.as_str(), Align::Left),
        ("STATUS", Align::Left),
        ("PROOF", Align::Left),
        ("COLLS", Align::Right),
        ("SIZE", Align::Right),
    ];
    let rows = table(columns, &backups.iter().map(row).collect::<Vec<_>>());
    let mut lines = rows.lines();
    let mut text = lines.next().map(|header| format!("{header}\n")).unwrap_or_default();
    for (backup, line) in backups.iter().zip(lines) {
        let _ = writeln!(text, "{line}");
        let pin = backup.pinned.as_ref().map(|pin| pinned(pin, now));
        let selected = backup.partly().map(|s| format!("selected: {}", plain(&s.to_string())));
        for more in [pin, selected].into_iter().flatten() {
            let _ = writeln!(text, "  {}", shortened(&more, WIDTH - 3));
        }
    }
    if let Some(age) = backups.iter().find(|b| b.is_good()).and_then(|b| b.age(now)) {
        let _ = writeln!(text, "The newest good one is {} old.", rounded(age));
    }
    for backup in backups {
        for why in backup.odd() {
            let _ = writeln!(text, "{}: {}", backup.id, plain(why));
        }
    }
    text
}

/// The strongest proof that a backup is what it should be, and how long ago it was given. None for one that is known to be
/// damaged, or of which something is not understood.
fn proof(backup: &Summary, now: OffsetDateTime) -> String {
    if matches!(backup.marks.first(), Some(Mark::Damaged | Mark::Unreadable) | None) {
        return String::new();
    }
    let intact = |word: &str, proof: &Option<Proof>| {
        let proof = proof.as_ref().filter(|proof| proof.is_intact(now))?;
        let age = proof.at.and_then(|at| Duration::try_from(now - at).ok()).map(rounded);
        Some(age.map_or_else(|| word.to_owned(), |age| format!("{word} {age}")))
    };
    intact("drilled", &backup.drilled)
        .or_else(|| intact("verified", &backup.verified))
        .unwrap_or_else(|| "stored".to_owned())
}

/// Who keeps a backup, since when, and why.
fn pinned(pin: &Pin, now: OffsetDateTime) -> String {
    let by = pin.by.as_ref().map(|by| format!(" by {}", plain(by)));
    let at = pin.at.and_then(|at| Duration::try_from(now - at).ok());
    let at = at.map(|age| format!(" {}", ago(age)));
    let note = pin.note.as_ref().map(|note| format!(": {}", plain(note)));
    format!(
        "pinned{}{}{}",
        by.unwrap_or_default(),
        at.unwrap_or_default(),
        note.unwrap_or_default()
    )
}

fn shown(detail: &Detail, store: &str, now: OffsetDateTime) -> String {
    let (manifest, summary) = (&detail.manifest, &detail.summary);
    let made = summary.age(now).map_or_else(|| "in the future".to_owned(), ago);
    let took = (manifest.finished_at - manifest.started_at).as_seconds_f64();
    let mut text = format!(
        "Backup {} is {}: {} of Qdrant {}, made {made} in {took:.1} s\n{store}/{}\n\n",
        summary.id,
        summary.marks_text(),
        size(manifest.bytes()),
        plain(&manifest.qdrant.version),
        summary.id.manifest(),
    );
    if let Some(selection) = summary.partly() {
        let _ = writeln!(text, "selected when it was made: {}\n", plain(&selection.to_string()));
    }
    for (what, proof) in [("verified", &summary.verified), ("drilled", &summary.drilled)] {
        if let Some(Proof { verdict, at, .. }) = proof {
            let when = match at {
                None => "at an unknown time".to_owned(),
                Some(at) if has_come(*at, now) => ago(Duration::try_from(now - *at).unwrap_or_default()),
                Some(_) if *verdict == ProofVerdict::Intact => "in the future, which does not count".to_owned(),
                Some(_) => "in the future".to_owned(),
            };
            let found = match verdict {
                ProofVerdict::Intact => "intact",
                ProofVerdict::Damaged => "DAMAGED",
                ProofVerdict::Failed => "FAILED",
                ProofVerdict::Unknown => "not understood",
            };
            let _ = writeln!(text, "{what} {when}: {found}");
        }
    }
    for damage in &detail.damage_found {
        let of = damage
            .collection
            .as_ref()
            .map_or_else(String::new, |name| format!("{:?}: ", plain(name)));
        let _ = writeln!(text, "  {of}{}", plain(&damage.message));
    }
    if let more @ 1.. = detail.more_damage_found {
        let _ = writeln!(
            text,
            "  and {more} more: `qdrant-backup verify {}` tells all",
            summary.id
        );
    }
    if let Some(pin) = &summary.pinned {
        let _ = writeln!(text, "{}", pinned(pin, now));
    }
    if summary.marks.len() > 1 {
        text.push('\n');
    }
    let rows: Vec<_> = manifest
        .collections
        .iter()
        .map(|c| {
            let keys: Vec<_> = c.artifacts.iter().map(|a| a.key.as_str()).collect();
            [
                c.name.clone(),
                points(c.points_after, c.points_estimated),
                size(c.bytes()),
                keys.join(" "),
            ]
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
    for how in summary.damaged.values() {
        let _ = writeln!(text, "DAMAGED  {}", plain(how));
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
