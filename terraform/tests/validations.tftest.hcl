# One case for each validation: the plan stops at that variable.

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

run "bucket_name_is_not_a_url" {
  command = plan

  variables {
    bucket_name = "gs://backups"
  }

  expect_failures = [var.bucket_name]
}

run "existing_bucket_needs_a_name" {
  command = plan

  variables {
    create_bucket = false
  }

  expect_failures = [var.bucket_name]
}

run "concurrency_of_one_starves_the_probe" {
  command = plan

  variables {
    concurrency = 1
  }

  expect_failures = [var.concurrency]
}

run "unknown_connector_machine" {
  command = plan

  variables {
    connector_machine_type = "n1-standard-1"
  }

  expect_failures = [var.connector_machine_type]
}

run "connector_needs_three_instances" {
  command = plan

  variables {
    connector_max_instances = 2
  }

  expect_failures = [var.connector_max_instances]
}

run "odd_number_of_cpus" {
  command = plan

  variables {
    cpu        = 3
    memory_mib = 2048
  }

  expect_failures = [var.cpu]
}

run "unknown_egress" {
  command = plan

  variables {
    egress = "vpn"
  }

  expect_failures = [var.egress]
}

run "egress_cidr_is_not_a_range" {
  command = plan

  variables {
    egress      = "none"
    egress_cidr = "10.8.0.1/28"
  }

  expect_failures = [var.egress_cidr]
}

run "connector_takes_a_28" {
  command = plan

  variables {
    egress_cidr = "10.8.0.0/26"
  }

  expect_failures = [var.egress_cidr]
}

run "direct_egress_takes_a_26" {
  command = plan

  variables {
    egress      = "direct"
    egress_cidr = "10.8.0.0/28"
  }

  expect_failures = [var.egress_cidr]
}

run "environment_may_not_replace_the_store" {
  command = plan

  variables {
    environment = { BACKUP_STORE = "gs://elsewhere" }
  }

  expect_failures = [var.environment]
}

run "environment_may_not_hold_the_key" {
  command = plan

  variables {
    environment = { QDRANT_API_KEY = "secret" }
  }

  expect_failures = [var.environment]
}

run "load_balancer_ingress_is_not_offered" {
  command = plan

  variables {
    ingress = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
  }

  expect_failures = [var.ingress]
}

run "nobody_makes_the_service_public" {
  command = plan

  variables {
    invoker_members = ["allUsers"]
  }

  expect_failures = [var.invoker_members]
}

run "not_even_for_every_google_account" {
  command = plan

  variables {
    invoker_members = ["allAuthenticatedUsers"]
  }

  expect_failures = [var.invoker_members]
}

run "nor_for_a_whole_domain" {
  command = plan

  variables {
    invoker_members = ["domain:example.com"]
  }

  expect_failures = [var.invoker_members]
}

run "no_instance_at_all" {
  command = plan

  variables {
    max_instances = 0
  }

  expect_failures = [var.max_instances]
}

run "too_little_memory" {
  command = plan

  variables {
    memory_mib = 256
  }

  expect_failures = [var.memory_mib]
}

run "too_little_memory_for_four_cpus" {
  command = plan

  variables {
    cpu        = 4
    memory_mib = 1024
  }

  expect_failures = [var.memory_mib]
}

run "two_instances_are_never_needed" {
  command = plan

  variables {
    min_instances = 2
  }

  expect_failures = [var.min_instances]
}

run "network_is_not_a_url" {
  command = plan

  variables {
    network = "projects/demo-project/global/networks/default"
  }

  expect_failures = [var.network]
}

run "versions_are_kept_for_a_day" {
  command = plan

  variables {
    noncurrent_version_days = 0
  }

  expect_failures = [var.noncurrent_version_days]
}

run "prefix_has_no_slash_at_the_end" {
  command = plan

  variables {
    prefix = "qdrant/"
  }

  expect_failures = [var.prefix]
}

run "prefix_cannot_end_the_condition" {
  command = plan

  variables {
    prefix = "qdrant\") || (\"a"
  }

  expect_failures = [var.prefix]
}

run "prefix_cannot_climb" {
  command = plan

  variables {
    prefix = "qdrant/../other"
  }

  expect_failures = [var.prefix]
}

run "project_number_is_no_id" {
  command = plan

  variables {
    project_id = "123456789012"
  }

  expect_failures = [var.project_id]
}

run "qdrant_url_needs_a_port" {
  command = plan

  variables {
    qdrant_url = "http://10.140.0.5"
  }

  expect_failures = [var.qdrant_url]
}

run "qdrant_url_holds_no_key" {
  command = plan

  variables {
    qdrant_url = "http://key@10.140.0.5:6333"
  }

  expect_failures = [var.qdrant_url]
}

run "zone_is_no_region" {
  command = plan

  variables {
    region = "asia-east1-a"
  }

  expect_failures = [var.region]
}

run "longer_than_cloud_run_allows" {
  command = plan

  variables {
    request_timeout_seconds = 3601
  }

  expect_failures = [var.request_timeout_seconds]
}

run "schedule_has_five_fields" {
  command = plan

  variables {
    schedule = "@hourly"
  }

  expect_failures = [var.schedule]
}

run "too_many_retries" {
  command = plan

  variables {
    schedule_retries = 6
  }

  expect_failures = [var.schedule_retries]
}

run "name_too_long_for_its_accounts" {
  command = plan

  variables {
    service_name = "qdrant-backup-of-products"
  }

  expect_failures = [var.service_name]
}

run "hyphens_count_twice_in_the_name_of_a_connector" {
  command = plan

  variables {
    service_name = "qdrant-backup-eu-1"
  }

  expect_failures = [var.service_name]
}

run "repository_is_no_path" {
  command = plan

  variables {
    repository = "projects/p/qdrant"
  }

  expect_failures = [var.repository]
}

run "soft_delete_of_three_days" {
  command = plan

  variables {
    soft_delete_days = 3
  }

  expect_failures = [var.soft_delete_days]
}

run "oidc_emails_are_plain" {
  command = plan

  variables {
    auth_mode           = "oidc"
    auth_allowed_emails = ["user:someone@example.com", "a@example.com,b@example.com"]
  }

  expect_failures = [var.auth_allowed_emails]
}

run "iam_looks_at_no_emails" {
  command = plan

  variables {
    auth_allowed_emails = ["someone@example.com"]
  }

  expect_failures = [var.auth_allowed_emails]
}

run "a_deployed_service_checks_its_callers" {
  command = plan

  variables {
    auth_mode = "none"
  }

  expect_failures = [var.auth_mode]
}

run "oidc_looks_at_no_grants" {
  command = plan

  variables {
    auth_mode       = "oidc"
    invoker_members = ["user:someone@example.com"]
  }

  expect_failures = [var.auth_mode]
}

run "no_backup_is_fresh_for_ever" {
  command = plan

  variables {
    backup_max_age_hours = 10000
  }

  expect_failures = [var.backup_max_age_hours]
}

run "environment_may_not_open_the_door" {
  command = plan

  variables {
    environment = { AUTH_MODE = "none" }
  }

  expect_failures = [var.environment]
}

run "environment_may_not_prune" {
  command = plan

  variables {
    environment = { RETAIN_LAST = "1" }
  }

  expect_failures = [var.environment]
}

run "environment_may_not_lie_about_retries" {
  command = plan

  variables {
    environment = { BACKUP_JOB_MAX_RETRIES = "0" }
  }

  expect_failures = [var.environment]
}

run "too_many_retries_of_a_task" {
  command = plan

  variables {
    job_max_retries = 11
  }

  expect_failures = [var.job_max_retries]
}

run "a_job_without_tasks" {
  command = plan

  variables {
    job_tasks = 0
  }

  expect_failures = [var.job_tasks]
}

run "longer_than_a_week" {
  command = plan

  variables {
    job_timeout_seconds = 604801
  }

  expect_failures = [var.job_timeout_seconds]
}

run "key_is_no_version" {
  command = plan

  variables {
    kms_key = "projects/p/locations/asia-east1/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
  }

  expect_failures = [var.kms_key]
}

run "key_for_a_bucket_that_is_not_ours" {
  command = plan

  variables {
    create_bucket = false
    bucket_name   = "csfiledata.ariel.com.tw"
    kms_key       = "projects/p/locations/asia-east1/keyRings/r/cryptoKeys/k"
  }

  expect_failures = [var.kms_key]
}

run "nearline_at_once" {
  command = plan

  variables {
    nearline_after_days = 0
  }

  expect_failures = [var.nearline_after_days]
}

run "channel_is_no_address" {
  command = plan

  variables {
    notification_channels = ["ops@example.com"]
  }

  expect_failures = [var.notification_channels]
}

run "address_is_no_channel" {
  command = plan

  variables {
    notification_emails = ["projects/p/notificationChannels/1"]
  }

  expect_failures = [var.notification_emails]
}

run "pruning_by_no_rule" {
  command = plan

  variables {
    prune = true
  }

  expect_failures = [var.prune]
}

run "pruning_by_a_rule_of_zero" {
  command = plan

  variables {
    prune     = true
    retention = { daily = 0, min_age_hours = 24 }
  }

  expect_failures = [var.prune]
}

run "nobody_else_restores" {
  command = plan

  variables {
    restore_members = ["allAuthenticatedUsers"]
  }

  expect_failures = [var.restore_members]
}

run "half_a_backup" {
  command = plan

  variables {
    retention = { daily = 0.5 }
  }

  expect_failures = [var.retention]
}

run "leftovers_of_no_age" {
  command = plan

  variables {
    retention = { daily = 1, leftover_hours = 0 }
  }

  expect_failures = [var.retention]
}

run "unknown_target" {
  command = plan

  variables {
    schedule_target = "function"
  }

  expect_failures = [var.schedule_target]
}

run "vault_is_copied_all_the_time" {
  command = plan

  variables {
    vault_copy_hours = 0
  }

  expect_failures = [var.vault_copy_hours]
}

run "vault_deletes_before_its_time" {
  command = plan

  variables {
    vault_retention_days    = 30
    vault_delete_after_days = 30
  }

  expect_failures = [var.vault_delete_after_days]
}

run "nothing_to_lock" {
  command = plan

  variables {
    vault_locked = true
  }

  expect_failures = [var.vault_locked]
}

run "vault_for_a_century" {
  command = plan

  variables {
    vault_retention_days = 36500
  }

  expect_failures = [var.vault_retention_days]
}

run "verified_within_an_hour" {
  command = plan

  variables {
    verified_max_age_hours = 1
  }

  expect_failures = [var.verified_max_age_hours]
}

run "verify_schedule_has_five_fields" {
  command = plan

  variables {
    verify_schedule = "@daily"
  }

  expect_failures = [var.verify_schedule]
}

run "admins_are_plain" {
  command = plan

  variables {
    auth_admins = ["user:dba@example.com"]
  }

  expect_failures = [var.auth_admins]
}

run "operators_are_plain" {
  command = plan

  variables {
    auth_operators = ["group:ops@example.com,x@y"]
  }

  expect_failures = [var.auth_operators]
}

run "readers_are_plain" {
  command = plan

  variables {
    auth_readers = ["*"]
  }

  expect_failures = [var.auth_readers]
}

run "unknown_role" {
  command = plan

  variables {
    auth_default_role = "owner"
  }

  expect_failures = [var.auth_default_role]
}

run "environment_may_not_hold_the_key_for_drills" {
  command = plan

  variables {
    environment = { DRILL_QDRANT_API_KEY = "secret" }
  }

  expect_failures = [var.environment]
}

run "environment_may_not_hold_the_key_for_restores" {
  command = plan

  variables {
    environment = { RESTORE_QDRANT_API_KEY = "secret" }
  }

  expect_failures = [var.environment]
}

run "environment_may_not_hold_a_password_in_an_address" {
  command = plan

  variables {
    environment = { DRILL_QDRANT_URL = "https://user:secret@10.0.0.9:6333" }
  }

  expect_failures = [var.environment]
}

run "image_is_named_by_digest" {
  command = plan

  variables {
    image = "asia-east1-docker.pkg.dev/demo-project/qdrant/qdrant-backup-api:v1"
  }

  expect_failures = [var.image]
}

run "secrets_are_for_other_qdrants" {
  command = plan

  variables {
    secret_environment = { QDRANT_API_KEY = "drill-key" }
  }

  expect_failures = [var.secret_environment]
}

run "secrets_are_named_not_told" {
  command = plan

  variables {
    secret_environment = { DRILL_QDRANT_API_KEY = "p@ssw0rd!" }
  }

  expect_failures = [var.secret_environment]
}
