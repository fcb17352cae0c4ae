//! `watch`: follows a run of whichever process, by what it tells of itself in the store.

use super::progress::Bars;
use super::text::plain;
use super::{print, print_json};
use crate::base::clock::Clock;
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::ops::events::Operation;
use crate::ops::journal::{is_interrupted, look, silence};
use crate::ops::progress::{Phase, RunProgress, UnitProgress};
use crate::repository::lease;
use crate::repository::names::{BackupId, RunId};
use crate::repository::runs::{self, RunRecord, RunState};
use crate::wire::store::Store;
use serde::Serialize;
use serde::de::value::{self, StrDeserializer};
use serde::de::{Deserialize, IntoDeserializer};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::sleep;

/// A run tells of itself every five seconds.
const EVERY: Duration = Duration::from_secs(2);
/// Runs among which the newest one that is at work is looked for.
const NEWEST: usize = 50;

/// What became of a run.
#[derive(Serialize)]
struct Watched {
    id: RunId,
    operation: String,
    /// `succeeded`, `failed`, `cancelled` or `interrupted`, as in the API.
    state: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    backup_id: Option<BackupId>,
    error: Option<ErrorInfo<String>>,
}

/// Tells how far the run is until it ends. `typed`: its id, else it is the newest one that is at work. Ends as the run does.
pub(crate) async fn watch(
    store: &dyn Store,
    clock: &Clock,
    typed: Option<&str>,
    json: bool,
    bars: &Bars,
) -> Result<()> {
    let id = match typed {
        Some(text) => text.parse()?,
        None => newest(store, clock).await?,
    };
    let unknown = || {
        let text = format!("{}: there is no such run, or it is too old to be recorded", id.record());
        Error::new(Code::RunNotFound, text).remedy("run `qdrant-backup watch` for the newest one that is at work")
    };
    let operation = Operation::of(&id).ok_or_else(unknown)?;
    let (mut told, mut why) = look(store, clock, &id, operation).await?.ok_or_else(unknown)?;
    let seen = Mutex::new(shown(&told.record));
    let follow = async {
        while told.record.state == RunState::Running && why.is_none() {
            sleep(EVERY).await;
            (told, why) = look(store, clock, &id, operation).await?.ok_or_else(unknown)?;
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = shown(&told.record);
        }
        Ok::<_, Error>((told.record, why))
    };
    let now = || seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (record, why) = bars.during_told(operation, now, follow).await?;
    tell(operation, record, why, json)
}

/// The newest run that is at work.
async fn newest(store: &dyn Store, clock: &Clock) -> Result<RunId> {
    let now = clock.now();
    let lease = lease::holder(store, clock).await?.map(|lease| lease.holder);
    let told = runs::newest(store, NEWEST, now).await?.into_iter();
    let mut at_work = told.filter(|told| {
        told.record.state == RunState::Running
            && !is_interrupted(&told.record, silence(told.written_at, now), lease.as_deref())
    });
    at_work.next().map(|told| told.record.id).ok_or_else(|| {
        Error::new(
            Code::RunNotFound,
            format!("{} tells of no run that is at work", store.url()),
        )
        .remedy("name the id of one that has ended; a run tells of itself a second after its start")
    })
}

fn shown(record: &RunRecord) -> RunProgress {
    let unit = |unit: &runs::UnitRecord| {
        // A later version may have phases that this one has no word for.
        let word: StrDeserializer<'_, value::Error> = unit.phase.as_str().into_deserializer();
        let phase = Phase::deserialize(word).ok()?;
        Some(UnitProgress {
            name: unit.name.clone(),
            phase,
            bytes_done: unit.bytes_done,
            bytes_total: unit.bytes_total,
            target: unit.target.clone(),
        })
    };
    RunProgress {
        id: record.backup,
        started_at: record.started_at,
        units: record.units.iter().filter_map(unit).collect(),
        totals: record.totals,
    }
}

fn tell(operation: Operation, record: RunRecord, why: Option<ErrorInfo<String>>, json: bool) -> Result<()> {
    let state = match (&why, record.state) {
        (Some(_), _) => "interrupted",
        (None, RunState::Succeeded) => "succeeded",
        (None, RunState::Failed) => "failed",
        (None, RunState::Cancelled) => "cancelled",
        (None, RunState::Running) => "running",
    };
    let error = why.or(record.error);
    let failure = error.as_ref().map(|error| failure(&record.id, state, error));
    match json {
        true => print_json(&Watched {
            operation: operation.to_string(),
            id: record.id,
            state,
            started_at: record.started_at,
            ended_at: record.ended_at,
            backup_id: record.backup,
            error,
        })?,
        false => {
            let backup = record.backup.map_or_else(String::new, |id| format!(", backup {id}"));
            print(&format!(
                "Run {} by {}{backup}: {state}\n",
                record.id,
                plain(&record.who)
            ))?;
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The error of the run, with its exit code where this version knows it.
fn failure(id: &RunId, state: &str, error: &ErrorInfo<String>) -> Error {
    let known = Code::ALL.iter().find(|code| code.to_string() == error.code);
    let code = known.copied().unwrap_or(Code::Cancelled);
    let failure = Error::new(code, format!("run {id} {state}: {}", plain(&error.message)));
    match &error.remedy {
        Some(remedy) => failure.remedy(plain(remedy).to_string()),
        None => failure,
    }
}
