//! How far a run is, by `GET /status`: bars on a terminal, a line for each change of phase elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use std::collections::HashMap;
use std::io::IsTerminal;

/// The bars of one run; gone when this is dropped.
#[derive(Default)]
pub(super) struct Bars {
    all: MultiProgress,
    /// By collection, with the phase that was shown last.
    shown: HashMap<String, (ProgressBar, String)>,
}

impl Bars {
    /// Shows what `status` tells of the run.
    pub(super) fn show(&mut self, status: &Value) {
        let collections = status["running"]["progress"]["collections"].as_array();
        for collection in collections.into_iter().flatten() {
            self.show_one(collection);
        }
    }

    fn show_one(&mut self, collection: &Value) {
        let name = collection["name"].as_str().unwrap_or_default().to_owned();
        let phase = collection["phase"].as_str().unwrap_or_default().to_owned();
        let (bar, last) = self.shown.entry(name.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template("   {prefix:12} {bar:30} {bytes}/{total_bytes} {msg}");
            let bar = self.all.add(ProgressBar::new(0).with_prefix(name.clone()));
            (
                bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
                String::new(),
            )
        });
        if !std::io::stdout().is_terminal() && *last != phase {
            println!("   {name:12} {phase}");
        }
        last.clone_from(&phase);
        bar.set_length(collection["bytes_total"].as_u64().unwrap_or(0));
        bar.set_position(collection["bytes_done"].as_u64().unwrap_or(0));
        bar.set_message(phase);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.shown.values().for_each(|(bar, _)| bar.finish_and_clear());
    }
}
