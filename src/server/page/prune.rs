//! `GET /ui/prune`: each backup, and why it stays or goes. What is confirmed is the plan that was shown, and no other.

use super::backups::marks_of;
use super::begin::{Form, begun};
use super::document::{Document, Place};
use super::parts::{Action, Tone, badge, foreign, time};
use super::reader::Reader;
use super::text::Text;
use crate::base::hash::sha256_hex;
use crate::base::text::size;
use crate::base::total::total;
use crate::ops::prune::{self as pruning, Item, PrunePlan};
use crate::server::App;
use crate::server::auth::Role;
use crate::server::error::{HttpError, RequestCode};
use crate::server::extract::BodyBesideQuery;
use crate::server::handlers::prune as prunes;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

pub(super) const COMMAND: &str = "qdrant-backup prune --yes";

pub(super) async fn show(State(app): State<App>, reader: Reader) -> Result<Response, HttpError> {
    if app.retention.is_empty() {
        return Ok(without_policy(&reader).await);
    }
    let plan = app
        .ask_store("what a prune would delete", pruning::plan(&prunes::context(&app)))
        .await?;
    let etag = etag(&plan);
    let title = reader.say(Text::PruneTitle);
    let main = html! {
        h1 { (title) }
        p { (reader.say(Text::PruneIntro)) " " (foreign(&plan.policy.to_string())) }
        (confirm(&reader, &plan, &etag))
        (list(&reader, &plan))
    };
    let mut page = Document::new(title, Place::Prune, main);
    page.etag = Some(etag);
    Ok(page.send(&reader).await)
}

/// Where no rule is set, a prune is refused, and nothing is ever deleted.
async fn without_policy(reader: &Reader) -> Response {
    let title = reader.say(Text::PruneTitle);
    let main = html! {
        h1 { (title) }
        section.notice data-prune="no_policy" {
            p { (reader.say(Text::NoPolicy)) }
            p.remedy { strong { (reader.say(Text::WhatToDo)) } " " (reader.say(Text::SetPolicy)) }
        }
    };
    Document::new(title, Place::Prune, main).send(reader).await
}

/// Deletes what was shown; 412 where that is not the plan any more.
pub(super) async fn begin(
    State(app): State<App>,
    reader: Reader,
    BodyBesideQuery(form): BodyBesideQuery<Form>,
) -> Result<Response, HttpError> {
    let job = prunes::context(&app);
    let plan = pruning::plan(&job).await?;
    require_unchanged(&form, &etag(&plan))?;
    begun(&app, &reader, prunes::start(&app, job, plan)?).await
}

/// Refuses what was confirmed by another plan than this one.
pub(super) fn require_unchanged(form: &Form, etag: &str) -> Result<(), HttpError> {
    match form.all("plan").eq([etag]) {
        true => Ok(()),
        false => Err(HttpError::new(
            RequestCode::PlanChanged,
            "the plan is not the one that was confirmed: something has changed since it was shown; nothing was done",
            "look at the new plan, and confirm that",
        )),
    }
}

/// What the plan decides, whenever it was made and for whatever reasons.
fn etag(plan: &PrunePlan) -> String {
    let decided = |item: &Item| (item.id, item.is_backup, item.keep, item.objects, item.bytes);
    let items: Vec<_> = plan.items.iter().map(decided).collect();
    let jobs: Vec<_> = plan
        .jobs
        .iter()
        .map(|records| (&records.execution, records.objects))
        .collect();
    // Texts, numbers and truth values: it cannot fail.
    sha256_hex(&serde_json::to_vec(&(items, jobs)).unwrap_or_default())
}

fn confirm(reader: &Reader, plan: &PrunePlan, etag: &str) -> Markup {
    let bytes = total(plan.deletions().map(|item| item.bytes));
    let going = plan.deletions().filter(|item| item.is_backup).count();
    let leftovers = plan.deletions().count() - going;
    let all = plan.items.iter().filter(|item| item.is_backup).count();
    if plan.is_empty() {
        return html! { p.notice.good data-prune="nothing" { (reader.say(Text::NothingToPrune)) } };
    }
    let action = Action {
        action: reader.link("/ui/prune", &[]),
        label: Text::DeleteThese {
            backups: going,
            leftovers,
        },
        command: COMMAND,
        needed: Role::Admin,
        class: "danger",
    };
    html! {
        section.notice.warning data-prune="some" {
            p { (reader.say(Text::PruneSum { going, all, leftovers, bytes })) }
            (action.form(reader, &html! { input type="hidden" name="plan" value=(etag); }))
        }
    }
}

fn list(reader: &Reader, plan: &PrunePlan) -> Markup {
    html! {
        ul.backups {
            @for item in plan.items.iter().filter(|item| !item.keep) { (one(reader, item)) }
            @for item in plan.items.iter().filter(|item| item.keep) { (one(reader, item)) }
        }
        @if !plan.foreign.is_empty() {
            details {
                summary { (reader.say(Text::ForeignObjects { objects: plan.foreign.len() })) }
                ul { @for key in plan.foreign.iter().take(100) { li { (foreign(key)) } } }
            }
        }
    }
}

fn one(reader: &Reader, item: &Item) -> Markup {
    let id = item.id.to_string();
    html! {
        li data-backup=(id) data-keep=(item.keep) {
            @match item.is_backup {
                true => a href=(reader.link(&format!("/ui/backups/{id}"), &[])) { (time(item.id.time())) },
                false => span { (time(item.id.time())) },
            }
            span.marks {
                @match item.keep {
                    true => (badge(Tone::Good, &reader.say(Text::Stays))),
                    false => (badge(Tone::Bad, &reader.say(Text::Goes))),
                }
                @if !item.is_backup { " " (badge(Tone::Plain, &reader.say(Text::Leftover))) }
                " " (marks_of(reader, &item.marks))
            }
            span.why {
                @if item.keep {
                    @for (at, reason) in item.reasons.iter().enumerate() {
                        @if at > 0 { (reader.say(Text::Comma)) }
                        (reader.say(Text::Reason(*reason)))
                    }
                } @else {
                    (reader.say(Text::NoRuleKeepsIt))
                }
            }
            span.number { (size(item.bytes)) }
        }
    }
}
