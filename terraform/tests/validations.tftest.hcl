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
    bucket = { name = "gs://backups" }
  }

  expect_failures = [var.bucket]
}

run "existing_bucket_needs_a_name" {
  command = plan

  variables {
    bucket = { create = false }
  }

  expect_failures = [var.bucket]
}

run "concurrency_of_one_starves_the_probe" {
  command = plan

  variables {
    resources = { concurrency = 1 }
  }

  expect_failures = [var.resources]
}

run "unknown_connector_machine" {
  command = plan

  variables {
    network = { connector_machine_type = "n1-standard-1" }
  }

  expect_failures = [var.network]
}

run "connector_needs_three_instances" {
  command = plan

  variables {
    network = { connector_max_instances = 2 }
  }

  expect_failures = [var.network]
}

run "odd_number_of_cpus" {
  command = plan

  variables {
    resources = { cpu = 3, memory_mib = 2048 }
  }

  expect_failures = [var.resources]
}

run "unknown_egress" {
  command = plan

  variables {
    network = { mode = "vpn" }
  }

  expect_failures = [var.network]
}

run "egress_cidr_is_not_a_range" {
  command = plan

  variables {
    network = { mode = "none", cidr = "10.8.0.1/28" }
  }

  expect_failures = [var.network]
}

run "connector_takes_a_28" {
  command = plan

  variables {
    network = { cidr = "10.8.0.0/26" }
  }

  expect_failures = [var.network]
}

run "direct_egress_takes_a_26" {
  command = plan

  variables {
    network = { mode = "direct", cidr = "10.8.0.0/28" }
  }

  expect_failures = [var.network]
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
    access = { ingress = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" }
  }

  expect_failures = [var.access]
}

run "nobody_makes_the_service_public" {
  command = plan

  variables {
    access = { invoker_members = ["allUsers"] }
  }

  expect_failures = [var.access]
}

run "not_even_for_every_google_account" {
  command = plan

  variables {
    access = { invoker_members = ["allAuthenticatedUsers"] }
  }

  expect_failures = [var.access]
}

run "nor_for_a_whole_domain" {
  command = plan

  variables {
    access = { invoker_members = ["domain:example.com"] }
  }

  expect_failures = [var.access]
}

run "no_instance_at_all" {
  command = plan

  variables {
    resources = { max_instances = 0 }
  }

  expect_failures = [var.resources]
}

run "too_little_memory" {
  command = plan

  variables {
    resources = { memory_mib = 256 }
  }

  expect_failures = [var.resources]
}

run "too_little_memory_for_four_cpus" {
  command = plan

  variables {
    resources = { cpu = 4, memory_mib = 1024 }
  }

  expect_failures = [var.resources]
}

run "two_instances_are_never_needed" {
  command = plan

  variables {
    resources = { min_instances = 2 }
  }

  expect_failures = [var.resources]
}

run "network_is_not_a_url" {
  command = plan

  variables {
    network = { name = "projects/demo-project/global/networks/default" }
  }

  expect_failures = [var.network]
}

run "versions_are_kept_for_a_day" {
  command = plan

  variables {
    bucket = { noncurrent_version_days = 0 }
  }

  expect_failures = [var.bucket]
}

run "prefix_has_no_slash_at_the_end" {
  command = plan

  variables {
    bucket = { prefix = "qdrant/" }
  }

  expect_failures = [var.bucket]
}

run "prefix_cannot_end_the_condition" {
  command = plan

  variables {
    bucket = { prefix = "qdrant\") || (\"a" }
  }

  expect_failures = [var.bucket]
}

run "prefix_cannot_climb" {
  command = plan

  variables {
    bucket = { prefix = "qdrant/../other" }
  }

  expect_failures = [var.bucket]
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
    resources = { request_timeout_seconds = 3601 }
  }

  expect_failures = [var.resources]
}

run "schedule_has_five_fields" {
  command = plan

  variables {
    schedule = { backup = "@hourly" }
  }

  expect_failures = [var.schedule]
}

run "too_many_retries" {
  command = plan

  variables {
    schedule = { retries = 6 }
  }

  expect_failures = [var.schedule]
}

run "name_too_long_for_its_accounts" {
  command = plan

  variables {
    service_name = "qdrant-backup-of-products"
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
    bucket = { soft_delete_days = 3 }
  }

  expect_failures = [var.bucket]
}

run "oidc_emails_are_plain" {
  command = plan

  variables {
    access = { mode = "oidc", admins = ["user:someone@example.com", "a@example.com,b@example.com"] }
  }

  expect_failures = [var.access]
}

run "a_deployed_service_checks_its_callers" {
  command = plan

  variables {
    access = { mode = "none" }
  }

  expect_failures = [var.access]
}

run "oidc_looks_at_no_grants" {
  command = plan

  variables {
    access = { mode = "oidc", invoker_members = ["user:someone@example.com"] }
  }

  expect_failures = [var.access]
}

run "no_backup_is_fresh_for_ever" {
  command = plan

  variables {
    alerts = { backup_max_age_hours = 10000 }
  }

  expect_failures = [var.alerts]
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
    job = { max_retries = 11 }
  }

  expect_failures = [var.job]
}

run "a_job_without_tasks" {
  command = plan

  variables {
    job = { tasks = 0 }
  }

  expect_failures = [var.job]
}

run "longer_than_a_week" {
  command = plan

  variables {
    job = { timeout_seconds = 604801 }
  }

  expect_failures = [var.job]
}

run "key_is_no_version" {
  command = plan

  variables {
    kms_keys = { region = "projects/p/locations/asia-east1/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1" }
  }

  expect_failures = [var.kms_keys]
}

run "key_for_a_bucket_that_is_not_ours" {
  command = plan

  variables {
    bucket   = { create = false, name = "csfiledata.ariel.com.tw" }
    kms_keys = { bucket = "projects/p/locations/asia-east1/keyRings/r/cryptoKeys/k" }
  }

  expect_failures = [var.kms_keys]
}

run "nearline_at_once" {
  command = plan

  variables {
    bucket = { nearline_after_days = 0 }
  }

  expect_failures = [var.bucket]
}

run "channel_is_no_address" {
  command = plan

  variables {
    alerts = { channels = ["ops@example.com"] }
  }

  expect_failures = [var.alerts]
}

run "address_is_no_channel" {
  command = plan

  variables {
    alerts = { emails = ["projects/p/notificationChannels/1"] }
  }

  expect_failures = [var.alerts]
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

run "keys_are_for_what_is_there" {
  command = plan

  variables {
    kms_keys = { queue = "projects/p/locations/asia-east1/keyRings/r/cryptoKeys/k" }
  }

  expect_failures = [var.kms_keys]
}

run "host_project_is_an_id" {
  command = plan

  variables {
    network = { mode = "direct", host_project = "123456789012", subnet = "backups" }
  }

  expect_failures = [var.network]
}

run "nothing_is_made_in_another_project" {
  command = plan

  variables {
    network = { mode = "direct", host_project = "network-host" }
  }

  expect_failures = [var.network]
}

run "connector_is_named_in_full" {
  command = plan

  variables {
    network = { connector = "backups" }
  }

  expect_failures = [var.network]
}

run "direct_egress_takes_no_connector" {
  command = plan

  variables {
    network = { mode = "direct", connector = "projects/demo-project/locations/asia-east1/connectors/backups" }
  }

  expect_failures = [var.network]
}

run "subnet_is_not_a_url" {
  command = plan

  variables {
    network = { mode = "direct", subnet = "projects/p/regions/asia-east1/subnetworks/backups" }
  }

  expect_failures = [var.network]
}

run "all_traffic_needs_a_way" {
  command = plan

  variables {
    network = { mode = "none", egress = "ALL_TRAFFIC" }
  }

  expect_failures = [var.network]
}

run "nobody_else_restores" {
  command = plan

  variables {
    access = { restore_members = ["allAuthenticatedUsers"] }
  }

  expect_failures = [var.access]
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
    schedule = { target = "function" }
  }

  expect_failures = [var.schedule]
}

run "vault_is_copied_all_the_time" {
  command = plan

  variables {
    vault = { copy_hours = 0 }
  }

  expect_failures = [var.vault]
}

run "vault_deletes_before_its_time" {
  command = plan

  variables {
    vault = { retention_days = 30, delete_after_days = 30 }
  }

  expect_failures = [var.vault]
}

run "nothing_to_lock" {
  command = plan

  variables {
    vault = { locked = true }
  }

  expect_failures = [var.vault]
}

run "vault_for_a_century" {
  command = plan

  variables {
    vault = { retention_days = 36500 }
  }

  expect_failures = [var.vault]
}

run "verified_within_an_hour" {
  command = plan

  variables {
    alerts = { verified_max_age_hours = 1 }
  }

  expect_failures = [var.alerts]
}

run "verify_schedule_has_five_fields" {
  command = plan

  variables {
    schedule = { verify = "@daily" }
  }

  expect_failures = [var.schedule]
}

run "admins_are_plain" {
  command = plan

  variables {
    access = { admins = ["user:dba@example.com"] }
  }

  expect_failures = [var.access]
}

run "operators_are_plain" {
  command = plan

  variables {
    access = { operators = ["group:ops@example.com,x@y"] }
  }

  expect_failures = [var.access]
}

run "readers_are_plain" {
  command = plan

  variables {
    access = { readers = ["*"] }
  }

  expect_failures = [var.access]
}

run "unknown_role" {
  command = plan

  variables {
    access = { default_role = "owner" }
  }

  expect_failures = [var.access]
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

run "image_of_a_registry_that_cloud_run_takes" {
  command = plan

  variables {
    image = "ghcr.io/example/qdrant-backup-api@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }

  expect_failures = [var.image]
}

run "no_such_binary_authorization_policy" {
  command = plan

  variables {
    binary_authorization = "all"
  }

  expect_failures = [var.binary_authorization]
}

run "without_builds_an_image_is_named" {
  command = plan

  variables {
    build = { enabled = false }
  }

  expect_failures = [var.build]
}

run "nothing_is_built_without_builds" {
  command = plan

  variables {
    build = { enabled = false, on_apply = true }
    image = "docker.io/example/qdrant-backup-api@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }

  expect_failures = [var.build]
}

run "builds_run_in_a_region" {
  command = plan

  variables {
    build = { region = "asia" }
  }

  expect_failures = [var.build]
}

run "worker_pool_with_its_full_name" {
  command = plan

  variables {
    build = { worker_pool = "private" }
  }

  expect_failures = [var.build]
}

run "the_region_of_builds_is_that_of_the_pool" {
  command = plan

  variables {
    build = { region = "asia-east1", worker_pool = "projects/p/locations/asia-northeast1/workerPools/private" }
  }

  expect_failures = [var.build]
}

run "no_white_space_around_the_key" {
  command = plan

  variables {
    qdrant_api_key = "not-a-key\n"
  }

  expect_failures = [var.qdrant_api_key]
}

run "version_of_the_key_is_a_whole_number" {
  command = plan

  variables {
    qdrant_api_key         = "not-a-key"
    qdrant_api_key_version = 0
  }

  expect_failures = [var.qdrant_api_key_version]
}

run "a_key_that_is_stored_is_given" {
  command = plan

  variables {
    qdrant_api_key_version = 1
  }

  expect_failures = [var.qdrant_api_key_version]
}

run "nodes_are_urls_with_ports" {
  command = plan

  variables {
    qdrant_nodes = ["http://10.140.0.5:6333", "10.140.0.6"]
  }

  expect_failures = [var.qdrant_nodes]
}

run "one_name_for_all_nodes" {
  command = plan

  variables {
    qdrant_nodes = ["dns://qdrant-headless:6333", "http://10.140.0.6:6333"]
  }

  expect_failures = [var.qdrant_nodes]
}

run "a_node_is_named_once" {
  command = plan

  variables {
    qdrant_nodes = ["http://10.140.0.5:6333", "http://10.140.0.5:6333"]
  }

  expect_failures = [var.qdrant_nodes]
}

run "a_partial_backup_is_kept" {
  command = plan

  variables {
    retention = { partial = 0 }
  }

  expect_failures = [var.retention]
}
