//! Aliases: other names of collections. They are in no snapshot and go with their
//! collection.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::disk;
use crate::error::{Error, Result};

/// The aliases of a node, kept in one file.
#[derive(Default)]
pub(crate) struct Aliases {
    file: PathBuf,
    /// Alias to collection.
    targets: BTreeMap<String, String>,
}

/// One entry of `actions` in `POST /collections/aliases`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) enum Action {
    #[serde(rename = "create_alias")]
    Create {
        collection_name: String,
        alias_name: String,
    },
    #[serde(rename = "delete_alias")]
    Delete { alias_name: String },
    #[serde(rename = "rename_alias")]
    Rename {
        old_alias_name: String,
        new_alias_name: String,
    },
}

impl Aliases {
    pub(crate) fn load(file: PathBuf) -> Result<Self> {
        let targets = if file.exists() {
            disk::read_json(&file)?
        } else {
            BTreeMap::new()
        };
        Ok(Self { file, targets })
    }

    /// The collection behind an alias.
    pub(crate) fn target(&self, alias: &str) -> Option<&str> {
        self.targets.get(alias).map(String::as_str)
    }

    /// (alias, collection), sorted by alias.
    pub(crate) fn list(&self, of: Option<&str>) -> Vec<(String, String)> {
        let targets = self.targets.iter();
        targets
            .filter(|(_, target)| of.is_none_or(|name| name == *target))
            .map(|(alias, target)| (alias.clone(), target.clone()))
            .collect()
    }

    /// Runs all actions in order, or none if one of them is wrong.
    pub(crate) fn change(&mut self, actions: Vec<Action>, collection_exists: impl Fn(&str) -> bool) -> Result<()> {
        let mut targets = self.targets.clone();
        let no_alias = |name: &str| Error::not_found(format_args!("Alias {name} does not exists!"));
        let check_free = |name: &str| match collection_exists(name) {
            true => Err(Error::conflict(format_args!("Collection `{name}` already exists!"))),
            false => Ok(()),
        };
        for action in actions {
            match action {
                Action::Create {
                    collection_name,
                    alias_name,
                } => {
                    if !collection_exists(&collection_name) {
                        return Err(Error::not_found(format_args!(
                            "Collection `{collection_name}` doesn't exist!"
                        )));
                    }
                    check_free(&alias_name)?;
                    targets.insert(alias_name, collection_name);
                }
                Action::Delete { alias_name } => {
                    targets.remove(&alias_name);
                }
                Action::Rename {
                    old_alias_name,
                    new_alias_name,
                } => {
                    check_free(&new_alias_name)?;
                    let target = targets.remove(&old_alias_name);
                    let target = target.ok_or_else(|| no_alias(&old_alias_name))?;
                    targets.insert(new_alias_name, target);
                }
            }
        }
        self.store(targets)
    }

    /// Forgets the aliases of a collection.
    pub(crate) fn drop_collection(&mut self, name: &str) -> Result<()> {
        let mut targets = self.targets.clone();
        targets.retain(|_, target| target != name);
        self.store(targets)
    }

    fn store(&mut self, targets: BTreeMap<String, String>) -> Result<()> {
        if targets != self.targets {
            disk::write_json(&self.file, &targets)?;
            self.targets = targets;
        }
        Ok(())
    }
}
