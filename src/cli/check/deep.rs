//! `check --deep`: one snapshot of the smallest collection, or of its smallest shard, as a backup makes it; nothing of it is left.

use super::super::text::size;
use super::{CheckTarget, Checks, LEASE, State};
use crate::base::error::Code;
use crate::ops::backup::{self, Trial};
use crate::ops::context::{Context, Settings, SourceSettings};
use crate::repository::unit::Mode;
use crate::wire::qdrant::Qdrant;
use crate::wire::store::Store;
use crate::wire::transfer::Limits;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub(super) async fn check(
    checks: &mut Checks,
    qdrant: &Qdrant,
    store: Option<&Arc<dyn Store>>,
    smallest: Option<&str>,
    subject: &CheckTarget<'_>,
    stop: &CancellationToken,
) {
    let (Some(store), Some(smallest)) = (store, smallest) else {
        let wants = if store.is_none() {
            "store"
        } else {
            "a collection to snapshot"
        };
        return checks.skip(&["snapshot"], wants);
    };
    let ctx = Context {
        notify: Default::default(),
        qdrant: qdrant.clone(),
        store: store.clone(),
        clock: subject.clock.clone(),
        who: subject.who.clone(),
        settings: Settings {
            mode: subject.mode,
            concurrency: 1,
            restore_concurrency: 1,
            attempts: 1,
            backoff: Duration::ZERO,
            settle: Duration::ZERO,
            guard: None,
            limits: Limits::default(),
            rate: None,
            lease: LEASE,
            source: SourceSettings::default(),
        },
    };
    match backup::trial(&ctx, smallest, stop).await {
        Ok(trial) => checks.ok("snapshot", told(&trial)),
        Err(error) if error.code() == Code::RunInProgress => checks.add(
            "snapshot",
            State::Skip,
            format!("not tried: {}", error.chain()),
            error.remedy_text().map(str::to_owned),
        ),
        Err(error) => checks.fail("snapshot", &error),
    }
}

fn told(trial: &Trial) -> String {
    let unit = trial.unit.to_string();
    let cost = format!("{} in {:.1} s", size(trial.bytes), trial.took.as_secs_f64());
    match trial.unit.mode {
        Mode::File => format!("a snapshot of {unit:?} was created ({cost}) and deleted"),
        Mode::Stream => {
            format!("{unit:?} was streamed to its end ({cost}); nothing was written to Qdrant's disk or kept")
        }
    }
}
