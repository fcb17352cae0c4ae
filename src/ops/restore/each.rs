//! The collections of a plan, some at once.

use super::RestoreStep;
use super::execute::{Restoring, restore_one};
use super::failed::{differs, failed, not_begun};
use super::plan::RestorePlan;
use super::report::{Failed, Restored};
use super::step::Standing;
use super::turns::Turns;
use super::{RestoreRequest, report};
use crate::base::error::Error;
use crate::ops::context::Context;
use crate::ops::progress::Phase;
use crate::ops::run::{Run, stopped};
use futures_util::stream::{FuturesUnordered, StreamExt};

/// A collection that was tried and is not restored.
struct Tried {
    failed: Failed,
    error: Error,
}

/// Restores the collections of `plan`, so many at once as is set. They begin in the order of the plan, each as soon as it has a
/// turn, and are told in that order. A failure is that of one collection, unless it is a refusal of the key: then no other one
/// is begun, nor when the run is told to stop. Those under way end by themselves, each after cleaning up.
pub(super) async fn restore_each(
    ctx: &Context,
    request: &RestoreRequest,
    plan: &RestorePlan,
    run: &Run,
) -> (Vec<Restored>, Vec<Failed>) {
    let turns = Turns::new(ctx.settings.restore_concurrency);
    let of = Restoring {
        ctx,
        plan,
        patience: &request.patience,
        run,
        turns: &turns,
    };
    let steps = || plan.collections.iter().enumerate();
    let mut waiting = steps().filter(|(_, step)| step.is_restored());
    let mut under_way = FuturesUnordered::new();
    let (mut restored, mut failed) = (Vec::new(), Vec::new());
    for (at, step) in steps() {
        if let Some(Standing::Differs { why }) = &step.standing {
            failed.push((at, differs(of, request, step, why).await));
        }
    }
    let mut refused: Option<Error> = None;
    loop {
        while under_way.len() < ctx.settings.restore_concurrency.max(1)
            && refused.is_none()
            && !run.cancel.is_cancelled()
            && let Some((at, step)) = waiting.next()
        {
            under_way.push(async move { (at, one(of, request, at, step).await) });
        }
        match under_way.next().await {
            Some((at, Ok(done))) => restored.push((at, done)),
            Some((at, Err(tried))) => {
                failed.push((at, tried.failed));
                refused = refused.or(Some(tried.error).filter(|error| error.code().refuses_key()));
            }
            None => break,
        }
    }
    if run.cancel.is_cancelled() {
        refused = Some(stopped());
    }
    if let Some(error) = &refused {
        failed.extend(waiting.map(|(at, step)| (at, not_begun(request, plan, step, error))));
    }
    (report::in_order(restored), report::in_order(failed))
}

/// Restores one collection and tells how that ended.
async fn one(of: Restoring<'_>, request: &RestoreRequest, at: usize, step: &RestoreStep) -> Result<Restored, Tried> {
    let Restoring { plan, run, .. } = of;
    match restore_one(of, at, step).await {
        Ok(restored) => {
            run.progress.phase(&step.unit(), Phase::Restored);
            tracing::info!(
                backup = %plan.id,
                collection = step.source,
                target = step.target,
                points = restored.points,
                "collection {:?} restored", step.source
            );
            Ok(restored)
        }
        Err(unrestored) => {
            run.progress.phase(&step.unit(), Phase::Failed);
            let error = &unrestored.error;
            tracing::error!(backup = %plan.id, collection = step.source, target = step.target, code = %error.code(), error = %error, "collection {:?} not restored", step.source);
            Err(Tried {
                failed: failed(of, request, step, &unrestored).await,
                error: unrestored.error,
            })
        }
    }
}
