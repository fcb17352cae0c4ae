//! `POST /prune`: deletes old backups by the configured policy, or says what it would delete.
//!
//! `{"dry_run": true}` only plans. No body, or `{}`, deletes: who calls this has said so.

use super::App;
use super::audit::Audit;
use super::error::HttpError;
use crate::error::{Code, Error};
use crate::prune::{self, Job, Plan, Report};
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
    plan: Plan,
    report: Option<Report>,
}

/// 200 when all of the plan was executed, or none was to be.
pub(super) async fn prune(
    State(app): State<App>,
    Extension(audit): Extension<Audit>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Outcome>, HttpError> {
    let body = body.map_err(|rejection| HttpError::bad_request(rejection.body_text(), REMEDY))?;
    let dry_run = dry_run(&body)?;
    audit.asked(&body);
    let job = Job::new(&app.ctx, app.retention.clone());
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
    let mut report = result?;
    for deleted in &report.deleted {
        tracing::info!(id = %deleted.id, objects = deleted.objects, bytes = deleted.bytes, "deleted by the retention policy");
    }
    match report.take_error() {
        None => Ok(Json(Outcome {
            dry_run,
            plan,
            report: Some(report),
        })),
        Some(error) => Err(error.into()),
    }
}

fn dry_run(body: &[u8]) -> Result<bool, Error> {
    let bad = |wrong: String| Error::new(Code::BadRequest, wrong).remedy(REMEDY);
    let body = body.trim_ascii();
    if body.is_empty() {
        return Ok(false);
    }
    // serde would take an array as a struct.
    if body[0] != b'{' {
        return Err(bad("the body is not a JSON object".to_owned()));
    }
    let body: Body = serde_json::from_slice(body).map_err(|e| bad(format!("the body is not understood: {e}")))?;
    Ok(body.dry_run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_request_deletes() {
        for (body, expected) in [
            ("", false),
            (" {} ", false),
            ("{\"dry_run\":true}", true),
            ("{\"dry_run\":false}", false),
        ] {
            assert_eq!(dry_run(body.as_bytes()).unwrap(), expected, "{body}");
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
            assert!(dry_run(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
