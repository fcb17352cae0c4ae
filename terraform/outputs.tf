output "backup_store" {
  description = "Where the backups are (the service's BACKUP_STORE)."
  value       = local.environment.BACKUP_STORE
}

output "build_service_account" {
  description = "Account for Cloud Build, in the form that `gcloud builds submit --service-account` and a trigger take; null without `build.enabled`."
  value       = one(google_service_account.build[*].id)
}

output "deploy_service_account" {
  description = "Account for the Cloud Build that deploys an image, in the form that `gcloud builds submit --service-account` and a trigger take."
  value       = google_service_account.deploy.id
}

output "image_repository" {
  description = "Repository to which Cloud Build pushes qdrant-backup-api."
  value       = local.image_repository
}

output "dashboard" {
  description = "Address of the dashboard in the console."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${reverse(split("/", google_monitoring_dashboard.backup.id))[0]}?project=${var.project_id}"
}

output "jobs" {
  description = "Names of the Cloud Run jobs: for backups, for verifying, for restores."
  value       = { for role, job in google_cloud_run_v2_job.job : role => job.name }
}

locals {
  next_steps = <<-EOT
    # Back up now, and see how it went:
    gcloud scheduler jobs run ${google_cloud_scheduler_job.backup.name} --project=${var.project_id} --location=${var.region}
    gcloud logging read '(${local.log_source}) AND jsonPayload.event:"_finished"' --project=${var.project_id} --limit=10 --format='table(timestamp, jsonPayload.event, jsonPayload.outcome, jsonPayload.backup)'
    gcloud storage ls gs://${local.bucket_name}/${var.bucket.prefix}/backups/

    # The same as a job, for backups that take longer than 30 minutes:
    gcloud run jobs execute ${google_cloud_run_v2_job.job["backup"].name} --project=${var.project_id} --region=${var.region} --wait

    # Read the newest backup back:
    gcloud run jobs execute ${google_cloud_run_v2_job.job["verify"].name} --project=${var.project_id} --region=${var.region} --wait

    # What a restore would do (as it is the job only shows the plan), and a restore of one collection under another name:
    gcloud run jobs execute ${google_cloud_run_v2_job.job["restore"].name} --project=${var.project_id} --region=${var.region} --wait
    gcloud run jobs execute ${google_cloud_run_v2_job.job["restore"].name} --project=${var.project_id} --region=${var.region} --wait \
      --args=restore,latest,COLLECTION,--into,COLLECTION-restored
  EOT
  next_build = join("", [for account in google_service_account.build : <<-EOT
    # Build a new version (from the repository's top level), and see its digest:
    gcloud builds submit --config=cloudbuild.yaml --project=${var.project_id} \
      --service-account=${account.id} \
      --gcs-source-staging-dir=${google_storage_bucket.build_source[0].url}/source \
      --substitutions=_REGION=${var.region},_REPOSITORY=${var.repository} ${local.build_where}
    gcloud artifacts docker images describe ${local.image_repository}/${local.image_name}:latest --format='value(image_summary.fully_qualified_digest)'

  EOT
  ])
  next_deployment = <<-EOT
    # Deploy an image by its digest:
    gcloud builds submit --no-source --config=cloudbuild.deploy.yaml --project=${var.project_id} \
      --service-account=${google_service_account.deploy.id} \
      --substitutions=_REGION=${var.region},_SERVICE=${var.service_name},_IMAGE=IMAGE ${local.build_where}
  EOT
}

output "next_steps" {
  description = "The commands that one needs next, with this deployment's names."
  value       = "${local.next_steps}\n${local.next_build}${local.next_deployment}"
}

output "restore_service_account" {
  description = "E-mail address of the account that restores run as."
  value       = google_service_account.restore.email
}

output "scheduler_job" {
  description = "Name of the Cloud Scheduler job."
  value       = google_cloud_scheduler_job.backup.name
}

output "service_agents" {
  description = "Accounts of Google's that are granted something here, by what for. A policy of domain-restricted members has to admit them."
  value = merge(
    local.uses_region_key ? { "key of the repository" = local.agents.registry, "key of service and jobs" = local.agents.run } : {},
    length(google_kms_crypto_key_iam_member.secret) > 0 ? { "key of the secret" = local.agents.secrets } : {},
    length(data.google_storage_project_service_account.this) > 0 ? { "keys of buckets" = data.google_storage_project_service_account.this[0].email_address } : {},
    length(local.vault) > 0 ? { "copies into the vault" = "project-${data.google_project.this.number}@storage-transfer-service.iam.gserviceaccount.com" } : {},
    var.alerts.freshness_check ? { "check of freshness" = local.uptime_agent_email } : {},
  )
}

output "service_account" {
  description = "E-mail address of the account that the service runs as."
  value       = google_service_account.backup.email
}

output "service_url" {
  description = "Address of the service."
  value       = google_cloud_run_v2_service.backup.uri
}

output "vault" {
  description = "The bucket with copies that cannot be deleted before their time; null if there is none."
  value       = one(google_storage_bucket.vault[*].url)
}
