//! Log lines: readable text, or Cloud Logging's JSON linked to the trace of the request.

use crate::base::text::plain;
use crate::config::{LogConfig, LogFormat};
use serde_json::{Map, Value};
use std::{fmt, io};
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Lines that pass whatever the filter says. The audit log must not depend on how much else is wanted.
const AUDIT: &str = "qdrant_backup::server::audit=info";
/// The same in JSON, for alerts and dashboards count these.
const EVENTS: &str = "qdrant_backup::ops::events=info";
/// Where Cloud Logging looks for the trace.
const TRACE: &str = "logging.googleapis.com/trace";

/// Sets up logging for the process; `default_filter` holds when the configuration has none. Called once, by `main`.
pub fn init<W>(log: &LogConfig, default_filter: &str, out: W, colour: bool)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // Fails only when logging is set up already, and then there is nothing left to do.
    let _ = tracing::subscriber::set_global_default(subscriber(log, default_filter, out, colour));
    if log.format == LogFormat::Json {
        // The default hook's text would be several log entries without a severity.
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    }
}

/// What turns events into lines on `out`.
///
/// In JSON, every line within a span that has a field `trace` (the 32 hex digits of a trace id) gets
/// `logging.googleapis.com/trace`, provided that the project is known.
pub fn subscriber<W>(
    log: &LogConfig,
    default_filter: &str,
    out: W,
    colour: bool,
) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::new(log.filter.as_deref().unwrap_or(default_filter));
    let always = [Some(AUDIT), (log.format == LogFormat::Json).then_some(EVENTS)];
    let filter = always
        .into_iter()
        .filter_map(|directive| directive?.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_ansi(colour)
            .with_target(false)
            .fmt_fields(format::debug_fn(field).delimited(" "))
            .with_writer(out)
            .boxed(),
        LogFormat::Json => tracing_stackdriver::layer()
            .with_writer(Linked {
                out,
                project: log.project.clone(),
            })
            .boxed(),
    };
    Registry::default().with(lines.with_filter(filter))
}

/// A field as a part of one line: what Qdrant or the store says is among them, in any characters.
fn field(line: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = plain(&format!("{value:?}"));
    match field.name() {
        "message" => write!(line, "{value}"),
        name => write!(line, "{name}={value}"),
    }
}

/// Adds the trace to each line on its way. `tracing-stackdriver` does so for OpenTelemetry's spans only, and its formatter
/// cannot be wrapped; but it writes the fields of all spans into the line, and each line by one call.
struct Linked<W> {
    out: W,
    project: Option<String>,
}

struct LinkedLine<'a, W> {
    out: W,
    project: Option<&'a str>,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Linked<W> {
    type Writer = LinkedLine<'a, W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        LinkedLine {
            out: self.out.make_writer(),
            project: self.project.as_deref(),
        }
    }
}

impl<W: io::Write> io::Write for LinkedLine<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.project.and_then(|project| link(line, project)) {
            Some(linked) => self.out.write_all(&linked)?,
            None => self.out.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The line with its trace; `None` when it belongs to none.
fn link(line: &[u8], project: &str) -> Option<Vec<u8>> {
    let mut fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let spans = fields.get("spans")?.as_array()?;
    let trace = spans.iter().rev().find_map(|span| span["trace"].as_str())?;
    let name = format!("projects/{project}/traces/{trace}");
    fields.insert(TRACE.to_owned(), name.into());
    let mut line = serde_json::to_vec(&fields).ok()?;
    line.push(b'\n');
    Some(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::{Instrument, info_span};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn json(&self) -> Vec<Value> {
            let bytes = self.0.lock().unwrap();
            let text = std::str::from_utf8(&bytes).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn json(project: Option<&str>, lines: &Lines) -> impl Subscriber + Send + Sync + use<> {
        let log = LogConfig {
            format: LogFormat::Json,
            filter: None,
            project: project.map(str::to_owned),
        };
        let lines = lines.clone();
        subscriber(&log, "info", move || lines.clone(), false)
    }

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn every_line_of_a_request_and_of_what_it_started_carries_its_trace() {
        let lines = Lines::default();
        tracing::subscriber::with_default(json(Some("my-project"), &lines), || {
            let request = info_span!("request", trace = ID, request_id = "r\"1");
            request.in_scope(|| tracing::info!(collection = "docs", "it \"begins\"\nhere"));
            let run = async {
                tracing::warn!("in the run");
                info_span!("inner").in_scope(|| tracing::error!("deeper"));
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(run.instrument(request));
            tracing::info!("outside");
        });
        let lines = lines.json();
        let severities: Vec<_> = lines.iter().map(|l| l["severity"].as_str().unwrap()).collect();
        assert_eq!(severities, ["INFO", "WARNING", "ERROR", "INFO"]);
        assert_eq!(lines[0]["message"], "it \"begins\"\nhere");
        assert_eq!(lines[0]["collection"], "docs");
        for line in &lines[..3] {
            assert_eq!(line[TRACE], format!("projects/my-project/traces/{ID}"), "{line}");
        }
        assert_eq!(lines[3].get(TRACE), None);
    }

    #[test]
    fn whatever_a_field_says_it_is_a_part_of_one_line() {
        let lines = Lines::default();
        let log = LogConfig {
            format: LogFormat::Text,
            filter: None,
            project: None,
        };
        let out = lines.clone();
        tracing::subscriber::with_default(subscriber(&log, "info", move || out.clone(), false), || {
            let evil = "\u{1b}[2J\u{9b}A\u{202e}\nERROR all is lost";
            tracing::warn!(plain = evil, shown = %evil, "not saved: {evil}");
            info_span!("request", of = %evil).in_scope(|| tracing::info!(n = 7, "向量"));
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(
            !text.contains(|c| c != '\n' && crate::base::text::is_control(c)),
            "{text:?}"
        );
        for part in [
            "not saved: \\u{1b}[2J",
            "shown=\\u{1b}[2J\\u{9b}A",
            "request{of=\\u{1b}",
            "向量 n=7",
        ] {
            assert!(text.contains(part), "{part}: {text:?}");
        }
    }

    #[test]
    fn without_a_project_lines_are_not_linked() {
        let lines = Lines::default();
        tracing::subscriber::with_default(json(None, &lines), || {
            info_span!("request", trace = ID).in_scope(|| tracing::info!("x"));
        });
        assert_eq!(lines.json()[0].get(TRACE), None);
    }
}
