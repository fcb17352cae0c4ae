# What is planned from the two variables that have no default. Everything is planned against nothing: no project,
# no network and no real credentials are needed.

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

run "service" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service.backup.name == "qdrant-backup" && google_cloud_run_v2_service.backup.location == "asia-east1"
    error_message = "the service is qdrant-backup in asia-east1"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].service_account == "qdrant-backup@demo-project.iam.gserviceaccount.com"
    error_message = "the service runs as its own account, not the project's default one"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].containers[0].image == "asia-east1-docker.pkg.dev/demo-project/qdrant/qdrant-backup-api:latest"
    error_message = "the first revision takes the image from the repository that is made here"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].containers[0].resources[0].cpu_idle == false
    error_message = "a backup goes on after its client has hung up, so the CPU stays"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].execution_environment == "EXECUTION_ENVIRONMENT_GEN2" && google_cloud_run_v2_service.backup.template[0].containers[0].resources[0].limits["memory"] == "512Mi"
    error_message = "second generation with the 512 MiB that it needs"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].timeout == "1800s"
    error_message = "a request may last as long as the scheduler waits"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].max_instance_request_concurrency > 1 && google_cloud_run_v2_service.backup.template[0].scaling[0].max_instance_count == 1
    error_message = "one instance, which answers probes and reads while it backs up"
  }
  assert {
    condition = (
      google_cloud_run_v2_service.backup.template[0].containers[0].startup_probe[0].http_get[0].path == "/health" &&
      google_cloud_run_v2_service.backup.template[0].containers[0].liveness_probe[0].http_get[0].path == "/health"
    )
    error_message = "both probes ask the endpoint that never asks who is calling"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.deletion_protection
    error_message = "the service is protected from deletion"
  }
}

run "environment_and_key" {
  command = plan

  assert {
    condition = {
      for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.name => e.value if length(e.value_source) == 0
      } == {
      AUTH_AUDIENCE        = "https://qdrant-backup-123456789012.asia-east1.run.app"
      AUTH_DEFAULT_ROLE    = "operator"
      AUTH_MODE            = "iam"
      AUTH_OPERATORS       = "qdrant-backup-cron@demo-project.iam.gserviceaccount.com"
      AUTH_READERS         = "service-123456789012@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
      BACKUP_MAX_AGE       = "3h"
      BACKUP_SOURCE_NAME   = "demo-project/qdrant-backup"
      BACKUP_STORE         = "gs://demo-project-qdrant-backup/qdrant"
      GOOGLE_CLOUD_PROJECT = "demo-project"
      QDRANT_API_KEY_FILE  = "/secrets/qdrant/api-key"
      QDRANT_URL           = "http://10.140.0.5:6333"
    }
    error_message = "these plain variables and no others"
  }
  assert {
    condition = [
      for v in google_cloud_run_v2_service.backup.template[0].volumes : [v.secret[0].secret, v.secret[0].items[0].version, v.secret[0].items[0].path]
      ] == [["qdrant-backup-qdrant-api-key", "latest", "api-key"]] && [
      for m in google_cloud_run_v2_service.backup.template[0].containers[0].volume_mounts : m.mount_path
    ] == ["/secrets/qdrant"]
    error_message = "the key is a file from Secret Manager, so that a new one reaches an instance that runs"
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.backup[0].secret_id == google_secret_manager_secret.qdrant_api_key[0].secret_id && google_secret_manager_secret_iam_member.backup[0].role == "roles/secretmanager.secretAccessor"
    error_message = "the service may read this one secret"
  }
}

run "callers" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service.backup.invoker_iam_disabled == false
    error_message = "the platform checks callers"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    error_message = "not reachable from the internet by default"
  }
  assert {
    condition     = google_cloud_run_v2_service_iam_member.scheduler[0].role == "roles/run.invoker" && google_cloud_run_v2_service_iam_member.scheduler[0].member == "serviceAccount:qdrant-backup-cron@demo-project.iam.gserviceaccount.com"
    error_message = "the scheduler's account may call the service"
  }
  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.invoker) == 0
    error_message = "and nobody else"
  }
  assert {
    condition     = length(google_cloud_run_v2_job_iam_member.invoker) + length(google_cloud_run_v2_job_iam_member.restore) == 0 && keys(google_cloud_run_v2_job_iam_member.scheduler) == ["verify"]
    error_message = "nobody may start a job but the scheduler the one that it has a schedule for"
  }
  assert {
    condition     = google_cloud_run_v2_service_iam_member.uptime[0].role == "roles/run.invoker" && google_cloud_run_v2_service_iam_member.uptime[0].member == "serviceAccount:service-123456789012@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
    error_message = "the agent of the uptime checks may ask for freshness"
  }
  assert {
    condition     = length(distinct([google_service_account.restore.email, google_service_account.backup.email, google_service_account.build[0].email, google_service_account.deploy.email, google_service_account.scheduler.email])) == 5
    error_message = "restores and deployments are identities of their own, too"
  }
  assert {
    condition     = google_service_account.scheduler.email != google_service_account.backup.email && google_service_account.build[0].email != google_service_account.backup.email
    error_message = "scheduler, build and service are different identities"
  }
}

run "schedule" {
  command = plan

  assert {
    condition     = google_cloud_scheduler_job.backup.name == "qdrant-backup-hourly" && google_cloud_scheduler_job.backup.schedule == "0 * * * *" && google_cloud_scheduler_job.backup.time_zone == "Asia/Taipei"
    error_message = "every hour, Taipei time"
  }
  assert {
    condition     = tonumber(trimsuffix(google_cloud_scheduler_job.backup.attempt_deadline, "s")) == 1800
    error_message = "Cloud Scheduler waits 1800 s, its limit"
  }
  assert {
    condition     = google_cloud_scheduler_job.backup.http_target[0].http_method == "POST" && base64decode(google_cloud_scheduler_job.backup.http_target[0].body) == "{}"
    error_message = "POST of an empty object: every collection"
  }
  assert {
    condition = (
      google_cloud_run_v2_service.backup.custom_audiences == tolist([google_cloud_scheduler_job.backup.http_target[0].oidc_token[0].audience]) &&
      one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "AUTH_AUDIENCE"]) == google_cloud_scheduler_job.backup.http_target[0].oidc_token[0].audience
    )
    error_message = "the token is made for the audience that the platform and the service accept"
  }
  assert {
    condition     = google_cloud_scheduler_job.backup.http_target[0].oidc_token[0].service_account_email == google_service_account.scheduler.email && length(google_cloud_scheduler_job.backup.http_target[0].oauth_token) == 0
    error_message = "an identity token of the scheduler's own account"
  }
  assert {
    condition     = google_cloud_scheduler_job.backup.retry_config[0].retry_count == 2
    error_message = "a failed call is repeated"
  }
}

run "connector_and_firewall" {
  command = plan

  assert {
    condition     = length(google_vpc_access_connector.backup) == 1 && google_vpc_access_connector.backup[0].ip_cidr_range == "10.8.0.0/28" && length(google_compute_subnetwork.direct) == 0
    error_message = "a connector with a /28 is the default"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].vpc_access[0].egress == "PRIVATE_RANGES_ONLY" && length(google_cloud_run_v2_service.backup.template[0].vpc_access[0].network_interfaces) == 0
    error_message = "only private addresses go through it"
  }
  assert {
    condition     = [for a in one(values(google_compute_firewall.qdrant)).allow : "${a.protocol}:${join(",", a.ports)}"] == ["tcp:6333"]
    error_message = "only Qdrant's port is opened"
  }
  assert {
    condition     = one(values(google_compute_firewall.qdrant)).source_ranges == toset(["10.8.0.0/28"]) && one(values(google_compute_firewall.qdrant)).direction == "INGRESS" && length(one(values(google_compute_firewall.qdrant)).deny) == 0
    error_message = "only for the connector's range"
  }
  assert {
    condition     = contains(keys(google_project_service.required), "vpcaccess.googleapis.com")
    error_message = "the connector's API is enabled"
  }
}

run "bucket" {
  command = plan

  assert {
    condition     = google_storage_bucket.backup[0].name == "demo-project-qdrant-backup" && google_storage_bucket.backup[0].location == "ASIA-EAST1"
    error_message = "a bucket in the region of the service"
  }
  assert {
    condition     = google_storage_bucket.backup[0].uniform_bucket_level_access && google_storage_bucket.backup[0].public_access_prevention == "enforced" && google_storage_bucket.build_source[0].public_access_prevention == "enforced"
    error_message = "buckets can never become public"
  }
  assert {
    condition     = google_storage_bucket.backup[0].soft_delete_policy[0].retention_duration_seconds == 604800 && !google_storage_bucket.backup[0].versioning[0].enabled && !google_storage_bucket.backup[0].force_destroy
    error_message = "what is deleted can be had back, which is paid for once, and a full bucket is not destroyed"
  }
  assert {
    condition     = alltrue([for rule in google_storage_bucket.backup[0].lifecycle_rule : alltrue([for c in rule.condition : c.with_state == "ARCHIVED"])])
    error_message = "no lifecycle rule deletes a live object"
  }
}

run "rights_on_the_bucket_are_append_only" {
  command = plan

  assert {
    condition     = { for name, grant in google_storage_bucket_iam_member.backup : name => grant.role } == { create = "roles/storage.objectCreator", lease = "roles/storage.objectUser", read = "roles/storage.objectViewer", records = "roles/storage.objectUser" }
    error_message = "create and read; more only for the lease and the records"
  }
  assert {
    condition     = google_storage_bucket_iam_member.backup["lease"].condition[0].expression == "resource.name == \"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/lock.json\" || resource.name == \"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/notified.json\" || resource.name.startsWith(\"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/intents/\") || resource.name.startsWith(\"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/runs/\")"
    error_message = "overwriting and deleting ends at lock.json, notified.json, intents/ and runs/"
  }
  assert {
    condition     = google_storage_bucket_iam_member.backup["records"].condition[0].expression == "(resource.name.startsWith(\"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/backups/\") && resource.name.endsWith(\"/verified.json\")) || (resource.name.startsWith(\"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/backups/\") && resource.name.endsWith(\"/drilled.json\"))"
    error_message = "and at the records of verifications and drills"
  }
  assert {
    condition = alltrue([
      for name in ["create", "read"] :
      google_storage_bucket_iam_member.backup[name].condition[0].expression == "resource.name == \"projects/_/buckets/demo-project-qdrant-backup\" || resource.name.startsWith(\"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/\")"
    ])
    error_message = "creating and reading end at the prefix; the bucket itself is named, because listing is checked against it"
  }
  assert {
    condition     = alltrue([for grant in google_storage_bucket_iam_member.backup : grant.member == google_service_account.backup.member])
    error_message = "all for the service's account"
  }
}

run "the_build_builds_and_cannot_deploy" {
  command = plan

  assert {
    condition = {
      logs       = google_project_iam_member.build[0].role
      repository = google_artifact_registry_repository_iam_member.build[0].role
      source     = google_storage_bucket_iam_member.build[0].role
      } == {
      logs       = "roles/logging.logWriter"
      repository = "roles/artifactregistry.writer"
      source     = "roles/storage.objectViewer"
    }
    error_message = "narrow roles"
  }
  assert {
    condition = !contains(concat(
      [for grant in google_cloud_run_v2_job_iam_member.deploy : grant.member],
      [for grant in google_service_account_iam_member.deploy : grant.member],
      [google_cloud_run_v2_service_iam_member.deploy.member, google_artifact_registry_repository_iam_member.deploy.member],
    ), google_service_account.build[0].member)
    error_message = "whoever controls a build script gets no revision deployed and acts as nobody"
  }
  assert {
    condition     = google_storage_bucket_iam_member.build[0].bucket == "demo-project-qdrant-backup-build"
    error_message = "the build sees the bucket with the source, not the one with the backups"
  }
  assert {
    condition     = google_artifact_registry_repository.images.repository_id == "qdrant" && google_artifact_registry_repository.images.format == "DOCKER"
    error_message = "the repository's name is part of the image's documented address"
  }
  assert {
    condition = { for policy in google_artifact_registry_repository.images.cleanup_policies : policy.action => flatten(concat(policy.condition[*].package_name_prefixes, policy.most_recent_versions[*].package_name_prefixes)) } == {
      DELETE = ["qdrant-backup-api"]
      KEEP   = ["qdrant-backup-api"]
    }
    error_message = "old images go, and only of this name"
  }
}

run "the_deployment_deploys_and_cannot_push" {
  command = plan

  assert {
    condition = {
      logs       = google_project_iam_member.deploy.role
      repository = google_artifact_registry_repository_iam_member.deploy.role
      jobs       = distinct([for grant in google_cloud_run_v2_job_iam_member.deploy : grant.role])
      runtime    = distinct([for grant in google_service_account_iam_member.deploy : grant.role])
      service    = google_cloud_run_v2_service_iam_member.deploy.role
      } == {
      logs       = "roles/logging.logWriter"
      repository = "roles/artifactregistry.reader"
      jobs       = tolist(["roles/run.developer"])
      runtime    = tolist(["roles/iam.serviceAccountUser"])
      service    = "roles/run.developer"
    }
    error_message = "narrow roles"
  }
  assert {
    condition     = keys(google_service_account_iam_member.deploy) == ["backup", "restore"] && length(google_cloud_run_v2_job_iam_member.deploy) == 3
    error_message = "the service and its three jobs, as the accounts that they run as"
  }
}

run "nothing_more_is_logged_unless_asked_for" {
  command = plan

  assert {
    condition     = length(google_project_iam_audit_config.data_access) == 0 && length(google_secret_manager_secret_iam_member.environment) == 0
    error_message = "neither audit logs of the whole project nor grants on other secrets"
  }
}
