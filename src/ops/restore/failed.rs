//! Collections that were not restored: their state now, and the command to try them again.

use super::command::command;
use super::converge::{State, state};
use super::execute::{Reached, Restoring, Unrestored};
use super::plan::RestorePlan;
use super::report::{Failed, NextAttempt};
use super::step::Existing;
use super::{Interface, RestoreRequest, RestoreStep};
use crate::base::error::{Code, Error};
use crate::base::shell::option;
use crate::repository::manifest::Relation;

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
    of: Restoring<'_>,
    request: &RestoreRequest,
    step: &RestoreStep,
    unrestored: &Unrestored,
) -> Failed {
    let Restoring { ctx, plan, run, .. } = of;
    let Unrestored {
        error, reached, left, ..
    } = unrestored;
    let now = state(run, &ctx.qdrant, &step.target).await;
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

/// A collection that exists, is not as in the backup, and was not to be touched.
pub(super) async fn differs(of: Restoring<'_>, request: &RestoreRequest, step: &RestoreStep, why: &str) -> Failed {
    let Restoring { ctx, plan, run, .. } = of;
    let error = Error::new(
        Code::RestoreUnequal,
        format!("collection {:?} exists and differs from the backup: {why}", step.target),
    )
    .remedy(format!(
        "restore beside it, or replace it: {}",
        option("--overwrite-only", &step.source)
    ));
    let state = format!("unchanged: {}", state(run, &ctx.qdrant, &step.target).await);
    failure(request, plan, step, &error, state, NextAttempt::Beside)
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
            NextAttempt::AliasesOnly if !goes_on(request) => format!(
                "set the aliases of {:?} with POST {}/collections/aliases; the collection itself is restored",
                step.target, plan.target
            ),
            NextAttempt::Beside => beside(request, plan, vec![step.source.clone()]),
            _ if goes_on(request) => going_on(request, plan, &[(&step.source, again)]),
            _ => next(request, plan, again, vec![step.source.clone()]),
        },
        again,
        is_started: true,
    }
}

/// Whether one command goes on with whatever was not restored, leaving out what is as it should be by then. Not where all was to be
/// replaced: what has other content may have the same count. A swap is always one of all.
fn goes_on(request: &RestoreRequest) -> bool {
    matches!(request.form, Interface::CommandLine { .. }) && !request.swap && !request.overwrite
}

/// The command that goes on with these. What it may write over are those that this run made, and those that it was allowed to.
fn going_on(request: &RestoreRequest, plan: &RestorePlan, collections: &[(&str, NextAttempt)]) -> String {
    let names = collections.iter().map(|(name, _)| (*name).to_owned());
    let ours = collections
        .iter()
        .filter(|(name, again)| *again == NextAttempt::OverOurs || request.is_named(name));
    let overwrite_only: Vec<_> = ours.map(|(name, _)| (*name).to_owned()).collect();
    let source = plan.source.as_ref();
    let is_of_another = source.is_some_and(|source| plan.target_source.relation(source) != Relation::Same);
    let request = RestoreRequest {
        skip_existing: true,
        // What is ours has the backup's points by now, and would be refused for that.
        other_source: request.other_source || (is_of_another && !overwrite_only.is_empty()),
        overwrite_only,
        ..request.again(plan.id, names.collect())
    };
    command(&request, false)
}

/// The command that restores these beside what is there.
fn beside(request: &RestoreRequest, plan: &RestorePlan, collections: Vec<String>) -> String {
    let request = request.again(plan.id, collections).under_new_names(plan.id);
    command(&request, false)
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
    let of = |attempts: &[NextAttempt]| -> Vec<String> {
        let alike = failed.iter().filter(|f| attempts.contains(&f.again));
        alike.map(|f| f.source.clone()).collect()
    };
    let mut all = Vec::new();
    let differing = of(&[NextAttempt::Beside]);
    if !differing.is_empty() {
        all.push(beside(request, plan, differing));
    }
    if goes_on(request) {
        let rest = failed.iter().filter(|f| f.again != NextAttempt::Beside);
        let rest: Vec<_> = rest.map(|f| (f.source.as_str(), f.again)).collect();
        if !rest.is_empty() {
            all.insert(0, going_on(request, plan, &rest));
        }
        return all;
    }
    // Asked to write over all, this run's own is no exception.
    let ours: &[&[NextAttempt]] = match request.overwrite {
        true => &[&[NextAttempt::AsAsked, NextAttempt::OverOurs]],
        false => &[&[NextAttempt::AsAsked], &[NextAttempt::OverOurs]],
    };
    for attempts in ours.iter().chain([&[NextAttempt::LookFirst][..]].iter()) {
        let collections = of(attempts);
        if !collections.is_empty() {
            all.push(next(request, plan, attempts[0], collections));
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
