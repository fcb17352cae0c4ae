# Seven objects, one a subject, and what stands alone. Every attribute of an object may be left out. Terraform drops attributes
# that an object does not have without a word, so read the plan after a change. What was named otherwise before is refused in
# renamed.tf.

variable "access" {
  description = <<-EOT
    Who reaches the service, and what callers may do.

    - `ingress`: from where, before any check of identity: `INGRESS_TRAFFIC_INTERNAL_ONLY` (Cloud Scheduler and the project's own VPC) or `INGRESS_TRAFFIC_ALL` (also `gcloud run services proxy` and curl from a laptop).
    - `invoker_members`: who else may call the service and start the jobs for backups and verifying, such as `group:ops@example.com`. The scheduler's own account may call it where it makes the backups.
    - `restore_members`: who may start the job for restores with arguments of their own. They can make it write to Qdrant.
    - `mode`: who checks callers. `iam`: the platform, by run.invoker grants. `oidc`: the platform lets every request through and the service itself verifies the token and looks for its e-mail address in the lists below; for callers that cannot be granted a role.
    - `admins`: e-mail addresses that may do everything: also restore, drill, prune and unpin. With `iam` they need run.invoker, too (`invoker_members`, themselves or by a group).
    - `operators`: e-mail addresses that may read, back up, verify and pin, and nothing else. The scheduler's own account always is one.
    - `readers`: e-mail addresses that may read (GET) and nothing else. The agent of the check of freshness always is one.
    - `default_role`: with `iam`, what `invoker_members` may do whose addresses are in no list: `reader`, `operator` or `admin`.
  EOT
  type = object({
    ingress         = optional(string, "INGRESS_TRAFFIC_INTERNAL_ONLY")
    invoker_members = optional(set(string), [])
    restore_members = optional(set(string), [])
    mode            = optional(string, "iam")
    admins          = optional(set(string), [])
    operators       = optional(set(string), [])
    readers         = optional(set(string), [])
    default_role    = optional(string, "operator")
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_INTERNAL_ONLY"], var.access.ingress)
    error_message = "access.ingress is INGRESS_TRAFFIC_INTERNAL_ONLY or INGRESS_TRAFFIC_ALL."
  }

  validation {
    condition     = alltrue([for member in var.access.invoker_members : can(regex("^(user|group|serviceAccount):[^:@ ]+@[^:@ ]+$", member))])
    error_message = "access.invoker_members are user:, group: or serviceAccount: with an e-mail address. allUsers, allAuthenticatedUsers and whole domains are refused: a backup service is never public."
  }

  validation {
    condition     = alltrue([for member in var.access.restore_members : can(regex("^(user|group|serviceAccount):[^:@ ]+@[^:@ ]+$", member))])
    error_message = "access.restore_members are user:, group: or serviceAccount: with an e-mail address."
  }

  validation {
    condition     = contains(["iam", "oidc"], var.access.mode)
    error_message = "access.mode is iam or oidc. A deployed service is never without a check."
  }

  validation {
    condition     = var.access.mode == "iam" || length(var.access.invoker_members) == 0
    error_message = "access.invoker_members are grants, which mode = \"oidc\" does not look at: use access.admins, operators and readers."
  }

  validation {
    condition     = alltrue([for email in var.access.admins : can(regex("^[^@,:\\s]+@[^@,\\s]+$", email))])
    error_message = "access.admins are plain e-mail addresses, without user: or serviceAccount:."
  }

  validation {
    condition     = alltrue([for email in var.access.operators : can(regex("^[^@,:\\s]+@[^@,\\s]+$", email))])
    error_message = "access.operators are plain e-mail addresses, without user: or serviceAccount:."
  }

  validation {
    condition     = alltrue([for email in var.access.readers : can(regex("^[^@,:\\s]+@[^@,\\s]+$", email))])
    error_message = "access.readers are plain e-mail addresses, without user: or serviceAccount:."
  }

  validation {
    condition     = contains(["reader", "operator", "admin"], var.access.default_role)
    error_message = "access.default_role is reader, operator or admin."
  }
}

variable "alerts" {
  description = <<-EOT
    When alerts fire, and where they go. **Set `emails` or `channels`**: without, alerts are only to be seen in the console.

    - `emails`: e-mail addresses.
    - `channels`: existing notification channels, `projects/P/notificationChannels/N`.
    - `backup_max_age_hours`: hours after which a collection without a good backup raises the alarm. Default: by `schedule.backup`, two turns of it and a bit (3 for hourly backups, 50 for daily ones), so that a single failed run is not an emergency yet.
    - `verified_max_age_hours`: hours after which an alert says that no backup was read back and found intact. Default: by `schedule.verify`, in the same way.
    - `freshness_check`: whether an uptime check asks the service every 15 minutes if every collection has a good backup that is young enough, and an alert is raised if not or if the service does not answer. It keeps an instance there: see docs/explanation/cost.md.
  EOT
  type = object({
    emails                 = optional(set(string), [])
    channels               = optional(set(string), [])
    backup_max_age_hours   = optional(number)
    verified_max_age_hours = optional(number)
    freshness_check        = optional(bool, true)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for email in var.alerts.emails : can(regex("^[^@\\s]+@[^@\\s]+$", email))])
    error_message = "alerts.emails are e-mail addresses."
  }

  validation {
    condition     = alltrue([for channel in var.alerts.channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", channel))])
    error_message = "alerts.channels are projects/P/notificationChannels/N, as `gcloud beta monitoring channels list` shows them."
  }

  validation {
    condition     = var.alerts.backup_max_age_hours == null ? true : var.alerts.backup_max_age_hours >= 1 && var.alerts.backup_max_age_hours <= 2160 && floor(var.alerts.backup_max_age_hours) == var.alerts.backup_max_age_hours
    error_message = "alerts.backup_max_age_hours is a whole number from 1 to 2160."
  }

  validation {
    condition     = var.alerts.verified_max_age_hours == null ? true : var.alerts.verified_max_age_hours >= 2 && var.alerts.verified_max_age_hours <= 2160 && floor(var.alerts.verified_max_age_hours) == var.alerts.verified_max_age_hours
    error_message = "alerts.verified_max_age_hours is a whole number from 2 to 2160."
  }
}

variable "binary_authorization" {
  description = "Binary Authorization policy that decides which images may run: `default` (that of the project), or `projects/P/platforms/cloudRun/policies/NAME`. It must admit the image of the first revision. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.binary_authorization == null ? true : can(regex("^(default|projects/[^/]+/platforms/cloudRun/policies/[^/]+)$", var.binary_authorization))
    error_message = "binary_authorization is default or projects/P/platforms/cloudRun/policies/NAME."
  }
}

variable "bucket" {
  description = <<-EOT
    The bucket for the backups.

    - `create`: whether to create it. `false`: use the existing bucket `name` and leave its settings alone; it must have uniform bucket-level access, because the grants on it are conditional.
    - `name`: default `PROJECT_ID-SERVICE_NAME`. A name with dots can only be created by a verified owner of that domain: create it by hand and set `create = false`.
    - `location`: of a bucket that is created; default: the region of the service, so that no backup leaves it.
    - `prefix`: folder that holds everything of this service. Its rights end there.
    - `nearline_after_days`: days after which snapshots in a bucket that is created here move to the storage class NEARLINE: cheaper to keep, but reading them costs, and so does deleting them within 30 days of the move. Default: never.
    - `noncurrent_version_days`: keeps overwritten or deleted objects of a bucket that is created here as noncurrent versions, for so many days; `soft_delete_days` begin after them. What is pruned is paid for as long as both together. Default: no versions, soft delete alone.
    - `soft_delete_days`: days for which Cloud Storage keeps deleted objects of a bucket that is created here, whoever deleted them: 7 to 90, or 0 for none.
  EOT
  type = object({
    create                  = optional(bool, true)
    name                    = optional(string)
    location                = optional(string)
    prefix                  = optional(string, "qdrant")
    nearline_after_days     = optional(number)
    noncurrent_version_days = optional(number)
    soft_delete_days        = optional(number, 7)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.bucket.name == null ? true : can(regex("^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", var.bucket.name))
    error_message = "bucket.name is the bare name of a bucket: lower-case letters, digits, dots, hyphens and underscores, without gs://."
  }

  validation {
    condition     = var.bucket.create || var.bucket.name != null
    error_message = "bucket.create = false uses an existing bucket: say which with bucket.name."
  }

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$", var.bucket.prefix))
    error_message = "bucket.prefix is a path of letters, digits, dots, hyphens and underscores, without a slash at either end."
  }

  validation {
    condition     = var.bucket.nearline_after_days == null ? true : var.bucket.nearline_after_days >= 1 && floor(var.bucket.nearline_after_days) == var.bucket.nearline_after_days
    error_message = "bucket.nearline_after_days is a whole number from 1, or null."
  }

  validation {
    condition     = var.bucket.noncurrent_version_days == null ? true : var.bucket.noncurrent_version_days >= 1 && floor(var.bucket.noncurrent_version_days) == var.bucket.noncurrent_version_days
    error_message = "bucket.noncurrent_version_days is a whole number from 1."
  }

  validation {
    condition     = var.bucket.soft_delete_days == 0 || (var.bucket.soft_delete_days >= 7 && var.bucket.soft_delete_days <= 90)
    error_message = "bucket.soft_delete_days is 0 or from 7 to 90."
  }
}

variable "build" {
  description = <<-EOT
    Builds of the image by Cloud Build. The repository, and the account that deploys, are there in any case.

    - `enabled`: whether there are an account and a bucket for builds. `false` needs `image`.
    - `on_apply`: whether the apply that makes service and jobs first builds their image, unless `image` names one: by `gcloud builds submit` on the machine where Terraform runs. Once; later versions are releases.
    - `source`: folder with the whole source. Default: the one around this module, which is there in a checkout and where the module comes by `git::`.
    - `region`: where builds run. Default: `global`, or where the pool is. A policy of resource locations asks for a region.
    - `canary`: whether a deployment may ask a new revision how it is before the revision gets any traffic (`_CANARY` of cloudbuild.deploy.yaml): its account then may call the service, to read.
    - `worker_pool`: a private pool, `projects/P/locations/R/workerPools/NAME`, for builds and deployments. Whoever submits a build needs the role Cloud Build WorkerPool User in its project.
  EOT
  type = object({
    enabled     = optional(bool, true)
    on_apply    = optional(bool, false)
    canary      = optional(bool, false)
    source      = optional(string)
    region      = optional(string)
    worker_pool = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.build.enabled || var.image != null
    error_message = "Without builds there is no image but the one that you name: set image, or build.enabled."
  }

  validation {
    condition     = var.build.enabled || !var.build.on_apply
    error_message = "build.on_apply builds: set build.enabled, or leave it out."
  }

  validation {
    condition     = var.build.region == null ? true : can(regex("^[a-z]+-[a-z]+[0-9]+$", var.build.region))
    error_message = "build.region is a Google Cloud region such as asia-east1."
  }

  validation {
    condition     = var.build.worker_pool == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/workerPools/[^/]+$", var.build.worker_pool))
    error_message = "build.worker_pool is projects/P/locations/R/workerPools/NAME."
  }

  validation {
    condition     = var.build.region == null || var.build.worker_pool == null || try(split("/", var.build.worker_pool)[3] == var.build.region, false)
    error_message = "build.region is where build.worker_pool is: leave it out."
  }
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

variable "environment" {
  description = "Further environment variables of the service and the jobs, such as BACKUP_CONCURRENCY, BACKUP_MAX_MBPS, BACKUP_MAX_LATENCY_FACTOR or BACKUP_SOURCE_NAME (default: project and service). No secrets: they would be readable in the service's description and in Terraform's state."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for name in keys(var.environment) : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !can(regex("^(AUTH|RETAIN)_", name)) && !contains([
        "BACKUP_JOB_MAX_RETRIES", "BACKUP_MAX_AGE", "BACKUP_STORE", "GCS_BUCKET_NAME", "GCS_FOLDER_PREFIX",
        "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "LISTEN", "PORT", "PRUNE_AFTER_BACKUP", "QDRANT_API_KEY",
        "QDRANT_API_KEY_FILE", "QDRANT_HOST", "QDRANT_NODES", "QDRANT_PORT", "QDRANT_URL", "STORAGE_EMULATOR_HOST",
      ], name)
    ])
    error_message = "environment takes upper-case names, and none that Terraform or Cloud Run sets: callers, store, retention, Qdrant's addresses and key, project, port and credentials have variables of their own or are given by the platform."
  }

  validation {
    condition     = alltrue([for name in keys(var.environment) : !can(regex("(KEY|KEYS|SECRET|SECRETS|TOKEN|PASSWORD|CREDENTIALS|NOTIFY_URLS)$", name))])
    error_message = "environment takes no secrets, such as DRILL_QDRANT_API_KEY or RESTORE_QDRANT_API_KEY: everybody who may look at the service or at Terraform's state could read them. Put the value into Secret Manager, and name the secret in secret_environment."
  }

  validation {
    condition     = alltrue([for value in values(var.environment) : !can(regex("://[^/?#]*@", value))])
    error_message = "environment takes no address with a name and password in it (https://NAME:PASSWORD@HOST): everybody who may look at the service or at Terraform's state could read them."
  }
}

variable "image" {
  description = "Image of the first revision, by digest (`…/qdrant-backup-api@sha256:…`), of Artifact Registry or Docker Hub: with it nothing needs to be built. Null: `latest` of the repository that is made here. Later images are deployed by Cloud Build; a change of this variable does not touch an existing service."
  type        = string
  default     = null

  validation {
    condition     = var.image == null ? true : can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image is named by its digest, such as asia-east1-docker.pkg.dev/P/qdrant/qdrant-backup-api@sha256:...: what a tag means, whoever pushes can change."
  }

  validation {
    condition     = var.image == null ? true : can(regex("^([a-z0-9-]+-docker\\.pkg\\.dev|([a-z]+\\.)?gcr\\.io|docker\\.io)/", var.image))
    error_message = "Cloud Run takes images of Artifact Registry (REGION-docker.pkg.dev), gcr.io and Docker Hub (docker.io). For another registry make a remote repository in Artifact Registry, and name the image there."
  }
}

variable "job" {
  description = <<-EOT
    The jobs.

    - `tasks`: tasks among which the job for backups divides the collections, all at once. Each makes BACKUP_CONCURRENCY snapshots at a time on Qdrant's disk.
    - `max_retries`: how often a task of the job for backups that failed is started again.
    - `timeout_seconds`: longest time for one attempt of a task of any of the jobs.
  EOT
  type = object({
    tasks           = optional(number, 1)
    max_retries     = optional(number, 1)
    timeout_seconds = optional(number, 43200)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.job.tasks >= 1 && var.job.tasks <= 100 && floor(var.job.tasks) == var.job.tasks
    error_message = "job.tasks is a whole number from 1 to 100."
  }

  validation {
    condition     = var.job.max_retries >= 0 && var.job.max_retries <= 10 && floor(var.job.max_retries) == var.job.max_retries
    error_message = "job.max_retries is a whole number from 0 to 10."
  }

  validation {
    condition     = var.job.timeout_seconds >= 60 && var.job.timeout_seconds <= 604800 && floor(var.job.timeout_seconds) == var.job.timeout_seconds
    error_message = "job.timeout_seconds is a whole number from 60 to 604800 (7 days), the limit of Cloud Run."
  }
}

variable "kms_keys" {
  description = <<-EOT
    Keys of Cloud KMS, `projects/P/locations/L/keyRings/R/cryptoKeys/K`, by what they are for; each must be in the location of what it encrypts. They may be made in the same configuration. Empty: keys that Google manages.

    - `region`: everything in the region: service, jobs, source of builds, the repository of the images (one that exists already stays as it is), the bucket unless it has a key of its own, the secret with `secret_regional`.
    - `bucket`: a bucket that is created here in another location than `region`.
    - `secret`: the secret with Qdrant's key: a key in `global`, or in the region with `secret_regional`.
    - `vault`: the vault; default: the key of the bucket.

    Google's accounts that use them are granted that here, and must exist before (README.md).
  EOT
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for use in keys(var.kms_keys) : contains(["region", "bucket", "secret", "vault"], use)])
    error_message = "kms_keys are for region, bucket, secret and vault."
  }

  validation {
    condition     = alltrue([for key in values(var.kms_keys) : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", key))])
    error_message = "kms_keys are projects/P/locations/L/keyRings/R/cryptoKeys/K, without a version."
  }

  validation {
    condition     = !contains(keys(var.kms_keys), "bucket") || var.bucket.create
    error_message = "kms_keys.bucket is for a bucket that is created here; an existing bucket keeps its own settings."
  }
}

variable "labels" {
  description = "Labels of every resource that can have some."
  type        = map(string)
  default     = { app = "qdrant-backup" }
  nullable    = false
}

variable "network" {
  description = <<-EOT
    How service and jobs reach Qdrant.

    - `mode`: `connector` (Serverless VPC Access connector), `direct` (Direct VPC egress: faster, no fixed cost), or `none` (Qdrant has a public address).
    - `name`: VPC network in which Qdrant runs.
    - `host_project`: the project that the network belongs to, if it is a Shared VPC of another one. Its administrator makes `subnet` or `connector`, and grants their use.
    - `cidr`: unused IPv4 range of the network for what is made here: exactly a /28 for a connector, a /26 or larger for Direct VPC egress; default 10.8.0.0/28 or 10.8.0.64/26. With `subnet` or `connector`: their range, for the firewall rule only.
    - `connector`: an existing connector, `projects/P/locations/R/connectors/NAME`, in place of one that is made here.
    - `subnet`: name of an existing subnet of the region: the service's addresses with `direct`, the connector's with `connector` (then a /28 that nothing else uses).
    - `egress`: what goes that way: `PRIVATE_RANGES_ONLY`, or `ALL_TRAFFIC`, as some organisations demand. Google's APIs then are reached through the network, too: its subnet needs Private Google Access, a Qdrant with a public address Cloud NAT.
    - `firewall`: whether to open Qdrant's port for the range. Needed with `direct`; a connector's range may reach everything in the network by a rule of Google's anyway.
    - `qdrant_tags`: network tags of the machines that run Qdrant: the firewall rule applies to these only. Empty: to every machine of the network.
    - `connector_machine_type`, `connector_max_instances`: of the connector; the smallest number is 2. The snapshots come from Qdrant through it, so it bounds the speed of a backup; the upload to the bucket does not pass through it, unless `egress` is `ALL_TRAFFIC`.
  EOT
  type = object({
    mode                    = optional(string, "connector")
    name                    = optional(string, "default")
    host_project            = optional(string)
    cidr                    = optional(string)
    connector               = optional(string)
    subnet                  = optional(string)
    egress                  = optional(string, "PRIVATE_RANGES_ONLY")
    firewall                = optional(bool, true)
    qdrant_tags             = optional(list(string), [])
    connector_machine_type  = optional(string, "e2-micro")
    connector_max_instances = optional(number, 3)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["connector", "direct", "none"], var.network.mode)
    error_message = "network.mode is one of connector, direct, none."
  }

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.network.name))
    error_message = "network.name is the bare name of a VPC network."
  }

  validation {
    condition     = var.network.host_project == null ? true : can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.network.host_project))
    error_message = "network.host_project is the id of a project."
  }

  validation {
    condition     = var.network.host_project == null || var.network.mode == "none" || var.network.subnet != null || var.network.connector != null
    error_message = "Nothing is made in another project: with network.host_project, name a subnet of it, or an existing connector."
  }

  validation {
    condition     = var.network.connector == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/connectors/[^/]+$", var.network.connector))
    error_message = "network.connector is projects/P/locations/R/connectors/NAME."
  }

  validation {
    condition     = var.network.connector == null || (var.network.mode == "connector" && var.network.subnet == null)
    error_message = "network.connector is for mode = \"connector\", and has its subnet already."
  }

  validation {
    condition     = var.network.subnet == null ? true : can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.network.subnet)) && var.network.mode != "none"
    error_message = "network.subnet is the bare name of a subnet, for mode \"direct\" or \"connector\"."
  }

  validation {
    condition     = var.network.cidr == null ? true : can(cidrnetmask(var.network.cidr)) && try(cidrhost(var.network.cidr, 0) == split("/", var.network.cidr)[0], false)
    error_message = "network.cidr is an IPv4 range that starts at its network address, such as 10.8.0.0/28."
  }

  validation {
    condition     = var.network.cidr == null || var.network.mode != "connector" ? true : endswith(var.network.cidr, "/28")
    error_message = "A connector takes a /28: network.cidr must end in /28."
  }

  validation {
    condition     = var.network.cidr == null || var.network.mode != "direct" ? true : try(tonumber(split("/", var.network.cidr)[1]) <= 26, false)
    error_message = "Direct VPC egress needs spare addresses for overlapping revisions: network.cidr must be a /26 or larger."
  }

  validation {
    condition     = contains(["PRIVATE_RANGES_ONLY", "ALL_TRAFFIC"], var.network.egress) && (var.network.egress == "PRIVATE_RANGES_ONLY" || var.network.mode != "none")
    error_message = "network.egress is PRIVATE_RANGES_ONLY or, where there is a way into the network, ALL_TRAFFIC."
  }

  validation {
    condition     = contains(["f1-micro", "e2-micro", "e2-standard-4"], var.network.connector_machine_type)
    error_message = "network.connector_machine_type is one of f1-micro, e2-micro, e2-standard-4."
  }

  validation {
    condition     = var.network.connector_max_instances >= 3 && var.network.connector_max_instances <= 10 && floor(var.network.connector_max_instances) == var.network.connector_max_instances
    error_message = "network.connector_max_instances is a whole number from 3 to 10."
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

variable "qdrant_api_key" {
  description = "Qdrant's API key, to be stored in Secret Manager: with `qdrant_api_key_version`, and given to every plan, apply, import and destroy as TF_VAR_qdrant_api_key. It is in no state and no plan."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.qdrant_api_key == null ? true : trimspace(var.qdrant_api_key) == var.qdrant_api_key && var.qdrant_api_key != ""
    error_message = "qdrant_api_key is empty, or begins or ends with white space."
  }
}

variable "qdrant_api_key_version" {
  description = "Set it to 1 to have `qdrant_api_key` stored, and raise it to have a changed one stored; the version before is then disabled. Null: the value is added out of band, with `gcloud secrets versions add`."
  type        = number
  default     = null

  validation {
    condition     = var.qdrant_api_key_version == null ? true : var.qdrant_api_key_version >= 1 && floor(var.qdrant_api_key_version) == var.qdrant_api_key_version && var.use_qdrant_api_key
    error_message = "qdrant_api_key_version is a whole number from 1, for a Qdrant that has a key (use_qdrant_api_key)."
  }

  validation {
    condition     = var.qdrant_api_key_version == null || var.qdrant_api_key != null
    error_message = "qdrant_api_key_version stores a key that is not given. Set TF_VAR_qdrant_api_key, also where the key has not changed: Terraform remembers none."
  }
}

variable "qdrant_nodes" {
  description = "The nodes of a cluster: the URL of each, with its port, or one `dns://HOST:6333` for all addresses of a name (a headless service). Needed for a cluster of several nodes. `qdrant_url` is one of them, or what stands before them."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([for node in var.qdrant_nodes : can(regex("^https?://[A-Za-z0-9.-]+:[0-9]{1,5}$", node))]) || (
      length(var.qdrant_nodes) == 1 && can(regex("^dns://[A-Za-z0-9.-]+:[0-9]{1,5}$", var.qdrant_nodes[0]))
    )
    error_message = "qdrant_nodes are http:// or https://, a host name or IPv4 address, and a port: http://10.140.0.5:6333; or one dns://HOST:6333. No key, no path."
  }

  validation {
    condition     = length(distinct([for node in var.qdrant_nodes : lower(node)])) == length(var.qdrant_nodes)
    error_message = "qdrant_nodes names a node twice."
  }
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

variable "resources" {
  description = <<-EOT
    What one instance of the service has, and how many there are; CPUs and memory of the jobs, too.

    - `cpu`: CPUs of one instance.
    - `memory_mib`: memory of one instance in MiB. The service needs the same for a snapshot of any size.
    - `concurrency`: requests that one instance serves at a time. More than one, so that reads are answered while a backup runs; a second backup is refused by the service itself, and so is what is beyond 64 requests.
    - `min_instances`: instances that are always there. 0: none between backups. 1: for backups longer than the scheduler waits, because Cloud Run may stop an instance that has no open request.
    - `max_instances`: largest number of instances. One is enough: only one backup runs at a time.
    - `request_timeout_seconds`: longest time for one request, and so for the answer to a backup. The scheduler waits as long, but never over its own limit of 1800 seconds.
  EOT
  type = object({
    cpu                     = optional(number, 1)
    memory_mib              = optional(number, 512)
    concurrency             = optional(number, 8)
    min_instances           = optional(number, 0)
    max_instances           = optional(number, 1)
    request_timeout_seconds = optional(number, 1800)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains([1, 2, 4, 8], var.resources.cpu)
    error_message = "resources.cpu is 1, 2, 4 or 8."
  }

  validation {
    condition     = var.resources.memory_mib >= 512 && var.resources.memory_mib <= 32768 && floor(var.resources.memory_mib) == var.resources.memory_mib
    error_message = "resources.memory_mib is a whole number from 512 (the least of the second generation execution environment) to 32768."
  }

  validation {
    condition     = var.resources.memory_mib >= (var.resources.cpu >= 4 ? var.resources.cpu * 512 : 512) && var.resources.memory_mib <= var.resources.cpu * 4096
    error_message = "Cloud Run gives at most 4096 MiB per CPU, and wants at least 512 MiB per CPU from 4 CPUs on: change resources.memory_mib or cpu."
  }

  validation {
    condition     = var.resources.concurrency >= 2 && var.resources.concurrency <= 1000 && floor(var.resources.concurrency) == var.resources.concurrency
    error_message = "resources.concurrency is a whole number from 2 (a backup, and the health probe beside it) to 1000."
  }

  validation {
    condition     = contains([0, 1], var.resources.min_instances)
    error_message = "resources.min_instances is 0 or 1."
  }

  validation {
    condition     = var.resources.max_instances >= 1 && var.resources.max_instances <= 10 && floor(var.resources.max_instances) == var.resources.max_instances
    error_message = "resources.max_instances is a whole number from 1 to 10."
  }

  validation {
    condition     = var.resources.request_timeout_seconds >= 60 && var.resources.request_timeout_seconds <= 3600 && floor(var.resources.request_timeout_seconds) == var.resources.request_timeout_seconds
    error_message = "resources.request_timeout_seconds is a whole number from 60 to 3600, the limit of Cloud Run."
  }
}

variable "retention" {
  description = "How many good backups to keep by each rule (RETAIN_LAST, RETAIN_HOURLY, ...), how many partial ones that are newer than the newest good one (1 or more), below which age in hours no backup is deleted, and after how many hours what a killed run left is (1 or more). Only `prune` deletes by it."
  type = object({
    last           = optional(number)
    hourly         = optional(number)
    daily          = optional(number)
    weekly         = optional(number)
    monthly        = optional(number)
    yearly         = optional(number)
    partial        = optional(number)
    min_age_hours  = optional(number)
    leftover_hours = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for number in values(var.retention) : number == null ? true : number >= 0 && number <= 100000 && floor(number) == number]) && try(var.retention.leftover_hours >= 1, true) && try(var.retention.partial >= 1, true)
    error_message = "retention has whole numbers from 0 to 100000; partial and leftover_hours from 1 on."
  }
}

variable "schedule" {
  description = <<-EOT
    When backups and verifications run.

    - `backup`: when to back up, in cron's five fields.
    - `verify`: when to read the newest backup back, in cron's five fields. `never`: not at all, and no alert about it.
    - `time_zone`: of both.
    - `paused`: whether both are paused, during maintenance for instance.
    - `retries`: how often a scheduled call that failed is tried again before the next one is due.
    - `first_backup`: whether the apply that makes the jobs also makes a first backup, waits for it, and fails if it fails: by `gcloud run jobs execute` on the machine where Terraform runs.
    - `target`: what makes the scheduled backups. `service`: one request, which the scheduler waits for, 30 minutes at most. `job`: a Cloud Run job, which may take days.
  EOT
  type = object({
    backup       = optional(string, "0 * * * *")
    verify       = optional(string, "30 5 * * *")
    time_zone    = optional(string, "Asia/Taipei")
    paused       = optional(bool, false)
    retries      = optional(number, 2)
    first_backup = optional(bool, false)
    target       = optional(string, "service")
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^[^\\s]+(\\s+[^\\s]+){4}$", trimspace(var.schedule.backup)))
    error_message = "schedule.backup has cron's five fields: minute, hour, day of month, month, day of week."
  }

  validation {
    condition     = var.schedule.verify == "never" ? true : can(regex("^[^\\s]+(\\s+[^\\s]+){4}$", trimspace(var.schedule.verify)))
    error_message = "schedule.verify has cron's five fields: minute, hour, day of month, month, day of week; or is never."
  }

  validation {
    condition     = var.schedule.retries >= 0 && var.schedule.retries <= 5 && floor(var.schedule.retries) == var.schedule.retries
    error_message = "schedule.retries is a whole number from 0 to 5."
  }

  validation {
    condition     = contains(["service", "job"], var.schedule.target)
    error_message = "schedule.target is service or job."
  }
}

variable "secret_environment" {
  description = "Environment variables of the service and of the jobs that ask a Qdrant, whose values are secrets: the variable and the id of a secret of this project that exists, such as `{ DRILL_QDRANT_API_KEY = \"drill-key\" }`. `NOTIFY_URLS` and `NOTIFY_WEBHOOK_SECRET` (who is told how runs end) go to all jobs. The accounts of service and restores may then read it."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.secret_environment) : contains(["DRILL_QDRANT_API_KEY", "NOTIFY_URLS", "NOTIFY_WEBHOOK_SECRET", "RESTORE_QDRANT_API_KEY"], name)])
    error_message = "secret_environment takes DRILL_QDRANT_API_KEY, RESTORE_QDRANT_API_KEY, NOTIFY_URLS and NOTIFY_WEBHOOK_SECRET. The key of the Qdrant that is backed up has a secret of its own."
  }

  validation {
    condition     = alltrue([for secret in values(var.secret_environment) : can(regex("^[A-Za-z0-9_-]{1,255}$", secret))])
    error_message = "secret_environment names secrets by their id, without projects/P/secrets/, and not by their value."
  }
}

variable "secret_regional" {
  description = "Whether the secret with Qdrant's key is kept in `region` alone, as a policy of resource locations asks for. A change makes the secret anew, without its value."
  type        = bool
  default     = false
  nullable    = false
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
}

variable "use_qdrant_api_key" {
  description = "Whether Qdrant asks for an API key. True: a secret is made for it, whose value (`qdrant_api_key`, or out of band) never enters Terraform's state."
  type        = bool
  default     = true
  nullable    = false
}

variable "vault" {
  description = <<-EOT
    A second bucket into which the backups are copied, and in which nobody can delete or change them for some time.

    - `retention_days`: for how many days. Default: no second bucket.
    - `locked`: whether that is locked. This cannot be undone: until every object is old enough, nobody can delete one, nor the bucket. Try it unlocked first.
    - `delete_after_days`: days after which the vault deletes a copy, whatever else there is. Default: never; the vault then grows for ever.
    - `copy_hours`: hours from one copy to the next.
    - `location`: of the vault; default: that of the bucket. Another region survives the loss of this one.
  EOT
  type = object({
    retention_days    = optional(number)
    locked            = optional(bool, false)
    delete_after_days = optional(number)
    copy_hours        = optional(number, 24)
    location          = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.vault.retention_days == null ? true : var.vault.retention_days >= 1 && var.vault.retention_days <= 3650 && floor(var.vault.retention_days) == var.vault.retention_days
    error_message = "vault.retention_days is a whole number from 1 to 3650, or null."
  }

  validation {
    condition     = !var.vault.locked || var.vault.retention_days != null
    error_message = "vault.locked locks the retention of the vault: set vault.retention_days."
  }

  validation {
    condition     = var.vault.delete_after_days == null ? true : floor(var.vault.delete_after_days) == var.vault.delete_after_days && try(var.vault.delete_after_days > var.vault.retention_days, false)
    error_message = "vault.delete_after_days is a whole number above vault.retention_days."
  }

  validation {
    condition     = var.vault.copy_hours >= 1 && floor(var.vault.copy_hours) == var.vault.copy_hours
    error_message = "vault.copy_hours is a whole number from 1."
  }
}
