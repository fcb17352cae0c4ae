//! Variables that look like ours and are none: what is misspelled is told, not ignored.

use super::settings::{Setting, settings};
use super::{Env, OBSOLETE};
use std::fmt;

/// What begins so is meant for this program.
const OURS: [&str; 6] = ["AUTH_", "BACKUP_", "DRILL_", "PRUNE_", "RESTORE_", "RETAIN_"];
/// What begins so may be meant for others: for clients of Qdrant, for tools for buckets. It counts when it is nearly one of ours.
const SHARED: [&str; 2] = ["GCS_", "QDRANT_"];

/// A variable that is set, but that nothing reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name, fit to be shown.
    pub name: String,
    /// The one that may be meant.
    pub nearest: Option<&'static str>,
}

impl UnknownVariable {
    /// What is wrong, without the remedy.
    pub fn what(&self) -> String {
        format!("{} is set, but is not a known variable; it has no effect", self.name)
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self.nearest {
            Some(nearest) => format!("write {nearest}, or leave it out"),
            None => "leave it out; docs/reference/configuration.md lists the variables".to_owned(),
        }
    }
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what(), self.remedy())
    }
}

/// Those of `names`, the names of all variables that are set, that are nearly ours, in the order of the names.
pub fn unknown(env: Env<'_>, names: impl IntoIterator<Item = String>) -> Vec<UnknownVariable> {
    let is_set = |name: &str| env.get(name).is_some_and(|value| !value.trim().is_empty());
    let mut names: Vec<_> = names
        .into_iter()
        .filter(|name| !is_known(name) && is_set(name) && !is_of_others(env, name))
        .collect();
    names.sort_unstable();
    let unknown = names.into_iter().filter_map(|name| {
        let near = nearest(&name)?;
        let is_ours = OURS.iter().any(|prefix| name.starts_with(prefix));
        let has_its_prefix = name.to_ascii_uppercase().starts_with(near.prefix);
        // Where that one is set, this one stands for something else.
        let is_slip = near.within(4) && !is_set(near.name) && (has_its_prefix || OURS.contains(&near.prefix));
        (is_ours || is_slip).then(|| UnknownVariable {
            nearest: near.within(2).then_some(near.name),
            name: name.escape_debug().to_string(),
        })
    });
    unknown.collect()
}

fn is_known(name: &str) -> bool {
    settings().any(|setting| setting.variable == name)
}

/// A known variable beside one that is not.
struct Suggestion {
    name: &'static str,
    prefix: &'static str,
    /// By how many characters they differ.
    distance: usize,
}

impl Suggestion {
    /// Whether no more than one in `n` characters behind the prefix differs, but one always may.
    fn within(&self, n: usize) -> bool {
        self.distance <= ((self.name.len() - self.prefix.len()) / n).max(1)
    }
}

/// The variable with a prefix that is most like `name` in capitals.
fn nearest(name: &str) -> Option<Suggestion> {
    let name = name.to_ascii_uppercase();
    let candidates = settings().filter_map(|Setting { variable: known, .. }| {
        let mut prefixes = OURS.into_iter().chain(SHARED);
        Some(Suggestion {
            name: known,
            prefix: prefixes.find(|prefix| known.starts_with(prefix))?,
            distance: strsim::osa_distance(known, &name),
        })
    });
    candidates
        .filter(|near| OBSOLETE.iter().all(|(obsolete, _)| *obsolete != near.name))
        .min_by_key(|near| (near.distance, near.name))
}

/// Qdrant's own (`QDRANT__SERVICE__API_KEY`), and what Kubernetes sets for a service, which may well be named as our prefixes
/// are: `QDRANT_SERVICE_HOST`, `BACKUP_SERVICE_PORT_HTTP`, `BACKUP_PORT=tcp://10.0.0.1:80`, `BACKUP_PORT_80_TCP_ADDR`.
fn is_of_others(env: Env<'_>, name: &str) -> bool {
    let is_link = name.ends_with("_PORT") && env.get(name).is_some_and(|value| value.contains("://"));
    let is_port = name.split("_PORT_").skip(1).any(|rest| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        number && parts.next().is_some_and(|part| matches!(part, "TCP" | "UDP" | "SCTP"))
    });
    name.starts_with("QDRANT__")
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || is_link
        || is_port
}
