//! The command that makes a request. Built from the request and nothing else, so that none of its options is lost.

use super::{RestoreRequest, Via};
use crate::base::shell::{option, option_of, word};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use serde::Serialize;
use std::collections::BTreeMap;
use time::format_description::well_known::Rfc3339;

/// The interface that a request came by: commands in messages have its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// `qdrant-backup restore …`
    CommandLine {
        /// `--to`: the URL of another Qdrant than the configured one. It holds no secret, a key is in the environment.
        to: Option<String>,
        /// Settings that were given as flags: without them the same command may go to another Qdrant or store. No secret is among
        /// them.
        settings: BTreeMap<&'static str, String>,
    },
    /// `POST /restore`
    Http,
    /// `POST /v1/restores`
    Operations,
}

impl Default for Interface {
    fn default() -> Self {
        Self::CommandLine {
            to: None,
            settings: BTreeMap::new(),
        }
    }
}

impl Interface {
    /// How an option is called.
    pub(super) fn option(&self, name: &str) -> String {
        match self {
            // There it is the answer to a question.
            Self::CommandLine { .. } if name == "yes" => "--other-source".to_owned(),
            Self::CommandLine { .. } => format!("--{}", name.replace('_', "-")),
            Self::Http | Self::Operations => format!("{name:?}"),
        }
    }

    /// How a backup is proven by `verify` or `drill`.
    pub(super) fn proof(&self, by: &str, id: BackupId) -> String {
        match self {
            Self::CommandLine { settings, .. } => format!("qdrant-backup {by} {id}{}", option_of(settings, "--store")),
            Self::Http => format!("POST /backups/{id}/{by}"),
            Self::Operations => {
                let proofs = match by {
                    "verify" => "verifications",
                    _ => "drills",
                };
                format!("POST /v1/{proofs} {{\"id\":\"{id}\"}}")
            }
        }
    }

    /// How it is told what a backup has.
    pub(super) fn show(&self, id: BackupId) -> String {
        match self {
            Self::CommandLine { settings, .. } => format!("qdrant-backup show {id}{}", option_of(settings, "--store")),
            Self::Http => format!("GET /backups/{id}"),
            Self::Operations => format!("GET /v1/backups/{id}"),
        }
    }
}

impl RestoreRequest {
    /// The same for backup `id`, whatever `latest` is by then, and for these of its collections. A swap is always one of all.
    pub(super) fn again(&self, id: BackupId, collections: Vec<String>) -> Self {
        let mut again = Self {
            id: id.to_string(),
            not_after: None,
            ..self.clone()
        };
        if !self.swap {
            again.selection.collections = collections;
        }
        again
    }

    /// The same, beside whatever is there.
    pub(crate) fn under_new_names(&self, id: BackupId) -> Self {
        Self {
            id: id.to_string(),
            not_after: None,
            into: Some(format!("{}-restored", self.into.as_deref().unwrap_or("{}"))),
            overwrite: false,
            overwrite_only: Vec::new(),
            other_source: false,
            yes: false,
            skip_existing: false,
            swap: false,
            // Clients that use an alias stay with what is there.
            move_aliases: false,
            ..self.clone()
        }
    }
}

/// What makes `request`, or with `dry_run` only its plan: a command line that can be pasted, or a request with its body.
pub(crate) fn command(request: &RestoreRequest, dry_run: bool) -> String {
    match &request.form {
        Interface::CommandLine { to, settings } => command_line(request, to.as_deref(), settings, dry_run),
        Interface::Http => format!("POST /restore {}", body(request, dry_run)),
        Interface::Operations => format!("POST /v1/restores {}", body(request, dry_run)),
    }
}

fn command_line(
    request: &RestoreRequest,
    to: Option<&str>,
    settings: &BTreeMap<&'static str, String>,
    dry_run: bool,
) -> String {
    // Field by field, so that none can be forgotten.
    let RestoreRequest {
        id,
        selection: Selection {
            collections,
            include,
            exclude,
        },
        not_after,
        into,
        overwrite,
        overwrite_only,
        other_source,
        yes,
        agreed: _,
        skip_existing,
        move_aliases,
        swap,
        replication_factor,
        via,
        no_lock,
        patience: _,
        form: _,
    } = request;
    let at = not_after.and_then(|at| at.format(&Rfc3339).ok());
    let with =
        |name: &str, values: &[String]| -> Vec<String> { values.iter().map(|value| option(name, value)).collect() };
    let flag = |name: &str, is_set: bool| is_set.then(|| name.to_owned());
    let options: Vec<_> = [
        with("--include", include),
        with("--exclude", exclude),
        with("--into", into.as_slice()),
        with("--to", &to.map(str::to_owned).into_iter().collect::<Vec<_>>()),
        with("--at", at.as_slice()),
        flag("--skip-existing", *skip_existing).into_iter().collect(),
        flag("--overwrite", *overwrite).into_iter().collect(),
        with("--overwrite-only", overwrite_only),
        flag("--other-source", *other_source).into_iter().collect(),
        flag("--yes", *yes).into_iter().collect(),
        flag("--swap", *swap).into_iter().collect(),
        flag("--move-aliases", *move_aliases).into_iter().collect(),
        replication_factor
            .iter()
            .map(|n| option("--replication-factor", &n.to_string()))
            .collect(),
        match via {
            Via::Auto => Vec::new(),
            Via::Url => vec!["--via url".to_owned()],
            Via::Upload => vec!["--via upload".to_owned()],
        },
        flag("--no-lock", *no_lock).into_iter().collect(),
        flag("--dry-run", dry_run).into_iter().collect(),
        settings.iter().map(|(name, value)| option(name, value)).collect(),
    ]
    .concat();
    let names: Vec<_> = std::iter::once(id)
        .filter(|_| at.is_none())
        .chain(collections)
        .collect();
    let like_an_option = names.iter().any(|name| name.starts_with('-'));
    let names = names.into_iter().map(|name| word(name));
    let mut words = vec!["qdrant-backup restore".to_owned()];
    match like_an_option {
        false => words.extend(names.chain(options)),
        true => words.extend(options.into_iter().chain(["--".to_owned()]).chain(names)),
    }
    words.join(" ")
}

fn body(request: &RestoreRequest, dry_run: bool) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        id: &'a str,
        #[serde(flatten)]
        selection: &'a Selection,
        #[serde(skip_serializing_if = "Option::is_none")]
        into: &'a Option<String>,
        #[serde(skip_serializing_if = "is_unset")]
        overwrite: bool,
        #[serde(skip_serializing_if = "is_unset")]
        yes: bool,
        #[serde(skip_serializing_if = "is_unset")]
        swap: bool,
        #[serde(skip_serializing_if = "is_unset")]
        move_aliases: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        replication_factor: Option<u32>,
        #[serde(skip_serializing_if = "is_auto")]
        via: Via,
        #[serde(skip_serializing_if = "is_unset")]
        no_lock: bool,
        #[serde(skip_serializing_if = "is_unset")]
        dry_run: bool,
    }
    let RestoreRequest {
        id,
        selection,
        into,
        overwrite,
        other_source,
        move_aliases,
        swap,
        replication_factor,
        via,
        no_lock,
        // Of the command line alone.
        not_after: _,
        overwrite_only: _,
        yes: _,
        agreed: _,
        skip_existing: _,
        patience: _,
        form: _,
    } = request;
    let body = Body {
        id,
        selection,
        into,
        overwrite: *overwrite,
        yes: *other_source,
        swap: *swap,
        move_aliases: *move_aliases,
        replication_factor: *replication_factor,
        via: *via,
        no_lock: *no_lock,
        dry_run,
    };
    // Texts, lists of them, numbers and truth values: it cannot fail.
    serde_json::to_string(&body).unwrap_or_default()
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_unset(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_auto(via: &Via) -> bool {
    *via == Via::Auto
}

/// Requests with everything in them that a shell, a parser of options, or JSON could take for something else.
#[cfg(test)]
pub(crate) mod samples {
    use super::{Interface, RestoreRequest, Selection, Via};

    const PIECES: &[&str] = &[
        "tiny",
        "-",
        "--",
        "--overwrite",
        "-h",
        "=",
        " ",
        "  ",
        "'",
        "\"",
        "\\",
        "\n",
        "\t",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{85}",
        "$HOME",
        "$(id)",
        "`id`",
        "*",
        "?",
        "[a]",
        "{}",
        "{a,b}",
        "!!",
        ";",
        "&&",
        "|",
        ">",
        "#",
        "~",
        "%",
        "向量",
        "é",
        "\u{a0}",
        "\u{202e}",
    ];

    /// Always the same ones.
    pub(crate) fn requests(count: usize, form: impl Fn(Option<String>) -> Interface) -> Vec<(RestoreRequest, bool)> {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut below = move |n: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % n as u64) as usize
        };
        let mut one = || {
            let mut text = || {
                let text: String = (0..=below(4)).map(|_| PIECES[below(PIECES.len())]).collect();
                // The service refuses a blank one.
                if text.trim().is_empty() {
                    "blank".to_owned()
                } else {
                    text
                }
            };
            let words: Vec<_> = (0..10).map(|_| text()).collect();
            let mut words = words.into_iter();
            let mut some = |at_most: usize| words.by_ref().take(below(at_most + 1)).collect::<Vec<_>>();
            let (into, to) = (some(1).pop(), some(1).pop());
            let mut id = some(1).pop().unwrap_or_else(|| "2026-11-22T12-00-00Z".to_owned());
            let selection = Selection {
                collections: some(3),
                include: some(2),
                exclude: some(2),
            };
            let swap = into.is_none() && below(3) == 0;
            let overwrite = !swap && below(2) == 0;
            let form = form(to);
            let is_typed = matches!(form, Interface::CommandLine { .. });
            let skip_existing = is_typed && !swap && !overwrite && below(2) == 0;
            let at = is_typed && below(4) == 0;
            if at {
                id = "latest".to_owned();
            }
            let request = RestoreRequest {
                id,
                selection,
                into,
                overwrite,
                overwrite_only: if skip_existing {
                    vec!["-a b".to_owned(), "c".to_owned()]
                } else {
                    Vec::new()
                },
                skip_existing,
                not_after: at.then_some(time::macros::datetime!(2026-11-22 12:00:00.5 UTC)),
                other_source: (overwrite || skip_existing) && below(2) == 0,
                yes: is_typed && below(2) == 0,
                no_lock: below(2) == 0,
                move_aliases: below(2) == 0,
                swap,
                via: [Via::Auto, Via::Url, Via::Upload][below(3)],
                form,
                ..RestoreRequest::default()
            };
            (request, below(2) == 0)
        };
        (0..count).map(|_| one()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_restored_beside_replaces_and_moves_nothing() {
        let id = "2026-11-22T12-00-00Z".parse().unwrap();
        for (request, _) in samples::requests(100, |to| Interface::CommandLine {
            to,
            settings: BTreeMap::new(),
        }) {
            let beside = request.under_new_names(id);
            assert!(!beside.overwrite && !beside.yes && !beside.swap && !beside.move_aliases);
            assert!(!beside.other_source && beside.overwrite_only.is_empty());
            assert!(beside.into.is_some_and(|into| into.ends_with("-restored")));
            assert_eq!((beside.form, beside.selection), (request.form, request.selection));
        }
    }
}
