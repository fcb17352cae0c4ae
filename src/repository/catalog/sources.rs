//! Whose backups are in a store: one Qdrant's, unless the operator allowed another one.

use super::{Found, newest_first};
use crate::base::error::{Code, Error, Result};
use crate::repository::manifest::{Relation, Source};
use crate::wire::store::Store;
use futures_util::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

const AT_ONCE: usize = 4;
const UNKNOWN: &str = "of an unknown Qdrant";

/// Refuses a backup of `source` where the store has backups of others and none of it: two Qdrants in one store share `latest`
/// and what is restored by it. Backups that do not tell their source forbid nothing. Mostly reads the newest manifest alone.
///
/// # Errors
/// [`Code::SourceMismatch`], and those of the store.
pub(crate) async fn require_source(store: &dyn Store, source: &Source, now: OffsetDateTime) -> Result<()> {
    if !source.is_known() {
        return Ok(());
    }
    let of = |found: Found| found.manifest.map(|manifest| (manifest.id, manifest.qdrant.source));
    let mut backups = std::pin::pin!(newest_first(store, AT_ONCE, now, of).await?);
    let mut foreign = None;
    while let Some(read) = backups.try_next().await? {
        let Some((id, theirs)) = read else { continue };
        match source.relation_to(theirs.as_ref()) {
            Relation::Same => return Ok(()),
            Relation::Different => {
                foreign.get_or_insert((id, theirs));
            }
            Relation::Unknown => {}
        }
    }
    let Some((id, Some(other))) = foreign else {
        return Ok(());
    };
    Err(Error::new(
        Code::SourceMismatch,
        format!(
            "{} has backups of another Qdrant, {other} (newest {id}), and none of this one, {source}",
            store.url()
        ),
    )
    .permanent(true)
    .remedy(
        "give each Qdrant its own store (BACKUP_STORE). If both belong here, or this is the same one on a new \
         machine, confirm once: repeat this command with --new-source",
    )
    .over_http(
        "give each Qdrant its own store (BACKUP_STORE). If both belong here, or this is the same one on a new \
         machine, confirm once: send {\"new_source\": true}",
    ))
}

/// A label for each of these, the same for those that are one Qdrant's: empty where the store has backups of one alone. Those
/// that do not tell are that one's. A name decides alone; what has none belongs to the one name that has a peer id in common with
/// it, and to none of several: a copy of a machine has its peer id, too.
pub(crate) fn labels(sources: &[Option<Source>]) -> Vec<String> {
    let known = || sources.iter().flatten().filter(|source| source.is_known());
    let mut names: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for source in known() {
        if let Some(name) = &source.name {
            names.entry(name).or_default().extend(&source.peers);
        }
    }
    // Peer ids of what has no name; those that occur together are one's.
    let mut nameless: Vec<BTreeSet<u64>> = Vec::new();
    for source in known().filter(|source| source.name.is_none()) {
        let mut group: BTreeSet<u64> = source.peers.iter().copied().collect();
        nameless.retain(|other| {
            let apart = other.is_disjoint(&group);
            if !apart {
                group.extend(other);
            }
            apart
        });
        nameless.push(group);
    }
    let label = |source: &Source| {
        if let Some(name) = &source.name {
            return format!("of {name:?}");
        }
        let Some(peers) = nameless
            .iter()
            .find(|group| source.peers.iter().any(|peer| group.contains(peer)))
        else {
            return UNKNOWN.to_owned();
        };
        let mut with_name = names.iter().filter(|(_, of_name)| !of_name.is_disjoint(peers));
        match (with_name.next(), with_name.next()) {
            (Some((name, _)), None) => format!("of {name:?}"),
            _ => format!("of peer {}", peers.first().copied().unwrap_or_default()),
        }
    };
    let found: BTreeSet<String> = known().map(label).collect();
    let one = found.len() <= 1;
    let label = |source: &Option<Source>| match source.as_ref().filter(|source| source.is_known()) {
        _ if one => String::new(),
        Some(source) => label(source),
        None => UNKNOWN.to_owned(),
    };
    sources.iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: Option<&str>, peers: &[u64]) -> Option<Source> {
        Some(Source {
            name: name.map(str::to_owned),
            url: "http://localhost:6333".into(),
            peers: peers.to_vec(),
            ..Source::default()
        })
    }

    #[test]
    fn one_source_has_no_label_and_takes_those_that_do_not_tell() {
        assert_eq!(labels(&[None, None]), ["", ""]);
        assert_eq!(
            labels(&[source(None, &[1]), None, source(Some("a"), &[1])]),
            ["", "", ""]
        );
    }

    #[test]
    fn several_sources_have_labels_of_their_own() {
        let (a, b) = (source(Some("a"), &[1]), source(None, &[2]));
        // The name of the first and the peer of the second: one that joins them.
        let joined = [a.clone(), source(None, &[3]), source(Some("a"), &[3]), b.clone(), None];
        let labels = labels(&joined);
        assert_eq!(labels[0], labels[1]);
        assert_eq!(labels[0], labels[2]);
        assert_ne!(labels[0], labels[3]);
        assert_eq!(labels[4], "of an unknown Qdrant");
    }

    #[test]
    fn a_backup_without_a_name_joins_no_two_names() {
        let (production, staging) = (source(Some("production"), &[1]), source(Some("staging"), &[1]));
        let found = labels(&[source(None, &[1]), production.clone(), staging, source(None, &[1])]);
        assert_ne!(found[1], found[2]);
        assert!(
            found[0] != found[1] && found[0] != found[2] && found[0] == found[3],
            "{found:?}"
        );
        assert_eq!(
            labels(&[source(None, &[1]), production.clone(), source(Some("b"), &[2])])[0],
            "of \"production\""
        );
        assert_eq!(
            labels(&[source(None, &[1, 2]), source(None, &[2, 3]), source(None, &[3])]),
            ["", "", ""]
        );
    }
}
