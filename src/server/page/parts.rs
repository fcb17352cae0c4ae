//! Small things of which pages are made.

use super::reader::Reader;
use super::text::Text;
use crate::base::error::ErrorInfo;
use crate::base::text::{in_the_middle, plain};
use maud::{Markup, html};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

const SHOWN: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
/// Characters of a name; the title has all of it.
const LONGEST_NAME: usize = 60;

/// How good what is told is. A colour never tells it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warning,
    Bad,
    Unknown,
    Plain,
}

impl Tone {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
            Self::Plain => "plain",
        }
    }

    /// The outline of a sign of it.
    fn outline(self) -> &'static str {
        match self {
            Self::Good => "m5 12.5 4.5 4.5L19 7.5",
            Self::Warning => "M12 5v9m0 4.5v.5",
            Self::Bad => "m6 6 12 12M18 6 6 18",
            Self::Unknown => "M8.5 9a3.5 3.5 0 1 1 5.5 2.8c-1.3 1-2 1.7-2 3.2m0 4v.5",
            Self::Plain => "M6 12h12",
        }
    }
}

/// A sign in a circle, for eyes alone.
pub(super) fn sign(tone: Tone) -> Markup {
    html! {
        span class={ "sign " (tone.word()) } {
            svg viewBox="0 0 24 24" aria-hidden="true" focusable="false" { path d=(tone.outline()) {} }
        }
    }
}

/// A word with its tone.
pub(super) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class={ "badge " (tone.word()) } data-badge=(tone.word()) { (text) } }
}

/// A time: in UTC, until the script shows it in the reader's zone.
pub(super) fn time(at: OffsetDateTime) -> Markup {
    let iso = iso(at);
    html! { time datetime=(iso) title=(iso) { (shown(at)) } }
}

pub(super) fn iso(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let at = at.replace_nanosecond(0).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}

/// As in [`time`], without markup.
pub(super) fn shown(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC).format(SHOWN).unwrap_or_default()
}

/// A name that somebody else has given, which changes nothing around it: neither markup nor the direction of writing.
pub(super) fn name(text: &str) -> Markup {
    let whole = plain(text);
    let shown = in_the_middle(&whole, LONGEST_NAME);
    let title = (shown != whole).then_some(&whole);
    html! { bdi.name title=[title] { (shown) } }
}

/// Text of elsewhere, which is English whatever the page is.
pub(super) fn foreign(text: &str) -> Markup {
    html! { bdi lang="en" { (plain(text)) } }
}

/// A command to be copied.
pub(super) fn command(text: &str) -> Markup {
    html! { div.command data-command { code lang="en" dir="ltr" { (text) } } }
}

/// The command for what a button does.
pub(super) fn instead(reader: &Reader, text: &str) -> Markup {
    html! {
        details.instead {
            summary { (reader.say(Text::AsCommand)) }
            (command(text))
        }
    }
}

/// What went wrong, and what to do about it.
pub(super) fn problem(reader: &Reader, error: &ErrorInfo<String>) -> Markup {
    html! {
        div.problem data-code=(error.code) {
            p { (foreign(&error.message)) }
            @if let Some(remedy) = &error.remedy {
                p.remedy { strong { (reader.say(Text::WhatToDo)) } " " (foreign(remedy)) }
            }
        }
    }
}

/// A button that posts to `action`, with the command for the same; for whoever may not, only the command.
pub(super) struct Action<'a> {
    pub(super) action: String,
    pub(super) label: Text,
    pub(super) command: &'a str,
    pub(super) needed: crate::server::auth::Role,
    pub(super) class: &'static str,
}

impl Action<'_> {
    /// `fields`: what the form has beside its button.
    pub(super) fn form(&self, reader: &Reader, fields: &Markup) -> Markup {
        let may = reader.may(self.needed);
        html! {
            form.action method="post" action=(self.action) data-action {
                (fields)
                button class=(self.class) type="submit" disabled[!may] { (reader.say(self.label)) }
                @if !may { p.hint { (reader.say(Text::NeedsRole(self.needed))) } }
                div.refused role="alert" hidden { p { (reader.say(Text::RunThisInstead)) } (command(self.command)) }
                (instead(reader, self.command))
            }
        }
    }
}
