//! `status`: one screen that tells whether everything is backed up, since when, and how that is proven.

use super::check::{Opening, PATIENCE, ask_qdrant, ask_store};
use super::exit::NOT_PROTECTED;
use super::text::{Align, exactly, in_the_middle, plain, rounded, table};
use super::whole_file::replace;
use super::{print, print_json};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::ops::backup::SCOPED_KEY;
use crate::ops::freshness::{self, Answer, CollectionState, FreshnessInput, FreshnessPolicy, Good, State};
use crate::ops::metrics::{self, MetricsInput};
use crate::ops::source;
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use crate::repository::{catalog, lease};
use crate::wire::qdrant::{ClusterInfo, Qdrant};
use clap::{Args, ValueHint};
use serde::Serialize;
use std::cmp::Reverse;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// More lines are no screen.
const ROWS: usize = 20;
/// So much of a name fits into 80 columns.
const NAME: usize = 22;

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also write the result into this file as Prometheus metrics, for node_exporter's textfile collector. It is replaced as a whole,
    /// also when the exit code is 1, and stays as it is where Qdrant or the store cannot tell
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    metrics_file: Option<PathBuf>,
}

/// What is looked at.
pub(crate) struct StatusQuery<'a> {
    /// The Qdrant that is backed up.
    pub(crate) qdrant: Qdrant,
    /// The store's URL, and what opens it.
    pub(crate) store: (&'a str, Opening<'a>),
    /// Which collections are to be backed up.
    pub(crate) selection: Selection,
    /// How a backup names its source, if it does.
    pub(crate) source_name: Option<String>,
    /// How old a backup may be.
    pub(crate) max_age: Duration,
    pub(crate) clock: Clock,
}

/// What was seen.
#[derive(Serialize)]
struct Status {
    /// Whether there is a collection to back up, and each has a good backup that is young enough, or is new.
    protected: bool,
    max_age_seconds: u64,
    qdrant: String,
    store: String,
    /// The worst first.
    collections: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// Whether there is a good backup at all.
    #[serde(skip)]
    has_backups: bool,
    /// The same for Prometheus, if it is asked for.
    #[serde(skip)]
    metrics: Option<String>,
}

/// How one collection stands.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    standing: CollectionState,
    /// How the backup is proven that it has.
    proof: Option<Proof>,
    /// The newest good backup of it that was read back, or drilled.
    verified: Option<ProvenBackup>,
    /// The newest good backup of it that the engine has opened, or that was drilled.
    opened: Option<ProvenBackup>,
    /// The newest good backup of it that was drilled.
    drilled: Option<ProvenBackup>,
}

/// How a backup is proven, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Proof {
    /// Its bytes were checked when they were stored.
    Stored,
    /// It was read back and found intact.
    Verified,
    /// The engine has opened it, and found it equal.
    Opened,
    /// It was restored and found equal.
    Drilled,
}

#[derive(Clone, Copy, Serialize)]
struct ProvenBackup {
    backup: BackupId,
    age_seconds: u64,
}

/// Prints how each collection stands. The exit code: 0 if all are protected, else [`NOT_PROTECTED`]. An error if Qdrant or the
/// store cannot tell: then the metrics file stays as it is, and tells by its time how old it is.
pub(crate) async fn status(look: StatusQuery<'_>, args: &StatusArgs) -> Result<u8> {
    let status = read_status(look, args.metrics_file.is_some()).await?;
    let written = match (&args.metrics_file, &status.metrics) {
        (Some(path), Some(metrics)) => replace(path, metrics),
        _ => Ok(()),
    };
    let printed = match args.json {
        true => print_json(&status),
        false => print(&rendered(&status)),
    };
    written
        .and(printed)
        .map(|()| if status.protected { 0 } else { NOT_PROTECTED })
}

async fn read_status(look: StatusQuery<'_>, with_metrics: bool) -> Result<Status> {
    let now = look.clock.now();
    let (url, opening) = look.store;
    let wanted = FreshnessPolicy {
        max_age: look.max_age,
        verified: false,
    };
    let qdrant = &look.qdrant;
    let live = ask_qdrant(qdrant, PATIENCE, async {
        let names = qdrant.collections().await?;
        let source = source::qdrant(qdrant, look.source_name.as_deref(), &names).await;
        let is_scoped = matches!(qdrant.cluster().await?, ClusterInfo::Hidden);
        Ok((names, source, is_scoped))
    });
    let stored = ask_store(url, PATIENCE, async {
        let store = opening.await?;
        let stored = freshness::stored(&*store, wanted, now).await?;
        Ok((store, stored))
    });
    let (live, stored) = tokio::join!(live, stored);
    let ((names, source, is_scoped), (store, stored)) = (live?, stored?);
    let around = match with_metrics {
        true => Some(tokio::join!(
            ask_store(url, PATIENCE, lease::holder(&*store, &look.clock)),
            ask_store(url, PATIENCE, catalog::stored_bytes(&*store)),
            ask_store(url, PATIENCE, metrics::failed(&*store, &look.clock, &source)),
        )),
        false => None,
    };
    let question = FreshnessInput {
        selection: &look.selection,
        live: Some(&names),
        source: &source,
        wanted,
        now,
    };
    let answer = freshness::assess(&question, stored)?;
    let metrics = match around {
        Some((holder, stored_bytes, failed)) => Some(metrics::text(&MetricsInput {
            answer: &answer,
            failed: &failed?,
            max_age: look.max_age,
            at: now,
            // Where there are too many objects to count within that time, the rest is told all the same.
            stored_bytes: stored_bytes.ok(),
            is_lease_held: holder?.is_some(),
            running: None,
        })),
        None => None,
    };
    Ok(Status {
        metrics,
        has_backups: !answer.backups.is_empty(),
        protected: answer.is_fresh(),
        max_age_seconds: look.max_age.as_secs(),
        qdrant: qdrant.url(),
        store: store.url(),
        collections: rows(answer, now),
        warnings: is_scoped.then(|| SCOPED_KEY.to_owned()).into_iter().collect(),
    })
}

/// A row for each collection, the worst first: those without a backup, then the stale ones by age, the new ones, the others by proof.
fn rows(answer: Answer, now: OffsetDateTime) -> Vec<Row> {
    let Answer {
        collections, backups, ..
    } = answer;
    let proven = |name: &str, by: fn(&Good) -> bool| {
        let found = freshness::newest(name, backups.iter().filter(|b| by(b)), now);
        found.map(|(backup, age)| ProvenBackup {
            backup,
            age_seconds: age.as_secs(),
        })
    };
    let row = |standing: CollectionState| {
        let verified = proven(&standing.name, Good::was_read_back);
        let opened = proven(&standing.name, |b| b.opened);
        let drilled = proven(&standing.name, |b| b.drilled);
        let has = |proven: Option<ProvenBackup>| proven.is_some_and(|proven| Some(proven.backup) == standing.backup);
        let proof = match () {
            () if has(drilled) => Proof::Drilled,
            () if has(opened) => Proof::Opened,
            () if has(verified) => Proof::Verified,
            () => Proof::Stored,
        };
        Row {
            proof: standing.backup.map(|_| proof),
            standing,
            verified,
            opened,
            drilled,
        }
    };
    let mut rows: Vec<_> = collections.into_iter().map(row).collect();
    rows.sort_by_cached_key(|row| {
        let rank = match row.standing.state {
            State::Missing => (0, Reverse(0), None),
            State::Stale => (1, Reverse(row.standing.age_seconds.unwrap_or_default()), row.proof),
            State::New => (2, Reverse(0), row.proof),
            State::Fresh => (3, Reverse(0), row.proof),
        };
        (rank, row.standing.name.clone())
    });
    rows
}

/// The screen.
fn rendered(status: &Status) -> String {
    let mut text = headline(status);
    let _ = writeln!(text, "Qdrant {}, store {}", plain(&status.qdrant), plain(&status.store));
    for warning in &status.warnings {
        let _ = writeln!(text, "warning  {warning}");
    }
    if status.collections.is_empty() {
        return text;
    }
    let age = |seconds: Option<u64>| seconds.map_or_else(|| "-".to_owned(), |s| rounded(Duration::from_secs(s)));
    let row = |row: &Row| {
        [
            match row.standing.state {
                State::Missing => "MISSING",
                State::Stale => "STALE",
                State::New => "new",
                State::Fresh => "ok",
            }
            .to_owned(),
            in_the_middle(&plain(&row.standing.name), NAME),
            age(row.standing.age_seconds),
            age(row.verified.map(|proven| proven.age_seconds)),
            age(row.drilled.map(|proven| proven.age_seconds)),
            row.standing.backup.map(|id| id.to_string()).unwrap_or_default(),
        ]
    };
    let columns = [
        ("STATE", Align::Left),
        ("COLLECTION", Align::Left),
        ("STORED", Align::Right),
        ("VERIFIED", Align::Right),
        ("DRILLED", Align::Right),
        ("NEWEST BACKUP", Align::Left),
    ];
    // What is not protected is never left out.
    let worst = status
        .collections
        .iter()
        .filter(|row| row.standing.state != State::Fresh)
        .count();
    let shown = ROWS.max(worst);
    let rows: Vec<_> = status.collections.iter().take(shown).map(row).collect();
    let _ = write!(text, "\n{}", table(columns, &rows));
    if let more @ 1.. = status.collections.len().saturating_sub(shown) {
        let _ = writeln!(text, "and {more} more, none of them worse; `--json` lists all");
    }
    text + "\nAge of the newest good backup that has the collection; that was read back by\n\
            `verify`; that was restored by `drill`.\n"
}

fn headline(status: &Status) -> String {
    let within = exactly(Duration::from_secs(status.max_age_seconds));
    let of = |state| {
        status
            .collections
            .iter()
            .filter(|row| row.standing.state == state)
            .count()
    };
    let (all, missing, stale) = (status.collections.len(), of(State::Missing), of(State::Stale));
    if all == 0 {
        return "NOT PROTECTED: Qdrant has no collection that is to be backed up.\n\
                -> check that this is the right Qdrant, and BACKUP_INCLUDE and BACKUP_EXCLUDE\n"
            .to_owned();
    }
    let s = if all == 1 { "" } else { "s" };
    let new = of(State::New);
    if status.protected && new == all {
        let due = status.collections.iter().filter_map(|row| row.standing.due_at).min();
        let due = due.map_or_else(
            || format!("within {within}"),
            |due| format!("by {}", to_the_minute(due)),
        );
        let what = match status.has_backups {
            true => format!("No backup yet: {all} new collection{s}, in no good backup."),
            false => format!("Never backed up: {all} collection{s} without a good backup."),
        };
        return format!(
            "{what}\nThe first one is due {due}.\n\
             -> run `qdrant-backup backup` with the same settings\n"
        );
    }
    if status.protected && new > 0 {
        let (have, are) = if new == 1 { ("has", "is") } else { ("have", "are") };
        return format!(
            "Protected so far: {} of {all} collection{s} with a good backup younger than {within};\n\
             {new} {are} new and {have} none yet. Without one it is missing {within} after it appeared.\n",
            all - new
        );
    }
    if status.protected {
        return format!("Protected: {all} collection{s}, each with a good backup younger than {within}.\n");
    }
    let what = [(missing, "no recent good backup"), (stale, "one that is too old")];
    let what = what.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| {
        let verb = if n == 1 { "has" } else { "have" };
        format!("{n} {verb} {what}")
    });
    format!(
        "NOT PROTECTED: {} of {all} collection{s} without a good backup younger than {within}:\n{}.\n\
         -> run `qdrant-backup backup` with the same settings; `qdrant-backup list` shows\n   what there is\n",
        missing + stale,
        what.collect::<Vec<_>>().join(", ")
    )
}

fn to_the_minute(at: OffsetDateTime) -> String {
    let shown = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    at.to_offset(UtcOffset::UTC).format(shown).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ops::freshness::Stored;
    use crate::repository::manifest::Source;
    use std::sync::Arc;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    fn good(hours: i64, collections: &[&str], verified: bool, drilled: bool) -> Good {
        let at = NOW - time::Duration::hours(hours);
        Good {
            id: BackupId::at(at),
            selection: Selection::default(),
            source: None,
            verified,
            opened: drilled,
            drilled,
            took: Default::default(),
            collections: Arc::new(collections.iter().map(|name| ((*name).to_owned(), at)).collect()),
            bytes: Default::default(),
            tells_all: true,
        }
    }

    #[test]
    fn the_screen_tells_what_is_missing_first_and_how_the_rest_is_proven() {
        let backups = vec![
            good(2, &["docs", "news"], false, false),
            good(3, &["notes"], true, false),
            good(27, &["docs", "old", "older"], true, false),
            good(200, &["docs", "older"], false, true),
            good(50, &["oldest"], true, true),
        ];
        let live = ["docs", "logs", "news", "notes", "old", "older", "oldest"];
        let stored = Stored {
            backups,
            ..Stored::default()
        };
        let status = status(&live, stored);
        assert_eq!(
            rendered(&status),
            "NOT PROTECTED: 4 of 7 collections without a good backup younger than 26 h:\n\
             1 has no recent good backup, 3 have one that is too old.\n\
             -> run `qdrant-backup backup` with the same settings; `qdrant-backup list` shows\n   what there is\n\
             Qdrant http://q:6333, store gs://b/p\n\
             \n\
             STATE    COLLECTION  STORED  VERIFIED  DRILLED  NEWEST BACKUP\n\
             MISSING  logs             -         -        -\n\
             STALE    oldest         2 d       2 d      2 d  2026-11-20T10-00-00Z\n\
             STALE    old           27 h      27 h        -  2026-11-21T09-00-00Z\n\
             STALE    older         27 h      27 h      8 d  2026-11-21T09-00-00Z\n\
             ok       docs           2 h      27 h      8 d  2026-11-22T10-00-00Z\n\
             ok       news           2 h         -        -  2026-11-22T10-00-00Z\n\
             ok       notes          3 h       3 h        -  2026-11-22T09-00-00Z\n\
             \n\
             Age of the newest good backup that has the collection; that was read back by\n\
             `verify`; that was restored by `drill`.\n"
        );
    }

    /// What is told where Qdrant has `live`.
    fn status(live: &[&str], stored: Stored) -> Status {
        let live: Vec<_> = live.iter().map(|name| (*name).to_owned()).collect();
        let question = FreshnessInput {
            selection: &Selection::default(),
            live: Some(&live),
            source: &Source::default(),
            wanted: FreshnessPolicy::default(),
            now: NOW,
        };
        let answer = freshness::assess(&question, stored).unwrap();
        Status {
            protected: answer.is_fresh(),
            has_backups: !answer.backups.is_empty(),
            max_age_seconds: question.wanted.max_age.as_secs(),
            qdrant: "http://q:6333".to_owned(),
            store: "gs://b/p".to_owned(),
            collections: rows(answer, NOW),
            warnings: Vec::new(),
            metrics: None,
        }
    }

    #[test]
    fn where_nothing_was_ever_saved_nothing_is_called_protected() {
        let since = NOW - time::Duration::hours(1);
        let stored = Stored {
            since: Some(since),
            ..Stored::default()
        };
        let status = status(&["docs", "logs"], stored);
        assert!(status.protected, "the first one is not due yet");
        assert_eq!(
            headline(&status),
            "Never backed up: 2 collections without a good backup.\n\
             The first one is due by 2026-11-23 13:00 UTC.\n\
             -> run `qdrant-backup backup` with the same settings\n"
        );
    }
}
