//! The third step: the plan as the command line prints it, what forbids it first.

use super::step;
use crate::base::error::ErrorInfo;
use crate::base::hash::sha256_hex;
use crate::base::text::{count, plain, size};
use crate::ops::restore::{self as restoring, AliasPlan, Existing, RestorePlan, RestoreRequest, RestoreStep};
use crate::server::App;
use crate::server::auth::Role;
use crate::server::error::HttpError;
use crate::server::page::parts::{Action, Tone, badge, foreign, name, problem};
use crate::server::page::reader::Reader;
use crate::server::page::text::Text;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

pub(super) async fn show(app: &App, reader: &Reader, request: RestoreRequest) -> Result<Response, HttpError> {
    let plan = app
        .ask_qdrant("what a restore would do", restoring::plan(&app.ctx, &request))
        .await?;
    let etag = etag(&plan);
    let command = restoring::command(&request, false);
    let content = html! {
        (refusals(reader, &plan))
        (replaced(reader, &plan))
        h2 { (reader.say(Text::RestoreSum { collections: plan.collections.len(), bytes: plan.bytes() })) " " (foreign(&plan.target)) }
        ul.units { @for step in &plan.collections { (one(reader, step)) } }
        @if !plan.warnings.is_empty() {
            section.notice.warning data-notice="warnings" {
                h2 { (reader.say(Text::Warnings)) }
                ul { @for warning in &plan.warnings { li { (foreign(warning)) } } }
            }
        }
        (confirm(reader, &plan, &etag, &command))
        details {
            summary { (reader.say(Text::AsPrinted)) }
            pre.printed lang="en" dir="ltr" tabindex="0" { (plan.to_string()) }
        }
    };
    Ok(step(reader, 2, Some(etag), content).await)
}

/// What the plan does. How old the backup is, and how many points there are that would be replaced, changes by itself.
pub(super) fn etag(plan: &RestorePlan) -> String {
    let mut shown = serde_json::to_value(plan).unwrap_or_default();
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("age_seconds");
    }
    for step in shown
        .get_mut("collections")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(points) = step.pointer_mut("/overwrites/points") {
            *points = (points.as_u64() != Some(0)).into();
        }
    }
    sha256_hex(shown.to_string().as_bytes())
}

fn refusals(reader: &Reader, plan: &RestorePlan) -> Markup {
    html! {
        @if !plan.refusals.is_empty() {
            section.notice.bad data-notice="refused" role="alert" {
                h2 { (reader.say(Text::PlanRefused)) }
                @for refusal in &plan.refusals {
                    @if let Some(collection) = &refusal.collection { h3 { (name(collection)) } }
                    (problem(reader, &ErrorInfo::<String>::from(refusal.error.clone())))
                }
            }
        }
    }
}

fn replaced(reader: &Reader, plan: &RestorePlan) -> Markup {
    let replaced = plan.replaced();
    html! {
        @if !replaced.is_empty() && plan.refusals.is_empty() {
            section.notice.bad data-notice="replaces" {
                h2 { (reader.say(Text::WouldReplace)) }
                ul {
                    @for (target, points) in replaced {
                        li { (name(target)) " " @match points {
                            Some(points) => (reader.say(Text::Points(points))),
                            None => (reader.say(Text::UnreadableState)),
                        } }
                    }
                }
            }
        }
    }
}

fn one(reader: &Reader, step: &RestoreStep) -> Markup {
    let (tone, what) = match &step.overwrites {
        None => (Tone::Good, reader.say(Text::IsMadeNew)),
        Some(Existing::Readable { points: 0 }) => (Tone::Warning, reader.say(Text::IsEmpty)),
        Some(Existing::Readable { points }) => (Tone::Bad, reader.say(Text::Overwrites(*points))),
        Some(Existing::Unreadable { .. }) => (Tone::Bad, reader.say(Text::UnreadableState)),
    };
    let points = &step.points;
    html! {
        li data-target {
            div.line {
                h3 { (name(&step.source)) " → " (name(&step.target)) }
                (badge(tone, &what))
                span.number {
                    @if points.estimated { "≈ " }
                    (count(points.min)) @if points.max != points.min { "–" (count(points.max)) }
                    " " (reader.say(Text::PointsTitle))
                }
                span.number { (size(step.bytes)) }
            }
            @if let Some(Existing::Unreadable { problem }) = &step.overwrites { p { (foreign(problem)) } }
            @for difference in &step.differences { p.remedy { (foreign(&difference.to_string())) } }
            @for alias in &step.aliases { (self::alias(reader, alias)) }
            @for warning in &step.warnings { p.remedy { (foreign(warning)) } }
        }
    }
}

fn alias(reader: &Reader, plan: &AliasPlan) -> Markup {
    html! {
        p {
            (reader.say(Text::Alias)) " " (name(&plan.alias)) ": " (reader.say(Text::AliasAction(plan.action)))
            @if let Some(now) = &plan.now { " (" (reader.say(Text::PointsTo)) " " (name(now)) ")" }
        }
    }
}

fn confirm(reader: &Reader, plan: &RestorePlan, etag: &str, command: &str) -> Markup {
    if !plan.refusals.is_empty() {
        let id = plan.id.to_string();
        let chosen = reader.all("collection").map(|name| ("collection", name));
        let back = reader.link(
            "/ui/restore",
            &[("backup", id.as_str())].into_iter().chain(chosen).collect::<Vec<_>>(),
        );
        return html! { p { a.button href=(back) { (reader.say(Text::ChangeTarget)) } } };
    }
    let replaced = plan.replaced();
    let action = Action {
        // What is asked for stands in the address, as it does now.
        action: reader.here(),
        label: Text::RestoreNow,
        command,
        needed: Role::Admin,
        class: if replaced.is_empty() { "primary" } else { "danger" },
    };
    let fields = html! {
        input type="hidden" name="plan" value=(etag);
        @for (target, _) in &replaced {
            label.typed {
                span { (reader.say(Text::TypeTheName)) " " bdi.name { (plain(target)) } }
                input type="text" name="confirm" required autocomplete="off" autocapitalize="off" spellcheck="false";
            }
        }
    };
    html! { section.confirm { (action.form(reader, &fields)) } }
}
