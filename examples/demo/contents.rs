//! All that can be asked of a collection, so that two can be told apart.

use super::Result;
use embedded_qdrant::open_snapshot;
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};
use testkit::sample::{Client, Sample};

/// More than any collection here has.
const ALL: usize = 100_000;

/// What a collection has: its points, its configuration, and what it answers to the searches of its [`Sample`].
pub(super) struct Contents {
    name: String,
    count: u64,
    config: Value,
    payload_schema: Value,
    points: Value,
    answers: Vec<Value>,
}

impl Contents {
    /// Asks Qdrant for them. `name` is that of the collection, of a copy, or an alias.
    pub(super) async fn of_collection(qdrant: &Client, name: &str, sample: &Sample) -> Result<Self> {
        let info = qdrant.call("GET", &format!("/collections/{name}"), None).await?;
        let scroll = format!("/collections/{name}/points/scroll");
        let mut answers = Vec::new();
        for search in &sample.searches {
            answers.push(qdrant.search(name, search).await?);
        }
        let points = qdrant.call("POST", &scroll, Some(everything())).await?;
        Self::new(sample, qdrant.count(name).await?, &info, points, answers)
    }

    /// Opens a snapshot with Qdrant's engine and asks that. What it unpacks below `work` is removed again.
    pub(super) async fn of_snapshot(file: PathBuf, work: &Path, sample: &Sample) -> Result<Self> {
        let (work, searches) = (work.to_owned(), sample.searches.clone());
        let (count, info, points, answers) = tokio::task::spawn_blocking(move || -> Result<_> {
            let opened = open_snapshot(&file, &work)?;
            let answers: Result<Vec<_>, _> = searches.into_iter().map(|s| opened.query(s)).collect();
            Ok((opened.count()?, opened.info()?, opened.scroll(everything())?, answers?))
        })
        .await??;
        Self::new(sample, count as u64, &info, points, answers)
    }

    fn new(sample: &Sample, count: u64, info: &Value, mut points: Value, answers: Vec<Value>) -> Result<Self> {
        let contents = Self {
            name: sample.name.clone(),
            count,
            config: info["config"].clone(),
            payload_schema: info["payload_schema"].clone(),
            points: points["points"].take(),
            answers,
        };
        // Two that are equally void would be equal.
        let read = contents.points.as_array().map_or(0, Vec::len) as u64;
        if contents.config.is_null() || read != count || (contents.hits() == 0) != (count == 0) {
            return Err(format!(
                "{}: of {count} points {read} can be read, and {} are found by searches",
                contents.name,
                contents.hits()
            )
            .into());
        }
        Ok(contents)
    }

    /// An error when `what`, which this is of, is not as it was `before`.
    pub(super) fn expect(&self, what: &str, before: &Self) -> Result<()> {
        let parts = [
            ("number of points", json!(self.count), json!(before.count)),
            ("configuration", self.config.clone(), before.config.clone()),
            (
                "payload indexes",
                self.payload_schema.clone(),
                before.payload_schema.clone(),
            ),
            ("points", self.points.clone(), before.points.clone()),
            ("answers to searches", json!(self.answers), json!(before.answers)),
        ];
        match parts.into_iter().find(|(_, now, before)| now != before) {
            None => Ok(()),
            Some((part, now, before)) => {
                let differs = first_difference(part, &now, &before);
                Err(format!("{}: {what} differs: {differs}", self.name).into())
            }
        }
    }

    fn hits(&self) -> usize {
        let points = self.answers.iter().filter_map(|a| a["points"].as_array());
        points.map(Vec::len).sum()
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (searches, hits) = (self.answers.len(), self.hits());
        let word = if searches == 1 { "search" } else { "searches" };
        write!(
            f,
            "{} points, configuration, {searches} {word} with {hits} hits",
            self.count
        )
    }
}

/// The body that reads all points with all they have.
fn everything() -> Value {
    json!({"limit": ALL, "with_payload": true, "with_vector": true})
}

/// Where two values differ first, and what stands there: lists and objects are too long to be shown whole.
fn first_difference(at: &str, now: &Value, before: &Value) -> String {
    let null = Value::Null;
    let inner = match (now, before) {
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).find_map(|i| {
            let (a, b) = (a.get(i).unwrap_or(&null), b.get(i).unwrap_or(&null));
            (a != b).then(|| first_difference(&format!("{at}[{i}]"), a, b))
        }),
        (Value::Object(a), Value::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let (a, b) = (a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null));
            (a != b).then(|| first_difference(&format!("{at}.{key}"), a, b))
        }),
        _ => None,
    };
    inner.unwrap_or_else(|| format!("{at} is {now}, expected {before}"))
}
