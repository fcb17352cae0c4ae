//! `GET /ui/backups/{id}`: what was saved, where, and how that is proven.

use super::backups::{marks, oddities, points, tone};
use super::begin::SAME_QDRANT;
use super::document::{Document, Place};
use super::parts::{Action, Tone, badge, foreign, name, problem, time};
use super::reader::Reader;
use super::text::Text;
use crate::base::snapshot::ArtifactKind;
use crate::base::text::size;
use crate::repository::catalog::{self, Detail, Mark, Proof, ProofVerdict};
use crate::repository::manifest::{Artifact, Collection};
use crate::repository::names::has_come;
use crate::server::App;
use crate::server::auth::Role;
use crate::server::error::HttpError;
use crate::server::extract::PathId;
use crate::wire::qdrant::Qdrant;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use time::OffsetDateTime;

pub(super) async fn show(State(app): State<App>, PathId(id): PathId, reader: Reader) -> Result<Response, HttpError> {
    let what = format!("backup {id:?}");
    let id = app.ask_store(&what, app.named(&id)).await?;
    let now = app.ctx.clock.now();
    let detail = catalog::show(&*app.ctx.store, id, now);
    let detail = app.ask_store(&what, detail).await?;
    let title = reader.say(Text::BackupOf(id.time())).into_owned();
    let main = html! {
        h1 { (reader.say(Text::Backup)) " " (time(id.time())) }
        p.marks { (marks(&reader, &detail.summary)) }
        (oddities(&detail.summary))
        (damage(&reader, &detail))
        (unproven(&reader, &detail))
        (facts(&reader, &detail))
        (proofs(&reader, &detail, now))
        (actions(&reader, &detail, app.drills_on.as_ref().map(Qdrant::url).as_deref()))
        (missing(&reader, &detail))
        (warnings(&reader, &detail))
        (collections(&reader, &detail))
        p { a href=(format!("/backups/{id}")) download=(format!("{id}.json")) { (reader.say(Text::ReportAsJson)) } }
    };
    let mut page = Document::new(title, Place::Backups, main);
    page.tone = tone(&detail.summary);
    Ok(page.send(&reader).await)
}

fn unproven(reader: &Reader, detail: &Detail) -> Markup {
    html! {
        @if detail.summary.marks.first() == Some(&Mark::Unproven) {
            p.notice.warning data-notice="unproven" { (reader.say(Text::UnprovenMeans)) }
        }
    }
}

/// What the last verification found.
fn damage(reader: &Reader, detail: &Detail) -> Markup {
    html! {
        @if !detail.damage_found.is_empty() {
            section.notice.bad data-notice="damaged" {
                h2 { (reader.say(Text::WhatIsDamaged)) }
                ul {
                    @for damage in &detail.damage_found {
                        li { @if let Some(collection) = &damage.collection { b { (name(collection)) } " " } (foreign(&damage.message)) }
                    }
                }
                @if detail.more_damage_found > 0 { p { (reader.say(Text::AndMore(detail.more_damage_found))) } }
                p.remedy { strong { (reader.say(Text::WhatToDo)) } " " (reader.say(Text::DamagedMeans)) }
            }
        }
    }
}

fn facts(reader: &Reader, detail: &Detail) -> Markup {
    let manifest = &detail.manifest;
    html! {
        dl.facts {
            div { dt { (reader.say(Text::Size)) } dd { (size(detail.summary.bytes)) } }
            div { dt { (reader.say(Text::Collections)) } dd { (detail.summary.collections) } }
            div { dt { (reader.say(Text::PointsHeading)) } dd { (points(detail.summary.points, false)) } }
            div { dt { (reader.say(Text::Finished)) } dd { (time(manifest.finished_at)) } }
        }
        p.where {
            span { "ID " code { (manifest.id.to_string()) } }
            span { "Qdrant " (foreign(&manifest.qdrant.version)) }
            @if let Some(source) = &manifest.qdrant.source { span { (foreign(&source.to_string())) } }
            span { (reader.say(Text::Selection)) " " (foreign(&manifest.selection.to_string())) }
        }
    }
}

/// How it is proven, step by step.
fn proofs(reader: &Reader, detail: &Detail, now: OffsetDateTime) -> Markup {
    let summary = &detail.summary;
    let (verified, drilled) = (summary.verified.as_ref(), summary.drilled.as_ref());
    let (by_engine, on_server) = match drilled {
        Some(proof) if proof.by_engine => (drilled, None),
        drilled => (drilled, drilled),
    };
    let steps = [
        (Text::Stored, Text::StoredMeans, None),
        (Text::Verified, Text::VerifiedMeans, verified.or(drilled)),
        (Text::Opened, Text::OpenedMeans, by_engine),
        (Text::Drilled, Text::DrilledMeans, on_server),
    ];
    html! {
        section aria-labelledby="proof-title" {
            h2 #proof-title { (reader.say(Text::HowProven)) }
            ol.steps {
                @for (at, (title, meaning, proof)) in steps.into_iter().enumerate() {
                    li data-step=(at) {
                        div.line { h3 { (reader.say(title)) } (step(reader, at, proof, detail, now)) }
                        p { (reader.say(meaning)) }
                    }
                }
            }
        }
    }
}

fn step(reader: &Reader, at: usize, proof: Option<&Proof>, detail: &Detail, now: OffsetDateTime) -> Markup {
    let Some(proof) = proof else {
        return match at {
            0 if detail.summary.problem.is_some() => badge(Tone::Unknown, &reader.say(Text::ProofUnknown)),
            0 => html! { (badge(Tone::Good, &reader.say(Text::Yes))) (time(detail.manifest.finished_at)) },
            _ => badge(Tone::Plain, &reader.say(Text::NotYet)),
        };
    };
    let (tone, text) = match proof.verdict {
        // What is said to be of the future proves nothing.
        ProofVerdict::Intact if proof.at.is_some_and(|at| !has_come(at, now)) => {
            (Tone::Warning, Text::Mark(Mark::Future))
        }
        ProofVerdict::Intact => (Tone::Good, Text::Yes),
        ProofVerdict::Damaged => (Tone::Bad, Text::FoundDamaged),
        ProofVerdict::Failed => (Tone::Bad, Text::ProofFailed),
        ProofVerdict::Unknown => (Tone::Unknown, Text::ProofUnknown),
    };
    html! { (badge(tone, &reader.say(text))) @if let Some(at) = proof.at { (time(at)) } }
}

fn actions(reader: &Reader, detail: &Detail, on: Option<&str>) -> Markup {
    let id = detail.manifest.id.to_string();
    let verify = Action {
        action: reader.link(&format!("/ui/backups/{id}/verify"), &[]),
        label: Text::VerifyNow,
        command: &format!("qdrant-backup verify {id}"),
        needed: Role::Operator,
        class: "quiet",
    };
    html! {
        div.actions {
            a.button.primary href=(reader.link("/ui/restore", &[("backup", &id)])) { (reader.say(Text::RestoreThis)) }
            (verify.form(reader, &html! {}))
            (pin(reader, detail.summary.pinned.is_some(), &id))
        }
        (drill(reader, on, &id))
    }
}

fn pin(reader: &Reader, is_pinned: bool, id: &str) -> Markup {
    let (label, command, needed) = match is_pinned {
        true => (Text::Unpin, "unpin", Role::Admin),
        false => (Text::Pin, "pin", Role::Operator),
    };
    let action = Action {
        action: reader.link(&format!("/ui/backups/{id}/{command}"), &[]),
        label,
        command: &format!("qdrant-backup {command} {id}"),
        needed,
        class: "quiet",
    };
    action.form(reader, &html! {})
}

/// `on`: the Qdrant that is there for drills. Where there is none, the one that is backed up has to be chosen.
fn drill(reader: &Reader, on: Option<&str>, id: &str) -> Markup {
    let flag = if on.is_none() { " --same-qdrant" } else { "" };
    let action = Action {
        action: reader.link(&format!("/ui/backups/{id}/drill"), &[]),
        label: Text::DrillNow,
        command: &format!("qdrant-backup drill {id}{flag}"),
        needed: Role::Admin,
        class: "quiet",
    };
    let choice = html! {
        @match on {
            Some(on) => p.typed.hint { (reader.say(Text::DrillWhere)) " " (foreign(on)) },
            None => label.typed { span { input type="checkbox" name=(SAME_QDRANT) value="true" required; " " (reader.say(Text::OnTheSame)) } }
        }
    };
    html! {
        section aria-labelledby="drill-title" {
            h2 #drill-title { (reader.say(Text::DrillTitle)) }
            p.hint { (reader.say(Text::DrillMeans)) }
            (action.form(reader, &choice))
        }
    }
}

fn missing(reader: &Reader, detail: &Detail) -> Markup {
    let failed = &detail.manifest.failed;
    html! {
        @if !failed.is_empty() {
            section.notice.bad data-notice="partial" {
                h2 { (reader.say(Text::Missing { collections: failed.len() })) }
                @for failure in failed { h3 { (name(&failure.collection)) } (problem(reader, &failure.error)) }
            }
        }
    }
}

fn warnings(reader: &Reader, detail: &Detail) -> Markup {
    html! {
        @if !detail.manifest.warnings.is_empty() {
            section.notice.warning data-notice="warnings" {
                h2 { (reader.say(Text::Warnings)) }
                ul { @for warning in &detail.manifest.warnings { li { (foreign(warning)) } } }
            }
        }
    }
}

fn collections(reader: &Reader, detail: &Detail) -> Markup {
    html! {
        section aria-labelledby="units-title" {
            h2 #units-title { (reader.say(Text::WhatIsIn)) }
            ul.units { @for collection in &detail.manifest.collections { (one(reader, collection)) } }
        }
    }
}

fn one(reader: &Reader, collection: &Collection) -> Markup {
    let damage = collection.damage();
    let refused = collection.cannot_be_restored();
    html! {
        li data-collection {
            div.line {
                h3 { (name(&collection.name)) }
                span.number { (points(collection.points_after, collection.points_estimated)) " " (reader.say(Text::PointsTitle)) }
                span.number { (size(collection.bytes())) }
                @if damage.is_some() { (badge(Tone::Bad, &reader.say(Text::FoundDamaged))) }
                @if collection.is_unsettled() { (badge(Tone::Warning, &reader.say(Text::WasOptimizing))) }
            }
            @if let Some(damage) = &damage { p { (foreign(damage)) } }
            @if let Some(refused) = &refused { p { (foreign(&refused.chain())) } }
            @if !collection.aliases.is_empty() {
                p { (reader.say(Text::Aliases)) @for alias in &collection.aliases { " " (name(alias)) } }
            }
            @for warning in &collection.warnings { p.remedy { (foreign(warning)) } }
            details {
                summary { (reader.say(Text::Objects { objects: collection.artifacts.len() })) }
                ul.objects { @for artifact in &collection.artifacts { (object(reader, artifact)) } }
            }
        }
    }
}

fn object(reader: &Reader, artifact: &Artifact) -> Markup {
    html! {
        li {
            @if let ArtifactKind::Shard(shard) = artifact.kind { b { (reader.say(Text::Shard(shard))) } " " }
            code { (foreign(&artifact.key)) }
            p {
                span { (size(artifact.bytes)) } " "
                span { (reader.say(Text::TakenAt)) " " (time(artifact.requested_at)) }
                @if artifact.is_streamed() { " " span { (reader.say(Text::Streamed)) } }
                @if let Some(node) = artifact.node { " " span { (reader.say(Text::Node)) " " (node) } }
            }
            p.hash { "SHA-256 " code { (foreign(&artifact.sha256)) }
                @if artifact.sha256_confirmed_by_qdrant { " " (reader.say(Text::ConfirmedByQdrant)) }
            }
        }
    }
}
