//! Whose backups are in a store: one Qdrant's, unless somebody said that another's may come.

use super::newest_first;
use crate::error::{Code, Error, Result};
use crate::manifest::{Relation, Source};
use crate::store::Store;
use futures_util::TryStreamExt;
use time::OffsetDateTime;

const AT_ONCE: usize = 4;

/// Refuses a backup of `source` where the store has backups of others and none of it: two Qdrants in one store share `latest`
/// and what is restored by it. Backups that do not tell their source forbid nothing. Mostly reads the newest manifest alone.
///
/// # Errors
/// [`Code::SourceMismatch`], and those of the store.
pub async fn require_source(store: &dyn Store, source: &Source, now: OffsetDateTime) -> Result<()> {
    let mut backups = std::pin::pin!(newest_first(store, AT_ONCE, now).await?);
    let mut foreign = None;
    while let Some(found) = backups.try_next().await? {
        let Some(manifest) = found.manifest else { continue };
        match source.relation_to(manifest.qdrant.source.as_ref()) {
            Relation::Same => return Ok(()),
            Relation::Different => {
                foreign.get_or_insert((manifest.id, manifest.qdrant.source));
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
            "{} has backups of another Qdrant, {other}, the newest {id}, and none of this one, {source}",
            store.url()
        ),
    )
    .permanent(true)
    .remedy(
        "give each Qdrant a store of its own (BACKUP_STORE). If both belong here, or this is the same one on a new machine, \
         say so once: `qdrant-backup backup --new-source`, or {\"new_source\": true} over HTTP",
    ))
}

/// A label for each of these, the same for those that are one Qdrant's: empty where the store has backups of one alone. Those
/// that do not tell are that one's.
pub fn labels(sources: &[Option<Source>]) -> Vec<String> {
    let known = |source: &&Source| source.name.is_some() || !source.peers.is_empty();
    let mut groups: Vec<Vec<&Source>> = Vec::new();
    for source in sources.iter().flatten().filter(known) {
        let is_same = |group: &Vec<&Source>| group.iter().any(|other| source.relation(other) == Relation::Same);
        let (same, mut others): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_same);
        let mut merged: Vec<_> = same.into_iter().flatten().collect();
        if !merged.contains(&source) {
            merged.push(source);
        }
        others.push(merged);
        groups = others;
    }
    if groups.len() <= 1 {
        return vec![String::new(); sources.len()];
    }
    let label = |source: &Option<Source>| {
        let source = source.as_ref()?;
        let group = groups.iter().find(|group| group.contains(&source))?;
        group.first().map(|first| format!("of {first}"))
    };
    sources
        .iter()
        .map(|source| label(source).unwrap_or_else(|| "of an unknown Qdrant".to_owned()))
        .collect()
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
}
