//! Telling two configurations apart.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// A value that differs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Difference {
    /// Where, e.g. `config.params.vectors.size`.
    pub path: String,
    /// In the backup; null when it is not there.
    pub backup: Value,
    /// On Qdrant; null when it is not there.
    pub qdrant: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} in the backup and {} on Qdrant", self.path, self.backup, self.qdrant)
    }
}

/// What differs between two configurations. What is null is as good as missing.
pub(super) fn differences(at: &str, backup: &Value, qdrant: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    collect(at, backup, qdrant, &mut found);
    found
}

/// The same for payload indexes, without their point counts, which change by themselves.
pub(super) fn schema_differences(backup: &Value, qdrant: &Value) -> Vec<Difference> {
    let bare = |schema: &Value| {
        let mut schema = schema.clone();
        for index in schema.as_object_mut().into_iter().flat_map(|s| s.values_mut()) {
            if let Some(index) = index.as_object_mut() {
                index.remove("points");
            }
        }
        schema
    };
    differences("payload_schema", &bare(backup), &bare(qdrant))
}

fn collect(at: &str, backup: &Value, qdrant: &Value, found: &mut Vec<Difference>) {
    let fields = |value: &Value| value.as_object().map(|o| o.keys().cloned().collect::<BTreeSet<_>>());
    let keys = match (fields(backup), fields(qdrant)) {
        (Some(a), Some(b)) => a.union(&b).cloned().collect(),
        (Some(a), None) if qdrant.is_null() => a,
        (None, Some(b)) if backup.is_null() => b,
        _ => {
            if backup != qdrant {
                found.push(Difference {
                    path: at.to_owned(),
                    backup: backup.clone(),
                    qdrant: qdrant.clone(),
                });
            }
            return;
        }
    };
    for key in keys {
        let value = |of: &Value| of.get(&key).cloned().unwrap_or_default();
        collect(&format!("{at}.{key}"), &value(backup), &value(qdrant), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_named_by_its_path() {
        let a = json!({"params": {"size": 4, "on_disk": null}, "hnsw": {"m": 16}});
        let b = json!({"params": {"size": 8}, "hnsw": {"m": 16, "new": true}});
        let text: Vec<_> = differences("config", &a, &b).iter().map(|d| d.to_string()).collect();
        assert_eq!(
            text,
            [
                "config.hnsw.new is null in the backup and true on Qdrant",
                "config.params.size is 4 in the backup and 8 on Qdrant",
            ]
        );
        assert!(differences("config", &a, &a).is_empty());
        assert!(differences("config", &json!(null), &json!({})).is_empty());
    }

    #[test]
    fn the_points_of_an_index_do_not_count() {
        let a = json!({"year": {"data_type": "integer", "points": 5}});
        let b = json!({"year": {"data_type": "integer", "points": 7}});
        assert!(schema_differences(&a, &b).is_empty());
        assert_eq!(schema_differences(&a, &json!({})).len(), 2 - 1);
    }
}
