//! The end of a command, for people or for programs: these get the error as the HTTP API gives it, with what was done in spite
//! of it.

use super::{print, print_json};
use crate::base::error::{Error, ErrorInfo, Result};
use serde::Serialize;

/// As `server::api::ErrorResponse`.
#[derive(Serialize)]
struct Failure<T> {
    error: ErrorInfo,
    #[serde(flatten)]
    with: T,
}

/// What was done all the same.
#[derive(Serialize)]
pub(super) struct With<'a, T> {
    pub(super) report: &'a T,
}

/// What was to be done, and what was done of it.
#[derive(Serialize)]
pub(super) struct WithPlan<'a, P, R> {
    pub(super) plan: &'a P,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) report: Option<R>,
}

#[derive(Serialize)]
struct Nothing {}

/// Prints what a command came to; fails with the error that this amounts to, if it does.
pub(super) fn conclude<T: Serialize>(
    json: bool,
    report: &T,
    error: Option<Error>,
    text: impl FnOnce(&T) -> String,
) -> Result<()> {
    match json {
        true => conclude_json(report, With { report }, error),
        false => {
            let printed = print(&text(report));
            error.map_or(printed, Err)
        }
    }
}

/// The same for JSON alone; `with`: what stands beside an error.
pub(super) fn conclude_json(report: &impl Serialize, with: impl Serialize, error: Option<Error>) -> Result<()> {
    match error {
        None => print_json(report),
        Some(error) => {
            // An output that cannot be written hides no error of what was done.
            let _ = print_json(&Failure {
                error: (&error).into(),
                with,
            });
            Err(error)
        }
    }
}

/// Prints the error of a command that printed nothing.
pub(super) fn print_failure(error: &Error) {
    let failure = Failure {
        error: error.into(),
        with: Nothing {},
    };
    // Nobody is left to be told when this fails.
    let _ = print_json(&failure);
}
