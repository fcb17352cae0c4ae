//! `check`: tries everything that a backup needs, in the order in which a backup needs it, and changes nothing.

use super::text::{Align, plain};
use super::{print, print_json};
use crate::app;
use crate::config::{Config, Env, LogConfig, Problem, QdrantConfig, StoreConfig, obsolete};
use crate::error::{Code, Error, Result};
use crate::lock;
use crate::qdrant::Qdrant;
use crate::store::Store;
use serde::Serialize;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A person waits; the clients themselves would try for minutes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The lease of a check; runs out soon if the check is killed.
const LEASE: Duration = Duration::from_secs(15);

/// What came of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warn,
    Fail,
    /// Could not be tried.
    Skip,
}

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    check: &'static str,
    state: State,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// All lines so far.
#[derive(Debug, Default)]
struct Checks {
    lines: Vec<Line>,
    /// Exit code of the first failure.
    exit: u8,
}

/// Prints a line for each check; the answer is the exit code: 0, or that of the first failure. A warning is no failure.
pub(super) async fn check(env: Env<'_>, json: bool) -> Result<u8> {
    #[derive(Serialize)]
    struct Report<'a> {
        ok: bool,
        checks: &'a [Line],
    }
    let mut checks = Checks::default();
    check_config(&mut checks, env);
    // Each of the two is tried even when the other one's configuration does not work.
    match QdrantConfig::from_env(env).ok() {
        Some(config) => check_qdrant(&mut checks, &config).await,
        None => checks.skip(&["qdrant", "key", "rights"], "configuration"),
    }
    match StoreConfig::from_env(env).ok() {
        Some(config) => check_store(&mut checks, &config, &app::who(env)).await,
        None => checks.skip(&["store", "lease"], "configuration"),
    }
    let ok = checks.exit == 0;
    match json {
        true => print_json(&Report { ok, checks: &checks.lines })?,
        false => print(&checks.told())?,
    }
    Ok(checks.exit)
}

fn check_config(checks: &mut Checks, env: Env<'_>) {
    let before = checks.lines.len();
    let line = |state, problem: &Problem| Line {
        check: "configuration",
        state,
        message: problem.what(),
        remedy: Some(problem.remedy.clone()),
    };
    if let Err(invalid) = Config::from_env(env) {
        checks.lines.extend(invalid.0.iter().map(|problem| line(State::Fail, problem)));
        checks.fails_with(&invalid.into());
    }
    let (_, unclear) = LogConfig::from_env(env);
    checks.lines.extend(unclear.iter().map(|problem| line(State::Warn, problem)));
    for warning in obsolete(env) {
        checks.add("configuration", State::Warn, warning, Some("leave it out".to_owned()));
    }
    if checks.lines.len() == before {
        checks.ok("configuration", "all variables are understood");
    }
}

async fn check_qdrant(checks: &mut Checks, config: &QdrantConfig) {
    let qdrant = match app::probe(config) {
        Ok(qdrant) => qdrant,
        Err(error) => {
            checks.fail("qdrant", &error);
            return checks.skip(&["key", "rights"], "qdrant");
        }
    };
    match patiently(qdrant.version()).await {
        Ok(version) => checks.version(&version, &qdrant.url()),
        Err(error) => {
            checks.fail("qdrant", &error);
            return checks.skip(&["key", "rights"], "qdrant");
        }
    }
    match patiently(qdrant.collections()).await {
        Ok(collections) => {
            let n = collections.len();
            let s = if n == 1 { "" } else { "s" };
            checks.ok("key", format!("the key may list the collections: {n} collection{s}"));
            match collections.first() {
                Some(collection) => check_rights(checks, &qdrant, collection).await,
                None => checks.skip(&["rights"], "a collection to try it on"),
            }
        }
        Err(error) => {
            checks.fail("key", &error);
            checks.skip(&["rights"], "key");
        }
    }
}

/// Whether the key may do on `collection` what a backup does.
async fn check_rights(checks: &mut Checks, qdrant: &Qdrant, collection: &str) {
    // Qdrant checks the rights before it looks for the snapshot, and there is none of this name: a key that may delete, and
    // so create, gets "not found"; a read-only one gets "forbidden". Nothing is changed.
    let absent = format!("qdrant-backup-check-{}.snapshot", uuid::Uuid::new_v4());
    let tried = patiently(async {
        qdrant.count(collection).await?;
        qdrant.snapshots(collection).await?;
        qdrant.delete_snapshot(collection, &absent).await
    });
    match tried.await {
        Ok(_) => checks.ok("rights", format!("points of {collection:?} may be counted, snapshots made and deleted")),
        Err(error) => checks.fail("rights", &error),
    }
}

async fn check_store(checks: &mut Checks, config: &StoreConfig, who: &str) {
    let opened = patiently(async {
        let store = app::store(config).await?;
        store.check().await?;
        Ok(store)
    });
    match opened.await {
        Ok(store) => {
            checks.ok("store", format!("{} may be read and written", store.url()));
            check_lease(checks, store, who).await;
        }
        Err(error) => {
            checks.fail("store", &error);
            checks.skip(&["lease"], "store");
        }
    }
}

async fn check_lease(checks: &mut Checks, store: Arc<dyn Store>, who: &str) {
    let who = format!("{who} (check)");
    let clock = app::clock();
    let tried = patiently(async { lock::acquire(store, &clock, &who, LEASE).await?.release().await });
    match tried.await {
        Ok(()) => checks.ok("lease", "it can be taken and given back"),
        // As it should be while a backup runs.
        Err(error) if error.code() == Code::RunInProgress => {
            checks.add("lease", State::Warn, error.chain(), error.remedy_text().map(str::to_owned));
        }
        Err(error) => checks.fail("lease", &error),
    }
}

impl Checks {
    fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, State::Ok, message, None);
    }

    fn fail(&mut self, check: &'static str, error: &Error) {
        self.fails_with(error);
        self.add(check, State::Fail, error.chain(), error.remedy_text().map(str::to_owned));
    }

    /// The first failure decides the exit code.
    fn fails_with(&mut self, error: &Error) {
        if self.exit == 0 {
            self.exit = error.exit_code();
        }
    }

    fn skip(&mut self, checks: &[&'static str], wants: &str) {
        for check in checks {
            self.add(check, State::Skip, format!("not tried: needs {wants}"), None);
        }
    }

    fn add(&mut self, check: &'static str, state: State, message: impl Into<String>, remedy: Option<String>) {
        self.lines.push(Line {
            check,
            state,
            message: message.into(),
            remedy,
        });
    }

    /// What is known of the versions up to 1.19.
    fn version(&mut self, version: &str, url: &str) {
        let reached = format!("Qdrant {version} answers at {url}");
        let (problem, remedy) = match numbers(version) {
            Some(v) if v >= (1, 16, 0) => return self.ok("qdrant", reached),
            Some(v) if v >= (1, 15, 5) => ("this version is old", "update to 1.16 or newer"),
            Some(_) => (
                "SNAPSHOTS THAT THIS VERSION MAKES UNDER WRITES MAY BE CORRUPT",
                "update to 1.16 or newer; until then back up while nothing writes",
            ),
            None => ("this version is not known", "use a released Qdrant, 1.16 or newer"),
        };
        self.add("qdrant", State::Warn, format!("{reached}: {problem}"), Some(remedy.to_owned()));
    }

    fn told(&self) -> String {
        let columns = [("", Align::Left); 3];
        let mut rows = Vec::new();
        for line in &self.lines {
            let state = match line.state {
                State::Ok => "ok",
                State::Warn => "warn",
                State::Fail => "FAIL",
                State::Skip => "skip",
            };
            rows.push([state.to_owned(), line.check.to_owned(), line.message.clone()]);
            if let Some(remedy) = &line.remedy {
                rows.push([String::new(), String::new(), format!("-> {}", plain(remedy))]);
            }
        }
        super::text::table(columns, &rows).trim_start().to_owned()
    }
}

/// `1.18.3` or `1.18.3-dev` as numbers.
fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.trim_start_matches('v').split(['-', '+']).next()?.split('.').map(str::parse);
    let mut next = || parts.next()?.ok();
    Some((next()?, next()?, next()?))
}

async fn patiently<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Code::Stalled, format!("no answer within {} s", PATIENCE.as_secs()))
            .remedy("check address, network and firewall")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_warned_of_and_very_old_ones_strongly() {
        for (version, state, word) in [
            ("1.18.3", State::Ok, "answers"),
            ("1.16.0-dev", State::Ok, "answers"),
            ("1.15.5", State::Warn, "old"),
            ("1.15.4", State::Warn, "CORRUPT"),
            ("1.9.0", State::Warn, "CORRUPT"),
            ("unknown", State::Warn, "not known"),
        ] {
            let mut checks = Checks::default();
            checks.version(version, "http://q");
            assert_eq!(checks.lines[0].state, state, "{version}");
            assert!(checks.lines[0].message.contains(word), "{version}");
            assert_eq!(checks.exit, 0);
        }
    }

    #[test]
    fn the_first_failure_decides_the_exit_code() {
        let mut checks = Checks::default();
        checks.fail("qdrant", &Error::new(Code::QdrantUnreachable, "x").remedy("do y"));
        checks.fail("store", &Error::new(Code::StoreMissing, "z"));
        checks.skip(&["lease"], "store");
        assert_eq!(checks.exit, 6);
        assert_eq!(
            checks.told(),
            "FAIL  qdrant  x\n              -> do y\nFAIL  store   z\nskip  lease   not tried: needs store\n"
        );
    }
}
