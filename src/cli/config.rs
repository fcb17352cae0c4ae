//! `config show`: what holds, and where it comes from.

use super::text::{Align, plain, table};
use super::{print, print_json};
use crate::base::error::Result;
use crate::config::EffectiveConfig;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting with its value and where that comes from: flag, variable, file or default
    ///
    /// Nothing is tried: `check` does that. Keys are not shown.
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Prints the configuration.
pub(crate) fn show_config(config: &EffectiveConfig, json: bool) -> Result<()> {
    match json {
        true => print_json(config),
        false => print(&rendered(config)),
    }
}

fn rendered(config: &EffectiveConfig) -> String {
    let rows: Vec<_> = config
        .settings
        .iter()
        .map(|setting| {
            let value = match (&setting.value, &setting.meaning) {
                (Some(value), _) => value.clone(),
                (None, Some(meaning)) => format!("({meaning})"),
                (None, None) => "(hidden)".to_owned(),
            };
            let source = match &setting.place {
                Some(place) if setting.source == "flag" => format!("flag {place}"),
                Some(place) => place.clone(),
                None => setting.source.to_owned(),
            };
            [setting.variable.to_owned(), source, value]
        })
        .collect();
    let columns = [("SETTING", Align::Left), ("FROM", Align::Left), ("VALUE", Align::Left)];
    let file = match &config.file {
        Some(path) => format!("Configuration file: {}\n", plain(path)),
        None => "No configuration file: --config or QDRANT_BACKUP_CONFIG names one.\n".to_owned(),
    };
    format!(
        "{file}A flag goes before a variable, a variable before the file.\n\n{}",
        table(columns, &rows)
    )
}
