//! Progress for programs: one object a line, `docs/reference/events.md` tells its fields. The words are those of `GET /status`.

use super::pace::Estimate;
use crate::ops::events::Operation;
use crate::ops::progress::{Phase, RunProgress, UnitProgress};
use crate::repository::names::BackupId;
use serde::Serialize;
use time::OffsetDateTime;

/// A unit has entered a phase.
#[derive(Serialize)]
struct UnitLine<'a> {
    event: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    operation: String,
    backup: Option<BackupId>,
    name: &'a str,
    phase: Phase,
    bytes_done: u64,
    bytes_total: Option<u64>,
}

/// How far all is.
#[derive(Serialize)]
struct WholeLine {
    event: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    operation: String,
    backup: Option<BackupId>,
    units: usize,
    units_done: usize,
    bytes_done: u64,
    bytes_total: Option<u64>,
    bytes_per_second: Option<u64>,
    seconds_left: Option<u64>,
}

pub(super) fn unit(operation: Operation, at: OffsetDateTime, run: &RunProgress, unit: &UnitProgress) -> String {
    line(&UnitLine {
        event: "unit_progress",
        at,
        operation: operation.to_string(),
        backup: run.id,
        name: &unit.name,
        phase: unit.phase,
        bytes_done: unit.bytes_done,
        bytes_total: unit.bytes_total,
    })
}

pub(super) fn whole(operation: Operation, at: OffsetDateTime, run: &RunProgress, estimate: &Estimate) -> String {
    let totals = &run.totals;
    line(&WholeLine {
        event: "progress",
        at,
        operation: operation.to_string(),
        backup: run.id,
        units: totals.units,
        units_done: totals.ended(),
        bytes_done: totals.bytes_done,
        bytes_total: totals.bytes_total,
        bytes_per_second: estimate.bytes_per_second,
        seconds_left: estimate.left.map(|left| left.as_secs()),
    })
}

fn line(value: &impl Serialize) -> String {
    // Names and numbers can always be written.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}
