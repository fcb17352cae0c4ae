//! What a run tells of itself in the store while it works, see [`crate::repository::runs`]. It begins once the run holds its
//! lease, and never fails or holds up the run.

use super::events::Operation;
use super::progress::{Phase, Progress, RunProgress, UnitProgress};
use crate::base::clock::Clock;
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::text::shortened;
use crate::repository::lease;
use crate::repository::names::RunId;
use crate::repository::runs::{self, LONGEST, RunRecord, RunState, ToldRun, UNITS, UnitRecord};
use crate::wire::store::{Condition, Store, Version};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

/// Before the first record: most runs that are refused, or have nothing to do, have ended by then.
const FIRST: Duration = Duration::from_secs(1);
/// Between two records.
const EVERY: Duration = Duration::from_secs(5);
/// What a store gets for one of them.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the end of a run waits for its last record.
const LAST: Duration = Duration::from_secs(3);

/// Tells of one run. Dropped, it tells that the run was given up; by a panic it tells no more.
pub(crate) struct Journal {
    end: Option<oneshot::Sender<RunEnd>>,
    task: Option<JoinHandle<()>>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct RunEnd {
    pub(crate) state: RunState,
    pub(crate) error: Option<ErrorInfo<String>>,
    /// Whether a drill has to prove first that the backup is good.
    pub(crate) is_unproven: bool,
}

impl RunEnd {
    pub(crate) fn of(error: Option<ErrorInfo<String>>) -> Self {
        let state = match &error {
            None => RunState::Succeeded,
            Some(error) if error.code == Code::Cancelled.to_string() => RunState::Cancelled,
            Some(_) => RunState::Failed,
        };
        Self {
            state,
            error,
            is_unproven: false,
        }
    }
}

impl From<&Error> for RunEnd {
    fn from(error: &Error) -> Self {
        Self::of(Some(error.into()))
    }
}

impl Journal {
    pub(crate) fn start(
        store: &Arc<dyn Store>,
        clock: &Clock,
        who: &str,
        operation: Operation,
        progress: &Progress,
    ) -> Self {
        let (end, ended) = oneshot::channel();
        let writer = Writer {
            store: store.clone(),
            clock: clock.clone(),
            who: who.to_owned(),
            id: progress.run(operation),
            progress: progress.clone(),
            version: None,
            is_refused: false,
        };
        let task = tokio::spawn(keep(writer, ended).in_current_span());
        Self {
            end: Some(end),
            task: Some(task),
        }
    }

    /// Writes the last record, if the store takes it soon.
    pub(crate) async fn end(mut self, end: RunEnd) {
        self.tell(end);
        if let Some(task) = self.task.take() {
            let _ = timeout(LAST, task).await;
        }
    }

    fn tell(&mut self, end: RunEnd) {
        if let Some(told) = self.end.take() {
            // A task that is gone has nobody to tell.
            let _ = told.send(end);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.tell((&Error::new(Code::Cancelled, "the run was given up before its end")).into());
        }
    }
}

async fn keep(mut writer: Writer, mut ended: oneshot::Receiver<RunEnd>) {
    let (mut pause, mut is_first) = (FIRST, true);
    let end = loop {
        tokio::select! {
            end = &mut ended => break end,
            () = sleep(pause) => {}
        }
        // A run that waits for its lease is looked at again soon.
        if writer.progress.holder().is_none() {
            continue;
        }
        let tell = async {
            writer.write(None).await;
            if is_first {
                writer.trim().await;
                is_first = false;
            }
        };
        // The end waits for no slow store.
        tokio::select! {
            biased;
            end = &mut ended => break end,
            () = tell => pause = EVERY,
        }
    };
    // A panic: nobody knows how it ended.
    let Ok(end) = end else { return };
    if writer.progress.holder().is_some() {
        writer.write(Some(end)).await;
        if is_first {
            writer.trim().await;
        }
    }
}

struct Writer {
    store: Arc<dyn Store>,
    clock: Clock,
    who: String,
    id: RunId,
    progress: Progress,
    /// Of the record, where it is known.
    version: Option<Version>,
    /// Whether the store refused a record for good.
    is_refused: bool,
}

impl Writer {
    async fn write(&mut self, end: Option<RunEnd>) {
        if self.is_refused {
            return;
        }
        let is_last = end.is_some();
        let record = self.record(end);
        let put = async {
            self.put(&record).await?;
            // One that was given up may have arrived between the look and the write.
            if is_last && self.version.is_none() {
                self.put(&record).await?;
            }
            Ok::<_, Error>(())
        };
        match timeout(PATIENCE, put).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.is_refused = error.is_permanent();
                tracing::info!(run = %self.id, error = %error, "failed to record how far the run is; it continues");
            }
            Err(_) => tracing::debug!(run = %self.id, "timeout while recording how far the run is"),
        }
    }

    async fn put(&mut self, record: &RunRecord) -> Result<()> {
        let condition = match self.version.take() {
            Some(version) => Condition::Unchanged(version),
            // None was written yet, or whether the last one was is not known.
            None => match self.store.head(&self.id.record()).await? {
                Some(object) => Condition::Unchanged(object.version),
                None => Condition::Absent,
            },
        };
        self.version = runs::write(&*self.store, record, condition).await?;
        Ok(())
    }

    async fn trim(&self) {
        let trimmed = timeout(PATIENCE, runs::trim(&*self.store, self.clock.now())).await;
        if let Ok(Err(error)) = trimmed {
            tracing::debug!(error = %error, "failed to delete old records of runs");
        }
    }

    fn record(&self, end: Option<RunEnd>) -> RunRecord {
        let now = self.clock.now();
        record(&self.id, &self.who, &self.progress, end.map(|end| (now, end)))
    }
}

/// What a run tells of itself now, or told when it ended.
pub(crate) fn record(id: &RunId, who: &str, progress: &Progress, end: Option<(OffsetDateTime, RunEnd)>) -> RunRecord {
    let (holder, request) = (progress.holder().flatten(), progress.request());
    let (saves, cancelled_on_request) = (progress.saves(), progress.is_cancelled_on_request());
    let unproven = end.as_ref().is_some_and(|(_, end)| end.is_unproven);
    let progress = progress.now();
    let (state, ended_at, error) = match end {
        Some((at, end)) => (end.state, Some(at), end.error.map(bounded)),
        None => (RunState::Running, None, None),
    };
    RunRecord {
        id: id.clone(),
        who: who.to_owned(),
        holder,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: progress.started_at,
        state,
        ended_at,
        backup: progress.id,
        totals: progress.totals,
        units: units(progress),
        error,
        request,
        cancelled_on_request,
        unproven,
        saves,
    }
}

/// A message may repeat what Qdrant answered for hundreds of collections.
fn bounded(error: ErrorInfo<String>) -> ErrorInfo<String> {
    ErrorInfo {
        code: error.code,
        message: shortened(&error.message, LONGEST).into_owned(),
        remedy: error.remedy.map(|remedy| shortened(&remedy, LONGEST).into_owned()),
    }
}

/// Those of which one wants to know first, in the order of their names.
fn units(progress: RunProgress) -> Vec<UnitRecord> {
    let mut units = progress.units;
    if units.len() > UNITS {
        units.sort_by_key(|unit| match unit.phase {
            Phase::Failed => 0,
            phase if phase.is_at_work() => 1,
            Phase::Waiting => 3,
            _ => 2,
        });
        units.truncate(UNITS);
        units.sort_by(|a, b| a.name.cmp(&b.name));
    }
    units.into_iter().map(Into::into).collect()
}

impl From<UnitProgress> for UnitRecord {
    fn from(unit: UnitProgress) -> Self {
        Self {
            name: unit.name,
            phase: unit.phase.to_string(),
            bytes_done: unit.bytes_done,
            bytes_total: unit.bytes_total,
            target: unit.target,
        }
    }
}

/// After so long without a record, a run is none any more that works without a lease: three of them in a row may take all of
/// [`PATIENCE`], and the clocks may differ by some seconds.
const SILENT: Duration = Duration::from_secs(120);
/// The same of a run whose lease is free, or another's: it may be that only its last record is slow.
const SILENT_WITHOUT_LEASE: Duration = Duration::from_secs(45);

/// Whether a run whose record says that it works has died, as far as that shows. `silent`: since its last record. `lease`: the
/// holder of the lease now, if anybody has it: whoever holds it lives.
pub(crate) fn is_interrupted(record: &RunRecord, silent: Duration, lease: Option<&str>) -> bool {
    let limit = match record.holder.as_deref() {
        Some(holder) if Some(holder) == lease => return false,
        Some(_) => SILENT_WITHOUT_LEASE,
        None => SILENT,
    };
    record.state == RunState::Running && silent > limit
}

/// What a run tells in the store, and why it tells nothing more, if it died. `None`: there is no such run.
pub(crate) async fn look(
    store: &dyn Store,
    clock: &Clock,
    id: &RunId,
    operation: Operation,
) -> Result<Option<(ToldRun, Option<ErrorInfo<String>>)>> {
    let Some(told) = runs::read(store, id, clock.now()).await? else {
        return Ok(None);
    };
    let lease = lease::holder(store, clock).await?.map(|lease| lease.holder);
    if !is_interrupted(&told.record, silence(told.written_at, clock.now()), lease.as_deref()) {
        return Ok(Some((told, None)));
    }
    // Published, and then killed before it could say so.
    let is_published = match told.record.backup {
        Some(backup) => Some(store.head(&backup.manifest()).await?.is_some()),
        None => None,
    };
    let why = interrupted(operation, &told.record, is_published);
    Ok(Some((told, Some(why))))
}

/// How long ago something was, by clocks of which one may be ahead.
pub(crate) fn silence(written_at: OffsetDateTime, now: OffsetDateTime) -> Duration {
    Duration::try_from(now - written_at).unwrap_or_default()
}

/// What to say of a run that died. `is_published`: whether the backup that it was to make exists all the same, where somebody
/// has looked.
pub(crate) fn interrupted(operation: Operation, record: &RunRecord, is_published: Option<bool>) -> ErrorInfo<String> {
    let backup = record.backup.map_or_else(String::new, |id| format!(" {id}"));
    let remedy = match (operation, is_published) {
        (Operation::Backup, Some(true)) => {
            format!("verify backup{backup}: it was published before that")
        }
        (Operation::Backup, None) if record.backup.is_some() => format!(
            "look whether `qdrant-backup list` has backup{backup}, and then verify it; else run the backup again, which removes \
             what this one left on Qdrant once the lease has expired"
        ),
        (Operation::Backup, _) => {
            "run the backup again; what the run left on Qdrant, the next run removes once the lease has expired"
                .to_owned()
        }
        (Operation::Restore, _) => {
            "run the restore again: a collection may be half restored, and the plan says what is there now".to_owned()
        }
        (Operation::Drill, _) => {
            "run the drill again; it deletes the temporary collections that this one left, once the lease has expired"
                .to_owned()
        }
        (Operation::Prune, _) => {
            "run it again: it continues where it stopped; every listed backup still has all its objects".to_owned()
        }
        (Operation::Verify, _) => "verify again; nothing was recorded".to_owned(),
    };
    ErrorInfo {
        code: INTERRUPTED.to_owned(),
        message: format!(
            "{} tells nothing more of this {}: it died, or it may not overwrite its record in the store",
            record.who,
            operation.noun()
        ),
        remedy: Some(remedy),
    }
}

/// The code of [`interrupted`]: no run ends with it, so it is none of [`Code`].
pub(crate) const INTERRUPTED: &str = "interrupted";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wire::store::{ByteStream, DirStore, Folder, ObjectMeta, Source};
    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::stream::BoxStream;
    use std::ops::Range;
    use std::sync::Mutex;
    use tokio::time::Instant;

    /// A store of which each write takes so long.
    #[derive(Debug)]
    struct Slow {
        inner: DirStore,
        takes: Duration,
        written: Mutex<Vec<Instant>>,
    }

    #[async_trait]
    impl Store for Slow {
        fn url(&self) -> String {
            self.inner.url()
        }

        async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
            sleep(self.takes).await;
            let put = self.inner.put(key, source, condition).await?;
            self.written.lock().unwrap().push(Instant::now());
            Ok(put)
        }

        async fn put_stream(&self, key: &str, stream: Box<dyn ByteStream>) -> Result<ObjectMeta> {
            self.inner.put_stream(key, stream).await
        }

        async fn get(
            &self,
            key: &str,
            range: Option<Range<u64>>,
            version: Option<&Version>,
        ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
            self.inner.get(key, range, version).await
        }

        async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
            self.inner.head(key).await
        }

        async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
            self.inner.list(prefix).await
        }

        async fn folder(&self, prefix: &str) -> Result<Folder> {
            self.inner.folder(prefix).await
        }

        async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
            sleep(self.takes).await;
            self.inner.delete(key, version).await
        }

        async fn check(&self) -> Result<()> {
            self.inner.check().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_over_a_slow_store_is_heard_of_long_before_it_counts_as_dead() {
        let dir = tempfile::tempdir().unwrap();
        let slow = Arc::new(Slow {
            inner: DirStore::open(dir.path()).await.unwrap(),
            takes: PATIENCE - Duration::from_secs(1),
            written: Mutex::default(),
        });
        let store: Arc<dyn Store> = slow.clone();
        let began = Instant::now();
        let clock = Clock::new(move || OffsetDateTime::UNIX_EPOCH + began.elapsed());
        let progress = Progress::new(clock.now());
        progress.begins(None);
        let journal = Journal::start(&store, &clock, "test", Operation::Verify, &progress);
        sleep(Duration::from_secs(600)).await;
        let written = slow.written.lock().unwrap().clone();
        assert!(written.len() > 10, "{}", written.len());
        for pair in written.windows(2) {
            // Even where two in a row are lost.
            assert!((pair[1] - pair[0]) * 3 < SILENT, "{:?}", pair[1] - pair[0]);
            assert!(pair[1] - pair[0] < SILENT_WITHOUT_LEASE);
        }
        // The end waits for no slow store, and is told all the same.
        let ending = Instant::now();
        journal.end(RunEnd::of(None)).await;
        assert!(ending.elapsed() <= LAST);
        sleep(2 * PATIENCE).await;
        let id = progress.run(Operation::Verify);
        let told = runs::read(&*store, &id, clock.now()).await.unwrap().unwrap();
        assert_eq!(told.record.state, RunState::Succeeded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_ends_while_old_records_are_deleted_deletes_the_others_at_its_end() {
        const OLD: usize = 3;
        let dir = tempfile::tempdir().unwrap();
        let takes = Duration::from_secs(1);
        let store: Arc<dyn Store> = Arc::new(Slow {
            inner: DirStore::open(dir.path()).await.unwrap(),
            takes,
            written: Mutex::default(),
        });
        let records = dir.path().join("runs");
        std::fs::create_dir(&records).unwrap();
        for n in 0..runs::KEPT - 1 + OLD {
            let name = format!("2026-10-01T00-{:02}-{:02}Z-backup-{n:08x}.json", n / 60, n % 60);
            std::fs::write(records.join(name), "{}").unwrap();
        }
        let began = Instant::now();
        let clock = Clock::new(move || time::macros::datetime!(2026-11-26 0:00 UTC) + began.elapsed());
        let progress = Progress::new(clock.now());
        progress.begins(None);
        let journal = Journal::start(&store, &clock, "test", Operation::Verify, &progress);
        let count = || std::fs::read_dir(&records).unwrap().count();
        // The first of them is just being deleted.
        sleep(FIRST + takes + takes / 2).await;
        assert_eq!(count(), runs::KEPT + OLD);
        journal.end(RunEnd::of(None)).await;
        sleep(PATIENCE).await;
        assert_eq!(count(), runs::KEPT);
    }
}
