//! `POST /prune`: deletes old backups by the configured policy, or says what it would delete.
//!
//! `{"dry_run": true}` only plans. No body, or `{}`, deletes: who calls this has said so.

use super::App;
use super::audit::Audit;
use super::backup::{refused, unread};
use super::body;
use super::error::HttpError;
use crate::base::error::{Code, Error};
use crate::ops::prune::{self, PruneContext, PrunePlan, PruneReport};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

const REMEDY: &str = "send {} to delete by the policy, {\"dry_run\": true} to see what would be deleted";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Body {
    dry_run: bool,
}

/// The plan, and what its execution came to.
#[derive(Serialize)]
pub(super) struct Outcome {
    dry_run: bool,
    plan: PrunePlan,
    report: Option<PruneReport>,
}

/// 200 when all of the plan was executed, or none was to be. Otherwise the error, with plan and report once it was begun.
pub(super) async fn prune(
    State(app): State<App>,
    Extension(audit): Extension<Audit>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Outcome>, HttpError> {
    let body = body.map_err(unread)?;
    let Body { dry_run } = body::object(&body, REMEDY)?;
    audit.asked(&body);
    let job = PruneContext::new(&app.ctx, app.retention.clone());
    let plan = prune::plan(&job).await?;
    if dry_run {
        return Ok(Json(Outcome {
            dry_run,
            plan,
            report: None,
        }));
    }
    // A client that goes away drops this future here; the work goes on.
    let stop = app.runs.stop().clone();
    let work = app.runs.spawn(async move {
        let result = prune::execute(&job, &plan, &stop).await;
        (plan, result)
    });
    let (plan, result) = work
        .await
        .map_err(|e| Error::new(Code::Internal, "pruning ended by a defect of this service").because(e))?;
    let mut report = match result {
        Ok(report) => report,
        Err(e) => return Err(refused(&app, e).await),
    };
    for deleted in &report.deleted {
        tracing::info!(backup = %deleted.id, objects = deleted.objects, bytes = deleted.bytes, "deleted by the retention policy");
    }
    match report.take_error() {
        None => Ok(Json(Outcome {
            dry_run,
            plan,
            report: Some(report),
        })),
        Some(error) => Err(HttpError::from(error).with_plan(&plan).with_report(&report)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dry_run(body: &str) -> Result<bool, Error> {
        body::object(body.as_bytes(), REMEDY).map(|Body { dry_run }| dry_run)
    }

    #[test]
    fn only_a_clear_request_deletes() {
        for (body, expected) in [
            ("", false),
            (" {} ", false),
            ("{\"dry_run\":true}", true),
            ("{\"dry_run\":false}", false),
        ] {
            assert_eq!(dry_run(body).unwrap(), expected, "{body}");
        }
        for wrong in [
            "[]",
            "[true]",
            "null",
            "true",
            "{",
            "{\"dryrun\":true}",
            "{\"dry_run\":1}",
            "{\"dry_run\":null}",
            "{\"dry_run\":true}x",
        ] {
            assert!(dry_run(wrong).is_err(), "{wrong}");
        }
    }
}
