//! `POST /restore`.

mod plan;
mod report;

pub(crate) use plan::RestorePlan;
pub(crate) use report::RestoreReport;

use super::request::{self, RequestBody, Selected};
use super::values::Transport;
use crate::base::error::Result;
use crate::ops::restore::{self, Interface, Points, Timeouts};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU16;
use utoipa::ToSchema;

const REMEDY: &str = "send {\"id\": \"latest\"} and, as needed, collections, include, exclude, into, overwrite, yes, swap, move_aliases, replication_factor, via, no_lock, dry_run";

/// What is to be restored. A target is not a part of it: whoever may call this service must not choose where Qdrant's data goes.
#[derive(Debug)]
pub(crate) struct RestoreRequest {
    pub(crate) request: restore::RestoreRequest,
    /// Whether only the plan is wanted.
    pub(crate) dry_run: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RestoreRequest)]
pub(crate) struct RestoreFields {
    /// Of the backup, or `latest`.
    id: String,
    /// Names in the backup; without any list, all of them.
    #[serde(default)]
    #[schema(min_items = 1)]
    collections: Option<Vec<String>>,
    /// Patterns.
    #[serde(default)]
    #[schema(min_items = 1)]
    include: Option<Vec<String>>,
    #[serde(default)]
    exclude: Option<Vec<String>>,
    /// Another name; `{}` stands for the old one.
    into: Option<String>,
    /// Whether collections that have points may be replaced.
    #[serde(default)]
    overwrite: bool,
    #[serde(default)]
    yes: bool,
    #[serde(default)]
    swap: bool,
    #[serde(default)]
    move_aliases: bool,
    #[schema(value_type = Option<u16>, minimum = 1)]
    replication_factor: Option<NonZeroU16>,
    #[serde(default)]
    via: Transport,
    #[serde(default)]
    no_lock: bool,
    /// Whether only the plan is wanted.
    #[serde(default)]
    dry_run: bool,
}

impl RequestBody for RestoreRequest {
    fn parse(body: &[u8]) -> Result<Self> {
        let fields: RestoreFields = request::required(body, REMEDY)?;
        let selected = Selected {
            collections: fields.collections,
            include: fields.include,
            exclude: fields.exclude,
        };
        let selection = selected.selection("collections", REMEDY)?.unwrap_or_default();
        if fields.yes && !fields.overwrite {
            return Err(request::bad("`yes` is given without `overwrite`", REMEDY));
        }
        let request = restore::RestoreRequest {
            id: fields.id,
            selection,
            into: fields.into,
            overwrite: fields.overwrite,
            other_source: fields.yes,
            move_aliases: fields.move_aliases,
            swap: fields.swap,
            replication_factor: fields.replication_factor.map(|n| n.get().into()),
            via: fields.via.into(),
            no_lock: fields.no_lock,
            patience: Timeouts::default(),
            form: Interface::Http,
            ..restore::RestoreRequest::default()
        };
        Ok(Self {
            request,
            dry_run: fields.dry_run,
        })
    }
}

/// How many points a collection must have; a range when it was written to while it was backed up.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct PointRange {
    min: u64,
    max: u64,
    /// Whether these are estimates.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

impl From<Points> for PointRange {
    fn from(points: Points) -> Self {
        Self {
            min: points.min,
            max: points.max,
            estimated: points.estimated,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ops::restore::{command, samples};

    fn parse(body: &[u8]) -> Result<(restore::RestoreRequest, bool)> {
        RestoreRequest::parse(body).map(|parsed| (parsed.request, parsed.dry_run))
    }

    #[test]
    fn a_told_request_is_the_request_to_the_last_field() {
        for (request, dry_run) in samples::requests(1000, |_| Interface::Http) {
            let told = command(&request, dry_run);
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
