//! How a collection, or a backup, is proven, in four steps.

use super::reader::Reader;
use super::text::Text;
use crate::ops::freshness::{self, Good};
use crate::repository::names::BackupId;
use maud::{Markup, html};
use std::time::Duration;
use time::OffsetDateTime;

/// The steps, the weakest first.
pub(super) const RUNGS: [Text; 4] = [Text::Stored, Text::Verified, Text::Opened, Text::Drilled];

/// For each step the newest backup that is proven so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ladder(pub(super) [Option<Proven>; 4]);

#[derive(Clone, Copy, Debug)]
pub(super) struct Proven {
    pub(super) backup: BackupId,
    pub(super) age: Duration,
}

/// Whether a good backup is proven so.
type Rung = fn(&Good) -> bool;

const PROVEN: [Rung; 4] = [|_| true, Good::was_read_back, |good| good.opened, |good| good.drilled];

impl Ladder {
    /// That of a collection. `backups`: the good ones, newest first.
    pub(super) fn of(collection: &str, backups: &[Good], now: OffsetDateTime) -> Self {
        Self(PROVEN.map(|proven| {
            let found = freshness::newest(collection, backups.iter().filter(|good| proven(good)), now);
            found.map(|(backup, age)| Proven { backup, age })
        }))
    }

    /// How many steps `backup` itself has come.
    pub(super) fn height(&self, backup: Option<BackupId>) -> usize {
        let has = |proven: &Option<Proven>| proven.is_some_and(|proven| Some(proven.backup) == backup);
        self.0.iter().rposition(has).map_or(0, |rung| rung + 1)
    }

    /// Filled: proven of the newest backup. Outlined: of an older one.
    pub(super) fn shown(&self, reader: &Reader, newest: Option<BackupId>) -> Markup {
        let height = self.height(newest);
        html! {
            ol.ladder data-height=(height) {
                @for (at, (text, proven)) in RUNGS.into_iter().zip(self.0).enumerate() {
                    li class=[class(at < height, proven.is_some())] {
                        (reader.say(text)) " "
                        b { @match proven {
                            Some(proven) => (reader.say(Text::Age(proven.age))),
                            None => "–",
                        } }
                    }
                }
            }
        }
    }
}

fn class(is_newest: bool, is_proven: bool) -> Option<&'static str> {
    match (is_newest, is_proven) {
        (true, _) => Some("y"),
        (false, true) => Some("o"),
        (false, false) => None,
    }
}
