//! Configuration: one struct for each group, defaults first, then a file, the environment, and flags.
//!
//! All of it comes in through one trait, so that a test passes a function. Values that are empty count as unset. Whatever is wrong is reported at once, with the variable or flag, its
//! value (never a secret) and the remedy. What each variable means is told in [`settings`].

mod auth;
mod effective;
mod environment;
mod file;
mod job;
mod notify;
mod qdrant;
mod reader;
mod retention;
mod settings;
mod store;
mod tls;
mod unknown;

pub(crate) use auth::{TokenCallers, token_callers};
pub(crate) use effective::{EffectiveConfig, effective};
pub(crate) use environment::WithFlag;
pub use environment::{Environment, Layers};
pub use file::{ConfigFile, FileValue};
pub(crate) use notify::from_env as notify;
pub use qdrant::QdrantConfig;
pub(crate) use qdrant::{DRILL, RESTORE};
pub(crate) use reader::Env;
pub use reader::{Invalid, Problem};
pub use retention::{PruneConfig, RetentionConfig};
pub use settings::{EVERY, Flag, GROUPS, Group, Setting, settings, value};

pub use store::StoreConfig;
pub use unknown::{UnknownVariable, unknown};

use crate::ops::backup::job::Task;
use crate::ops::freshness;
use crate::ops::notify::NotifyConfig;
use crate::repository::lease;
use crate::repository::selection::Selection;
use crate::repository::unit;
use crate::server::auth::Mode;
use qdrant::{LIVE, Variables};
use reader::Reader;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

/// Variables of older versions that mean nothing any more, and why.
const OBSOLETE: [(&str, &str); 1] = [("BACKUP_LOCAL_PATH", "snapshots are streamed and touch no local disk")];
/// Variables that mean nothing beside another one, and why.
const BESIDE: [(&str, &str, &str); 2] = [
    (
        "GCS_FOLDER_PREFIX",
        "BACKUP_STORE",
        "BACKUP_STORE holds the prefix, if there is one",
    ),
    (
        "QDRANT_PORT",
        "QDRANT_URL",
        "QDRANT_URL holds the port, if it is not that of its scheme",
    ),
];

/// All that a backup needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Qdrant to back up.
    pub qdrant: QdrantConfig,
    /// Where backups are kept.
    pub store: StoreConfig,
    /// How backups are made.
    pub backup: BackupConfig,
    /// Which backups are kept.
    pub retention: RetentionConfig,
    /// The HTTP service.
    pub server: ServerConfig,
    /// `NOTIFY_URLS`, `NOTIFY_ON`, `NOTIFY_WEBHOOK_SECRET`: who is told how runs end.
    pub notify: NotifyConfig,
    /// Which task of a job this is, if it is one: `CLOUD_RUN_EXECUTION`, `CLOUD_RUN_TASK_INDEX`, `CLOUD_RUN_TASK_COUNT`,
    /// `CLOUD_RUN_TASK_ATTEMPT` and `BACKUP_JOB_MAX_RETRIES`.
    pub task: Option<Task>,
}

impl Config {
    /// Reads everything that a command needs. Who may call is not looked at, since nobody can: see [`Config::for_service`].
    pub fn from_env(env: Env<'_>) -> Result<Self, Invalid> {
        Self::read(env, false, &LIVE)
    }

    /// Reads everything that the service needs: also who may call it.
    pub fn for_service(env: Env<'_>) -> Result<Self, Invalid> {
        Self::read(env, true, &LIVE)
    }

    /// As [`Config::from_env`], with another Qdrant in the place of the one that is backed up.
    pub(crate) fn of_another(env: Env<'_>, qdrant: &Variables) -> Result<Self, Invalid> {
        Self::read(env, false, qdrant)
    }

    fn read(env: Env<'_>, service: bool, qdrant: &Variables) -> Result<Self, Invalid> {
        let mut reader = Reader::new(env);
        // All groups are read before the first problem ends it.
        let qdrant = QdrantConfig::read(&mut reader, qdrant);
        let store = StoreConfig::read(&mut reader);
        let backup = BackupConfig::read(&mut reader);
        let retention = RetentionConfig::read(&mut reader);
        let mut server = ServerConfig::read(&mut reader);
        if service {
            server.auth = auth::read(&mut reader, server.listen);
        }
        let notify = notify::read(&mut reader);
        let task = job::read(&mut reader);
        let all = qdrant.zip(store).map(|(qdrant, store)| Self {
            qdrant,
            store,
            backup,
            retention,
            server,
            notify,
            task,
        });
        reader.finish(all)
    }

    /// For tests: the Qdrant at `qdrant`, backed up into `store`; deadlines short, any free port.
    pub fn for_testing(qdrant: url::Url, store: impl Into<String>) -> Self {
        Self {
            qdrant: QdrantConfig::for_testing(qdrant),
            store: StoreConfig::for_testing(store),
            backup: BackupConfig::for_testing(),
            retention: RetentionConfig::default(),
            server: ServerConfig::for_testing(),
            notify: NotifyConfig::default(),
            task: None,
        }
    }
}

/// How backups are made.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupConfig {
    /// `BACKUP_CONCURRENCY`: collections at once, 1 to 64.
    pub concurrency: usize,
    /// `RESTORE_CONCURRENCY`: collections restored at once, 1 to 64.
    pub restore_concurrency: usize,
    /// `BACKUP_MAX_MBPS`: megabytes (10^6 bytes) per second of all transfers together; unset: no limit.
    pub max_mbps: Option<NonZeroU32>,
    /// `BACKUP_INCLUDE` and `BACKUP_EXCLUDE`: comma-separated globs; the selection of a request that names none itself.
    pub selection: Selection,
    /// `BACKUP_LEASE_SECS`: how long the lease lasts without being renewed, 15 to 3600. After a crash no other run starts
    /// until it has ended.
    pub lease: Duration,
    /// `SNAPSHOT_MODE`: how the bytes leave Qdrant.
    pub mode: unit::SnapshotMode,
    /// `BACKUP_SETTLE_TIMEOUT_SECS`: how long a shard is waited for that Qdrant optimizes, up to 86400; default 600.
    pub(crate) settle: Duration,
    /// `BACKUP_MAX_LATENCY_FACTOR`: nothing is begun while a node takes so many times as long to answer as before the run, 1.5 to 1000;
    /// unset: that is not looked at.
    pub(crate) max_latency_factor: Option<f64>,
    /// `BACKUP_SOURCE_NAME`: the operator's name for the Qdrant that is backed up, at most 100 characters.
    pub source_name: Option<String>,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            concurrency: 2,
            restore_concurrency: 4,
            max_mbps: None,
            selection: Selection::default(),
            lease: Duration::from_secs(120),
            mode: unit::SnapshotMode::File,
            settle: Duration::from_secs(600),
            max_latency_factor: None,
            source_name: None,
        }
    }
}

impl BackupConfig {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            concurrency: reader
                .number("BACKUP_CONCURRENCY", 1..=64)
                .unwrap_or(default.concurrency),
            restore_concurrency: reader
                .number("RESTORE_CONCURRENCY", 1..=64)
                .unwrap_or(default.restore_concurrency),
            max_mbps: reader
                .number("BACKUP_MAX_MBPS", 1..=1_000_000)
                .and_then(NonZeroU32::new),
            selection: Selection {
                collections: Vec::new(),
                include: globs(reader, "BACKUP_INCLUDE"),
                exclude: globs(reader, "BACKUP_EXCLUDE"),
            },
            lease: seconds(reader, "BACKUP_LEASE_SECS", default.lease, 15, lease::LONGEST.as_secs()),
            mode: mode(reader),
            settle: seconds(reader, "BACKUP_SETTLE_TIMEOUT_SECS", default.settle, 0, 86_400),
            max_latency_factor: reader.decimal("BACKUP_MAX_LATENCY_FACTOR", 1.5..=1000.0),
            source_name: read_source_name(reader),
        }
    }

    fn for_testing() -> Self {
        Self::default()
    }
}

/// The HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// `LISTEN` (address and port), or `PORT` on all addresses; default port 8080 on the loopback address.
    pub listen: SocketAddr,
    /// `AUTH_MODE` (`iam`, `oidc` or `none`) with `AUTH_AUDIENCE`, the lists of callers by role, and `AUTH_DEFAULT_ROLE`. Unset:
    /// `iam` on Cloud Run, `none` on a loopback address, and a problem elsewhere.
    pub auth: Mode,
    /// `BACKUP_MAX_AGE`: how old the last good backup of a collection may be, a minute to ten years; default `26h`.
    pub max_age: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            auth: Mode::None,
            max_age: freshness::FreshnessPolicy::default().max_age,
        }
    }
}

impl ServerConfig {
    fn read(reader: &mut Reader<'_>) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const TEN_YEARS: Duration = Duration::from_secs(3660 * 86_400);
        let default = Self::default();
        Self {
            listen: Self::listen(reader).unwrap_or(default.listen),
            auth: default.auth,
            max_age: reader
                .duration("BACKUP_MAX_AGE", MINUTE..=TEN_YEARS)
                .unwrap_or(default.max_age),
        }
    }

    fn listen(reader: &mut Reader<'_>) -> Option<SocketAddr> {
        // Cloud Run always sets PORT, so LISTEN has to win.
        let Some(text) = reader.text("LISTEN") else {
            let port = reader.number("PORT", 0..=u16::MAX)?;
            return Some((Ipv4Addr::UNSPECIFIED, port).into());
        };
        let listen = text.parse().ok();
        if listen.is_none() {
            let remedy = "write an address and a port, e.g. 127.0.0.1:8080 or [::]:8080";
            reader.problem("LISTEN", &text, "is not an address to listen on", remedy);
        }
        listen
    }

    fn for_testing() -> Self {
        Self {
            listen: (IpAddr::from(Ipv4Addr::LOCALHOST), 0).into(),
            ..Self::default()
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For Cloud Logging: one JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `LOG_FORMAT`: `text` or `json`; default `json` on Cloud Run (`K_SERVICE` or `CLOUD_RUN_JOB` is set), else `text`.
    pub format: LogFormat,
    /// `RUST_LOG`: directives such as `info,h2=off`; or `LOG_LEVEL`: the level of this tool's own lines. Unset: the command
    /// decides, `info` for the service.
    pub filter: Option<String>,
    /// `GOOGLE_CLOUD_PROJECT`: the project of the traces that log lines are linked to. Without it they are not linked.
    pub project: Option<String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: None,
            project: None,
        }
    }
}

impl LogConfig {
    /// Reads the group. What is wrong falls back to the default and is returned beside it: the problems have to be logged.
    pub fn from_env(env: Env<'_>) -> (Self, Vec<Problem>) {
        let mut reader = Reader::new(env);
        let log = Self {
            format: Self::format(&mut reader),
            filter: Self::filter(&mut reader),
            project: reader.text("GOOGLE_CLOUD_PROJECT"),
        };
        (log, reader.problems())
    }

    fn format(reader: &mut Reader<'_>) -> LogFormat {
        match reader.text("LOG_FORMAT").as_deref() {
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            other => {
                if let Some(other) = other {
                    reader.problem("LOG_FORMAT", other, "is not a format", "write text or json");
                }
                let on_cloud_run = ["K_SERVICE", "CLOUD_RUN_JOB"];
                match on_cloud_run.iter().any(|name| reader.text(name).is_some()) {
                    true => LogFormat::Json,
                    false => LogFormat::Text,
                }
            }
        }
    }

    fn filter(reader: &mut Reader<'_>) -> Option<String> {
        let directives = reader.text("RUST_LOG").filter(|_| reader.flag("LOG_LEVEL").is_none());
        if let Some(directives) = directives {
            match tracing_subscriber::EnvFilter::try_new(&directives) {
                Ok(_) => return Some(directives),
                Err(e) => reader.problem(
                    "RUST_LOG",
                    &directives,
                    format!("is not a log filter: {e}"),
                    "write a level or directives, e.g. info,qdrant_backup=debug",
                ),
            }
        }
        let level = reader.text("LOG_LEVEL")?.to_ascii_lowercase();
        if level.parse::<tracing::Level>().is_err() {
            reader.problem(
                "LOG_LEVEL",
                &level,
                "is not a level",
                "write error, warn, info, debug or trace",
            );
            return None;
        }
        Some(log_filter(&level))
    }
}

/// A filter for this tool's own lines; libraries speak up only when something is wrong.
pub(crate) fn log_filter(level: &str) -> String {
    format!("warn,qdrant_backup={level}")
}

/// Whether text for people is coloured on an output that is a terminal or none.
pub fn colours(env: Env<'_>, is_terminal: bool) -> bool {
    let reader = Reader::new(env);
    let is_forced = || reader.text("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    reader.text("NO_COLOR").is_none() && (is_terminal || is_forced())
}

/// A warning for every variable that is set but means nothing, or nothing any more.
pub fn obsolete(env: Env<'_>) -> Vec<String> {
    let reader = Reader::new(env);
    let no_more = OBSOLETE
        .into_iter()
        .filter(|(name, _)| reader.text(name).is_some())
        .map(|(name, why)| format!("{name} is set but not used any more: {why}"));
    let beside = BESIDE
        .into_iter()
        // What Kubernetes sets for a service of that name is nobody's doing.
        .filter(|(name, _, _)| reader.text(name).is_some_and(|value| !value.contains("://")))
        .filter(|(_, other, _)| reader.variable(other).is_some())
        .map(|(name, _, why)| format!("{name} is set but not used: {why}"));
    let plain = [LIVE, DRILL].into_iter().filter_map(|one| tls::unused(env, &one));
    let file = env.file().and_then(ConfigFile::warning);
    no_more.chain(beside).chain(plain).chain(file).collect()
}

/// `BACKUP_SOURCE_NAME`, if it is one: for commands that need nothing else of the configuration.
pub fn source_name(env: Env<'_>) -> Option<String> {
    read_source_name(&mut Reader::new(env))
}

fn mode(reader: &mut Reader<'_>) -> unit::SnapshotMode {
    const NAME: &str = "SNAPSHOT_MODE";
    let Some(text) = reader.text(NAME) else {
        return unit::SnapshotMode::File;
    };
    match text.to_ascii_lowercase().as_str() {
        "file" => unit::SnapshotMode::File,
        "stream" => unit::SnapshotMode::Stream,
        "auto" => unit::SnapshotMode::Auto,
        _ => {
            reader.problem(NAME, &text, "is not a mode", "write file, stream or auto");
            unit::SnapshotMode::File
        }
    }
}

fn read_source_name(reader: &mut Reader<'_>) -> Option<String> {
    const LONGEST: usize = 100;
    let name = reader.text("BACKUP_SOURCE_NAME")?;
    if name.chars().count() > LONGEST || name.chars().any(crate::base::text::is_control) {
        reader.problem(
            "BACKUP_SOURCE_NAME",
            &name,
            "is not a name",
            "write up to 100 characters on one line, e.g. production",
        );
        return None;
    }
    Some(name)
}

fn globs(reader: &mut Reader<'_>, name: &'static str) -> Vec<String> {
    let globs = reader.list(name);
    for text in &globs {
        if let Err(e) = glob::Pattern::new(text) {
            reader.problem(
                name,
                text,
                format!("is not a pattern: {}", e.msg),
                "write e.g. docs,logs-*",
            );
        }
    }
    globs
}

fn seconds(reader: &mut Reader<'_>, name: &'static str, default: Duration, from: u64, to: u64) -> Duration {
    reader.number(name, from..=to).map_or(default, Duration::from_secs)
}
