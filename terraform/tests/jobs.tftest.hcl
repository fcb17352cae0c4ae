# The jobs, what starts them, and who may.

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

run "three_jobs_from_one_image" {
  command = plan

  assert {
    condition = { for role, job in google_cloud_run_v2_job.job : role => "${job.name} ${join(" ", job.template[0].template[0].containers[0].args)}" } == {
      backup  = "qdrant-backup backup"
      restore = "qdrant-backup-restore restore latest --dry-run"
      verify  = "qdrant-backup-verify verify latest"
    }
    error_message = "a restore that nobody has thought about only shows its plan"
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.job : job.template[0].template[0].containers[0].image == google_cloud_run_v2_service.backup.template[0].containers[0].image])
    error_message = "the image of the service"
  }
  assert {
    condition = { for role, job in google_cloud_run_v2_job.job : role => job.template[0].template[0].service_account } == {
      backup  = google_service_account.backup.email
      restore = google_service_account.restore.email
      verify  = google_service_account.backup.email
    }
    error_message = "only restores run as the identity for restores"
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.job : job.deletion_protection && job.template[0].template[0].execution_environment == "EXECUTION_ENVIRONMENT_GEN2"])
    error_message = "protected, second generation"
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.job : one(job.template[0].template[0].vpc_access).egress == "PRIVATE_RANGES_ONLY"])
    error_message = "they reach Qdrant the way the service does"
  }
  assert {
    condition     = { for role, job in google_cloud_run_v2_job.job : role => [for v in job.template[0].template[0].volumes : v.secret[0].secret] } == { backup = ["qdrant-backup-qdrant-api-key"], restore = ["qdrant-backup-qdrant-api-key"], verify = [] }
    error_message = "verifying asks no Qdrant and gets no key"
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.job : contains([for e in job.template[0].template[0].containers[0].env : "${e.name}=${e.value}"], "BACKUP_STORE=gs://demo-project-qdrant-backup/qdrant")])
    error_message = "all on the same store"
  }
}

run "tasks_and_retries" {
  command = plan

  variables {
    job = { tasks = 8, max_retries = 2, timeout_seconds = 172800 }
  }

  assert {
    condition     = google_cloud_run_v2_job.job["backup"].template[0].task_count == 8 && google_cloud_run_v2_job.job["backup"].template[0].parallelism == 8
    error_message = "all tasks at once"
  }
  assert {
    condition     = google_cloud_run_v2_job.job["backup"].template[0].template[0].max_retries == 2 && one([for e in google_cloud_run_v2_job.job["backup"].template[0].template[0].containers[0].env : e.value if e.name == "BACKUP_JOB_MAX_RETRIES"]) == "2"
    error_message = "the tool is told how often the platform retries"
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.job : job.template[0].template[0].timeout == "172800s"])
    error_message = "days, if need be"
  }
  assert {
    condition     = google_cloud_run_v2_job.job["restore"].template[0].task_count == 1 && google_cloud_run_v2_job.job["restore"].template[0].template[0].max_retries == 0 && google_cloud_run_v2_job.job["verify"].template[0].task_count == 1
    error_message = "a restore is done once, by one"
  }
}

run "scheduled_job" {
  command = plan

  variables {
    schedule = { target = "job" }
  }

  assert {
    condition     = google_cloud_scheduler_job.backup.http_target[0].uri == "https://run.googleapis.com/v2/projects/demo-project/locations/asia-east1/jobs/qdrant-backup:run" && google_cloud_scheduler_job.backup.http_target[0].http_method == "POST"
    error_message = "the scheduler starts the job"
  }
  assert {
    condition     = length(google_cloud_scheduler_job.backup.http_target[0].oidc_token) == 0 && google_cloud_scheduler_job.backup.http_target[0].oauth_token[0].service_account_email == google_service_account.scheduler.email
    error_message = "a Google API takes an OAuth token"
  }
  assert {
    condition     = google_cloud_run_v2_job_iam_member.scheduler["backup"].role == "roles/run.invoker" && google_cloud_run_v2_job_iam_member.scheduler["backup"].name == "qdrant-backup" && google_cloud_run_v2_job_iam_member.scheduler["backup"].member == google_service_account.scheduler.member
    error_message = "and may start it, as it is"
  }
  assert {
    condition     = tonumber(trimsuffix(google_cloud_scheduler_job.backup.attempt_deadline, "s")) <= 1800
    error_message = "within the scheduler's limit"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].containers[0].resources[0].cpu_idle
    error_message = "the service only answers, and is paid for by the request"
  }
}

run "scheduled_verification" {
  command = plan

  assert {
    condition     = google_cloud_scheduler_job.verify[0].http_target[0].uri == "https://run.googleapis.com/v2/projects/demo-project/locations/asia-east1/jobs/qdrant-backup-verify:run" && google_cloud_scheduler_job.verify[0].http_target[0].oauth_token[0].service_account_email == google_service_account.scheduler.email
    error_message = "the newest backup is read back every night"
  }
  assert {
    condition     = google_cloud_run_v2_job_iam_member.scheduler["verify"].role == "roles/run.invoker" && google_cloud_run_v2_job_iam_member.scheduler["verify"].name == "qdrant-backup-verify"
    error_message = "the scheduler may start that"
  }
}

run "no_scheduled_verification" {
  command = plan

  variables {
    schedule = { verify = "never" }
  }

  assert {
    condition     = length(google_cloud_scheduler_job.verify) == 0 && length(google_cloud_run_v2_job_iam_member.scheduler) == 0 && !contains(keys(google_monitoring_alert_policy.counted), "not_verified")
    error_message = "neither schedule nor grant nor alert"
  }
}

run "people_may_start_jobs" {
  command = plan

  variables {
    access = { invoker_members = ["group:ops@example.com"], restore_members = ["group:dba@example.com"] }
  }

  assert {
    condition     = toset([for grant in google_cloud_run_v2_job_iam_member.invoker : "${grant.name} ${grant.role} ${grant.member}"]) == toset(["qdrant-backup roles/run.invoker group:ops@example.com", "qdrant-backup-verify roles/run.invoker group:ops@example.com"])
    error_message = "who may call the service may start backups and verifications, and no restore"
  }
  assert {
    condition     = [for grant in google_cloud_run_v2_job_iam_member.restore : "${grant.name} ${grant.role} ${grant.member}"] == ["qdrant-backup-restore roles/run.jobsExecutorWithOverrides group:dba@example.com"]
    error_message = "who may restore may say what"
  }
  assert {
    condition     = toset([for grant in google_cloud_run_v2_job_iam_member.viewer : "${grant.name} ${grant.role} ${grant.member}"]) == toset(["qdrant-backup roles/run.viewer group:ops@example.com", "qdrant-backup-verify roles/run.viewer group:ops@example.com", "qdrant-backup-restore roles/run.viewer group:dba@example.com"])
    error_message = "and whoever starts one sees how it goes (--wait)"
  }
}

run "restores_may_read_and_sign" {
  command = plan

  assert {
    condition     = { for name, grant in google_storage_bucket_iam_member.restore : name => grant.role } == { lease = "roles/storage.objectUser", read = "roles/storage.objectViewer" }
    error_message = "reading, and the lease"
  }
  assert {
    condition     = google_storage_bucket_iam_member.restore["lease"].condition[0].expression == "resource.name == \"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/lock.json\" || resource.name == \"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/notified.json\" || resource.name.startsWith(\"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/runs/\") || (resource.name.startsWith(\"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/backups/\") && resource.name.endsWith(\"/drilled.json\"))"
    error_message = "no backup can be changed by a restore"
  }
  assert {
    condition     = google_storage_bucket_iam_member.restore["read"].condition[0].expression == google_storage_bucket_iam_member.backup["read"].condition[0].expression && alltrue([for grant in google_storage_bucket_iam_member.restore : grant.member == google_service_account.restore.member])
    error_message = "below the prefix only"
  }
  assert {
    condition     = google_service_account_iam_member.restore_signs_as_itself.role == "roles/iam.serviceAccountTokenCreator" && google_service_account_iam_member.restore_signs_as_itself.member == google_service_account.restore.member
    error_message = "it signs in its own name"
  }
}

run "pruning" {
  command = plan

  variables {
    prune     = true
    retention = { hourly = 48, daily = 30, min_age_hours = 72, leftover_hours = 12 }
  }

  assert {
    condition     = google_storage_bucket_iam_member.backup["prune"].role == "roles/storage.objectUser" && google_storage_bucket_iam_member.backup["prune"].condition[0].expression == "resource.name.startsWith(\"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/backups/\") || resource.name.startsWith(\"projects/_/buckets/demo-project-qdrant-backup/objects/qdrant/jobs/\")"
    error_message = "what prunes may delete, below backups/ and jobs/ only"
  }
  assert {
    condition = alltrue([
      for env in [google_cloud_run_v2_service.backup.template[0].containers[0].env, google_cloud_run_v2_job.job["backup"].template[0].template[0].containers[0].env] :
      { for e in env : e.name => e.value if startswith(e.name, "RETAIN_") || startswith(e.name, "PRUNE_") } == { PRUNE_AFTER_BACKUP = "true", RETAIN_DAILY = "30", RETAIN_HOURLY = "48", RETAIN_LEFTOVER_HOURS = "12", RETAIN_MIN_AGE_HOURS = "72" }
    ])
    error_message = "service and job keep by the same rules"
  }
  assert {
    condition     = !contains(keys(google_storage_bucket_iam_member.restore), "prune")
    error_message = "restores delete nothing"
  }
}

run "retention_without_pruning" {
  command = plan

  variables {
    retention = { daily = 30 }
  }

  assert {
    condition     = !contains(keys(google_storage_bucket_iam_member.backup), "prune") && !contains([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.name], "PRUNE_AFTER_BACKUP")
    error_message = "rules alone delete nothing, and nothing may"
  }
}
