//! `check`: tries everything that a backup needs, in the order in which a backup needs it. Only with `--deep` anything is changed:
//! a snapshot is made, and deleted again; or a shard is streamed, and nothing of it is kept.

mod deep;
mod records;
mod refused;
mod rights;
mod source;
mod space;

use super::causes;
use super::text::{Align, in_the_middle, plain, table};
use super::{print, print_json};
use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Result};
use crate::base::patience::{self, SILENT_QDRANT, SILENT_STORE};
use crate::config::{Invalid, Problem, RetentionConfig, TokenCallers, UnknownVariable};
use crate::ops::backup;
use crate::ops::notify::Notifier;
use crate::repository::lease;
use crate::repository::selection::Selection;
use crate::repository::unit::SnapshotMode;
use crate::wire::qdrant::{self, Qdrant};
use crate::wire::store::Store;
use futures_util::future::BoxFuture;
use serde::Serialize;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A person waits; the clients themselves would try for minutes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The lease of a check; runs out soon if the check is killed.
const LEASE: Duration = Duration::from_secs(15);

/// A store on its way.
pub(super) type Opening<'a> = BoxFuture<'a, Result<Arc<dyn Store>>>;

/// What is to be checked.
pub(crate) struct CheckTarget<'a> {
    /// What is wrong with the configuration, if anything is.
    pub(crate) invalid: Option<Invalid>,
    /// What is wrong with it in parts that no backup depends on.
    pub(crate) unclear: Vec<Problem>,
    /// Warnings of variables that are not used any more.
    pub(crate) obsolete: Vec<String>,
    /// Variables that are set, but that nothing reads.
    pub(crate) unknown: Vec<UnknownVariable>,
    /// The Qdrant; `None` when its configuration does not work.
    pub(crate) qdrant: Option<Result<Qdrant>>,
    /// What a backup selects by default.
    pub(crate) selection: Selection,
    /// How the bytes of a backup leave Qdrant.
    pub(crate) mode: SnapshotMode,
    /// How a backup names its source, if it does.
    pub(crate) source_name: Option<String>,
    /// Who may call the service by the tokens of a file, if it is so.
    pub(crate) callers: Option<Result<TokenCallers, Vec<Problem>>>,
    /// Which backups are kept; `None` when the configuration does not work.
    pub(crate) retention: Option<RetentionConfig>,
    /// The store's URL, and what opens it; `None` when its configuration does not work.
    pub(crate) store: Option<(&'a str, Opening<'a>)>,
    /// The time of day.
    pub(crate) clock: Clock,
    /// Who takes the lease.
    pub(crate) who: String,
    /// Longest time for one answer.
    pub(crate) patience: Duration,
    /// The Qdrant as a backup asks it, if a snapshot is to be made.
    pub(crate) deep: Option<Qdrant>,
    /// Snapshots that a backup has on Qdrant's disk at once.
    pub(crate) concurrency: usize,
    /// Tells how runs end.
    pub(crate) notifier: Notifier,
    /// Whether it is to send a test message.
    pub(crate) notify: bool,
}

/// What is tried beyond looking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckExtent {
    /// Whether a snapshot is made.
    pub(crate) deep: bool,
    /// Whether a test message is sent.
    pub(crate) notify: bool,
}

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
pub(crate) async fn check(subject: CheckTarget<'_>, json: bool, stop: &CancellationToken) -> Result<u8> {
    #[derive(Serialize)]
    struct Report<'a> {
        ok: bool,
        checks: &'a [Line],
    }
    let checks = tried(subject, stop).await;
    let ok = checks.exit == 0;
    let printed = match json {
        true => print_json(&Report {
            ok,
            checks: &checks.lines,
        }),
        false => print(&checks.rendered()),
    };
    match ok {
        true => printed.map(|()| 0),
        false => Ok(checks.exit),
    }
}

async fn tried(mut subject: CheckTarget<'_>, stop: &CancellationToken) -> Checks {
    let mut checks = Checks::default();
    let limit = subject.patience;
    check_config(&mut checks, &subject);
    check_callers(&mut checks, subject.callers.take());
    let qdrant = subject.qdrant.take();
    let found = match &qdrant {
        Some(Ok(qdrant)) => check_qdrant(&mut checks, qdrant, &subject, limit).await,
        Some(Err(error)) => {
            checks.fail("qdrant", error);
            checks.skip(&["key", "plan", "rights", "restore"], "qdrant");
            None
        }
        None => {
            checks.skip(&["qdrant", "key", "plan", "rights", "restore"], "configuration");
            None
        }
    };
    let store = match subject.store.take() {
        Some((url, store)) => check_store(&mut checks, url, store, (&subject.clock, &subject.who), limit).await,
        None => {
            checks.skip(&["store", "lease"], "configuration");
            None
        }
    };
    match (&qdrant, &found, &store) {
        (Some(Ok(qdrant)), Some(found), Some(store)) => {
            source::check(&mut checks, qdrant, &found.names, &**store, &subject).await;
        }
        (_, None, _) => checks.skip(&["source"], "plan"),
        _ => checks.skip(&["source"], "store"),
    }
    match &store {
        Some(store) => space::check(&mut checks, &**store, &subject).await,
        None => checks.skip(&["space"], "store"),
    }
    if let Some(qdrant) = &subject.deep {
        let smallest = found.as_ref().and_then(|found| found.smallest.as_deref());
        match checks.has_failed("rights") {
            // For the same reason.
            true => checks.skip(&["snapshot"], "rights"),
            false => deep::check(&mut checks, qdrant, store.as_ref(), smallest, &subject, stop).await,
        }
    }
    match &subject.retention {
        Some(retention) => check_retention(&mut checks, retention, store.as_deref(), limit).await,
        None => checks.skip(&["retention"], "configuration"),
    }
    check_notifications(&mut checks, &subject).await;
    checks
}

/// Who is told, and whether they take a message.
async fn check_notifications(checks: &mut Checks, subject: &CheckTarget<'_>) {
    let receivers = subject.notifier.receivers();
    if receivers.is_empty() {
        if subject.notify {
            checks.skip(&["notify"], "NOTIFY_URLS");
        }
        return;
    }
    if !subject.notify {
        let told = receivers.join(", ");
        return checks.ok(
            "notify",
            format!("told how runs end: {told}; `--notify` sends a test message"),
        );
    }
    for (receiver, sent) in subject.notifier.test(&subject.clock).await {
        match sent {
            Ok(()) => checks.ok("notify", format!("{receiver} has taken a test message")),
            Err(reason) => {
                let text = format!("{receiver} has not taken a test message: {reason}");
                let remedy = "check its URL in NOTIFY_URLS, and the network and firewall to it";
                checks.fail("notify", &Error::new(Code::ConfigInvalid, text).remedy(remedy));
            }
        }
    }
}

fn check_callers(checks: &mut Checks, callers: Option<Result<TokenCallers, Vec<Problem>>>) {
    match callers {
        None => {}
        Some(Ok(TokenCallers { summary, warning })) => match warning {
            None => checks.ok("callers", &summary),
            Some(warning) => {
                let remedy = "chmod o= the file, and give it to the user that runs the service";
                checks.add(
                    "callers",
                    State::Warn,
                    format!("{summary}; {warning}"),
                    Some(remedy.to_owned()),
                );
            }
        },
        Some(Err(problems)) => {
            for problem in problems {
                let error = Error::new(Code::ConfigInvalid, problem.what()).remedy(problem.remedy);
                checks.fail("callers", &error);
            }
        }
    }
}

fn check_config(checks: &mut Checks, subject: &CheckTarget<'_>) {
    let mut add = |state, problem: &Problem| {
        checks.add("configuration", state, problem.what(), Some(problem.remedy.clone()));
    };
    subject
        .invalid
        .iter()
        .flat_map(|invalid| &invalid.0)
        .for_each(|problem| add(State::Fail, problem));
    subject.unclear.iter().for_each(|problem| add(State::Warn, problem));
    for warning in &subject.obsolete {
        checks.add("configuration", State::Warn, warning, Some("leave it out".to_owned()));
    }
    for variable in &subject.unknown {
        checks.fail(
            "configuration",
            &Error::new(Code::ConfigInvalid, variable.what()).remedy(variable.remedy()),
        );
    }
    if let Some(invalid) = &subject.invalid {
        checks.fails_with(&invalid.clone().into());
    }
    if checks.lines.is_empty() {
        checks.ok("configuration", "all variables are valid");
    }
}

/// What a backup would find on Qdrant.
struct Found {
    /// Of the collections that it is to save.
    names: Vec<String>,
    /// The smallest one of which a snapshot may be made.
    smallest: Option<String>,
}

/// `None` when there is nothing to back up, or that cannot be known.
async fn check_qdrant(
    checks: &mut Checks,
    qdrant: &Qdrant,
    subject: &CheckTarget<'_>,
    limit: Duration,
) -> Option<Found> {
    match ask_qdrant(qdrant, limit, qdrant.version()).await {
        Ok(version) => checks.ok("qdrant", format!("Qdrant {version} answers at {}", qdrant.url())),
        Err(error) => {
            checks.fail("qdrant", &error);
            checks.skip(&["key", "plan", "rights", "restore"], "qdrant");
            return None;
        }
    }
    match ask_qdrant(qdrant, limit, qdrant.collections()).await {
        Ok(_) => checks.ok("key", "collections can be listed"),
        Err(error) => {
            checks.fail("key", &error);
            checks.skip(&["plan", "rights", "restore"], "key");
            return None;
        }
    }
    match ask_qdrant(qdrant, limit, backup::plan(qdrant, &subject.selection, subject.mode)).await {
        Ok(plan) => {
            for node in &plan.map {
                checks.ok("nodes", node.to_string());
            }
            let mut smallest = None;
            match ask_qdrant(qdrant, limit, refused::check_each(&plan)).await {
                Ok(looked) => {
                    if !looked.accepted().is_empty() {
                        checks.ok("plan", would_save(&looked.accepted()));
                    }
                    looked.refusals().iter().for_each(|error| checks.fail("plan", error));
                    smallest = looked.smallest();
                }
                Err(error) => checks.fail("plan", &error),
            }
            let names = plan.collections();
            let places = rights::places(&plan);
            for warning in plan.warnings {
                checks.add("plan", State::Warn, warning, None);
            }
            long_names(checks, &names);
            rights::check(checks, qdrant, &places, subject).await;
            Some(Found { names, smallest })
        }
        // As it should be on a Qdrant that is new.
        Err(error) if error.code() == Code::NothingToBackUp => {
            checks.warn("plan", &error);
            checks.skip(&["rights", "restore"], "a collection to test with");
            None
        }
        Err(error) => {
            checks.fail("plan", &error);
            checks.skip(&["rights", "restore"], "plan");
            None
        }
    }
}

/// Of a long name Qdrant may make no snapshot; of which length, its file system decides.
fn long_names(checks: &mut Checks, names: &[String]) {
    const SHOWN: usize = 60;
    let long: Vec<_> = names.iter().filter(|name| name.len() > qdrant::LONGEST_NAME).collect();
    if long.is_empty() {
        return;
    }
    let count = match long.len() {
        1 => "1 name is".to_owned(),
        n => format!("{n} names are"),
    };
    let shown = causes::listed(long.iter().map(|name| format!("{:?}", in_the_middle(name, SHOWN))));
    checks.add(
        "plan",
        State::Warn,
        format!(
            "{count} longer than {} bytes, so that Qdrant may be unable to make a snapshot: {shown}",
            qdrant::LONGEST_NAME
        ),
        Some("run `qdrant-backup check --deep`, or a backup of these; what fails needs a shorter name".to_owned()),
    );
}

/// The collections by name; of many, the first ones.
fn would_save(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    let n = names.len();
    let s = if n == 1 { "" } else { "s" };
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = match n.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("a backup would save {n} collection{s}: {}{more}", shown.join(", "))
}

/// The store, if it can be used.
async fn check_store(
    checks: &mut Checks,
    url: &str,
    store: Opening<'_>,
    (clock, who): (&Clock, &str),
    limit: Duration,
) -> Option<Arc<dyn Store>> {
    let opened = ask_store(url, limit, async {
        let store = store.await?;
        store.check().await?;
        Ok(store)
    });
    let store = match opened.await {
        Ok(store) => store,
        Err(error) => {
            checks.fail("store", &error);
            checks.skip(&["lease"], "store");
            return None;
        }
    };
    checks.ok("store", format!("{} can be read and written", store.url()));
    let taken = store.clone();
    let lease = ask_store(url, limit, async {
        lease::acquire(taken, clock, who, LEASE).await?.release().await
    });
    match lease.await {
        Ok(()) => checks.ok("lease", "it can be acquired and released"),
        // As it should be while a backup runs.
        Err(error) if error.code() == Code::RunInProgress => checks.warn("lease", &error),
        Err(error) => checks.fail("lease", &error),
    }
    records::check(checks, url, &*store, limit).await;
    Some(store)
}

/// What the policy says, and whether it can be carried out where a backup does that. No backup depends on it, so nothing of it
/// is a failure.
async fn check_retention(checks: &mut Checks, retention: &RetentionConfig, store: Option<&dyn Store>, limit: Duration) {
    let policy = &retention.policy;
    if policy.is_empty() {
        return checks.ok("retention", "no retention rule is set: backups are never deleted");
    }
    if !retention.after_backup {
        return checks.ok("retention", format!("`prune` keeps {policy}"));
    }
    let text = format!("after each complete backup, pruning keeps {policy}");
    let Some(store) = store else {
        return checks.skip(&["retention"], "store");
    };
    match ask_store(&store.url(), limit, store.may_delete()).await {
        Ok(Some(true)) => checks.ok("retention", format!("{text}; the others can be deleted")),
        Ok(Some(false)) => checks.add(
            "retention",
            State::Warn,
            format!("{text}; but {} does not let this account delete just any object", store.url()),
            Some(
                "grant roles/storage.objectUser on the bucket, unless an IAM condition already grants storage.objects.delete below backups/ (a condition cannot be checked from here)"
                    .to_owned(),
            ),
        ),
        Ok(None) => checks.ok(
            "retention",
            format!("{text}; the right to delete the others cannot be checked in advance"),
        ),
        Err(error) => checks.warn("retention", &error),
    }
}

impl Checks {
    fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, State::Ok, message, None);
    }

    fn fail(&mut self, check: &'static str, error: &Error) {
        self.fails_with(error);
        self.add(
            check,
            State::Fail,
            error.chain(),
            error.remedy_text().map(str::to_owned),
        );
    }

    fn warn(&mut self, check: &'static str, error: &Error) {
        self.add(
            check,
            State::Warn,
            error.chain(),
            error.remedy_text().map(str::to_owned),
        );
    }

    /// The first failure decides the exit code.
    fn fails_with(&mut self, error: &Error) {
        if self.exit == 0 {
            self.exit = error.exit_code();
        }
    }

    fn has_failed(&self, check: &str) -> bool {
        let mut failed = self.lines.iter().filter(|line| line.state == State::Fail);
        failed.any(|line| line.check == check)
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

    fn rendered(&self) -> String {
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
        table(columns, &rows).trim_start().to_owned()
    }
}

pub(super) async fn ask_qdrant<T>(
    qdrant: &Qdrant,
    limit: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let doing = format!("asking Qdrant at {}", qdrant.url());
    patience::within(limit, &doing, SILENT_QDRANT, work).await
}

pub(super) async fn ask_store<T>(url: &str, limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    patience::within(limit, &format!("asking {url}"), SILENT_STORE, work).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wire::qdrant::Options;

    #[tokio::test]
    async fn what_does_not_answer_is_named_with_a_remedy() {
        // Connections are accepted by the system, and nobody reads.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let subject = CheckTarget {
            invalid: None,
            unclear: Vec::new(),
            obsolete: Vec::new(),
            unknown: Vec::new(),
            qdrant: Some(Qdrant::new(Options::new(url.parse().unwrap()))),
            selection: Selection::default(),
            mode: SnapshotMode::File,
            source_name: None,
            callers: None,
            retention: None,
            store: Some(("gs://silent", Box::pin(std::future::pending()))),
            clock: Clock::system(),
            who: "test".to_owned(),
            patience: Duration::from_millis(50),
            deep: None,
            concurrency: 2,
            notifier: Notifier::default(),
            notify: false,
        };
        let checks = tried(subject, &CancellationToken::new()).await;
        let told: Vec<_> = checks.lines.iter().filter(|line| line.state == State::Fail).collect();
        let [qdrant, store] = told[..] else {
            panic!("{checks:?}");
        };
        assert!(
            qdrant.message.contains(&url) && qdrant.message.contains("50ms"),
            "{qdrant:?}"
        );
        assert!(qdrant.remedy.is_some(), "{qdrant:?}");
        assert!(store.message.contains("gs://silent"), "{store:?}");
        assert!(store.remedy.as_ref().unwrap().contains("BACKUP_STORE"), "{store:?}");
    }

    #[test]
    fn the_first_failure_decides_the_exit_code() {
        let mut checks = Checks::default();
        checks.fail("qdrant", &Error::new(Code::QdrantUnreachable, "x").remedy("do y"));
        checks.fail("store", &Error::new(Code::StoreMissing, "z"));
        checks.skip(&["lease"], "store");
        assert_eq!(checks.exit, 6);
        assert_eq!(
            checks.rendered(),
            "FAIL  qdrant  x\n              -> do y\nFAIL  store   z\nskip  lease   not tried: needs store\n"
        );
    }
}
