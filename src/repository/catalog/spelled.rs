//! A backup as somebody types it: the beginning of its id, a day, or how old it is at least.

use super::ids;
use crate::base::error::{Code, Error, Result};
use crate::base::near::nearest;
use crate::base::when::{When, when};
use crate::base::zone::Zone;
use crate::repository::names::BackupId;
use crate::wire::store::Store;
use time::OffsetDateTime;

/// More candidates are counted only.
const SHOWN: usize = 10;
/// What is shorter names a century.
const SHORTEST: usize = 4;

/// What somebody means by what they typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spelled {
    /// `latest`, an id, or what is neither.
    Literally(String),
    /// The only backup that begins so, or is of that day.
    Short(BackupId),
    /// The newest good one of this time or before.
    NotAfter(OffsetDateTime),
}

/// What `text` means. Ids are in UTC, and so is their beginning; `today` and `yesterday` are days of the zone.
///
/// # Errors
/// [`Code::BadRequest`] when several backups are meant, naming them; [`Code::BackupNotFound`] when none is, naming the one with the
/// id that is most like it; those of the store.
pub(crate) async fn spelled(store: &dyn Store, text: &str, now: OffsetDateTime, zone: &Zone) -> Result<Spelled> {
    // Whoever may read a backup and list none can name it in full.
    if text == "latest" || text.parse::<BackupId>().is_ok() {
        return Ok(Spelled::Literally(text.to_owned()));
    }
    if is_beginning(text) {
        return one(store, text, |id| id.to_string().starts_with(text)).await;
    }
    match when(text, now, zone) {
        Some(When::At(at)) => Ok(Spelled::NotAfter(at)),
        Some(When::Day(from, to)) => one(store, text, |id| (from..to).contains(&id.time())).await,
        None => Ok(Spelled::Literally(text.to_owned())),
    }
}

/// The error of a command about the backup `text`; if there is none of that id, with the one that may have been meant.
pub(crate) async fn suggesting(store: &dyn Store, text: &str, error: Error) -> Error {
    if error.code() != Code::BackupNotFound || text.parse::<BackupId>().is_err() {
        return error;
    }
    match ids(store).await {
        Ok(all) => error.remedy(to_look_for(text, &all)),
        Err(_) => error,
    }
}

/// Whether an id can begin so.
fn is_beginning(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00-00-00Z";
    let alike = |(c, s): (u8, &u8)| if *s == b'0' { c.is_ascii_digit() } else { c == *s };
    (SHORTEST..SHAPE.len()).contains(&text.len()) && text.bytes().zip(SHAPE).all(alike)
}

async fn one(store: &dyn Store, text: &str, is_meant: impl Fn(&BackupId) -> bool) -> Result<Spelled> {
    let all = ids(store).await?;
    let mut found = Vec::new();
    for id in all.iter().filter(|id| is_meant(id)) {
        if store.head(&id.manifest()).await?.is_some() {
            found.push(*id);
        }
    }
    match found.as_slice() {
        [] => Err(none(store, text, &all)),
        [only] => Ok(Spelled::Short(*only)),
        several => Err(ambiguous(text, several)),
    }
}

fn ambiguous(text: &str, several: &[BackupId]) -> Error {
    let shown: Vec<_> = several.iter().take(SHOWN).map(BackupId::to_string).collect();
    let more = match several.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!(", and {more} more"),
        _ => String::new(),
    };
    let text = format!(
        "{text:?} may be any of {} backups: {}{more}",
        several.len(),
        shown.join(", ")
    );
    Error::new(Code::BadRequest, text)
        .remedy("write more of the id; or an age like 2h for the newest good one that is as old")
}

fn none(store: &dyn Store, text: &str, all: &[BackupId]) -> Error {
    Error::new(Code::BackupNotFound, format!("{} has no backup {text}", store.url())).remedy(to_look_for(text, all))
}

/// Of several that are as near, the newest is named.
fn to_look_for(text: &str, all: &[BackupId]) -> String {
    let known: Vec<_> = all.iter().map(BackupId::to_string).collect();
    let meant = nearest(text, known.iter().map(String::as_str));
    let meant = meant.map_or_else(String::new, |id| format!("did you mean {id}? "));
    format!("{meant}run `qdrant-backup list` to see the backups")
}
