//! The bodies of requests: JSON objects that are understood to the last field.

use crate::base::error::{Code, Error, Result};
use crate::repository::selection::Selection;
use serde::Deserialize;
use serde::de::DeserializeOwned;

const REMEDY: &str = "send {} for all collections, {\"collection\": \"name\"} for one, or lists under collections, include, exclude; and, once, \"new_source\": true for a Qdrant that the store has no backup of yet";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Body {
    collection: Option<String>,
    collections: Option<Vec<String>>,
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    new_source: bool,
}

/// What the body of `POST /backup` asks for.
#[derive(Debug)]
pub(super) struct BackupRequest {
    /// `None`: what the configuration says.
    pub(super) selection: Option<Selection>,
    /// Whether the store may have backups of other Qdrants and none of this one.
    pub(super) new_source: bool,
}

/// The fields of a body in which all are optional; no body at all is the same as `{}`. `remedy` says what to send.
pub(super) fn object<T: Default + DeserializeOwned>(body: &[u8], remedy: &str) -> Result<T> {
    let body = body.trim_ascii();
    match body.first() {
        None => Ok(T::default()),
        Some(b'{') => {
            serde_json::from_slice(body).map_err(|e| bad_request(format!("the body is not understood: {e}"), remedy))
        }
        // serde would take an array as a struct.
        Some(_) => Err(bad_request("the body is not a JSON object", remedy)),
    }
}

/// Parses the body of `POST /backup`. No body at all is the same as `{}`. The content type does not matter: callers of old send
/// none.
pub(super) fn backup_request(body: &[u8]) -> Result<BackupRequest> {
    let body: Body = object(body, REMEDY)?;
    Ok(BackupRequest {
        new_source: body.new_source,
        selection: selection(body)?,
    })
}

fn selection(body: Body) -> Result<Option<Selection>> {
    if body.collection.is_some() && body.collections.is_some() {
        return Err(bad_request(
            "`collection` and `collections` are both given",
            "give one of them",
        ));
    }
    let collections = body.collection.map(|one| vec![one]).or(body.collections);
    let lists = [
        ("collection", &collections),
        ("include", &body.include),
        ("exclude", &body.exclude),
    ];
    if lists.iter().all(|(_, list)| list.is_none()) {
        return Ok(None);
    }
    for (field, list) in lists {
        if list.iter().flatten().any(|name| name.trim().is_empty()) {
            return Err(bad_request(format!("`{field}` holds an empty name"), REMEDY));
        }
    }
    // An empty list of names asks for nothing, but an empty selection would mean everything.
    if collections.as_ref().is_some_and(Vec::is_empty) || body.include.as_ref().is_some_and(Vec::is_empty) {
        return Err(bad_request("an empty list selects nothing", REMEDY));
    }
    Ok(Some(Selection {
        collections: collections.unwrap_or_default(),
        include: body.include.unwrap_or_default(),
        exclude: body.exclude.unwrap_or_default(),
    }))
}

fn bad_request(message: impl Into<String>, remedy: &str) -> Error {
    Error::new(Code::BadRequest, message).remedy(remedy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn selection(body: &[u8]) -> Result<Option<Selection>> {
        backup_request(body).map(|request| request.selection)
    }

    #[test]
    fn another_source_is_accepted_only_where_that_is_said() {
        for (body, accepted) in [
            ("{}", false),
            (r#"{"new_source":false}"#, false),
            (r#"{"new_source":true}"#, true),
        ] {
            let request = backup_request(body.as_bytes()).unwrap();
            assert_eq!((request.selection, request.new_source), (None, accepted), "{body}");
        }
    }

    #[test]
    fn the_old_bodies_mean_what_they_meant() {
        for all in ["", " \n", "{}", " {} ", "{\"collection\":null}"] {
            assert_eq!(selection(all.as_bytes()).unwrap(), None, "{all}");
        }
        let one = selection(br#"{"collection":"docs"}"#).unwrap().unwrap();
        assert_eq!(
            (one.collections, one.include, one.exclude),
            (vec!["docs".to_owned()], vec![], vec![])
        );
    }

    #[test]
    fn what_is_unclear_is_never_taken_for_everything() {
        for wrong in [
            "[]",
            "[null,null,null,null]",
            "null",
            "\"docs\"",
            "{",
            "{}x",
            "{\"collection\":1}",
            "{\"collection\":\"\"}",
            "{\"collections\":[]}",
            "{\"include\":[]}",
            "{\"include\":\"docs\"}",
            "{\"colection\":\"docs\"}",
            "{\"collection\":\"a\",\"collection\":\"b\"}",
            "{\"collection\":\"a\",\"collections\":[\"b\"]}",
            "{\"exclude\":[\" \"]}",
        ] {
            assert!(selection(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(selection(b"\xff").is_err());
    }
}
