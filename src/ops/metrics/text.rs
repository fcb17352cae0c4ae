//! Prometheus' text format. By hand: gauges alone, each written once from what was just read. A registry that counts in memory would
//! have nothing to count, and forget it with each restart.

use std::fmt::{Display, Write};

/// All names begin so.
pub(super) const PREFIX: &str = "qdrant_backup_";

#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    /// Describes a metric, whose samples have to follow.
    pub(super) fn gauge(&mut self, name: &str, help: &str) {
        let _ = write!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} gauge\n");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "{PREFIX}{name}{labels} {value}");
    }

    /// A metric without labels.
    pub(super) fn single(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauge(name, help);
        self.sample(name, &[], value);
    }

    /// A metric with a sample for each collection that has a value.
    pub(super) fn by_collection<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) {
        self.gauge(name, help);
        for (collection, value) in values {
            self.sample(name, &[("collection", collection)], value);
        }
    }

    pub(super) fn end(self) -> String {
        self.0
    }
}

/// A label's value as the format writes it.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
