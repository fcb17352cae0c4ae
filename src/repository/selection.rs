//! Which collections are meant.

use crate::base::error::{Code, Error, Result};
use crate::base::near::nearest;
use crate::base::shell::option;
use crate::base::text::plain;
use glob::Pattern;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Which collections were asked for. All lists empty: every collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Exact names; each must exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collections: Vec<String>,
    /// Glob patterns; a collection matches at least one, if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Glob patterns; a collection that matches any is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl Selection {
    /// Whether nothing is left out.
    pub(crate) fn is_everything(&self) -> bool {
        let all = self.include.is_empty() || self.include.iter().any(|pattern| pattern == "*");
        all && self.collections.is_empty() && self.exclude.is_empty()
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| plain(&names.join(", "));
        let (named, include) = (list(&self.collections), list(&self.include));
        match (named.is_empty(), include.is_empty()) {
            (true, true) => f.write_str("everything"),
            (false, true) => write!(f, "only {named}"),
            (true, false) => write!(f, "only {include}"),
            (false, false) => write!(f, "only {named}, if they match {include}"),
        }?;
        match self.exclude.is_empty() {
            true => Ok(()),
            false => write!(f, " except {}", list(&self.exclude)),
        }
    }
}

/// What may be meant by a name that is not among the existing ones.
pub(crate) fn meant(name: &str, existing: &[String]) -> Option<String> {
    if name.contains(['*', '?', '[']) {
        let pattern = option("--include", name);
        return Some(format!("for a pattern: {pattern}, or `include` in the request"));
    }
    let near = nearest(name, existing.iter().map(String::as_str))?;
    Some(format!("did you mean {near:?}?"))
}

/// A [`Selection`] that can be applied.
pub(crate) struct Filter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Filter {
    /// Fails on an empty name and on malformed patterns.
    pub(crate) fn new(selection: &Selection) -> Result<Self> {
        if selection.collections.iter().any(String::is_empty) {
            return Err(Error::new(Code::BadRequest, "a collection name is empty")
                .remedy("omit the name to select every collection"));
        }
        Ok(Self {
            include: patterns(&selection.include)?,
            exclude: patterns(&selection.exclude)?,
        })
    }

    /// The names that are selected, in their order; the error is a name that is asked for and not there.
    pub(crate) fn pick<'a>(
        &self,
        selection: &'a Selection,
        existing: &[String],
    ) -> std::result::Result<Vec<String>, &'a String> {
        let known: BTreeSet<&String> = existing.iter().collect();
        if let Some(missing) = selection.collections.iter().find(|name| !known.contains(name)) {
            return Err(missing);
        }
        let taken = existing.iter().filter(|name| self.takes(selection, name));
        Ok(taken.cloned().collect())
    }

    /// Whether a collection of that name is selected.
    pub(crate) fn takes(&self, selection: &Selection, name: &str) -> bool {
        (selection.collections.is_empty() || selection.collections.iter().any(|asked| asked == name))
            && (self.include.is_empty() || self.include.iter().any(|p| p.matches(name)))
            && !self.exclude.iter().any(|p| p.matches(name))
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>> {
    let wrong = |text: &str, e: glob::PatternError| {
        Error::new(Code::BadRequest, format!("invalid collection pattern {text:?}"))
            .because(e)
            .remedy("use `*` for anything, `?` for one character, `[abc]` for one of these")
    };
    texts
        .iter()
        .map(|text| Pattern::new(text).map_err(|e| wrong(text, e)))
        .collect()
}
