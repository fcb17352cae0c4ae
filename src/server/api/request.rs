//! The bodies of requests: JSON objects that are understood to the last field.

use crate::base::error::{Code, Error, Result};
use crate::repository::selection::Selection;
use serde::de::DeserializeOwned;

/// What a body asks for. The content type does not matter: callers of old send none.
pub(crate) trait RequestBody: Sized {
    /// # Errors
    /// [`Code::BadRequest`]: what is not clear is not done.
    fn parse(body: &[u8]) -> Result<Self>;
}

/// The fields of a body in which all are optional; no body at all is the same as `{}`. `remedy` says what to send.
pub(super) fn object<T: Default + DeserializeOwned>(body: &[u8], remedy: &str) -> Result<T> {
    match body.trim_ascii().is_empty() {
        true => Ok(T::default()),
        false => required(body, remedy),
    }
}

/// The fields of a body that has to be there.
pub(super) fn required<T: DeserializeOwned>(body: &[u8], remedy: &str) -> Result<T> {
    // serde would take an array as a struct.
    if body.trim_ascii().first() != Some(&b'{') {
        return Err(bad("the body is not a JSON object", remedy));
    }
    serde_json::from_slice(body).map_err(|e| bad(format!("invalid body: {e}"), remedy))
}

pub(super) fn bad(message: impl Into<String>, remedy: &str) -> Error {
    Error::new(Code::BadRequest, message).remedy(remedy)
}

/// The lists by which a body selects collections.
pub(super) struct Selected {
    pub(super) collections: Option<Vec<String>>,
    pub(super) include: Option<Vec<String>>,
    pub(super) exclude: Option<Vec<String>>,
}

impl Selected {
    /// What they select; `None` where there is none of them. `names`: the field that the names came from.
    pub(super) fn selection(self, names: &str, remedy: &str) -> Result<Option<Selection>> {
        let lists = [
            (names, &self.collections),
            ("include", &self.include),
            ("exclude", &self.exclude),
        ];
        if lists.iter().all(|(_, list)| list.is_none()) {
            return Ok(None);
        }
        for (field, list) in lists {
            if list.iter().flatten().any(|name| name.trim().is_empty()) {
                return Err(bad(format!("`{field}` holds an empty name"), remedy));
            }
            // An empty list asks for nothing, but an empty selection would mean everything.
            if field != "exclude" && list.as_ref().is_some_and(Vec::is_empty) {
                return Err(bad(
                    format!("`{field}` is an empty list, which selects nothing"),
                    remedy,
                ));
            }
        }
        Ok(Some(Selection {
            collections: self.collections.unwrap_or_default(),
            include: self.include.unwrap_or_default(),
            exclude: self.exclude.unwrap_or_default(),
        }))
    }
}
