//! The wiring: the one place where configuration becomes clients, and where the system's clock and name come in.

use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Result};
use crate::base::pause::Pause;
use crate::base::zone::Zone;
use crate::cli::{self, Bars, CheckExtent, CheckTarget, Cli, Command, ConfigCommand, StatusQuery};
use crate::config::{
    self, Config, DRILL, Env, Invalid, LogConfig, LogFormat, PruneConfig, QdrantConfig, RESTORE, RetentionConfig,
    StoreConfig, UnknownVariable, WithFlag, effective, obsolete, source_name, token_callers, value,
};
use crate::ops::context::{Context, LoadGuard, Settings, SourceSettings, StoreContext};
use crate::ops::drill;
use crate::ops::notify::{Notifier, NotifyConfig, Patience};
use crate::ops::prune::PruneContext;
use crate::ops::verify::Verifier;
use crate::repository::catalog;
use crate::repository::manifest::Source;
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use crate::repository::unit::SnapshotMode;
use crate::server::auth::Auth;
use crate::server::{self, App};
use crate::wire::qdrant::{Options, Qdrant};
use crate::wire::store::{self, GcsOptions, Retry, Store};
use crate::wire::transfer::{Limits, RateLimiter};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a command is configured by.
pub struct Startup<'a> {
    /// Flags, variables and the configuration file.
    pub env: Env<'a>,
    /// What is wrong with the file: nothing of it counts then.
    pub broken_file: Option<Invalid>,
    /// The variables of [`crate::config::unknown()`].
    pub unknown: Vec<UnknownVariable>,
    pub log: LogFormat,
}

/// Runs a command to its exit code, see [`Code::exit_code`].
pub async fn run(cli: Cli, startup: Startup<'_>, bars: &Bars) -> ExitCode {
    let (json, log) = (cli.json, startup.log);
    match dispatch(cli, startup, bars).await {
        Ok(exit) => ExitCode::from(exit),
        Err(error) => {
            cli::print_error(&error, log, json);
            ExitCode::from(error.exit_code())
        }
    }
}

async fn dispatch(cli: Cli, startup: Startup<'_>, bars: &Bars) -> Result<u8> {
    let env = startup.env;
    if let (Some(invalid), false) = (&startup.broken_file, cli.needs_no_configuration()) {
        return Err(invalid.clone().into());
    }
    match cli.command {
        Command::Serve => serve(env).await.map(|()| 0),
        Command::Backup(args) => backup(args, env, bars).await.map(|()| 0),
        Command::List(args) => list(env, args).await.map(|()| 0),
        Command::Show { id, json } => show(env, &id, json).await.map(|()| 0),
        Command::Restore(args) => restore(args, env, bars).await.map(|()| 0),
        Command::Drill(args) => drill(args, env, bars).await.map(|()| 0),
        Command::Verify(args) => verify(args, env, bars).await.map(|()| 0),
        Command::Prune(args) => prune(args, env).await.map(|()| 0),
        Command::Delete(args) => delete(args, env).await.map(|()| 0),
        Command::Unlock { force, json } => unlock(env, force, json).await.map(|()| 0),
        Command::Watch { id, json } => watch(env, id.as_deref(), json, bars).await.map(|()| 0),
        Command::Pin { id, note } => pin(env, &id, note).await.map(|()| 0),
        Command::Unpin { id } => unpin(env, &id).await.map(|()| 0),
        Command::Status(args) => status(env, &args).await,
        Command::Check { deep, notify, json } => check(startup, CheckExtent { deep, notify }, json).await,
        Command::Config {
            command: ConfigCommand::Show { json },
        } => cli::show_config(&effective(env), json).map(|()| 0),
        Command::Version { json } => cli::version(json).map(|()| 0),
        Command::Completions { shell } => cli::completions(shell).map(|()| 0),
        Command::Man { directory } => cli::man(&directory).map(|()| 0),
    }
}

/// What the operations work with.
pub async fn context(config: &Config, who: String) -> Result<Context> {
    let limits = Limits::default();
    Ok(Context {
        qdrant: Qdrant::new(options(&config.qdrant))?,
        store: open_store(&config.store).await?,
        clock: Clock::system(),
        who,
        notify: notifier(&config.notify)?,
        settings: Settings {
            concurrency: config.backup.concurrency,
            restore_concurrency: config.backup.restore_concurrency,
            attempts: 3,
            backoff: Duration::from_secs(2),
            mode: config.backup.mode,
            settle: config.backup.settle,
            guard: config.backup.max_latency_factor.map(LoadGuard::new),
            limits: Limits {
                // The client for Qdrant gives a connection up first and continues with another one.
                idle: limits.idle.max(config.qdrant.idle * 2),
                ..limits
            },
            rate: config
                .backup
                .max_mbps
                .map(|mbps| Arc::new(RateLimiter::megabytes_per_second(mbps))),
            lease: config.backup.lease,
            source: SourceSettings {
                name: config.backup.source_name.clone(),
                ..SourceSettings::default()
            },
        },
    })
}

/// What tells the end of runs to those that the configuration names.
fn notifier(config: &NotifyConfig) -> Result<Notifier> {
    install_crypto();
    Notifier::new(config.clone(), Patience::default())
}

/// A client that gives up soon: for looks at Qdrant that somebody waits for.
pub(crate) fn probe(config: &QdrantConfig) -> Result<Qdrant> {
    Qdrant::new(Options {
        idle: Duration::from_secs(5),
        start: Duration::ZERO,
        request_timeout: Duration::from_secs(10),
        count_timeout: Duration::from_secs(10),
        retries: 1,
        ..options(config)
    })
}

/// What a service has of the process that it runs in, not of its configuration.
#[derive(Debug)]
pub struct Host {
    /// Who this process is, for the lease and for messages.
    pub who: String,
    /// The time, for the operations and for the age of tokens.
    pub clock: Clock,
    /// See [`drill_qdrant`].
    pub drills_on: Option<Qdrant>,
    /// Cancelled, it stops cleanly.
    pub stop: CancellationToken,
}

/// The service of this configuration: the one that is deployed, and the one that is tested.
pub async fn compose(config: Config, host: Host) -> Result<App> {
    let ctx = Context {
        clock: host.clock,
        ..context(&config, host.who).await?
    };
    let auth = Auth::new(config.server.auth, ctx.clock.clone())?;
    Ok(
        App::new(ctx, probe(&config.qdrant)?, config.backup.selection, host.stop)
            .with_retention(config.retention.policy, config.retention.after_backup)
            .with_drills_on(host.drills_on)
            .with_auth(auth)
            .with_max_age(config.server.max_age),
    )
}

async fn serve(env: Env<'_>) -> Result<()> {
    let config = Config::for_service(env)?;
    let listen = config.server.listen;
    let stop = cli::stop_on_signals(server::STOP_WITHIN)?;
    let host = Host {
        who: holder_name(env),
        clock: Clock::system(),
        drills_on: drill_qdrant(env)?,
        stop: stop.clone(),
    };
    let app = compose(config, host).await?;
    server::serve(server::listen(listen).await?, app, stop).await
}

async fn backup(args: cli::BackupArgs, env: Env<'_>, bars: &Bars) -> Result<()> {
    let config = Config::from_env(env)?;
    let stop = cli::stop_on_signals(cli::STOP_WITHIN)?;
    let pause = Pause::default();
    if config.task.is_some() {
        cli::pause_on_signals(pause.clone())?;
    }
    let Some(ctx) = stop.run_until_cancelled(context(&config, holder_name(env))).await else {
        return Err(Error::new(Code::Cancelled, "stopped before the backup began"));
    };
    let mut ctx = ctx?;
    ctx.settings.source.accept_new = args.new_source;
    let drill = match args.drill {
        // Its configuration is looked at before the backup, not hours later.
        true => Some(drill_place(args.same_qdrant, env, &stop).await?),
        false => None,
    };
    let prune_after = config.retention.after_backup.then_some(config.retention.policy);
    if let Some(task) = &config.task {
        let ctx = Context {
            qdrant: Qdrant::new(Options {
                pause,
                ..options(&config.qdrant)
            })?,
            ..ctx
        };
        let afterwards = cli::FollowUp {
            prune: prune_after,
            drill: drill.as_ref(),
        };
        return cli::backup_task(args, &ctx, config.backup.selection, task, afterwards, bars, &stop).await;
    }
    cli::backup(
        args,
        &ctx,
        config.backup.selection,
        prune_after,
        drill.as_ref(),
        bars,
        &stop,
    )
    .await
}

async fn restore(args: cli::RestoreArgs, env: Env<'_>, bars: &Bars) -> Result<()> {
    let config = match &args.to {
        Some(url) => {
            let with_url = WithFlag {
                env,
                flag: "--to",
                value: url,
            };
            Config::of_another(&with_url, &RESTORE)?
        }
        None => Config::from_env(env)?,
    };
    let stop = cli::stop_on_signals(cli::STOP_WITHIN)?;
    let Some(ctx) = stop.run_until_cancelled(context(&config, holder_name(env))).await else {
        return Err(Error::new(Code::Cancelled, "stopped before the restore began"));
    };
    let mut ctx = ctx?;
    ctx.settings.source.elsewhere = args.to.is_some();
    cli::restore(args, &ctx, &Zone::system(), bars, &stop).await
}

async fn drill(mut args: cli::DrillArgs, env: Env<'_>, bars: &Bars) -> Result<()> {
    let stop = cli::stop_on_signals(cli::STOP_WITHIN)?;
    let place = drill_place(args.same_qdrant, env, &stop).await?;
    let (store, typed) = (place.ctx.store.clone(), args.id.clone());
    // `latest` is also that of the collections that the Qdrant has.
    if typed != "latest" {
        args.id = named(&*store, &typed, env).await?.to_string();
    }
    suggesting(&*store, &typed, cli::drill(args, &place, bars, &stop).await).await
}

/// The clients for a drill. Refuses the Qdrant that is backed up, unless that is allowed.
async fn drill_place(same_qdrant: bool, env: Env<'_>, stop: &CancellationToken) -> Result<drill::DrillTarget> {
    let (config, elsewhere) = match drill_config(env)? {
        Some(config) => (config, true),
        None if same_qdrant => (Config::from_env(env)?, false),
        None => return Err(drill::needs_a_qdrant()),
    };
    match stop.run_until_cancelled(context(&config, holder_name(env))).await {
        Some(ctx) => {
            let mut ctx = ctx?;
            ctx.settings.source.elsewhere = elsewhere;
            Ok(drill::DrillTarget { ctx, elsewhere })
        }
        None => Err(Error::new(Code::Cancelled, "stopped before the drill began")),
    }
}

/// The Qdrant for drills, if one is named by `DRILL_QDRANT_URL` that is not the one that is backed up.
pub fn drill_qdrant(env: Env<'_>) -> Result<Option<Qdrant>> {
    let config = drill_config(env)?;
    config.map(|config| Qdrant::new(options(&config.qdrant))).transpose()
}

fn drill_config(env: Env<'_>) -> Result<Option<Config>, Invalid> {
    if value(env, "DRILL_QDRANT_URL").is_none() {
        return Ok(None);
    }
    let config = Config::of_another(env, &DRILL)?;
    // However it is spelled: `Config` has parsed it.
    let is_live = QdrantConfig::live_url(env).is_some_and(|live| live == config.qdrant.url);
    Ok((!is_live).then_some(config))
}

async fn list(env: Env<'_>, args: cli::ListArgs) -> Result<()> {
    // These need no Qdrant: its variables may be wrong or missing.
    let store = StoreConfig::from_env(env)?;
    // Only who asks for what prune would delete needs its rules.
    let policy = match args.all {
        true => Some(RetentionConfig::policy_from_env(env)?),
        false => None,
    };
    let store = open_store(&store).await?;
    cli::list(&*store, args, policy.as_ref(), Clock::system().now(), &Zone::system()).await
}

async fn show(env: Env<'_>, typed: &str, json: bool) -> Result<()> {
    let store = open_store(&StoreConfig::from_env(env)?).await?;
    let id = named(&*store, typed, env).await?;
    let shown = cli::show(&*store, id, Clock::system().now(), json).await;
    suggesting(&*store, typed, shown).await
}

/// The result of a command about the backup that somebody has typed so.
async fn suggesting(store: &dyn Store, typed: &str, result: Result<()>) -> Result<()> {
    match result {
        Err(error) => Err(catalog::suggesting(store, typed, error).await),
        done => done,
    }
}

async fn verify(args: cli::VerifyArgs, env: Env<'_>, bars: &Bars) -> Result<()> {
    let config = StoreConfig::from_env(env)?;
    let notify = notifier(&config::notify(env)?)?;
    let stop = cli::stop_on_signals(cli::STOP_WITHIN)?;
    let Some(store) = stop.run_until_cancelled(open_store(&config)).await else {
        return Err(Error::new(Code::Cancelled, "stopped before verifying began"));
    };
    let verifier = Verifier {
        store: store?,
        clock: Clock::system(),
        who: holder_name(env),
        concurrency: 4,
        attempts: 3,
        backoff: Duration::from_secs(1),
        notify,
    };
    let ask = cli::VerifyQuery {
        source: own_source(env),
        zone: &Zone::system(),
    };
    cli::verify(&verifier, &args, &ask, bars, &stop).await
}

async fn prune(args: cli::PruneArgs, env: Env<'_>) -> Result<()> {
    let job = prune_context(env).await?;
    let stop = cli::stop_on_signals(cli::STOP_WITHIN)?;
    cli::prune(&job, &args, &stop).await
}

async fn delete(args: cli::DeleteArgs, env: Env<'_>) -> Result<()> {
    let job = prune_context(env).await?;
    let stop = cli::stop_on_signals(cli::STOP_WITHIN)?;
    let store = job.ctx.store.clone();
    let only = Some(named(&*store, &args.id, env).await?);
    let deleted = cli::delete(&PruneContext { only, ..job }, &args, &stop).await;
    suggesting(&*store, &args.id, deleted).await
}

async fn prune_context(env: Env<'_>) -> Result<PruneContext> {
    let config = PruneConfig::from_env(env)?;
    Ok(PruneContext {
        ctx: StoreContext {
            store: open_store(&config.store).await?,
            clock: Clock::system(),
            who: holder_name(env),
            lease: config.lease,
            notify: notifier(&config.notify)?,
        },
        policy: config.retention.policy,
        only: None,
    })
}

async fn unlock(env: Env<'_>, force: bool, json: bool) -> Result<()> {
    let store = open_store(&StoreConfig::from_env(env)?).await?;
    cli::unlock(&*store, &Clock::system(), &Zone::system(), force, json).await
}

async fn watch(env: Env<'_>, typed: Option<&str>, json: bool, bars: &Bars) -> Result<()> {
    let store = open_store(&StoreConfig::from_env(env)?).await?;
    cli::watch(&*store, &Clock::system(), typed, json, bars).await
}

async fn pin(env: Env<'_>, typed: &str, note: Option<String>) -> Result<()> {
    let store = open_store(&StoreConfig::from_env(env)?).await?;
    let id = named(&*store, typed, env).await?;
    let pinned = cli::pin(&*store, &Clock::system(), &holder_name(env), id, note).await;
    suggesting(&*store, typed, pinned).await
}

async fn unpin(env: Env<'_>, typed: &str) -> Result<()> {
    let store = open_store(&StoreConfig::from_env(env)?).await?;
    let id = named(&*store, typed, env).await?;
    suggesting(&*store, typed, cli::unpin(&*store, id).await).await
}

async fn status(env: Env<'_>, args: &cli::StatusArgs) -> Result<u8> {
    let config = Config::from_env(env)?;
    let look = StatusQuery {
        qdrant: probe(&config.qdrant)?,
        store: (&config.store.url, Box::pin(open_store_now(&config.store))),
        selection: config.backup.selection.clone(),
        source_name: config.backup.source_name.clone(),
        max_age: config.server.max_age,
        clock: Clock::system(),
    };
    cli::status(look, args).await
}

async fn check(startup: Startup<'_>, CheckExtent { deep, notify }: CheckExtent, json: bool) -> Result<u8> {
    let Startup {
        env,
        broken_file,
        unknown,
        ..
    } = startup;
    // Nothing has to be cleaned up otherwise.
    let stop = match deep {
        true => cli::stop_on_signals(cli::STOP_WITHIN)?,
        false => CancellationToken::new(),
    };
    let config = Config::from_env(env);
    let drill = drill_config(env);
    let (_, unclear) = LogConfig::from_env(env);
    // Each of the two is tried even when the other one's configuration does not work.
    let store = StoreConfig::from_env(env).ok().filter(|_| broken_file.is_none());
    let subject = CheckTarget {
        qdrant: QdrantConfig::from_env(env)
            .ok()
            .filter(|_| broken_file.is_none())
            .map(|config| probe(&config)),
        store: match &store {
            Some(config) => Some((config.url.as_str(), Box::pin(open_store_now(config)))),
            None => None,
        },
        selection: config
            .as_ref()
            .map_or_else(|_| Selection::default(), |c| c.backup.selection.clone()),
        mode: config.as_ref().map_or(SnapshotMode::File, |c| c.backup.mode),
        source_name: config.as_ref().ok().and_then(|c| c.backup.source_name.clone()),
        retention: config.as_ref().ok().map(|c| c.retention.clone()),
        // What else is missing is in the file.
        invalid: broken_file.or_else(|| all_problems(config.as_ref().err().cloned(), drill.err())),
        unclear,
        obsolete: obsolete(env),
        unknown,
        callers: token_callers(env),
        clock: Clock::system(),
        who: format!("{} (check)", holder_name(env)),
        patience: cli::PATIENCE,
        deep: match (&config, deep) {
            // The real client: it waits as long as a backup does.
            (Ok(config), true) => Some(Qdrant::new(options(&config.qdrant))?),
            _ => None,
        },
        concurrency: config.as_ref().map_or(1, |c| c.backup.concurrency),
        notifier: match &config {
            Ok(config) => notifier(&config.notify)?,
            Err(_) => Notifier::default(),
        },
        notify,
    };
    cli::check(subject, json, &stop).await
}

/// All that is wrong; each problem once, since parts of the configuration are the same for both.
fn all_problems(first: Option<Invalid>, second: Option<Invalid>) -> Option<Invalid> {
    let mut problems = first.map_or_else(Vec::new, |invalid| invalid.0);
    for problem in second.into_iter().flat_map(|invalid| invalid.0) {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    (!problems.is_empty()).then_some(Invalid(problems))
}

/// The backup that `id` names, for commands that ask no Qdrant.
async fn named(store: &dyn Store, id: &str, env: Env<'_>) -> Result<BackupId> {
    let now = Clock::system().now();
    cli::named(store, id, own_source(env).as_ref(), now, &Zone::system()).await
}

/// The Qdrant that is backed up, as far as its name tells.
fn own_source(env: Env<'_>) -> Option<Source> {
    source_name(env).map(|name| Source {
        name: Some(name),
        ..Source::default()
    })
}

/// Who this process is, for the lease and for messages: what Cloud Run or the host calls it, and the process id.
fn holder_name(env: Env<'_>) -> String {
    let name = ["CLOUD_RUN_EXECUTION", "K_REVISION", "HOSTNAME"]
        .iter()
        .find_map(|name| env.get(name).filter(|value| !value.is_empty()))
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .unwrap_or_else(|| "unknown host".to_owned());
    format!("{}/{}", name.trim(), std::process::id())
}

async fn open_store(config: &StoreConfig) -> Result<Arc<dyn Store>> {
    open_store_within(config, Retry::default()).await
}

/// A store that is opened now or not: for looks that somebody waits for.
async fn open_store_now(config: &StoreConfig) -> Result<Arc<dyn Store>> {
    let at_once = Retry {
        start: Duration::ZERO,
        ..Retry::default()
    };
    open_store_within(config, at_once).await
}

async fn open_store_within(config: &StoreConfig, retry: Retry) -> Result<Arc<dyn Store>> {
    install_crypto();
    let options = GcsOptions {
        endpoint: config.emulator.clone(),
        retry,
        ..GcsOptions::default()
    };
    store::open(&config.url, options).await
}

fn options(config: &QdrantConfig) -> Options {
    install_crypto();
    Options {
        nodes: config.nodes.clone(),
        api_key: config.api_key.clone(),
        api_key_file: config.api_key_file.clone(),
        tls: config.tls.clone(),
        idle: config.idle,
        start: config.start,
        first_byte: config.first_byte,
        create_timeout: config.create_timeout,
        ..Options::new(config.url.clone())
    }
}

/// One cryptography for all clients: with two in the build, rustls takes none by itself.
fn install_crypto() {
    // An error says that it is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
