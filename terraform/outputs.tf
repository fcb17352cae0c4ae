output "backup_store" {
  description = "Where the backups are (the service's BACKUP_STORE)."
  value       = local.environment.BACKUP_STORE
}

output "build_service_account" {
  description = "Account for Cloud Build, in the form that `gcloud builds submit --service-account` and a trigger take."
  value       = google_service_account.build.id
}

output "image_repository" {
  description = "Repository to which Cloud Build pushes qdrant-backup-api."
  value       = local.image_repository
}

output "next_steps" {
  description = "The commands that one needs next, with this deployment's names."
  value       = <<-EOT
    # Back up now, and see how it went:
    gcloud scheduler jobs run ${google_cloud_scheduler_job.backup.name} --project=${var.project_id} --location=${var.region}
    gcloud run services logs read ${var.service_name} --project=${var.project_id} --region=${var.region} --limit=50
    gcloud storage ls gs://${local.bucket_name}/${var.prefix}/backups/

    # Release a new version (from the repository's top level):
    gcloud builds submit --config=cloudbuild.yaml --project=${var.project_id} \
      --service-account=${google_service_account.build.id} \
      --gcs-source-staging-dir=${google_storage_bucket.build_source.url}/source \
      --substitutions=_REGION=${var.region},_SERVICE=${var.service_name}
  EOT
}

output "scheduler_job" {
  description = "Name of the Cloud Scheduler job."
  value       = google_cloud_scheduler_job.backup.name
}

output "service_account" {
  description = "E-mail address of the account that the service runs as."
  value       = google_service_account.backup.email
}

output "service_url" {
  description = "Address of the service."
  value       = google_cloud_run_v2_service.backup.uri
}
