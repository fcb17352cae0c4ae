//! The worst that is to be told, in one sentence.

use super::look::Look;
use crate::ops::freshness::{Expected, State};
use crate::server::auth::Role;
use crate::server::page::parts::{Action, Tone};
use crate::server::page::reader::Reader;
use crate::server::page::text::Text;
use maud::{Markup, html};
use std::borrow::Cow;
use time::OffsetDateTime;

/// How things stand as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Each collection has a good backup that is young enough. `new`: so many of them have none yet, and need none yet.
    Protected { collections: usize, new: usize },
    /// So many of all have none.
    AtRisk { bad: usize, collections: usize },
    /// Qdrant has nothing that is to be backed up, which a Qdrant that lost its data has not either.
    Nothing,
    /// No good backup of this Qdrant was found. `due`: of the first one.
    Never { due: Option<OffsetDateTime> },
    /// The store does not answer.
    StoreSilent,
    /// Qdrant does not answer, so that nobody knows what it has. `known`: collections of the last backup, which are protected.
    QdrantSilent { known: usize },
}

impl Verdict {
    pub(super) fn of(look: &Look) -> Self {
        let Some(answer) = &look.answer else {
            return Self::StoreSilent;
        };
        let all = answer.collections.len();
        let count = |state| answer.collections.iter().filter(|c| c.state == state).count();
        let bad = answer.collections.iter().filter(|c| !c.is_in_time()).count();
        match &answer.expected {
            // Nothing is known of what there is, and no backup is there to be trusted.
            Expected::Unknown => Self::QdrantSilent { known: 0 },
            Expected::Live(_) if all == 0 => Self::Nothing,
            Expected::Live(_) if answer.backups.is_empty() => Self::Never {
                due: answer.collections.iter().filter_map(|c| c.due_at).min(),
            },
            _ if bad > 0 => Self::AtRisk { bad, collections: all },
            Expected::LastBackup(_) => Self::QdrantSilent { known: all },
            Expected::Live(_) => Self::Protected {
                collections: all,
                new: count(State::New),
            },
        }
    }

    /// For tests and machines.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Protected { .. } => "protected",
            Self::AtRisk { .. } | Self::Nothing => "at_risk",
            Self::Never { .. } => "never",
            Self::StoreSilent | Self::QdrantSilent { .. } => "cannot_tell",
        }
    }

    pub(super) fn tone(self) -> Tone {
        match self {
            Self::Protected { .. } => Tone::Good,
            Self::AtRisk { .. } | Self::Nothing => Tone::Bad,
            Self::Never { due: None } => Tone::Bad,
            Self::Never { due: Some(_) } => Tone::Warning,
            Self::StoreSilent | Self::QdrantSilent { .. } => Tone::Unknown,
        }
    }

    pub(super) fn sentence(self, reader: &Reader, look: &Look) -> String {
        let within = look.wanted.max_age;
        let text = match self {
            Self::Protected { collections, new: 0 } => Text::Protected { collections, within },
            Self::Protected { collections, new } => Text::ProtectedSoFar { collections, new },
            Self::AtRisk { bad, collections } => Text::AtRisk { bad, collections },
            Self::Nothing => Text::NothingToProtect,
            Self::Never { .. } => Text::NeverBackedUp,
            Self::StoreSilent => Text::CannotTellStore,
            Self::QdrantSilent { .. } => Text::CannotTellQdrant,
        };
        reader.say(text).into_owned()
    }

    pub(super) fn advice(self, reader: &Reader, look: &Look) -> Option<Cow<'static, str>> {
        let within = look.wanted.max_age;
        Some(reader.say(match self {
            Self::Protected { new: 0, .. } => return None,
            Self::Protected { .. } => Text::NewOnesAreDue { within },
            Self::AtRisk { .. } => Text::BackUpNowOrLook {
                within,
                failed: look.has_failed(),
            },
            Self::Nothing => Text::CheckTheQdrant,
            Self::Never { due: Some(_) } => Text::FirstIsDue { within },
            Self::Never { due: None } => Text::MakeTheFirst {
                failed: look.has_failed(),
            },
            Self::StoreSilent => Text::StoreMustAnswer,
            Self::QdrantSilent { known: 0 } => Text::QdrantMustAnswer,
            Self::QdrantSilent { known } => Text::KnownAreProtected { known, within },
        }))
    }

    /// What to do about it here and now.
    pub(super) fn action(self, reader: &Reader) -> Markup {
        let class = match self {
            Self::AtRisk { .. } | Self::Never { .. } => "primary",
            Self::Protected { .. } => "quiet",
            // What was lost can be restored.
            Self::Nothing => {
                let restore = reader.link("/ui/restore", &[]);
                return html! { p { a.button href=(restore) { (reader.say(Text::RestoreThis)) } } };
            }
            Self::StoreSilent | Self::QdrantSilent { .. } => return html! {},
        };
        let action = Action {
            action: reader.link("/ui/backup", &[]),
            label: Text::BackUpNow,
            command: "qdrant-backup backup",
            needed: Role::Operator,
            class,
        };
        action.form(reader, &html! {})
    }
}
