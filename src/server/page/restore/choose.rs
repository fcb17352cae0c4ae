//! The first two steps: which backup, and where to.

use super::{COPY, Target, step};
use crate::base::text::size;
use crate::repository::catalog::{self, ListFilter, Summary};
use crate::server::App;
use crate::server::error::HttpError;
use crate::server::page::backups::{marks, points};
use crate::server::page::parts::{name, time};
use crate::server::page::reader::Reader;
use crate::server::page::text::Text;
use axum::response::Response;
use maud::{Markup, html};

/// Backups to choose from.
const SHOWN: usize = 50;

pub(super) async fn backup(app: &App, reader: &Reader) -> Result<Response, HttpError> {
    let collection = reader.asked("collection");
    let filter = ListFilter {
        limit: SHOWN,
        collection: collection.map(str::to_owned),
        ..ListFilter::default()
    };
    let listed = catalog::filtered(&*app.ctx.store, &filter, app.ctx.clock.now());
    let listed = app.ask_store("its backups", listed).await?;
    let one = |summary: &Summary| {
        let id = summary.id.to_string();
        let mut query = vec![("backup", id.as_str())];
        query.extend(collection.map(|name| ("collection", name)));
        html! {
            li data-backup=(id) {
                a href=(reader.link("/ui/restore", &query)) { (time(summary.id.time())) }
                span.marks { (marks(reader, summary)) }
                span.number { (reader.say(Text::CollectionsIn(summary.collections))) }
                span.number { (reader.say(Text::Points(summary.points))) }
                span.number { (size(summary.bytes)) }
            }
        }
    };
    let content = html! {
        p { (reader.say(Text::ChooseBackupIntro)) @if let Some(collection) = collection { " " (name(collection)) } }
        @if listed.backups.is_empty() { p.empty { (reader.say(Text::NoBackups)) } }
        ul.backups { @for summary in &listed.backups { (one(summary)) } }
        @if listed.is_cut { p.hint { (reader.say(Text::OlderByCommand)) } }
    };
    Ok(step(reader, 0, None, content).await)
}

pub(super) async fn target(app: &App, reader: &Reader, id: &str) -> Result<Response, HttpError> {
    let what = format!("backup {id:?}");
    let id = app.ask_store(&what, app.named(id)).await?;
    let detail = app
        .ask_store(&what, catalog::show(&*app.ctx.store, id, app.ctx.clock.now()))
        .await?;
    let summary = &detail.summary;
    let wanted: Vec<_> = reader.all("collection").collect();
    let content = html! {
        p.line { (reader.say(Text::Backup)) " " (time(id.time())) " " (marks(reader, summary)) }
        form.choice method="get" action="/ui/restore" {
            input type="hidden" name="backup" value=(id.to_string());
            @if let Some(language) = reader.asked("lang") { input type="hidden" name="lang" value=(language); }
            fieldset {
                legend { (reader.say(Text::WhichCollections)) }
                p.hint { (reader.say(Text::NoneMeansAll)) }
                div.boxes {
                    @for collection in &detail.manifest.collections {
                        label {
                            input type="checkbox" name="collection" value=(collection.name) checked[wanted.contains(&collection.name.as_str())];
                            (name(&collection.name))
                            span.hint { (points(collection.points_after, collection.points_estimated)) " · " (size(collection.bytes())) }
                        }
                    }
                }
            }
            fieldset {
                legend { (reader.say(Text::WhereTo)) }
                @for target in Target::ALL { (kind(reader, target)) }
            }
            button.primary type="submit" { (reader.say(Text::ShowPlan)) }
            p.hint { (reader.say(Text::NothingYet)) }
        }
    };
    Ok(step(reader, 1, None, content).await)
}

fn kind(reader: &Reader, target: Target) -> Markup {
    let (title, meaning) = match target {
        Target::New => (Text::TargetNew, Text::TargetNewMeans),
        Target::Same => (Text::TargetSame, Text::TargetSameMeans),
        Target::Swap => (Text::TargetSwap, Text::TargetSwapMeans),
        Target::Overwrite => (Text::TargetOverwrite, Text::TargetOverwriteMeans),
    };
    html! {
        div.option {
            label {
                input type="radio" name="target" value=(target.word()) checked[target == Target::New];
                span { b { (reader.say(title)) } " " (reader.say(meaning)) }
            }
            @if target == Target::New {
                label.name-of-copy { (reader.say(Text::NewName)) " " input type="text" name="into" value=(COPY) maxlength="255" autocomplete="off"; }
            }
        }
    }
}
