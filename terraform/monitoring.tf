# What is watched, and by what:
#
#   the service itself     GET /health/freshness, asked from outside every 15 minutes: 503 when a collection has no good
#                          backup that is young enough, or none at all. Also alarmed when nothing answers.
#   what the tool logs     one line at the end of each run (jsonPayload.event, jsonPayload.outcome): counted for the
#                          dashboard and the alerts below, which do not ask the service anything
#   the platform           jobs that were killed, the scheduler's own errors, copies into the vault
#
# The counts are taken with "or vector(0)", so that a policy is true, too, when there was never anything to count, and with
# increase() instead of absent_over_time(), so that points of zero do not look like runs.

locals {
  log_source = join(" OR ", [
    "(resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.service_name}\")",
    "(resource.type=\"cloud_run_job\" AND resource.labels.job_name=(${join(" OR ", [for job in local.jobs : "\"${job.name}\""])}))",
  ])

  # The events that the tool logs, and what they are counted as.
  events = {
    backup_finished  = "Backups that ended, by outcome: good, unproven, partial, failed"
    drill_finished   = "Drills that ended, by outcome: passed, failed"
    prune_finished   = "Prunes that ended, by outcome: good, failed"
    restore_finished = "Restores that ended, by outcome"
    verify_finished  = "Verifications that ended, by outcome: good, damaged"
  }

  metric_prefix = replace(var.service_name, "-", "_")

  # How many times an event had an outcome within some hours; 0 when it never happened. A metric that comes from services
  # and jobs is asked for each of the two.
  counted = {
    for event in ["backup_finished", "verify_finished"] : event => join(" + ", [
      for resource in ["cloud_run_revision", "cloud_run_job"] :
      "(sum(increase(logging_googleapis_com:user_${local.metric_prefix}_${event}{monitored_resource=\"${resource}\",outcome=\"good\"}[%dh])) or vector(0))"
    ])
  }

  channels = concat(
    [for channel in google_monitoring_notification_channel.email : channel.name],
    tolist(var.alerts.channels),
  )

  # Each alert has a section there.
  runbook = "What to do: docs/how-to/troubleshoot.md"
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alerts.emails

  project      = var.project_id
  display_name = "Qdrant backup: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }

  lifecycle {
    # An address that is taken out goes after the policies have let go of it: the API does not delete a channel that one names.
    create_before_destroy = true
  }

  depends_on = [google_project_service.required]
}

resource "google_logging_metric" "events" {
  for_each = local.events

  project     = var.project_id
  name        = "${local.metric_prefix}_${each.key}"
  description = each.value
  filter      = "(${local.log_source}) AND jsonPayload.event=\"${each.key}\""

  label_extractors = { outcome = "EXTRACT(jsonPayload.outcome)" }

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "INT64"
    unit         = "1"
    display_name = each.value

    labels {
      key         = "outcome"
      value_type  = "STRING"
      description = "How it ended"
    }
  }

  depends_on = [google_project_service.required]
}

resource "google_logging_metric" "sizes" {
  for_each = {
    bytes   = { unit = "By", title = "Bytes of a backup" }
    seconds = { unit = "s", title = "Seconds that a backup took" }
  }

  project         = var.project_id
  name            = "${local.metric_prefix}_backup_${each.key}"
  description     = each.value.title
  filter          = "(${local.log_source}) AND jsonPayload.event=\"backup_finished\""
  value_extractor = "EXTRACT(jsonPayload.${each.key})"

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "DISTRIBUTION"
    unit         = each.value.unit
    display_name = each.value.title
  }

  bucket_options {
    exponential_buckets {
      num_finite_buckets = 48
      growth_factor      = 2
      scale              = 1
    }
  }

  depends_on = [google_project_service.required]
}

# --- the dead man's switch: asked from outside, by an agent of Google's with an identity token of its own
resource "google_monitoring_uptime_check_config" "freshness" {
  count = var.alerts.freshness_check ? 1 : 0

  project            = var.project_id
  display_name       = "${var.service_name}: every collection has a fresh backup"
  period             = "900s"
  timeout            = "60s"
  checker_type       = "STATIC_IP_CHECKERS"
  log_check_failures = true

  http_check {
    request_method = "GET"
    path           = "/health/freshness"
    port           = 443
    use_ssl        = true
    validate_ssl   = true

    service_agent_authentication {
      type = "OIDC_TOKEN"
    }

    accepted_response_status_codes {
      status_class = "STATUS_CLASS_2XX"
    }
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project_id
      host       = local.service_host
    }
  }

  depends_on = [
    google_cloud_run_v2_service.backup,
    google_project_service.required,
  ]
}

resource "google_monitoring_alert_policy" "freshness" {
  count = var.alerts.freshness_check ? 1 : 0

  project               = var.project_id
  display_name          = "${var.service_name}: no fresh backup"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = "/health/freshness is not answered with 200"

    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"uptime_url\"",
        "metric.type = \"monitoring.googleapis.com/uptime_check/check_passed\"",
        "metric.labels.check_id = \"${google_monitoring_uptime_check_config.freshness[0].uptime_check_id}\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "60s"
      # An agent that has stopped asking is no good news.
      evaluation_missing_data = "EVALUATION_MISSING_DATA_ACTIVE"

      aggregations {
        alignment_period     = "1800s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.project_id", "resource.label.host"]
      }

      trigger {
        count = 1
      }
    }
  }

  documentation {
    content = "A collection has no good backup younger than ${local.backup_max_age_hours} h, or none at all, or the service does not answer. `GET /health/freshness` lists the collections. ${local.runbook}#no-fresh-backup"
  }
}

# --- alerts by what was counted
locals {
  # Hours to count over, and hours for which the count must have stayed like that, which are the grace after a first apply.
  counted_hours = {
    backup = { over = local.backup_max_age_hours - local.backup_grace_hours, stayed = local.backup_grace_hours }
    verify = { over = local.verified_max_age_hours - local.verified_grace_hours, stayed = local.verified_grace_hours }
    # Every good backup is something to copy.
    vault = { over = local.backup_max_age_hours + 2 * var.vault.copy_hours - local.backup_grace_hours, stayed = local.backup_grace_hours }
  }
  counted_alerts = merge(
    {
      no_backup = {
        title   = "no good backup for ${local.backup_max_age_hours} hours"
        query   = "${format(local.counted["backup_finished"], local.counted_hours.backup.over, local.counted_hours.backup.over)} < 0.5"
        stayed  = local.counted_hours.backup.stayed
        text    = "No run has ended with every collection saved for ${local.backup_max_age_hours} h."
        section = "no-good-backup"
      }
    },
    var.schedule.verify == "never" ? {} : {
      not_verified = {
        title   = "newest verified backup is older than ${local.verified_max_age_hours} hours"
        query   = "${format(local.counted["verify_finished"], local.counted_hours.verify.over, local.counted_hours.verify.over)} < 0.5"
        stayed  = local.counted_hours.verify.stayed
        text    = "No backup was read back and found intact for ${local.verified_max_age_hours} h: the newest verified one is older than that, or there is none."
        section = "newest-verified-backup-is-older"
      }
    },
    length(local.vault) == 0 ? {} : {
      vault_stands_still = {
        title   = "nothing is copied into the vault"
        query   = "(sum(increase(storagetransfer_googleapis_com:transferjob_copied_objects_count{monitored_resource=\"storage_transfer_job\",status=\"succeeded\",job_id=~\".*${local.vault_job}\"}[${local.counted_hours.vault.over}h])) or vector(0)) < 0.5"
        stayed  = local.counted_hours.vault.stayed
        text    = "For ${local.counted_hours.vault.over + local.counted_hours.vault.stayed} h no object was copied into the vault: there was no good backup, or the copies do not run."
        section = "nothing-is-copied-into-the-vault"
      }
    },
  )

  # The number at the end of the transfer job's name, which is transferJobs/NUMBER.
  vault_job = reverse(split("/", join("", google_storage_transfer_job.vault[*].name)))[0]
}

resource "google_monitoring_alert_policy" "counted" {
  for_each = local.counted_alerts

  project               = var.project_id
  display_name          = "${var.service_name}: ${each.value.title}"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = each.value.title

    condition_prometheus_query_language {
      query               = each.value.query
      duration            = "${each.value.stayed * 60 * 60}s"
      evaluation_interval = "300s"
      # The metric exists only when it was written once.
      disable_metric_validation = true
    }
  }

  documentation {
    content = "${each.value.text} ${local.runbook}#${each.value.section}"
  }

  depends_on = [google_logging_metric.events]
}

# --- alerts by single log lines
locals {
  logged_alerts = {
    failed_run = {
      title   = "a run failed"
      filter  = "(${local.log_source}) AND jsonPayload.event=(${join(" OR ", [for event in keys(local.events) : "\"${event}\""])}) AND NOT jsonPayload.outcome=(\"good\" OR \"passed\")"
      labels  = { event = "EXTRACT(jsonPayload.event)", outcome = "EXTRACT(jsonPayload.outcome)" }
      text    = "A backup, verification, drill, restore or prune did not end well; the log line says which and how."
      section = "a-run-failed"
    }
    scheduler = {
      title   = "the scheduler could not start a run"
      filter  = "resource.type=\"cloud_scheduler_job\" AND resource.labels.job_id=(${join(" OR ", [for name in ["${var.service_name}-hourly", "${var.service_name}-verify"] : "\"${name}\""])}) AND severity>=ERROR"
      labels  = { status = "EXTRACT(jsonPayload.status)" }
      text    = "Cloud Scheduler got an error instead of an answer, or none in time. PERMISSION_DENIED: a grant is missing; DEADLINE_EXCEEDED: the backup takes longer than 30 minutes, use schedule = { target = \"job\" }."
      section = "the-scheduler-could-not-start-a-run"
    }
  }
}

resource "google_monitoring_alert_policy" "logged" {
  for_each = local.logged_alerts

  project               = var.project_id
  display_name          = "${var.service_name}: ${each.value.title}"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = each.value.title

    condition_matched_log {
      filter           = each.value.filter
      label_extractors = each.value.labels
    }
  }

  alert_strategy {
    # Alerts on log lines must have it.
    notification_rate_limit {
      period = "3600s"
    }
    auto_close = "86400s"
  }

  documentation {
    content = "${each.value.text} ${local.runbook}#${each.value.section}"
  }

  depends_on = [google_project_service.required]
}

# A job that was killed (out of time, out of memory) may not have logged anything.
resource "google_monitoring_alert_policy" "job" {
  project               = var.project_id
  display_name          = "${var.service_name}: a job failed"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = "an execution ended without success"

    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"cloud_run_job\"",
        "resource.labels.job_name = one_of(${join(", ", [for job in local.jobs : "\"${job.name}\""])})",
        "metric.type = \"run.googleapis.com/job/completed_execution_count\"",
        "metric.labels.result = \"failed\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_DELTA"
      }
    }
  }

  documentation {
    content = "An execution of a Cloud Run job ended without success. ${local.runbook}#a-job-failed"
  }

  depends_on = [google_project_service.required]
}

# Whether there was anything to copy is asked above; here, whether it could be.
resource "google_monitoring_alert_policy" "vault" {
  count = length(local.vault)

  project               = var.project_id
  display_name          = "${var.service_name}: copying into the vault fails"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = "the transfer job reports errors"

    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"storage_transfer_job\"",
        "resource.labels.job_id = ends_with(\"${local.vault_job}\")",
        "metric.type = \"storagetransfer.googleapis.com/transferjob/error_count\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content = "The Storage Transfer Service could not copy an object into the vault; the operations of the transfer job say which and why. ${local.runbook}#copying-into-the-vault-fails"
  }

  depends_on = [google_project_service.required]
}
