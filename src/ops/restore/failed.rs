//! Collections that were not restored: their state now, and the command to try them again.

use super::command::command;
use super::converge::{State, state};
use super::execute::{Reached, Unrestored};
use super::plan::RestorePlan;
use super::report::{Failed, NextAttempt};
use super::step::Existing;
use super::{RestoreRequest, RestoreStep};
use crate::base::error::{Code, Error};
use crate::ops::context::Context;

/// A collection whose restore was not started.
pub(super) fn not_begun(request: &RestoreRequest, plan: &RestorePlan, step: &RestoreStep, error: &Error) -> Failed {
    let state = "unchanged: not started".to_owned();
    Failed {
        is_started: false,
        ..failure(request, plan, step, error, state, NextAttempt::AsAsked)
    }
}

/// A collection that was not restored, with its state now.
pub(super) async fn failed(
    ctx: &Context,
    request: &RestoreRequest,
    plan: &RestorePlan,
    step: &RestoreStep,
    unrestored: &Unrestored,
) -> Failed {
    let Unrestored { error, reached, left } = unrestored;
    let now = state(&ctx.qdrant, &step.target).await;
    let exists = matches!(now, State::Exists(_));
    // Ours is only what was not there when the plan was made, nor right before it was begun.
    let again = match (&step.overwrites, *reached != Reached::Nothing, exists) {
        (None, true, true) => NextAttempt::OverOurs,
        (None | Some(Existing::Readable { points: 0 }), false, true) => NextAttempt::LookFirst,
        _ => NextAttempt::AsAsked,
    };
    let mut state = now.to_string();
    if again == NextAttempt::LookFirst {
        state += "; this run neither created nor changed it";
    } else if matches!(
        error.code(),
        Code::Cancelled | Code::LeaseLost | Code::QdrantUnreachable | Code::Stalled
    ) {
        state += match reached {
            Reached::Restored => "; Qdrant reported it restored, and the comparison with the backup did not end",
            // A client that goes away does not stop Qdrant.
            Reached::Nothing | Reached::Asked => ", and Qdrant may still be restoring it",
        };
    }
    if let Some(left) = left {
        state += &format!("; {left}");
    }
    failure(request, plan, step, error, state, again)
}

/// What is said of it, and how it is tried again.
pub(super) fn failure(
    request: &RestoreRequest,
    plan: &RestorePlan,
    step: &RestoreStep,
    error: &Error,
    state: String,
    again: NextAttempt,
) -> Failed {
    Failed {
        source: step.source.clone(),
        target: step.target.clone(),
        error: error.into(),
        state,
        next: match again {
            NextAttempt::AliasesOnly => format!(
                "set the aliases of {:?} with POST {}/collections/aliases; the collection itself is restored",
                step.target, plan.target
            ),
            _ => next(request, plan, again, vec![step.source.clone()]),
        },
        again,
        is_started: true,
    }
}

/// The command that tries these collections again. It never offers to overwrite what this run did not make itself, unless that
/// was asked for.
fn next(request: &RestoreRequest, plan: &RestorePlan, again: NextAttempt, collections: Vec<String>) -> String {
    let mut request = request.again(plan.id, collections);
    // A swap never writes over anything.
    request.overwrite |= again == NextAttempt::OverOurs && !request.swap;
    command(&request, again == NextAttempt::LookFirst)
}

/// The same for all of them: one command for those that it is the same for.
pub(super) fn next_for_all(request: &RestoreRequest, plan: &RestorePlan, failed: &[Failed]) -> Vec<String> {
    let mut all = Vec::new();
    for again in [NextAttempt::AsAsked, NextAttempt::OverOurs, NextAttempt::LookFirst] {
        let collections: Vec<_> = failed
            .iter()
            .filter(|f| f.again == again)
            .map(|f| f.source.clone())
            .collect();
        if !collections.is_empty() {
            all.push(next(request, plan, again, collections));
        }
    }
    all.extend(
        failed
            .iter()
            .filter(|f| f.again == NextAttempt::AliasesOnly)
            .map(|f| f.next.clone()),
    );
    all.dedup();
    all
}
