# What raises the alarm.

provider "google" {
  access_token = "not-a-token"
}

# Nothing is asked over the network: what a plan would read from the project is given here.
override_data {
  target = data.google_project.this
  values = { number = "123456789012" }
}

variables {
  project_id = "demo-project"
  qdrant_url = "http://10.140.0.5:6333"
}

run "freshness_is_asked_from_outside" {
  command = plan

  assert {
    condition     = google_monitoring_uptime_check_config.freshness[0].http_check[0].path == "/health/freshness" && google_monitoring_uptime_check_config.freshness[0].http_check[0].service_agent_authentication[0].type == "OIDC_TOKEN" && google_monitoring_uptime_check_config.freshness[0].http_check[0].use_ssl
    error_message = "over TLS, with an identity token"
  }
  assert {
    condition     = "https://${google_monitoring_uptime_check_config.freshness[0].monitored_resource[0].labels["host"]}" == one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "AUTH_AUDIENCE"])
    error_message = "the token of an uptime check is for the host that it asks, and that is the audience"
  }
  assert {
    condition     = google_cloud_run_v2_service_iam_member.uptime[0].member == "serviceAccount:${one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "AUTH_READERS"])}"
    error_message = "the account that the check calls as may read and nothing else"
  }
  assert {
    condition     = google_monitoring_alert_policy.freshness[0].conditions[0].condition_threshold[0].evaluation_missing_data == "EVALUATION_MISSING_DATA_ACTIVE" && google_monitoring_alert_policy.freshness[0].severity == "CRITICAL"
    error_message = "no answer is an alarm"
  }
}

run "no_freshness_check" {
  command = plan

  variables {
    alerts = { freshness_check = false }
  }

  assert {
    condition     = length(google_monitoring_uptime_check_config.freshness) + length(google_monitoring_alert_policy.freshness) + length(google_cloud_run_v2_service_iam_member.uptime) == 0
    error_message = "neither check nor alert nor grant"
  }
  assert {
    condition     = !contains([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.name], "AUTH_READERS")
    error_message = "nobody who may only read"
  }
  assert {
    condition     = contains(keys(google_monitoring_alert_policy.counted), "no_backup")
    error_message = "the counted alert stays"
  }
}

run "counts_are_true_when_nothing_ever_ran" {
  command = plan

  variables {
    alerts = { backup_max_age_hours = 3, verified_max_age_hours = 72 }
  }

  assert {
    condition = alltrue([
      for name, hours in { no_backup = 3, not_verified = 72 } :
      length(regexall("or vector\\(0\\)", google_monitoring_alert_policy.counted[name].conditions[0].condition_prometheus_query_language[0].query)) == 2 &&
      one(distinct([for range in regexall("\\[([0-9]+)h\\]", google_monitoring_alert_policy.counted[name].conditions[0].condition_prometheus_query_language[0].query) : tonumber(range[0]) * 3600 + tonumber(trimsuffix(google_monitoring_alert_policy.counted[name].conditions[0].condition_prometheus_query_language[0].duration, "s"))])) == hours * 3600 &&
      endswith(google_monitoring_alert_policy.counted[name].conditions[0].condition_prometheus_query_language[0].query, " < 0.5")
    ])
    error_message = "nothing counts as zero, for the service and for the jobs"
  }
  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.counted : policy.conditions[0].condition_prometheus_query_language[0].disable_metric_validation])
    error_message = "the policy can be made before the metric was ever written"
  }
  assert {
    condition     = alltrue([for name, event in { no_backup = "backup_finished", not_verified = "verify_finished" } : strcontains(google_monitoring_alert_policy.counted[name].conditions[0].condition_prometheus_query_language[0].query, replace("logging_googleapis_com:user_${google_logging_metric.events[event].name}{", "-", "_"))])
    error_message = "the query names the metric that is there"
  }
}

run "events_are_counted_by_outcome" {
  command = plan

  assert {
    condition     = toset(keys(google_logging_metric.events)) == toset(["backup_finished", "drill_finished", "prune_finished", "restore_finished", "verify_finished"])
    error_message = "the events that the tool logs"
  }
  assert {
    condition     = alltrue([for event, metric in google_logging_metric.events : endswith(metric.filter, "AND jsonPayload.event=\"${event}\"") && metric.label_extractors["outcome"] == "EXTRACT(jsonPayload.outcome)"])
    error_message = "by the fields that it logs them with"
  }
  assert {
    condition     = alltrue([for metric in google_logging_metric.events : strcontains(metric.filter, "resource.labels.service_name=\"qdrant-backup\"") && strcontains(metric.filter, "resource.labels.job_name=(\"qdrant-backup\" OR \"qdrant-backup-restore\" OR \"qdrant-backup-verify\")")])
    error_message = "of this service and its jobs, and of no others"
  }
  assert {
    condition     = { for name, metric in google_logging_metric.sizes : name => metric.value_extractor } == { bytes = "EXTRACT(jsonPayload.bytes)", seconds = "EXTRACT(jsonPayload.seconds)" }
    error_message = "sizes and durations"
  }
}

run "failures_are_told" {
  command = plan

  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.logged : length(policy.conditions) == 1 && policy.alert_strategy[0].notification_rate_limit[0].period == "3600s"])
    error_message = "an alert on log lines has one condition and a limit"
  }
  assert {
    condition     = endswith(google_monitoring_alert_policy.logged["failed_run"].conditions[0].condition_matched_log[0].filter, "AND NOT jsonPayload.outcome=(\"good\" OR \"passed\")")
    error_message = "whatever is not called good is a failure"
  }
  assert {
    condition     = google_monitoring_alert_policy.logged["scheduler"].conditions[0].condition_matched_log[0].filter == "resource.type=\"cloud_scheduler_job\" AND resource.labels.job_id=(\"${google_cloud_scheduler_job.backup.name}\" OR \"${google_cloud_scheduler_job.verify[0].name}\") AND severity>=ERROR"
    error_message = "the scheduler's own errors"
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.job.conditions[0].condition_threshold[0].filter, "metric.labels.result = \"failed\"")
    error_message = "jobs that were killed"
  }
}

run "alerts_follow_the_schedule" {
  command = plan

  variables {
    schedule = { backup = "0 2 * * *" }
  }

  assert {
    condition     = one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "BACKUP_MAX_AGE"]) == "50h"
    error_message = "one daily backup may fail"
  }
  assert {
    condition     = google_monitoring_alert_policy.counted["no_backup"].conditions[0].condition_prometheus_query_language[0].duration == "82800s" && strcontains(google_monitoring_alert_policy.counted["no_backup"].conditions[0].condition_prometheus_query_language[0].query, "[27h]")
    error_message = "nothing is told in the first 23 hours, and 50 hours in all"
  }
}

run "each_schedule_has_its_turn" {
  command = plan

  variables {
    schedule = { backup = "0 9-17 * * 1-5", verify = "0 3 * * 0" }
  }

  assert {
    condition     = local.turn_hours == { backup = 64, verify = 168 } && local.backup_max_age_hours == 130 && local.verified_max_age_hours == 338
    error_message = "over a weekend; a week"
  }
}

run "several_times_a_day" {
  command = plan

  variables {
    schedule = { backup = "0 2,8,20 * * *", verify = "15 */6 * * *" }
  }

  assert {
    condition     = local.turn_hours == { backup = 12, verify = 6 } && local.backup_max_age_hours == 25 && local.verified_max_age_hours == 13
    error_message = "the longest pause counts"
  }
}

run "once_a_month" {
  command = plan

  variables {
    schedule = { backup = "0 3 1 * *", verify = "never" }
  }

  assert {
    condition     = local.backup_max_age_hours == 744 + 48 && !contains(keys(google_monitoring_alert_policy.counted), "not_verified")
    error_message = "two days after the next one was due"
  }
}

run "copies_into_the_vault_are_watched" {
  command = plan

  variables {
    vault = { retention_days = 30 }
  }

  assert {
    condition     = length(google_monitoring_alert_policy.vault) == 1 && contains(keys(google_monitoring_alert_policy.counted), "vault_stands_still")
    error_message = "copies that fail, and copies that do not happen"
  }
}

run "channels" {
  command = plan

  variables {
    alerts = { channels = ["projects/demo-project/notificationChannels/1"], emails = ["ops@example.com"] }
  }

  assert {
    condition     = google_monitoring_notification_channel.email["ops@example.com"].type == "email" && google_monitoring_notification_channel.email["ops@example.com"].labels["email_address"] == "ops@example.com"
    error_message = "a channel for the address"
  }
}

run "existing_channels_get_every_alert" {
  command = plan

  variables {
    alerts = { channels = ["projects/demo-project/notificationChannels/1"] }
  }

  assert {
    condition = alltrue([
      for policy in concat(values(google_monitoring_alert_policy.counted), values(google_monitoring_alert_policy.logged), google_monitoring_alert_policy.freshness, [google_monitoring_alert_policy.job]) :
      policy.notification_channels == tolist(["projects/demo-project/notificationChannels/1"])
    ])
    error_message = "no alert without a channel"
  }
}

run "dashboard" {
  command = plan

  assert {
    condition     = alltrue([for event in keys(google_logging_metric.events) : strcontains(google_monitoring_dashboard.backup.dashboard_json, "logging.googleapis.com/user/${google_logging_metric.events[event].name}")])
    error_message = "a chart for each event"
  }
  assert {
    condition = alltrue([
      for tile in jsondecode(google_monitoring_dashboard.backup.dashboard_json).mosaicLayout.tiles : try(tile.xPos, 0) + tile.width <= 48
    ])
    error_message = "no tile beside the page"
  }
}
