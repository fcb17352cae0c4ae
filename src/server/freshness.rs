//! `GET /health/freshness`: for a watch that is not part of this service, and notices when nothing runs any more.

use super::App;
use super::error::{HttpError, Told};
use crate::ops::freshness::{self, Expected, Standing, Wanted};
use crate::repository::manifest::Relation;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// `?verified=true`: only backups count that `verify` has read back and found intact.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    verified: bool,
}

/// The same shape whatever the answer.
#[derive(Serialize)]
pub(super) struct Freshness {
    /// Whether there is a collection to back up, and every one of them is fresh.
    fresh: bool,
    /// `BACKUP_MAX_AGE`.
    max_age_seconds: u64,
    /// Whether only verified backups count.
    verified: bool,
    /// Who told which collections there should be: `qdrant`, `last_backup`, or nobody.
    expected_by: Option<&'static str>,
    collections: Vec<Standing>,
    /// Why Qdrant could not be asked.
    qdrant_error: Option<Told>,
}

/// 200 when every expected collection has a good backup that is young enough; 503 when one has not, or none is expected. An
/// error when the store cannot be read.
pub(super) async fn freshness(
    State(app): State<App>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<(StatusCode, Json<Freshness>), HttpError> {
    let Query(Asked { verified }) = asked.map_err(|e| {
        HttpError::bad_request(
            e.body_text(),
            "write /health/freshness or /health/freshness?verified=true",
        )
    })?;
    let wanted = Wanted { verified, ..app.wanted };
    let now = app.ctx.clock.now();
    let (live, backups) = tokio::join!(
        app.live(),
        app.ask_store(
            "the last backups",
            freshness::good_backups(&*app.ctx.store, wanted, now)
        ),
    );
    let source = live
        .as_ref()
        .map_or_else(|_| app.source(), |(_, source)| source.clone());
    let mut backups = backups?;
    // Those of another Qdrant in the same store say nothing of this one.
    backups.retain(|backup| source.relation_to(backup.source.as_ref()) != Relation::Different);
    let names = live.as_ref().ok().map(|(names, _)| names.as_slice());
    let expected = freshness::expected(&app.selection, names, &backups)?;
    let (expected_by, names) = match expected {
        Expected::Live(names) => (Some("qdrant"), names),
        Expected::LastBackup(names) => (Some("last_backup"), names),
        Expected::Unknown => (None, Vec::new()),
    };
    let collections = freshness::standings(&names, &backups, wanted, now);
    // Nothing to back up is no good news: a Qdrant that lost its data has nothing, either.
    let fresh = !collections.is_empty() && collections.iter().all(|c| c.state == freshness::State::Fresh);
    let status = match fresh {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let told = Freshness {
        fresh,
        max_age_seconds: wanted.max_age.as_secs(),
        verified,
        expected_by,
        collections,
        qdrant_error: live.as_ref().err().map(Told::from),
    };
    Ok((status, Json(told)))
}
