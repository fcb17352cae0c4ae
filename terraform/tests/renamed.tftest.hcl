# A name of before is refused, whatever its value: it is neither ignored nor half obeyed.

provider "google" {
  access_token = "not-a-token"
}

override_data {
  target = data.google_project.this
  values = { number = "123456789012" }
}

variables {
  project_id = "demo-project"
  qdrant_url = "http://10.140.0.5:6333"
}

run "old_names" {
  command = plan

  variables {
    auth_admins             = ["dba@example.com"]
    auth_allowed_emails     = "x"
    auth_default_role       = "x"
    auth_mode               = "x"
    auth_operators          = "x"
    auth_readers            = "x"
    backup_max_age_hours    = "x"
    bucket_location         = "x"
    bucket_name             = "x"
    concurrency             = "x"
    connector_machine_type  = "x"
    connector_max_instances = "x"
    cpu                     = "x"
    create_bucket           = false
    create_firewall_rule    = "x"
    egress                  = "x"
    egress_cidr             = "x"
    freshness_check         = "x"
    ingress                 = "x"
    invoker_members         = "x"
    job_max_retries         = "x"
    job_tasks               = "x"
    job_timeout_seconds     = "x"
    kms_key                 = "x"
    max_instances           = "x"
    memory_mib              = "x"
    min_instances           = "x"
    nearline_after_days     = "x"
    noncurrent_version_days = "x"
    notification_channels   = "x"
    notification_emails     = "x"
    prefix                  = "x"
    qdrant_network_tags     = "x"
    request_timeout_seconds = "x"
    restore_members         = "x"
    schedule_paused         = "x"
    schedule_retries        = "x"
    schedule_target         = "x"
    soft_delete_days        = "x"
    time_zone               = "x"
    vault_copy_hours        = "x"
    vault_delete_after_days = "x"
    vault_location          = "x"
    vault_locked            = "x"
    vault_retention_days    = 30
    verified_max_age_hours  = "x"
    verify_schedule         = null
  }

  expect_failures = [
    var.auth_admins,
    var.auth_allowed_emails,
    var.auth_default_role,
    var.auth_mode,
    var.auth_operators,
    var.auth_readers,
    var.backup_max_age_hours,
    var.bucket_location,
    var.bucket_name,
    var.concurrency,
    var.connector_machine_type,
    var.connector_max_instances,
    var.cpu,
    var.create_bucket,
    var.create_firewall_rule,
    var.egress,
    var.egress_cidr,
    var.freshness_check,
    var.ingress,
    var.invoker_members,
    var.job_max_retries,
    var.job_tasks,
    var.job_timeout_seconds,
    var.kms_key,
    var.max_instances,
    var.memory_mib,
    var.min_instances,
    var.nearline_after_days,
    var.noncurrent_version_days,
    var.notification_channels,
    var.notification_emails,
    var.prefix,
    var.qdrant_network_tags,
    var.request_timeout_seconds,
    var.restore_members,
    var.schedule_paused,
    var.schedule_retries,
    var.schedule_target,
    var.soft_delete_days,
    var.time_zone,
    var.vault_copy_hours,
    var.vault_delete_after_days,
    var.vault_location,
    var.vault_locked,
    var.vault_retention_days,
    var.verified_max_age_hours,
    var.verify_schedule,
  ]
}
