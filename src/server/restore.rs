//! `POST /restore`: restores a backup and answers when the result has been compared with it.

use super::App;
use super::audit::Audit;
use super::backup::{refused, unread};
use super::error::HttpError;
use crate::base::error::{Code, Error};
use crate::ops::restore::{self, Form, Patience, RestoreRequest, Via};
use crate::repository::selection::Selection;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;

const REMEDY: &str = "send {\"id\": \"latest\"} and, as needed, collections, include, exclude, into, overwrite, yes, swap, move_aliases, via, no_lock, dry_run";

/// A target is not a part of it: whoever may call this service must not choose where Qdrant's data goes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    id: String,
    #[serde(default)]
    collections: Option<Vec<String>>,
    #[serde(default)]
    include: Option<Vec<String>>,
    #[serde(default)]
    exclude: Option<Vec<String>>,
    into: Option<String>,
    #[serde(default)]
    overwrite: bool,
    #[serde(default)]
    yes: bool,
    #[serde(default)]
    swap: bool,
    #[serde(default)]
    move_aliases: bool,
    #[serde(default)]
    via: Via,
    #[serde(default)]
    no_lock: bool,
    #[serde(default)]
    dry_run: bool,
}

/// 200 with the report when everything asked for was restored and compared, or with the plan when that was asked for and has
/// no refusal. Otherwise the error, with the report or the plan where there is one.
pub(super) async fn restore(
    State(app): State<App>,
    Extension(audit): Extension<Audit>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, HttpError> {
    let body = body.map_err(unread)?;
    let (request, dry_run) = parse(&body)?;
    audit.asked(&body);
    if dry_run {
        let plan = restore::plan(&app.ctx, &request).await?;
        return match plan.error() {
            None => json(&plan),
            Some(error) => Err(HttpError::from(error).with_plan(&plan)),
        };
    }
    let run = match app.runs.restore(request) {
        Ok(run) => run,
        Err(e) => return Err(refused(&app, e).await),
    };
    // A client that goes away drops this future here; the run goes on.
    let result = run.await.unwrap_or_else(|e| {
        Err(Error::new(Code::Internal, "the restore ended by a defect of this service").because(e))
    });
    match result {
        Ok(report) => match report.error() {
            None => json(&report),
            Some(error) => Err(HttpError::from(error).with_report(&report).logged()),
        },
        Err(e) => Err(refused(&app, e).await.logged()),
    }
}

fn json(value: &impl serde::Serialize) -> Result<Json<Value>, HttpError> {
    let value = serde_json::to_value(value).map_err(|e| Error::new(Code::Internal, "writing JSON").because(e))?;
    Ok(Json(value))
}

/// The request, and whether only its plan is wanted. What is unclear is never taken for everything.
fn parse(body: &[u8]) -> Result<(RestoreRequest, bool), HttpError> {
    if body.trim_ascii().first() != Some(&b'{') {
        return Err(HttpError::bad_request("the body is not a JSON object", REMEDY));
    }
    let body: Body = serde_json::from_slice(body)
        .map_err(|e| HttpError::bad_request(format!("the body is not understood: {e}"), REMEDY))?;
    for (field, list) in [
        ("collections", &body.collections),
        ("include", &body.include),
        ("exclude", &body.exclude),
    ] {
        if list.iter().flatten().any(|name| name.trim().is_empty()) {
            return Err(HttpError::bad_request(format!("`{field}` holds an empty name"), REMEDY));
        }
        if field != "exclude" && list.as_ref().is_some_and(Vec::is_empty) {
            return Err(HttpError::bad_request(
                format!("`{field}` is an empty list, which selects nothing"),
                REMEDY,
            ));
        }
    }
    if body.yes && !body.overwrite {
        return Err(HttpError::bad_request("`yes` is given without `overwrite`", REMEDY));
    }
    let request = RestoreRequest {
        id: body.id,
        selection: Selection {
            collections: body.collections.unwrap_or_default(),
            include: body.include.unwrap_or_default(),
            exclude: body.exclude.unwrap_or_default(),
        },
        into: body.into,
        overwrite: body.overwrite,
        yes: body.yes,
        move_aliases: body.move_aliases,
        swap: body.swap,
        via: body.via,
        no_lock: body.no_lock,
        patience: Patience::default(),
        form: Form::Http,
    };
    Ok((request, body.dry_run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::restore::samples;

    #[test]
    fn a_told_request_is_the_request_to_the_last_field() {
        for (request, dry_run) in samples::requests(1000, |_| Form::Http) {
            let told = restore::command(&request, dry_run);
            let body = told.strip_prefix("POST /restore ").unwrap_or_else(|| panic!("{told}"));
            let parsed = parse(body.as_bytes()).unwrap_or_else(|e| panic!("{told}: {e:?}"));
            assert_eq!(parsed, (request, dry_run), "{told}");
        }
    }

    #[test]
    fn what_is_unclear_is_never_taken_for_everything() {
        for wrong in [
            "",
            "{}",
            "[]",
            "\"latest\"",
            r#"{"id":"latest","colections":["a"]}"#,
            r#"{"id":"latest","collections":[]}"#,
            r#"{"id":"latest","include":[" "]}"#,
            r#"{"id":"latest","to":"http://x"}"#,
            r#"{"id":1}"#,
            r#"{"id":"latest","via":"mail"}"#,
            r#"{"id":"latest","yes":true}"#,
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let (request, dry_run) = parse(br#"{"id":"latest","collections":["a"],"dry_run":true}"#).unwrap();
        assert!(dry_run && !request.overwrite && !request.swap && !request.no_lock);
        assert!(parse(br#"{"id":"latest","no_lock":true}"#).unwrap().0.no_lock);
        assert_eq!(request.selection.collections, ["a"]);
    }
}
