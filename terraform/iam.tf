# Three identities without keys: the service's (its jobs for backups and verifying run as it, too), the one for restores,
# and the scheduler's. Grants are single members on single resources, so that nothing that others have granted is taken
# away. The identities that build and deploy are in build.tf.
#
# Rights on the bucket. Backups are written once and never changed, so the service may create objects and read them,
# and may not overwrite or delete: roles/storage.objectCreator and objectViewer hold no storage.objects.delete, which
# Cloud Storage asks for to replace an object, too. Not even a stolen token of the service can destroy a backup. The
# exceptions live by being rewritten or removed, and there, and only there, objectUser adds that:
#
#   lock.json, intents/, runs/                 the lease, the records of snapshots in the making, and what runs tell of themselves
#   notified.json                              which operations failed, as people were told
#   backups/ID/verified.json, drilled.json     what the last verification and the last drill found; names that no
#                                              manifest and no snapshot can have
#   backups/, jobs/                            only with prune = true: old backups (and so pins), and what the tasks of
#                                              old executions of a job have agreed on
#
# The identity for restores may read, take the lease, tell how far it is, and record a drill. It may also sign with its own name (tokenCreator
# on itself and nothing else): Qdrant then fetches snapshots by signed URL, straight from the bucket. What runs as it is
# the job for restores, started by the members of restore_members.
#
# Each grant ends at the prefix by a condition on resource.name, which for an object is
# projects/_/buckets/BUCKET/objects/NAME. Listing is different: storage.objects.list is checked against the bucket,
# projects/_/buckets/BUCKET, whatever prefix is asked for, so a condition on objects alone would refuse every listing,
# and no condition can narrow one. The conditions for reading and creating therefore name the bucket as well: the one
# for listing, both for testIamPermissions on the bucket, by which the service checks its rights and which would
# otherwise deny what it has. That gives nothing more than the listing, because every other permission of these two
# roles is checked against an object. In effect the service can see the names of foreign objects of a shared bucket,
# but neither read nor make one. Conditions need uniform bucket-level access.

locals {
  bucket_resource = "projects/_/buckets/${local.bucket_name}"
  prefix_resource = "${local.bucket_resource}/objects/${var.bucket.prefix}"
  below_prefix    = "resource.name == \"${local.bucket_resource}\" || resource.name.startsWith(\"${local.prefix_resource}/\")"

  rewritten = {
    lease    = "resource.name == \"${local.prefix_resource}/lock.json\" || resource.name == \"${local.prefix_resource}/notified.json\""
    intents  = "resource.name.startsWith(\"${local.prefix_resource}/intents/\")"
    runs     = "resource.name.startsWith(\"${local.prefix_resource}/runs/\")"
    verified = "(resource.name.startsWith(\"${local.prefix_resource}/backups/\") && resource.name.endsWith(\"/verified.json\"))"
    drilled  = "(resource.name.startsWith(\"${local.prefix_resource}/backups/\") && resource.name.endsWith(\"/drilled.json\"))"
    backups  = "resource.name.startsWith(\"${local.prefix_resource}/backups/\")"
    jobs     = "resource.name.startsWith(\"${local.prefix_resource}/jobs/\")"
  }

  bucket_grants = merge({
    create = {
      role       = "roles/storage.objectCreator"
      title      = "Below the prefix"
      expression = local.below_prefix
    }
    lease = {
      role       = "roles/storage.objectUser"
      title      = "Lease, intents and progress"
      expression = "${local.rewritten.lease} || ${local.rewritten.intents} || ${local.rewritten.runs}"
    }
    records = {
      role       = "roles/storage.objectUser"
      title      = "Records of verifications and drills"
      expression = "${local.rewritten.verified} || ${local.rewritten.drilled}"
    }
    read = {
      role       = "roles/storage.objectViewer"
      title      = "Below the prefix, and listing"
      expression = local.below_prefix
    }
    },
    var.prune ? {
      prune = {
        role       = "roles/storage.objectUser"
        title      = "Old backups and executions"
        expression = "${local.rewritten.backups} || ${local.rewritten.jobs}"
      }
    } : {},
  )

  restore_grants = {
    lease = {
      role       = "roles/storage.objectUser"
      title      = "Lease, progress, and records of drills"
      expression = "${local.rewritten.lease} || ${local.rewritten.runs} || ${local.rewritten.drilled}"
    }
    read = {
      role       = "roles/storage.objectViewer"
      title      = "Below the prefix, and listing"
      expression = local.below_prefix
    }
  }
}

resource "google_service_account" "backup" {
  project      = var.project_id
  account_id   = var.service_name
  display_name = "Qdrant backup service"

  depends_on = [google_project_service.required]
}

resource "google_service_account" "restore" {
  project      = var.project_id
  account_id   = "${var.service_name}-restore"
  display_name = "Restores Qdrant backups"

  depends_on = [google_project_service.required]
}

resource "google_service_account" "scheduler" {
  project      = var.project_id
  account_id   = "${var.service_name}-cron"
  display_name = "Calls the Qdrant backup service on schedule"

  depends_on = [google_project_service.required]
}

resource "google_storage_bucket_iam_member" "backup" {
  for_each = local.bucket_grants

  bucket = local.bucket_name
  role   = each.value.role
  member = google_service_account.backup.member

  condition {
    title      = each.value.title
    expression = each.value.expression
  }
}

resource "google_storage_bucket_iam_member" "restore" {
  for_each = local.restore_grants

  bucket = local.bucket_name
  role   = each.value.role
  member = google_service_account.restore.member

  condition {
    title      = each.value.title
    expression = each.value.expression
  }
}

# On itself only: a signed URL is made by IAM's signBlob in the signer's own name.
resource "google_service_account_iam_member" "restore_signs_as_itself" {
  service_account_id = google_service_account.restore.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.restore.member
}

resource "google_secret_manager_secret_iam_member" "backup" {
  count = var.use_qdrant_api_key ? 1 : 0

  project   = var.project_id
  secret_id = google_secret_manager_secret.qdrant_api_key[0].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.backup.member
}

resource "google_secret_manager_secret_iam_member" "restore" {
  count = var.use_qdrant_api_key ? 1 : 0

  project   = var.project_id
  secret_id = google_secret_manager_secret.qdrant_api_key[0].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.restore.member
}

# Keys of other Qdrants: for drills, which service and restores make, and for restores into another one.
resource "google_secret_manager_secret_iam_member" "environment" {
  for_each = {
    for pair in setproduct(["backup", "restore"], distinct(values(var.secret_environment))) : "${pair[0]} ${pair[1]}" => { account = pair[0], secret = pair[1] }
  }

  project   = var.project_id
  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value.account == "backup" ? google_service_account.backup.member : google_service_account.restore.member
}

# Only where it calls the service. What it may ask for there, the service decides (AUTH_OPERATORS): no restore, no prune.
resource "google_cloud_run_v2_service_iam_member" "scheduler" {
  count = var.schedule.target == "service" ? 1 : 0

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.backup.name
  role     = "roles/run.invoker"
  member   = google_service_account.scheduler.member
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = var.access.invoker_members

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.backup.name
  role     = "roles/run.invoker"
  member   = each.value
}

# gcloud reads the service before it opens a proxy to it, which run.invoker does not allow.
resource "google_cloud_run_v2_service_iam_member" "viewer" {
  for_each = var.access.invoker_members

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.backup.name
  role     = "roles/run.viewer"
  member   = each.value
}

# The scheduler starts the jobs that it has a schedule for, as they are: run.invoker holds no right to change arguments.
resource "google_cloud_run_v2_job_iam_member" "scheduler" {
  for_each = toset(concat(
    var.schedule.target == "job" ? ["backup"] : [],
    var.schedule.verify == "never" ? [] : ["verify"],
  ))

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_job.job[each.key].name
  role     = "roles/run.invoker"
  member   = google_service_account.scheduler.member
}

# Whoever may call the service may start the jobs for backups and verifying, too.
resource "google_cloud_run_v2_job_iam_member" "invoker" {
  for_each = {
    for pair in setproduct(["backup", "verify"], var.access.invoker_members) : "${pair[0]} ${pair[1]}" => { job = pair[0], member = pair[1] }
  }

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_job.job[each.value.job].name
  role     = "roles/run.invoker"
  member   = each.value.member
}

# Whoever may start a job may see how it goes: `gcloud run jobs execute --wait` reads the execution.
resource "google_cloud_run_v2_job_iam_member" "viewer" {
  for_each = {
    for pair in setunion(
      setproduct(["backup", "verify"], var.access.invoker_members),
      setproduct(["restore"], var.access.restore_members),
    ) : "${pair[0]} ${pair[1]}" => { job = pair[0], member = pair[1] }
  }

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_job.job[each.value.job].name
  role     = "roles/run.viewer"
  member   = each.value.member
}

# Who reads what in the bucket and takes Qdrant's key, as audit logs. Cloud Audit Logs know a service of Google's in a whole
# project, not one bucket: with this, every bucket and every secret of the project is logged.
resource "google_project_iam_audit_config" "data_access" {
  for_each = var.data_access_logs ? toset(["secretmanager.googleapis.com", "storage.googleapis.com"]) : toset([])

  project = var.project_id
  service = each.value

  audit_log_config {
    log_type = "DATA_READ"
  }
  audit_log_config {
    log_type = "DATA_WRITE"
  }

  depends_on = [google_project_service.required]
}

# With arguments of their own: which backup, which collections, where to. That includes environment variables, and so
# the address to which Qdrant's key is sent: these are people whom one would give the key.
resource "google_cloud_run_v2_job_iam_member" "restore" {
  for_each = var.access.restore_members

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_job.job["restore"].name
  role     = "roles/run.jobsExecutorWithOverrides"
  member   = each.value
}

# The check of freshness (monitoring.tf). Google makes the agent's account with the first check that uses it, hence the
# dependency.
resource "google_cloud_run_v2_service_iam_member" "uptime" {
  count = var.alerts.freshness_check ? 1 : 0

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.backup.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:${local.uptime_agent_email}"

  depends_on = [google_monitoring_uptime_check_config.freshness]
}
