//! Telling two configurations apart.

use crate::base::text::plain;
use crate::repository::manifest::without_points;
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
        let text = format!(
            "{} is {} in the backup and {} on Qdrant",
            self.path, self.backup, self.qdrant
        );
        // Its keys, and what JSON does not escape.
        f.write_str(&plain(&text))
    }
}

/// What differs between two configurations. What is null is as good as missing.
pub(super) fn differences(at: &str, backup: &Value, qdrant: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    collect(at, backup, qdrant, &mut found);
    found
}

/// What `found` says that differs in `other` as well: each path may be as in the one or as in the other.
pub(super) fn in_both(found: Vec<Difference>, other: &[Difference]) -> Vec<Difference> {
    let is_in_other = |difference: &Difference| other.iter().any(|theirs| theirs.path == difference.path);
    found.into_iter().filter(is_in_other).collect()
}

/// The same for payload indexes, without their point counts, which change by themselves.
pub(super) fn schema_differences(backup: &Value, qdrant: &Value) -> Vec<Difference> {
    differences("payload_schema", &without_points(backup), &without_points(qdrant))
}

/// What differs in the payload indexes of a collection that existed before it was restored: each must be as it was before,
/// or as it is in the backup, since Qdrant keeps its own and takes over those that come with the segments. In the second
/// case it is only noted.
pub(super) fn index_differences(before: &Value, backup: &Value, now: &Value) -> (Vec<Difference>, Vec<String>) {
    let (before, backup, now) = (without_points(before), without_points(backup), without_points(now));
    let fields: BTreeSet<_> = [&before, &backup, &now]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|o| o.keys())
        .collect();
    let (mut differ, mut notes) = (Vec::new(), Vec::new());
    for field in fields {
        let of = |schema: &Value| schema.get(field).cloned().unwrap_or_default();
        let (kept, saved, found) = (of(&before), of(&backup), of(&now));
        let at = format!("payload_schema.{field}");
        let from_backup = differences(&at, &saved, &found);
        if differences(&at, &kept, &found).is_empty() {
            continue;
        }
        match from_backup.is_empty() {
            true => notes.push(format!(
                "the payload index of {field:?} is now that of the backup, not the previous one"
            )),
            false => differ.extend(from_backup),
        }
    }
    (differ, notes)
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
    fn a_difference_is_one_plain_line() {
        let a = json!({"a\n\u{1b}[2J": "\u{9b}2J\u{202e}"});
        let text = differences("config", &a, &json!({}))[0].to_string();
        assert_eq!(
            text,
            r#"config.a\n\u{1b}[2J is "\u{9b}2J\u{202e}" in the backup and null on Qdrant"#
        );
    }

    #[test]
    fn the_points_of_an_index_do_not_count() {
        let a = json!({"year": {"data_type": "integer", "points": 5}});
        let b = json!({"year": {"data_type": "integer", "points": 7}});
        assert!(schema_differences(&a, &b).is_empty());
        assert_eq!(schema_differences(&a, &json!({})).len(), 1);
    }

    #[test]
    fn an_index_is_as_it_was_before_or_as_in_the_backup() {
        let index = |kind: &str| json!({"year": {"data_type": kind, "points": 1}});
        let (none, int, text) = (json!({}), index("integer"), index("text"));
        let check = |before: &Value, backup: &Value, now: &Value| {
            let (differ, notes) = index_differences(before, backup, now);
            (differ.len(), notes.len())
        };
        assert_eq!(check(&int, &int, &int), (0, 0));
        assert_eq!(check(&int, &none, &int), (0, 0), "Qdrant keeps its own");
        assert_eq!(check(&none, &int, &int), (0, 1), "it came with the segments");
        assert_eq!(check(&int, &none, &text), (1, 0));
        assert_eq!(check(&int, &int, &none), (1, 0), "lost");
    }
}
