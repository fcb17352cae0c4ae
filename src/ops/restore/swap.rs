//! Aliases: in no snapshot, gone with their collection, and the way to put a restored collection in a live one's place in one
//! operation.

use super::plan::{Notes, Target};
use super::{RestoreRequest, RestoreStep};
use crate::base::error::{Code, Error, Result};
use crate::repository::manifest::Collection;
use crate::wire::qdrant::{AliasAction as Change, Qdrant};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of an alias.
#[derive(Clone, Debug, Serialize)]
pub struct AliasPlan {
    pub alias: String,
    /// The collection that it points to now.
    pub now: Option<String>,
    /// What is done.
    pub action: AliasAction,
}

/// What is done with an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AliasAction {
    /// It does not exist and is made.
    Set,
    /// It points to the collection already.
    Keep,
    /// It points elsewhere and is moved.
    Move,
    /// It points elsewhere, or its name is that of a collection, and is left alone.
    Conflict,
    /// The restored collection is a copy beside another, so its aliases are not touched.
    Skip,
}

/// Plans the aliases of a collection that is restored as `to`; refuses a swap that would not swap anything.
pub(super) fn plan_aliases(
    request: &RestoreRequest,
    target: &Target,
    to: &str,
    collection: &Collection,
) -> (Vec<AliasPlan>, Notes) {
    let mut notes = Notes::default();
    let mut names: BTreeSet<&str> = collection.aliases.iter().map(String::as_str).collect();
    if request.swap {
        // What points to the live collection now is what its clients use, whether the backup knows it or not.
        names.extend(
            target
                .aliases
                .iter()
                .filter(|(_, c)| **c == collection.name)
                .map(|(a, _)| a.as_str()),
        );
    }
    let aliases: Vec<_> = names
        .into_iter()
        .map(|alias| {
            let now = target.aliases.get(alias).cloned();
            let action = match &now {
                _ if target.collections.contains(alias) => AliasAction::Conflict,
                Some(now) if now == to => AliasAction::Keep,
                _ if request.into.is_some() && to != collection.name && !request.move_aliases => AliasAction::Skip,
                None => AliasAction::Set,
                Some(_) if request.swap || request.move_aliases => AliasAction::Move,
                Some(_) => AliasAction::Conflict,
            };
            AliasPlan {
                alias: alias.to_owned(),
                now,
                action,
            }
        })
        .collect();
    let name = &collection.name;
    if request.swap
        && !aliases
            .iter()
            .any(|a| matches!(a.action, AliasAction::Move | AliasAction::Set))
    {
        notes.refuse(
            Some(name),
            format!("collection {name:?} has no alias to move to the restored one"),
            &format!(
                "restore with {} and a new name, then point an alias and the clients to it; a swap moves only \
                 aliases, because Qdrant cannot rename a collection",
                request.form.option("into")
            ),
        );
    }
    for alias in aliases.iter().filter(|a| a.action == AliasAction::Conflict) {
        let what = match &alias.now {
            Some(now) => format!("points to {now:?}"),
            None => "is the name of a collection".to_owned(),
        };
        let hint = match alias.now.is_some() {
            true => format!("; {} moves it", request.form.option("move_aliases")),
            false => String::new(),
        };
        notes.warnings.push(format!(
            "alias {:?} of {name:?} {what} on the target and stays unchanged{hint}",
            alias.alias
        ));
    }
    (aliases, notes)
}

/// Sets and moves the aliases of these steps in one operation, then looks whether they are so. Returns the aliases that were
/// changed.
pub(super) async fn apply(qdrant: &Qdrant, steps: &[&RestoreStep]) -> Result<Vec<String>> {
    let mut changes = Vec::new();
    let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
    for step in steps {
        for alias in &step.aliases {
            if !matches!(alias.action, AliasAction::Set | AliasAction::Move) {
                continue;
            }
            if alias.action == AliasAction::Move {
                changes.push(Change::Delete {
                    alias: alias.alias.clone(),
                });
            }
            changes.push(Change::Create {
                alias: alias.alias.clone(),
                collection: step.target.clone(),
            });
            wanted.insert(&alias.alias, &step.target);
        }
        let kept = step.aliases.iter().filter(|a| a.action == AliasAction::Keep);
        wanted.extend(kept.map(|a| (a.alias.as_str(), step.target.as_str())));
    }
    if !changes.is_empty() {
        qdrant.change_aliases(&changes).await?;
    }
    let now: BTreeMap<_, _> = qdrant
        .aliases()
        .await?
        .into_iter()
        .map(|a| (a.alias, a.collection))
        .collect();
    let lost: Vec<_> = wanted
        .iter()
        .filter(|(alias, collection)| now.get(**alias).map(String::as_str) != Some(**collection))
        .map(|(alias, collection)| match now.get(*alias) {
            Some(other) => format!("alias {alias:?} points to {other:?}, not to {collection:?}"),
            None => format!("alias {alias:?} does not exist"),
        })
        .collect();
    match lost.is_empty() {
        true => Ok(changes
            .into_iter()
            .filter_map(|c| match c {
                Change::Create { alias, .. } => Some(alias),
                _ => None,
            })
            .collect()),
        false => Err(Error::new(
            Code::RestoreUnequal,
            format!("the aliases differ after the change: {}", lost.join("; ")),
        )
        .remedy("set the aliases with POST /collections/aliases; the collections are restored")),
    }
}
