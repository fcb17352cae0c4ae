//! What a backup would refuse of the collections that it is to save.

use crate::base::error::{Code, Error, Result};
use crate::cli::causes::{by_cause, listed};
use crate::ops::backup::{self, BackupPlan};
use futures_util::{StreamExt, stream};

/// Collections looked at together.
const AT_ONCE: usize = 8;

/// What a look at each collection came to.
pub(super) struct CheckedCollections {
    /// Name, and about how many points it has.
    accepted: Vec<(String, u64)>,
    refused: Vec<Refused>,
}

/// Name, and why not.
type Refused = (String, Error);

/// Looks at each collection as a backup does before it makes a snapshot. `Err`: Qdrant could not be asked.
pub(super) async fn check_each(plan: &BackupPlan) -> Result<CheckedCollections> {
    // Its first unit stands for each collection.
    let mut units = plan.units.clone();
    units.dedup_by(|a, b| a.collection == b.collection);
    let mut looks = stream::iter(units)
        .map(|unit| async move {
            let node = plan.nodes.of(unit.node);
            let known = backup::describe(node, &unit, plan.aliases.of(&unit.collection)).await;
            (unit.collection, known)
        })
        .buffered(AT_ONCE);
    let mut looked = CheckedCollections {
        accepted: Vec::new(),
        refused: Vec::new(),
    };
    while let Some((name, survey)) = looks.next().await {
        match survey {
            Ok(known) => looked.accepted.push((name, known.points_before)),
            // Deleted since it was listed.
            Err(e) if e.code() == Code::CollectionNotFound => {}
            Err(e)
                if matches!(
                    e.code(),
                    Code::QdrantUnreachable | Code::QdrantTls | Code::QdrantUnauthorized
                ) =>
            {
                return Err(e);
            }
            Err(e) => looked.refused.push((name, e)),
        }
    }
    Ok(looked)
}

impl CheckedCollections {
    /// The names of those that a backup would save.
    pub(super) fn accepted(&self) -> Vec<&str> {
        self.accepted.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The one with the fewest points.
    pub(super) fn smallest(&self) -> Option<String> {
        let smallest = self.accepted.iter().min_by_key(|(_, points)| points);
        smallest.map(|(name, _)| name.clone())
    }

    /// Why it would not save the others: one error for each cause, which tells the names of all that have it.
    pub(super) fn refusals(&self) -> Vec<Error> {
        let cause = |(_, error): &Refused| (error.code(), error.remedy_text().map(str::to_owned));
        by_cause(&self.refused, cause)
            .into_iter()
            .filter_map(|same| {
                let ((_, first), others) = same.split_first()?;
                let mut text = format!("a backup would not save it: {}", first.chain());
                if !others.is_empty() {
                    let names = listed(others.iter().map(|(name, _)| format!("{name:?}")));
                    text += &format!("; and {} more: {names}", others.len());
                }
                let error = Error::new(first.code(), text);
                Some(match first.remedy_text() {
                    Some(remedy) => error.remedy(remedy),
                    None => error,
                })
            })
            .collect()
    }
}
