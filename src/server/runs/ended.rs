//! Runs of this process that have ended: the last few, with what they came to.

use super::{OwnRun, RunEnd};
use crate::base::error::{Error, ErrorInfo, Result};
use crate::ops::journal;
use crate::repository::names::RunId;
use crate::repository::runs::RunRecord;
use crate::server::api::ReportOfError;
use std::collections::VecDeque;

/// Runs that are remembered. Older ones are in the store.
const REMEMBERED: usize = 20;
/// Largest report that is remembered, in bytes as JSON.
const LARGEST: usize = 256 << 10;

/// How a run ended, and its report where there is one that is small enough.
pub(super) struct Outcome {
    pub(super) end: journal::RunEnd,
    pub(super) report: Option<ReportOfError>,
    /// Whether it was refused rather than that it ended.
    pub(super) is_refusal: bool,
}

impl Outcome {
    pub(super) fn of_error(error: &Error) -> Self {
        Self {
            end: journal::RunEnd::of(Some(ErrorInfo::over_http(error))),
            report: None,
            is_refusal: error.is_refusal(),
        }
    }

    pub(super) fn of<T: Clone + Into<ReportOfError>>(end: &Result<RunEnd<T>>) -> Self {
        match end {
            Ok(RunEnd { report, error }) => {
                let report = report.clone().into();
                Self {
                    end: journal::RunEnd {
                        is_unproven: report.is_unproven(),
                        ..journal::RunEnd::of(error.as_ref().map(ErrorInfo::over_http))
                    },
                    report: Some(report).filter(is_small),
                    is_refusal: false,
                }
            }
            Err(error) => Self::of_error(error),
        }
    }
}

fn is_small(report: &ReportOfError) -> bool {
    serde_json::to_vec(report).is_ok_and(|json| json.len() <= LARGEST)
}

#[derive(Debug, Default)]
pub(super) struct EndedRuns(VecDeque<(RunRecord, Option<ReportOfError>)>);

impl EndedRuns {
    pub(super) fn push(&mut self, record: RunRecord, report: Option<ReportOfError>) {
        self.0.push_back((record, report));
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    pub(super) fn find(&self, id: &RunId) -> Option<OwnRun> {
        self.all().find(|run| run.record.id == *id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = OwnRun> {
        self.0.iter().map(|(record, report)| OwnRun {
            record: record.clone(),
            report: report.clone(),
        })
    }
}
