//! `GET /ui/restore`: choose a backup, choose the target, see the plan. Each step is an address. What is confirmed is the plan that
//! was shown, and no other; where points would be lost, the names of their collections are typed.

mod choose;
mod plan;

use super::begin::{Form, begun};
use super::document::{Document, Place};
use super::prune::require_unchanged;
use super::reader::Reader;
use super::text::Text;
use crate::base::error::{Code, Error};
use crate::base::text::plain;
use crate::ops::restore::{self as restoring, Interface, RestoreRequest};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use crate::server::App;
use crate::server::error::HttpError;
use crate::server::extract::BodyBesideQuery;
use crate::server::handlers::restore as restores;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

/// The name of a copy, unless another one is asked for.
const COPY: &str = "{}-restored";

/// Where the collections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Under a new name, beside what is there.
    New,
    /// Under their own names, where nothing is.
    Same,
    /// Beside what is there, whose aliases are then moved.
    Swap,
    /// In the place of what is there.
    Overwrite,
}

impl Target {
    const ALL: [Self; 4] = [Self::New, Self::Same, Self::Swap, Self::Overwrite];

    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Same => "same",
            Self::Swap => "swap",
            Self::Overwrite => "overwrite",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.word() == word)
    }
}

pub(super) async fn show(State(app): State<App>, reader: Reader) -> Result<Response, HttpError> {
    let Some(id) = reader.asked("backup") else {
        return choose::backup(&app, &reader).await;
    };
    match reader.asked("target") {
        None => choose::target(&app, &reader, id).await,
        Some(_) => plan::show(&app, &reader, request(&reader)?).await,
    }
}

/// Restores what was shown; 412 where that is not the plan any more.
pub(super) async fn begin(
    State(app): State<App>,
    reader: Reader,
    BodyBesideQuery(form): BodyBesideQuery<Form>,
) -> Result<Response, HttpError> {
    let mut request = request(&reader)?;
    let plan = restoring::plan(&app.ctx, &request).await?;
    require_unchanged(&form, &plan::etag(&plan))?;
    if let Some(error) = plan.error() {
        return Err(error.into());
    }
    let replaced: Vec<_> = plan
        .replaced()
        .into_iter()
        .map(|(target, _)| target.to_owned())
        .collect();
    // As it is, or as the page shows it: what cannot be typed is escaped there.
    let typed: Vec<_> = form.all("confirm").collect();
    let is_typed = |(typed, name): (&&str, &String)| *typed == name || *typed == plain(name);
    if typed.len() != replaced.len() || !typed.iter().zip(&replaced).all(is_typed) {
        return Err(HttpError::bad_request(
            "the names of the collections whose points would be replaced were not typed as they are; nothing was done",
            "go back and type each name, or restore under a new name",
        ));
    }
    // What was shown is what is restored, whatever `latest` is by now, and no more is lost than was agreed to.
    request.id = plan.id.to_string();
    request.agreed = Some(replaced.into_iter().collect());
    begun(&app, &reader, restores::start(&app, request)?).await
}

/// The command for what an address asks for.
pub(super) fn command_of(reader: &Reader) -> Option<String> {
    request(reader).ok().map(|request| restoring::command(&request, false))
}

/// What an address asks for.
fn request(reader: &Reader) -> Result<RestoreRequest, HttpError> {
    let bad = |message: &str| {
        let error = Error::new(Code::BadRequest, message.to_owned());
        HttpError::from(error.remedy("begin again at /ui/restore"))
    };
    let id = reader.asked("backup").unwrap_or_default();
    if id != "latest" {
        id.parse::<BackupId>()?;
    }
    let target = reader.asked("target").and_then(Target::of);
    let target = target.ok_or_else(|| bad("the address does not say where to restore to"))?;
    let collections: Vec<_> = reader.all("collection").map(str::to_owned).collect();
    if collections.iter().any(|name| name.trim().is_empty()) {
        return Err(bad("the address holds an empty name of a collection"));
    }
    Ok(RestoreRequest {
        id: id.to_owned(),
        selection: Selection {
            collections,
            ..Selection::default()
        },
        into: (target == Target::New).then(|| reader.asked("into").unwrap_or(COPY).to_owned()),
        overwrite: target == Target::Overwrite,
        swap: target == Target::Swap,
        // What a plan tells to do is a command, which can be pasted.
        form: Interface::default(),
        ..RestoreRequest::default()
    })
}

/// A step of the way, with where one is.
async fn step(reader: &Reader, at: usize, etag: Option<String>, content: Markup) -> Response {
    let title = reader.say(Text::RestoreTitle);
    let steps = [Text::ChooseBackup, Text::ChooseTarget, Text::CheckPlan];
    let main = html! {
        h1 { (title) }
        ol.way aria-label=(reader.say(Text::Steps)) {
            @for (number, text) in steps.into_iter().enumerate() {
                li data-done[number < at] aria-current=[(number == at).then_some("step")] { (reader.say(text)) }
            }
        }
        (content)
    };
    let mut page = Document::new(title, Place::Restore, main);
    page.etag = etag;
    page.send(reader).await
}
