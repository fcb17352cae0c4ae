variable "auth_admins" {
  description = "E-mail addresses of the people and accounts that may do everything: also restore, drill, prune and unpin. With `auth_mode = \"iam\"` they need run.invoker, too (`invoker_members`, themselves or by a group)."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.auth_admins : can(regex("^[^@,:\\s]+@[^@,\\s]+$", email))])
    error_message = "auth_admins are plain e-mail addresses, without user: or serviceAccount:."
  }
}

variable "auth_allowed_emails" {
  description = "With `auth_mode = \"oidc\"`: the older name of `auth_admins`."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.auth_allowed_emails : can(regex("^[^@,:\\s]+@[^@,\\s]+$", email))])
    error_message = "auth_allowed_emails are plain e-mail addresses, without user: or serviceAccount:."
  }

  validation {
    condition     = length(var.auth_allowed_emails) == 0 || var.auth_mode == "oidc"
    error_message = "auth_allowed_emails has a meaning with auth_mode = \"oidc\" only; with \"iam\", use invoker_members and auth_admins."
  }
}

variable "auth_default_role" {
  description = "With `auth_mode = \"iam\"`: what `invoker_members` may do whose addresses are in no list: `reader` (read), `operator` (also back up, verify and pin) or `admin` (everything)."
  type        = string
  default     = "operator"
  nullable    = false

  validation {
    condition     = contains(["reader", "operator", "admin"], var.auth_default_role)
    error_message = "auth_default_role is reader, operator or admin."
  }
}

variable "auth_mode" {
  description = "Who checks callers. `iam`: the platform, by run.invoker grants. `oidc`: the platform lets every request through and the service itself verifies the token and looks for its e-mail address in `auth_admins`, `auth_operators` and `auth_readers`; for callers that cannot be granted a role."
  type        = string
  default     = "iam"
  nullable    = false

  validation {
    condition     = contains(["iam", "oidc"], var.auth_mode)
    error_message = "auth_mode is iam or oidc. A deployed service is never without a check."
  }

  validation {
    condition     = var.auth_mode == "iam" || length(var.invoker_members) == 0
    error_message = "invoker_members are grants, which auth_mode = \"oidc\" does not look at: use auth_admins, auth_operators and auth_readers."
  }
}

variable "auth_operators" {
  description = "E-mail addresses of the people and accounts that may read, back up, verify and pin, and nothing else. The scheduler's own account always is one."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.auth_operators : can(regex("^[^@,:\\s]+@[^@,\\s]+$", email))])
    error_message = "auth_operators are plain e-mail addresses, without user: or serviceAccount:."
  }
}

variable "auth_readers" {
  description = "E-mail addresses of the people and accounts that may read (GET) and nothing else. The agent of the check of freshness always is one."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.auth_readers : can(regex("^[^@,:\\s]+@[^@,\\s]+$", email))])
    error_message = "auth_readers are plain e-mail addresses, without user: or serviceAccount:."
  }
}

variable "backup_max_age_hours" {
  description = "Hours after which a collection without a good backup raises the alarm. Null: by the schedule, two turns of it and a bit (3 for hourly backups, 50 for daily ones), so that a single failed run is not an emergency yet."
  type        = number
  default     = null

  validation {
    condition     = var.backup_max_age_hours == null ? true : var.backup_max_age_hours >= 1 && var.backup_max_age_hours <= 2160 && floor(var.backup_max_age_hours) == var.backup_max_age_hours
    error_message = "backup_max_age_hours is a whole number from 1 to 2160, or null."
  }
}

variable "bucket_location" {
  description = "Location of the bucket, if one is created. Null: the region of the service, so that no backup leaves it."
  type        = string
  default     = null
}

variable "bucket_name" {
  description = "Bucket for the backups. Null: `PROJECT_ID-SERVICE_NAME`. A name with dots can only be created by a verified owner of that domain: create it by hand and set `create_bucket = false`."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null ? true : can(regex("^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name is the bare name of a bucket: lower-case letters, digits, dots, hyphens and underscores, without gs://."
  }

  validation {
    condition     = var.create_bucket || var.bucket_name != null
    error_message = "create_bucket = false uses an existing bucket: say which with bucket_name."
  }
}

variable "concurrency" {
  description = "Requests that one instance serves at a time. More than one, so that reads are answered while a backup runs; a second backup is refused by the service itself, and so is what is beyond 64 requests."
  type        = number
  default     = 8
  nullable    = false

  validation {
    condition     = var.concurrency >= 2 && var.concurrency <= 1000 && floor(var.concurrency) == var.concurrency
    error_message = "concurrency is a whole number from 2 (a backup, and the health probe beside it) to 1000."
  }
}

variable "connector_machine_type" {
  description = "Machine type of the Serverless VPC Access connector. The snapshots come from Qdrant through it, so it bounds the speed of a backup; the upload to the bucket does not pass through it."
  type        = string
  default     = "e2-micro"
  nullable    = false

  validation {
    condition     = contains(["f1-micro", "e2-micro", "e2-standard-4"], var.connector_machine_type)
    error_message = "connector_machine_type is one of f1-micro, e2-micro, e2-standard-4."
  }
}

variable "connector_max_instances" {
  description = "Largest number of machines of the connector; the smallest is 2."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.connector_max_instances >= 3 && var.connector_max_instances <= 10 && floor(var.connector_max_instances) == var.connector_max_instances
    error_message = "connector_max_instances is a whole number from 3 to 10."
  }
}

variable "cpu" {
  description = "CPUs of one instance."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = contains([1, 2, 4, 8], var.cpu)
    error_message = "cpu is 1, 2, 4 or 8."
  }
}

variable "create_bucket" {
  description = "Whether to create the bucket. False: use the existing bucket `bucket_name` and leave its settings alone; it must have uniform bucket-level access, because the grants on it are conditional."
  type        = bool
  default     = true
  nullable    = false
}

variable "create_firewall_rule" {
  description = "Whether to open Qdrant's port for the address range of the service (not with `egress = \"none\"`)."
  type        = bool
  default     = true
  nullable    = false
}

variable "data_access_logs" {
  description = "Whether Cloud Audit Logs record who reads and writes objects and who takes a secret's value. They do so for the whole project, in place of what is configured there for Cloud Storage and Secret Manager, and are paid for by volume: a backup and its verification are some lines an object."
  type        = bool
  default     = false
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the Cloud Run service and jobs."
  type        = bool
  default     = true
  nullable    = false
}

variable "egress" {
  description = "How the service reaches Qdrant: `connector` (Serverless VPC Access connector), `direct` (Direct VPC egress: no fixed cost), or `none` (Qdrant has a public address)."
  type        = string
  default     = "connector"
  nullable    = false

  validation {
    condition     = contains(["connector", "direct", "none"], var.egress)
    error_message = "egress is one of connector, direct, none."
  }
}

variable "egress_cidr" {
  description = "Unused IPv4 range of the VPC for the service: exactly a /28 for a connector, a /26 or larger for Direct VPC egress. Null: 10.8.0.0/28 or 10.8.0.64/26."
  type        = string
  default     = null

  validation {
    condition     = var.egress_cidr == null ? true : can(cidrnetmask(var.egress_cidr)) && try(cidrhost(var.egress_cidr, 0) == split("/", var.egress_cidr)[0], false)
    error_message = "egress_cidr is an IPv4 range that starts at its network address, such as 10.8.0.0/28."
  }

  validation {
    condition     = var.egress_cidr == null || var.egress != "connector" ? true : endswith(var.egress_cidr, "/28")
    error_message = "A connector takes a /28: egress_cidr must end in /28."
  }

  validation {
    condition     = var.egress_cidr == null || var.egress != "direct" ? true : try(tonumber(split("/", var.egress_cidr)[1]) <= 26, false)
    error_message = "Direct VPC egress needs spare addresses for overlapping revisions: egress_cidr must be a /26 or larger."
  }
}

variable "environment" {
  description = "Further environment variables of the service and the jobs, such as BACKUP_CONCURRENCY, BACKUP_MAX_MBPS or BACKUP_SOURCE_NAME (default: project and service). No secrets: they would be readable in the service's description and in Terraform's state."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for name in keys(var.environment) : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !can(regex("^(AUTH|RETAIN)_", name)) && !contains([
        "BACKUP_JOB_MAX_RETRIES", "BACKUP_MAX_AGE", "BACKUP_STORE", "GCS_BUCKET_NAME", "GCS_FOLDER_PREFIX",
        "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "LISTEN", "PORT", "PRUNE_AFTER_BACKUP", "QDRANT_API_KEY",
        "QDRANT_API_KEY_FILE", "QDRANT_HOST", "QDRANT_PORT", "QDRANT_URL", "STORAGE_EMULATOR_HOST",
      ], name)
    ])
    error_message = "environment takes upper-case names, and none that Terraform or Cloud Run sets: callers, store, retention, Qdrant's address and key, project, port and credentials have variables of their own or are given by the platform."
  }

  validation {
    condition     = alltrue([for name in keys(var.environment) : !can(regex("(KEY|KEYS|SECRET|SECRETS|TOKEN|PASSWORD|CREDENTIALS)$", name))])
    error_message = "environment takes no secrets, such as DRILL_QDRANT_API_KEY or RESTORE_QDRANT_API_KEY: everybody who may look at the service or at Terraform's state could read them. Put the value into Secret Manager, and name the secret in secret_environment."
  }

  validation {
    condition     = alltrue([for value in values(var.environment) : !can(regex("://[^/?#]*@", value))])
    error_message = "environment takes no address with a name and password in it (https://NAME:PASSWORD@HOST): everybody who may look at the service or at Terraform's state could read them."
  }
}

variable "freshness_check" {
  description = "Whether an uptime check asks the service every 15 minutes if every collection has a good backup that is young enough, and an alert is raised if not or if the service does not answer. It keeps an instance there: see docs/explanation/cost.md."
  type        = bool
  default     = true
  nullable    = false
}

variable "image" {
  description = "Image of the first revision, by digest (`…/qdrant-backup-api@sha256:…`). Null: `latest` of the repository that is made here. Later images come from Cloud Build; a change of this variable does not touch an existing service."
  type        = string
  default     = null

  validation {
    condition     = var.image == null ? true : can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image is named by its digest, such as asia-east1-docker.pkg.dev/P/qdrant/qdrant-backup-api@sha256:...: what a tag means, whoever pushes can change."
  }
}

variable "ingress" {
  description = "From where the service can be reached, before any check of identity: `INGRESS_TRAFFIC_INTERNAL_ONLY` (Cloud Scheduler and the project's own VPC) or `INGRESS_TRAFFIC_ALL` (also `gcloud run services proxy` and curl from a laptop). The check of identity applies to both."
  type        = string
  default     = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  nullable    = false

  validation {
    condition     = contains(["INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_INTERNAL_ONLY"], var.ingress)
    error_message = "ingress is INGRESS_TRAFFIC_INTERNAL_ONLY or INGRESS_TRAFFIC_ALL."
  }
}

variable "invoker_members" {
  description = "Who else may call the service and start the jobs for backups and verifying, such as `user:someone@example.com` or `group:ops@example.com`. The scheduler's own account may call it where it makes the backups. What they may do there: `auth_default_role`, `auth_admins`."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.invoker_members : can(regex("^(user|group|serviceAccount):[^:@ ]+@[^:@ ]+$", member))])
    error_message = "invoker_members are user:, group: or serviceAccount: with an e-mail address. allUsers, allAuthenticatedUsers and whole domains are refused: a backup service is never public."
  }
}

variable "job_max_retries" {
  description = "How often a task of the job for backups that failed is started again."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.job_max_retries >= 0 && var.job_max_retries <= 10 && floor(var.job_max_retries) == var.job_max_retries
    error_message = "job_max_retries is a whole number from 0 to 10."
  }
}

variable "job_tasks" {
  description = "Tasks among which the job for backups divides the collections, all at once. Each makes BACKUP_CONCURRENCY snapshots at a time on Qdrant's disk."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.job_tasks >= 1 && var.job_tasks <= 100 && floor(var.job_tasks) == var.job_tasks
    error_message = "job_tasks is a whole number from 1 to 100."
  }
}

variable "job_timeout_seconds" {
  description = "Longest time for one attempt of a task of any of the jobs."
  type        = number
  default     = 43200
  nullable    = false

  validation {
    condition     = var.job_timeout_seconds >= 60 && var.job_timeout_seconds <= 604800 && floor(var.job_timeout_seconds) == var.job_timeout_seconds
    error_message = "job_timeout_seconds is a whole number from 60 to 604800 (7 days), the limit of Cloud Run."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS that encrypts the buckets created here and, if it is in `region`, the repository of the images, `projects/P/locations/L/keyRings/R/cryptoKeys/K`, in the location of the bucket. A repository that exists already stays as it is; for a new one, Artifact Registry's account must exist (main.tf). Null: keys that Google manages."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key is projects/P/locations/L/keyRings/R/cryptoKeys/K, without a version."
  }

  validation {
    condition     = var.kms_key == null || var.create_bucket || var.vault_retention_days != null
    error_message = "kms_key is for buckets that are created here; an existing bucket keeps its own settings."
  }
}

variable "labels" {
  description = "Labels of every resource that can have some."
  type        = map(string)
  default     = { app = "qdrant-backup" }
  nullable    = false
}

variable "max_instances" {
  description = "Largest number of instances. One is enough: only one backup runs at a time."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 10 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances is a whole number from 1 to 10."
  }
}

variable "memory_mib" {
  description = "Memory of one instance in MiB. The service needs the same for a snapshot of any size."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = var.memory_mib >= 512 && var.memory_mib <= 32768 && floor(var.memory_mib) == var.memory_mib
    error_message = "memory_mib is a whole number from 512 (the least of the second generation execution environment) to 32768."
  }

  validation {
    condition     = var.memory_mib >= (var.cpu >= 4 ? var.cpu * 512 : 512) && var.memory_mib <= var.cpu * 4096
    error_message = "Cloud Run gives at most 4096 MiB per CPU, and wants at least 512 MiB per CPU from 4 CPUs on: change memory_mib or cpu."
  }
}

variable "min_instances" {
  description = "Instances that are always there. 0: none between backups. 1: for backups longer than the scheduler waits, because Cloud Run may stop an instance that has no open request."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = contains([0, 1], var.min_instances)
    error_message = "min_instances is 0 or 1."
  }
}

variable "nearline_after_days" {
  description = "Days after which snapshots in a bucket that is created here move to the storage class NEARLINE: cheaper to keep, but reading them costs, and so does deleting them within 30 days of the move. Null: never."
  type        = number
  default     = null

  validation {
    condition     = var.nearline_after_days == null ? true : var.nearline_after_days >= 1 && floor(var.nearline_after_days) == var.nearline_after_days
    error_message = "nearline_after_days is a whole number from 1, or null."
  }
}

variable "network" {
  description = "Name of the VPC network in which Qdrant runs, in the same project."
  type        = string
  default     = "default"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.network))
    error_message = "network is the bare name of a VPC network."
  }
}

variable "noncurrent_version_days" {
  description = "Keeps overwritten or deleted objects of a bucket that is created here as noncurrent versions, for so many days; `soft_delete_days` begin after them. What is pruned is paid for as long as both together. Null: no versions, soft delete alone."
  type        = number
  default     = null

  validation {
    condition     = var.noncurrent_version_days == null ? true : var.noncurrent_version_days >= 1 && floor(var.noncurrent_version_days) == var.noncurrent_version_days
    error_message = "noncurrent_version_days is a whole number from 1, or null."
  }
}

variable "notification_channels" {
  description = "Existing notification channels for the alerts, `projects/P/notificationChannels/N`."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for channel in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", channel))])
    error_message = "notification_channels are projects/P/notificationChannels/N, as `gcloud beta monitoring channels list` shows them."
  }
}

variable "notification_emails" {
  description = "E-mail addresses to which the alerts go. Without any channel, alerts are only to be seen in the console."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.notification_emails : can(regex("^[^@\\s]+@[^@\\s]+$", email))])
    error_message = "notification_emails are e-mail addresses."
  }
}

variable "prefix" {
  description = "Folder of the bucket that holds everything of this service. Its rights end there."
  type        = string
  default     = "qdrant"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$", var.prefix))
    error_message = "prefix is a path of letters, digits, dots, hyphens and underscores, without a slash at either end."
  }
}

variable "project_id" {
  description = "Project for everything."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the id of a project (6 to 30 lower-case letters, digits and hyphens), not its name or number."
  }
}

variable "prune" {
  description = "Whether old backups are deleted after each complete backup, by `retention`. The service then gets the right to delete below `backups/`; without it, it cannot."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.prune || anytrue([for rule in ["last", "hourly", "daily", "weekly", "monthly", "yearly"] : try(var.retention[rule] > 0, false)])
    error_message = "prune = true needs a rule to go by: set retention, for instance { hourly = 48, daily = 30, monthly = 12 }."
  }
}

variable "qdrant_network_tags" {
  description = "Network tags of the machines that run Qdrant: the firewall rule applies to these only. Empty: to every machine of the network."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "qdrant_url" {
  description = "Address of Qdrant's HTTP API with its port, such as `http://10.140.0.5:6333`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https?://[A-Za-z0-9.-]+:[0-9]{1,5}$", var.qdrant_url))
    error_message = "qdrant_url is http:// or https://, a host name or IPv4 address, and a port: http://10.140.0.5:6333. No key, no path."
  }
}

variable "region" {
  description = "Region of the service, the scheduler, the repository and the connector."
  type        = string
  default     = "asia-east1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a Google Cloud region such as asia-east1."
  }
}

variable "repository" {
  description = "Name of the Artifact Registry repository that is made for the images. A second deployment in the same project and region needs another one, and `_REPOSITORY` of the builds with it."
  type        = string
  default     = "qdrant"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.repository))
    error_message = "repository is the bare name of a repository: lower-case letters, digits and hyphens."
  }
}

variable "request_timeout_seconds" {
  description = "Longest time for one request, and so for the answer to a backup. The scheduler waits as long, but never over its own limit of 1800 seconds."
  type        = number
  default     = 1800
  nullable    = false

  validation {
    condition     = var.request_timeout_seconds >= 60 && var.request_timeout_seconds <= 3600 && floor(var.request_timeout_seconds) == var.request_timeout_seconds
    error_message = "request_timeout_seconds is a whole number from 60 to 3600, the limit of Cloud Run."
  }
}

variable "restore_members" {
  description = "Who may start the job for restores with arguments of their own, such as `group:dba@example.com`. They can make it write to Qdrant."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.restore_members : can(regex("^(user|group|serviceAccount):[^:@ ]+@[^:@ ]+$", member))])
    error_message = "restore_members are user:, group: or serviceAccount: with an e-mail address."
  }
}

variable "retention" {
  description = "How many good backups to keep by each rule (RETAIN_LAST, RETAIN_HOURLY, ...), below which age in hours no backup is deleted, and after how many hours what a killed run left is (1 or more). Only `prune` deletes by it."
  type = object({
    last           = optional(number)
    hourly         = optional(number)
    daily          = optional(number)
    weekly         = optional(number)
    monthly        = optional(number)
    yearly         = optional(number)
    min_age_hours  = optional(number)
    leftover_hours = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for number in values(var.retention) : number == null ? true : number >= 0 && number <= 100000 && floor(number) == number]) && try(var.retention.leftover_hours >= 1, true)
    error_message = "retention has whole numbers from 0 to 100000; leftover_hours from 1 on."
  }
}

variable "schedule" {
  description = "When to back up, in cron's five fields."
  type        = string
  default     = "0 * * * *"
  nullable    = false

  validation {
    condition     = can(regex("^[^\\s]+(\\s+[^\\s]+){4}$", trimspace(var.schedule)))
    error_message = "schedule has cron's five fields: minute, hour, day of month, month, day of week."
  }
}

variable "schedule_paused" {
  description = "Whether the scheduled backups and verifications are paused, during maintenance for instance."
  type        = bool
  default     = false
  nullable    = false
}

variable "schedule_retries" {
  description = "How often a scheduled call that failed is tried again before the next one is due."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.schedule_retries >= 0 && var.schedule_retries <= 5 && floor(var.schedule_retries) == var.schedule_retries
    error_message = "schedule_retries is a whole number from 0 to 5."
  }
}

variable "schedule_target" {
  description = "What makes the scheduled backups. `service`: one request, which the scheduler waits for, 30 minutes at most. `job`: a Cloud Run job, which may take days."
  type        = string
  default     = "service"
  nullable    = false

  validation {
    condition     = contains(["service", "job"], var.schedule_target)
    error_message = "schedule_target is service or job."
  }
}

variable "secret_environment" {
  description = "Environment variables of the service and of the jobs that ask a Qdrant, whose values are secrets: the variable and the id of a secret of this project that exists, such as `{ DRILL_QDRANT_API_KEY = \"drill-key\" }`. The accounts of service and restores may then read it."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.secret_environment) : contains(["DRILL_QDRANT_API_KEY", "RESTORE_QDRANT_API_KEY"], name)])
    error_message = "secret_environment takes DRILL_QDRANT_API_KEY and RESTORE_QDRANT_API_KEY. The key of the Qdrant that is backed up has a secret of its own."
  }

  validation {
    condition     = alltrue([for secret in values(var.secret_environment) : can(regex("^[A-Za-z0-9_-]{1,255}$", secret))])
    error_message = "secret_environment names secrets by their id, without projects/P/secrets/, and not by their value."
  }
}

variable "service_name" {
  description = "Name of the Cloud Run service; accounts, connector, firewall rule, secret and scheduler job are named after it."
  type        = string
  default     = "qdrant-backup"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,18}[a-z0-9]$", var.service_name))
    error_message = "service_name has 6 to 20 lower-case letters, digits and hyphens, so that every name made from it is legal."
  }

  validation {
    condition     = var.egress != "connector" || length(var.service_name) + length(regexall("-", var.service_name)) <= 20
    error_message = "service_name is the connector's name, too, and there a hyphen counts twice: 20 at most."
  }
}

variable "soft_delete_days" {
  description = "Days for which Cloud Storage keeps deleted objects of a bucket that is created here, whoever deleted them: 7 to 90, or 0 for none."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.soft_delete_days == 0 || (var.soft_delete_days >= 7 && var.soft_delete_days <= 90)
    error_message = "soft_delete_days is 0 or from 7 to 90."
  }
}

variable "time_zone" {
  description = "Time zone of the schedule."
  type        = string
  default     = "Asia/Taipei"
  nullable    = false
}

variable "use_qdrant_api_key" {
  description = "Whether Qdrant asks for an API key. True: a secret is made for it, whose value is added out of band and never enters Terraform's state."
  type        = bool
  default     = true
  nullable    = false
}

variable "vault_copy_hours" {
  description = "Hours from one copy into the vault to the next."
  type        = number
  default     = 24
  nullable    = false

  validation {
    condition     = var.vault_copy_hours >= 1 && floor(var.vault_copy_hours) == var.vault_copy_hours
    error_message = "vault_copy_hours is a whole number from 1."
  }
}

variable "vault_delete_after_days" {
  description = "Days after which the vault deletes a copy, whatever else there is. Null: never; the vault then grows for ever."
  type        = number
  default     = null

  validation {
    condition     = var.vault_delete_after_days == null ? true : floor(var.vault_delete_after_days) == var.vault_delete_after_days && try(var.vault_delete_after_days > var.vault_retention_days, false)
    error_message = "vault_delete_after_days is a whole number above vault_retention_days."
  }
}

variable "vault_location" {
  description = "Location of the vault. Null: that of the bucket. Another region survives the loss of this one."
  type        = string
  default     = null
}

variable "vault_locked" {
  description = "Whether the vault's retention is locked. This cannot be undone: until every object is old enough, nobody can delete one, nor the bucket. Try it unlocked first."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.vault_locked || var.vault_retention_days != null
    error_message = "vault_locked locks the retention of the vault: set vault_retention_days."
  }
}

variable "vault_retention_days" {
  description = "Makes a second bucket into which the backups are copied, and in which nobody can delete or change them for so many days. Null: no second bucket."
  type        = number
  default     = null

  validation {
    condition     = var.vault_retention_days == null ? true : var.vault_retention_days >= 1 && var.vault_retention_days <= 3650 && floor(var.vault_retention_days) == var.vault_retention_days
    error_message = "vault_retention_days is a whole number from 1 to 3650, or null."
  }
}

variable "verified_max_age_hours" {
  description = "Hours after which an alert says that no backup was read back and found intact. Null: by `verify_schedule`, two turns of it and a bit."
  type        = number
  default     = null

  validation {
    condition     = var.verified_max_age_hours == null ? true : var.verified_max_age_hours >= 2 && var.verified_max_age_hours <= 2160 && floor(var.verified_max_age_hours) == var.verified_max_age_hours
    error_message = "verified_max_age_hours is a whole number from 2 to 2160, or null."
  }
}

variable "verify_schedule" {
  description = "When to read the newest backup back, in cron's five fields. Null: never, and no alert about it."
  type        = string
  default     = "30 5 * * *"

  validation {
    condition     = var.verify_schedule == null ? true : can(regex("^[^\\s]+(\\s+[^\\s]+){4}$", trimspace(var.verify_schedule)))
    error_message = "verify_schedule has cron's five fields: minute, hour, day of month, month, day of week; or is null."
  }
}
