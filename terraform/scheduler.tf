# The clock: one POST /backup at every turn, with a token of an account that may do nothing else.

resource "google_cloud_scheduler_job" "backup" {
  project     = var.project_id
  region      = var.region
  name        = "${var.service_name}-hourly"
  description = "Backs up every collection of Qdrant"
  schedule    = var.schedule
  time_zone   = var.time_zone
  paused      = var.schedule_paused
  # The service answers when the backup has ended. 1800 s is Cloud Scheduler's limit; a longer backup goes on (see
  # min_instances), and a retry while it does is refused.
  attempt_deadline = "${min(var.request_timeout_seconds, 1800)}s"

  retry_config {
    retry_count          = var.schedule_retries
    min_backoff_duration = "60s"
    max_backoff_duration = "600s"
    max_doublings        = 3
  }

  http_target {
    http_method = "POST"
    uri         = "${google_cloud_run_v2_service.backup.uri}/backup"
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode("{}")

    oidc_token {
      service_account_email = google_service_account.scheduler.email
      # Without it the audience would be the whole address with its path, which Cloud Run does not accept.
      audience = local.audience
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.scheduler]
}
