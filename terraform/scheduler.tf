# The clock: one backup at every turn, and one verification of the newest backup, each with a token of an account that may
# do nothing else.

locals {
  # The Cloud Run API's address for starting a job. It is a Google API: it takes an OAuth token, not an identity token.
  job_run_uri = {
    for role, job in google_cloud_run_v2_job.job :
    role => "https://run.googleapis.com/v2/projects/${var.project_id}/locations/${var.region}/jobs/${job.name}:run"
  }
}

resource "google_cloud_scheduler_job" "backup" {
  project     = var.project_id
  region      = var.region
  name        = "${var.service_name}-hourly"
  description = "Backs up every collection of Qdrant"
  schedule    = var.schedule.backup
  time_zone   = var.schedule.time_zone
  paused      = var.schedule.paused
  # The service answers when the backup has ended. 1800 s is Cloud Scheduler's limit; a longer backup goes on (see
  # min_instances), and a retry while it does is refused. A job is only started: that takes seconds.
  attempt_deadline = var.schedule.target == "job" ? "60s" : "${min(var.resources.request_timeout_seconds, 1800)}s"

  retry_config {
    retry_count          = var.schedule.retries
    min_backoff_duration = "60s"
    max_backoff_duration = "600s"
    max_doublings        = 3
  }

  http_target {
    http_method = "POST"
    uri         = var.schedule.target == "job" ? local.job_run_uri["backup"] : "${google_cloud_run_v2_service.backup.uri}/backup"
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode("{}")

    dynamic "oidc_token" {
      for_each = var.schedule.target == "service" ? [local.audience] : []
      content {
        service_account_email = google_service_account.scheduler.email
        # Without it the audience would be the whole address with its path, which Cloud Run does not accept.
        audience = oidc_token.value
      }
    }

    dynamic "oauth_token" {
      for_each = var.schedule.target == "job" ? ["https://www.googleapis.com/auth/cloud-platform"] : []
      content {
        service_account_email = google_service_account.scheduler.email
        scope                 = oauth_token.value
      }
    }
  }

  depends_on = [
    google_cloud_run_v2_job_iam_member.scheduler,
    google_cloud_run_v2_service_iam_member.scheduler,
  ]
}

resource "google_cloud_scheduler_job" "verify" {
  count = var.schedule.verify == "never" ? 0 : 1

  project          = var.project_id
  region           = var.region
  name             = "${var.service_name}-verify"
  description      = "Reads the newest backup of Qdrant back, and records whether it is intact"
  schedule         = var.schedule.verify
  time_zone        = var.schedule.time_zone
  paused           = var.schedule.paused
  attempt_deadline = "60s"

  retry_config {
    retry_count          = var.schedule.retries
    min_backoff_duration = "60s"
    max_backoff_duration = "600s"
    max_doublings        = 3
  }

  http_target {
    http_method = "POST"
    uri         = local.job_run_uri["verify"]
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode("{}")

    oauth_token {
      service_account_email = google_service_account.scheduler.email
      scope                 = "https://www.googleapis.com/auth/cloud-platform"
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_member.scheduler]
}
