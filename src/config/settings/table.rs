//! The table itself.

use super::{EVERY, Group, setting};

const QDRANT: &[&str] = &["serve", "backup", "status", "restore", "drill", "check"];
const STORE: &[&str] = &[
    "serve", "backup", "status", "list", "show", "verify", "restore", "drill", "prune", "delete", "pin", "unpin",
    "unlock", "check",
];
const SOURCE: &[&str] = &[
    "serve", "backup", "status", "show", "verify", "restore", "drill", "delete", "pin", "unpin", "check",
];
const TRANSFERS: &[&str] = &["serve", "backup", "restore", "drill"];
const LEASES: &[&str] = &["serve", "backup", "restore", "drill", "prune", "delete"];
const SNAPSHOTS: &[&str] = &["serve", "backup", "check"];
const SELECTIONS: &[&str] = &["serve", "backup", "status", "check"];
const RETENTION: &[&str] = &["serve", "backup", "list", "prune", "check"];
const DRILLS: &[&str] = &["serve", "backup", "drill", "check"];
/// Where no other argument decides whether there is a drill.
const DRILL_FLAGS: &[&str] = &["serve", "drill", "check"];
const PRUNES: &[&str] = &["serve", "prune"];
const SERVE: &[&str] = &["serve"];
/// Where no other argument selects.
const SELECTION_FLAGS: &[&str] = &["serve", "status", "check"];
const CALLERS: &[&str] = &["serve", "check"];
const BACKUP: &[&str] = &["backup"];
const NOTIFIES: &[&str] = &[
    "serve", "backup", "verify", "restore", "drill", "prune", "delete", "check",
];
const RESTORE: &[&str] = &["restore"];
const RESTORES: &[&str] = &["serve", "restore"];

/// Every variable.
pub const GROUPS: &[Group] = &[
    Group {
        title: "Configuration file",
        settings: &[setting(
            "QDRANT_BACKUP_CONFIG",
            "",
            EVERY,
            "TOML file with settings; its keys are the names of the variables in lower case",
        )
        .only_variable()
        .flag("--config", "FILE")],
    },
    Group {
        title: "Qdrant",
        settings: &[
            setting(
                "QDRANT_URL",
                "",
                QDRANT,
                "URL of Qdrant's REST API, e.g. `http://10.0.0.5:6333`. Required",
            )
            .flag("--qdrant-url", "URL"),
            setting(
                "QDRANT_API_KEY",
                "no key is sent",
                QDRANT,
                "key that may create and delete snapshots: the full key, or a JWT with `rw` on the collections",
            ),
            setting("QDRANT_API_KEY_FILE", "", QDRANT, "file that holds the key, in place of `QDRANT_API_KEY`. It is read at the start, and again when Qdrant refuses the key, so that a new key needs no restart")
                .flag("--qdrant-api-key-file", "FILE"),
            setting(
                "QDRANT_CA_FILE",
                "the authorities of the system",
                QDRANT,
                "PEM file with one or several certificates of authorities that are trusted beside those of the system, for `https://`",
            )
            .flag("--qdrant-ca-file", "FILE"),
            setting(
                "QDRANT_CLIENT_CERT_FILE",
                "none",
                QDRANT,
                "PEM file with the client certificate, if Qdrant or a proxy in front of it requires one; its issuers may follow in the \
                 same file",
            )
            .flag("--qdrant-client-cert-file", "FILE"),
            setting(
                "QDRANT_CLIENT_KEY_FILE",
                "",
                QDRANT,
                "PEM file with the key of the client certificate, not encrypted",
            )
            .flag("--qdrant-client-key-file", "FILE"),
            setting(
                "QDRANT_NODES",
                "",
                QDRANT,
                "the nodes of a cluster: their REST URLs, with commas, or `dns://HOST:6333` for each address of a name (a headless \
                 service). Required for a cluster of several nodes",
            )
            .flag("--qdrant-nodes", "URLS"),
            setting("QDRANT_HOST", "", QDRANT, "host of Qdrant: the older form of `QDRANT_URL`").only_variable(),
            setting("QDRANT_PORT", "`6333`", QDRANT, "port beside `QDRANT_HOST`").only_variable(),
        ],
    },
    Group {
        title: "Store",
        settings: &[
            setting(
                "BACKUP_STORE",
                "",
                STORE,
                "URL of the backups: `gs://bucket/prefix`, or `file:///directory`, which must exist. Required",
            )
            .flag("--store", "URL"),
            setting("GCS_BUCKET_NAME", "", STORE, "name of the bucket: the older form of `BACKUP_STORE`").only_variable(),
            setting("GCS_FOLDER_PREFIX", "no prefix", STORE, "prefix beside `GCS_BUCKET_NAME`").only_variable(),
            setting(
                "STORAGE_EMULATOR_HOST",
                "Google",
                STORE,
                "emulator in place of Google Cloud Storage, e.g. `http://127.0.0.1:4443`",
            ),
        ],
    },
    Group {
        title: "Backup",
        settings: &[
            setting(
                "BACKUP_INCLUDE",
                "everything",
                SELECTIONS,
                "patterns of the collections to back up, with commas, e.g. `docs,logs-*`. Holds for a run that names none itself",
            ).flag("--include", "LIST").on(SELECTION_FLAGS),
            setting(
                "BACKUP_EXCLUDE",
                "nothing",
                SELECTIONS,
                "patterns of the collections to leave out, with commas",
            ).flag("--exclude", "LIST").on(SELECTION_FLAGS),
            setting(
                "BACKUP_SOURCE_NAME",
                "none",
                SOURCE,
                "name of this Qdrant in its backups, e.g. `production`; up to 100 characters. It tells two that share a store \
                 apart, and keeps one the same on a new machine",
            )
            .flag("--source-name", "NAME"),
            setting(
                "BACKUP_CONCURRENCY",
                "`2`",
                SNAPSHOTS,
                "number of collections saved at a time, 1 to 64; also the number of snapshots on Qdrant's disk at a time",
            )
            .flag("--concurrency", "N"),
            setting(
                "BACKUP_MAX_MBPS",
                "no limit",
                TRANSFERS,
                "megabytes (10^6 bytes) per second, all transfers together",
            )
            .flag("--max-mbps", "N"),
            setting(
                "BACKUP_MAX_AGE",
                "`26h`",
                &["serve", "status"],
                "promised interval: the age from which the newest good backup of a collection is stale, a minute to ten years, \
                 in `s`, `m`, `h` or `d`",
            )
            .flag("--max-age", "TIME"),
            setting(
                "BACKUP_IDLE_TIMEOUT_SECS",
                "`60`",
                TRANSFERS,
                "longest time without a byte from Qdrant, 5 to 3600 s",
            ).flag("--idle-timeout-secs", "N"),
            setting(
                "BACKUP_START_TIMEOUT_SECS",
                "`60`",
                TRANSFERS,
                "longest time to wait for the first answer of Qdrant, e.g. while the network of a new instance comes up; 0 to 600 s",
            ).flag("--start-timeout-secs", "N"),
            setting(
                "BACKUP_CREATE_TIMEOUT_SECS",
                "`21600`",
                SNAPSHOTS,
                "longest time in which Qdrant makes one snapshot, 10 s to 7 days",
            ).flag("--create-timeout-secs", "N"),
            setting(
                "SNAPSHOT_MODE",
                "`file`",
                &["serve", "backup", "check"],
                "`file`: Qdrant writes each snapshot to its disk first. `stream`: each shard is read as Qdrant streams it, and no \
                 snapshot is written to Qdrant's disk; from Qdrant 1.17 on. On Cloud Storage each stream takes up to 40 MiB of memory, and there \
                 are `BACKUP_CONCURRENCY` at once. `auto`: as `file`, but what Qdrant's disk has no room for is streamed, and so is a \
                 collection that Qdrant lacks the room to optimize, unless Qdrant optimizes it all the time",
            )
            .flag("--snapshot-mode", "MODE"),
            setting(
                "BACKUP_FIRST_BYTE_TIMEOUT_SECS",
                "`300`",
                &["serve", "backup", "check"],
                "longest time until the first byte of a shard that is streamed: before it Qdrant finishes the shard's pending updates, \
                 and other snapshots of it; 10 to 86400 s",
            )
            .flag("--first-byte-timeout-secs", "N"),
            setting(
                "BACKUP_SETTLE_TIMEOUT_SECS",
                "`600`",
                &["serve", "backup"],
                "how long the shards of a collection that Qdrant optimizes are waited for, where they are saved one by one; then they \
                 are saved all the same, and the backup is good only once a drill has counted its points; 0 to 86400 s",
            ).flag("--settle-timeout-secs", "N"),
            setting(
                "BACKUP_MAX_LATENCY_FACTOR",
                "off",
                &["serve", "backup"],
                "nothing is begun while a node of Qdrant takes more than so many times as long to answer as before the run, or the collection \
                 whose turn it is is yellow or grey; a number from 1.5 to 1000, e.g. `3`. A run waits at most 10 minutes in all while \
                 nothing else of it is under way; then it goes on, with a warning",
            )
            .flag("--max-latency-factor", "N"),
            setting(
                "BACKUP_LEASE_SECS",
                "`120`",
                LEASES,
                "how long the lease of a run that died keeps others away, 15 to 3600 s",
            ).flag("--lease-secs", "N"),
        ],
    },
    Group {
        title: "Restore",
        settings: &[setting(
            "RESTORE_CONCURRENCY",
            "`4`",
            RESTORES,
            "number of collections restored at a time, and of transfers of all their shards together, 1 to 64; also the number of uploads that \
             are on Qdrant's disk at a time",
        )
        .flag("--restore-concurrency", "N")],
    },
    Group {
        title: "Retention",
        settings: &[
            setting("RETAIN_LAST", "off", RETENTION, "number of newest good backups to keep, of each selection")
                .flag("--retain-last", "N")
                .on(PRUNES),
            setting("RETAIN_HOURLY", "off", RETENTION, "number of hours (UTC) to keep the newest good backup of; hours without one do not count")
                .flag("--retain-hourly", "N")
                .on(PRUNES),
            setting("RETAIN_DAILY", "off", RETENTION, "number of days (UTC) to keep the newest good backup of; days without one do not count")
                .flag("--retain-daily", "N")
                .on(PRUNES),
            setting("RETAIN_WEEKLY", "off", RETENTION, "number of ISO weeks (UTC) to keep the newest good backup of; weeks without one do not count")
                .flag("--retain-weekly", "N")
                .on(PRUNES),
            setting("RETAIN_MONTHLY", "off", RETENTION, "number of months (UTC) to keep the newest good backup of; months without one do not count")
                .flag("--retain-monthly", "N")
                .on(PRUNES),
            setting("RETAIN_YEARLY", "off", RETENTION, "number of years (UTC) to keep the newest good backup of; years without one do not count")
                .flag("--retain-yearly", "N")
                .on(PRUNES),
            setting("RETAIN_PARTIAL", "`1`", RETENTION, "number of newest partial backups to keep that are newer than the newest good one, 1 or more; the newest one that has a collection stays")
                .flag("--retain-partial", "N")
                .on(PRUNES),
            setting("RETAIN_MIN_AGE_HOURS", "`24`", RETENTION, "no backup younger than this is deleted")
                .flag("--retain-min-age-hours", "N")
                .on(PRUNES),
            setting(
                "RETAIN_LEFTOVER_HOURS",
                "`6`; `RETAIN_MIN_AGE_HOURS` where that is more than 24",
                RETENTION,
                "delete what a killed run left without a manifest so long after its last change, 1 or more",
            )
            .flag("--retain-leftover-hours", "N")
            .on(PRUNES),
            setting(
                "PRUNE_AFTER_BACKUP",
                "`false`",
                &["serve", "backup", "check"],
                "`true`: prune by these rules after each backup that saved something, also a partial one. At least one rule must be set",
            ).flag("--prune-after-backup", "BOOL").on(SERVE),
        ],
    },
    Group {
        title: "Other Qdrants",
        settings: &[
            setting("DRILL_QDRANT_URL", "", DRILLS, "URL of the Qdrant for drills")
                .flag("--drill-qdrant-url", "URL")
                .on(DRILL_FLAGS),
            setting(
                "DRILL_QDRANT_NODES",
                "",
                DRILLS,
                "the nodes of the cluster for drills, as `QDRANT_NODES`",
            ).flag("--drill-qdrant-nodes", "URLS").on(DRILL_FLAGS),
            setting("DRILL_QDRANT_API_KEY", "no key is sent", DRILLS, "key of the Qdrant for drills"),
            setting(
                "DRILL_QDRANT_API_KEY_FILE",
                "",
                DRILLS,
                "file that holds the key, in place of `DRILL_QDRANT_API_KEY`",
            )
            .flag("--drill-qdrant-api-key-file", "FILE")
            .on(DRILL_FLAGS),
            setting("DRILL_QDRANT_CA_FILE", "the authorities of the system", DRILLS, "as `QDRANT_CA_FILE`, for the Qdrant for drills")
                .flag("--drill-qdrant-ca-file", "FILE")
                .on(DRILL_FLAGS),
            setting("DRILL_QDRANT_CLIENT_CERT_FILE", "none", DRILLS, "as `QDRANT_CLIENT_CERT_FILE`, for the Qdrant for drills")
                .flag("--drill-qdrant-client-cert-file", "FILE")
                .on(DRILL_FLAGS),
            setting("DRILL_QDRANT_CLIENT_KEY_FILE", "", DRILLS, "as `QDRANT_CLIENT_KEY_FILE`, for the Qdrant for drills")
                .flag("--drill-qdrant-client-key-file", "FILE")
                .on(DRILL_FLAGS),
            setting(
                "RESTORE_QDRANT_NODES",
                "",
                RESTORE,
                "the nodes of the cluster that `restore --to` names, as `QDRANT_NODES`",
            ).flag("--to-nodes", "URLS").requires("to"),
            setting(
                "RESTORE_QDRANT_API_KEY",
                "no key is sent",
                RESTORE,
                "key of the Qdrant of `restore --to URL`; `QDRANT_API_KEY` is never sent there",
            ),
            setting(
                "RESTORE_QDRANT_API_KEY_FILE",
                "",
                RESTORE,
                "file that holds the key, in place of `RESTORE_QDRANT_API_KEY`",
            )
            .flag("--to-api-key-file", "FILE")
            .requires("to"),
            setting(
                "RESTORE_QDRANT_CA_FILE",
                "the authorities of the system",
                RESTORE,
                "as `QDRANT_CA_FILE`, for the Qdrant of `restore --to URL`",
            )
            .flag("--to-ca-file", "FILE")
            .requires("to"),
            setting(
                "RESTORE_QDRANT_CLIENT_CERT_FILE",
                "none",
                RESTORE,
                "as `QDRANT_CLIENT_CERT_FILE`, for the Qdrant of `restore --to URL`",
            )
            .flag("--to-client-cert-file", "FILE")
            .requires("to"),
            setting(
                "RESTORE_QDRANT_CLIENT_KEY_FILE",
                "",
                RESTORE,
                "as `QDRANT_CLIENT_KEY_FILE`, for the Qdrant of `restore --to URL`",
            )
            .flag("--to-client-key-file", "FILE")
            .requires("to"),
        ],
    },
    Group {
        title: "Notifications",
        settings: &[
            setting(
                "NOTIFY_URLS",
                "nobody is told",
                NOTIFIES,
                "URLs of those that are told how runs end, with commas or white space between them: `KIND+https://…#OPERATION+OPERATION`. Kinds: `healthchecks`, \
                 `slack`, `chat` (Google Chat), `webhook`; without one the host tells (`hc-ping.com`, `hooks.slack.com`, `chat.googleapis.com`), \
                 and any other is a webhook. Operations: `backup`, `verify`, `restore`, `drill`, `prune`; without any all of them, and for \
                 `healthchecks` `backup` alone. At most 16; each is a secret",
            ),
            setting("NOTIFY_URLS_FILE", "", NOTIFIES, "file that holds them, in place of `NOTIFY_URLS`; lines that begin with `#` are comments. It is read at the start")
                .flag("--notify-urls-file", "FILE"),
            setting(
                "NOTIFY_ON",
                "`failure`",
                NOTIFIES,
                "`failure`: what fails is told, and the first run after it that ends well. `always`: every run is. A watch of the kind `healthchecks` \
                 gets start and end of every run",
            )
            .flag("--notify-on", "WHEN"),
            setting(
                "NOTIFY_WEBHOOK_SECRET",
                "webhooks are not signed",
                NOTIFIES,
                "key by which bodies for webhooks are signed: HMAC-SHA256 in `X-Hub-Signature-256`",
            ),
            setting("NOTIFY_WEBHOOK_SECRET_FILE", "", NOTIFIES, "file that holds that key, in place of `NOTIFY_WEBHOOK_SECRET`")
                .flag("--notify-webhook-secret-file", "FILE"),
        ],
    },
    Group {
        title: "HTTP service",
        settings: &[
            setting("LISTEN", "`127.0.0.1:8080`", SERVE, "address and port to listen on").flag("--listen", "ADDRESS:PORT"),
            setting("PORT", "", SERVE, "port to listen on, on all addresses; `LISTEN` takes precedence. Set by Cloud Run").only_variable(),
            setting(
                "AUTH_MODE",
                "`iam` on Cloud Run, `none` on a loopback address; required elsewhere",
                CALLERS,
                "authentication of callers: `iam` (Cloud Run), `oidc` (the service, by Google's identity tokens), `token` (the service, \
                 by the tokens of a file) or `none` (loopback addresses only)",
            )
            .flag("--auth-mode", "MODE"),
            setting(
                "AUTH_TOKEN_FILE",
                "",
                CALLERS,
                "for `token`, required there: file with a line `ROLE NAME TOKEN` or `ROLE NAME sha256:HEX` for each token. It is read \
                 again when it has changed",
            )
            .flag("--auth-token-file", "FILE"),
            setting(
                "AUTH_AUDIENCE",
                "",
                SERVE,
                "for `oidc`, required there: audiences that a token may have, with commas",
            )
            .flag("--auth-audience", "LIST"),
            setting(
                "AUTH_READERS",
                "nobody",
                SERVE,
                "for `iam` and `oidc`: e-mail addresses that may send `GET` and `HEAD` and nothing else, with commas",
            )
            .flag("--auth-readers", "LIST"),
            setting(
                "AUTH_OPERATORS",
                "nobody",
                SERVE,
                "for `iam` and `oidc`: e-mail addresses that may also back up, verify and pin, with commas",
            )
            .flag("--auth-operators", "LIST"),
            setting(
                "AUTH_ADMINS",
                "nobody",
                SERVE,
                "for `iam` and `oidc`: e-mail addresses that may do everything, with commas. `oidc` needs this list or that of the \
                 operators",
            )
            .flag("--auth-admins", "LIST"),
            setting("AUTH_ALLOWED_EMAILS", "nobody", SERVE, "for `oidc`: the older name of `AUTH_ADMINS`; both count").only_variable()
                .flag("--auth-allowed-emails", "LIST"),
            setting(
                "AUTH_DEFAULT_ROLE",
                "`reader` if `AUTH_ADMINS` is set, else `admin`",
                SERVE,
                "for `iam`: role of the callers in no list: `reader`, `operator` or `admin`",
            )
            .flag("--auth-default-role", "ROLE"),
        ],
    },
    Group {
        title: "Logs and colours",
        settings: &[
            setting("LOG_LEVEL", "`info` for `serve`, `verify` and work without progress bars, else `warn`", EVERY, "level of this tool's own log lines: `error`, `warn`, `info`, `debug` or `trace`")
                .flag("--log-level", "LEVEL"),
            setting(
                "RUST_LOG",
                "",
                EVERY,
                "log filter with directives, e.g. `info,h2=off`; takes precedence over `LOG_LEVEL`, not over `--log-level`",
            ),
            setting(
                "LOG_FORMAT",
                "`json` on Cloud Run, else `text`",
                EVERY,
                "form of log lines: `text` for people, `json` for Cloud Logging",
            )
            .flag("--log-format", "FORMAT"),
            setting(
                "GOOGLE_CLOUD_PROJECT",
                "log lines are not linked",
                EVERY,
                "project of the traces that log lines in JSON are linked to",
            ),
            setting("NO_COLOR", "", EVERY, "any value disables colours. Without it, colours appear on terminals only").only_variable(),
            setting("CLICOLOR_FORCE", "", EVERY, "any value but `0` enables colours without a terminal; `NO_COLOR` takes precedence").only_variable(),
        ],
    },
    Group {
        title: "Cloud Run jobs",
        settings: &[
            setting(
                "BACKUP_JOB_MAX_RETRIES",
                "`0`",
                BACKUP,
                "the job's own `max_retries`, which Cloud Run does not tell: how often a failed task is tried again, 0 to 100",
            ),
            setting(
                "CLOUD_RUN_EXECUTION",
                "",
                BACKUP,
                "name of the execution; set by Cloud Run. Makes `backup` do one task's share. Elsewhere: lower-case letters, \
                 digits and hyphens, another name for each execution",
            ).only_variable(),
            setting("CLOUD_RUN_TASK_INDEX", "", BACKUP, "number of this task, from 0; set by Cloud Run").only_variable(),
            setting("CLOUD_RUN_TASK_COUNT", "", BACKUP, "how many tasks there are; set by Cloud Run").only_variable(),
            setting(
                "CLOUD_RUN_TASK_ATTEMPT",
                "`0`",
                BACKUP,
                "how often this task was tried before; set by Cloud Run",
            ).only_variable(),
        ],
    },
    Group {
        title: "Set by the platform",
        settings: &[
            setting("K_SERVICE", "", EVERY, "set by Cloud Run for a service: `AUTH_MODE=iam` and `LOG_FORMAT=json` are the defaults then").only_variable(),
            setting("CLOUD_RUN_JOB", "", EVERY, "set by Cloud Run for a job: `LOG_FORMAT=json` is the default then").only_variable(),
            setting("K_REVISION", "", EVERY, "set by Cloud Run: names the process in the lease and in messages").only_variable(),
            setting("HOSTNAME", "", EVERY, "set by the container's runtime: names the process in the lease and in messages").only_variable(),
        ],
    },
    Group {
        title: "Without effect",
        settings: &[setting(
            "BACKUP_LOCAL_PATH",
            "",
            EVERY,
            "of the older VM API: snapshots are streamed and touch no local disk. A warning says so",
        ).only_variable()],
    },
];
