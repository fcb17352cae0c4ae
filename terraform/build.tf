# Two identities for Cloud Build, in place of the project-wide default account.
#
#   build    runs ../cloudbuild.yaml: may fetch the uploaded source, write images to the one repository, and write logs.
#            Hundreds of foreign build scripts run as it, each of which can take its token: so it deploys nothing.
#   deploy   runs ../cloudbuild.deploy.yaml, which builds nothing and runs no code of this repository: may read that
#            repository's images, update the one service and its jobs to one of them, and write logs.

resource "google_service_account" "build" {
  count = var.build.enabled ? 1 : 0

  project      = var.project_id
  account_id   = "${var.service_name}-build"
  display_name = "Builds the image of the Qdrant backup service"

  depends_on = [google_project_service.required]
}

resource "google_service_account" "deploy" {
  project      = var.project_id
  account_id   = "${var.service_name}-deploy"
  display_name = "Deploys the Qdrant backup service"

  depends_on = [google_project_service.required]
}

resource "google_storage_bucket" "build_source" {
  count = var.build.enabled ? 1 : 0

  project                     = var.project_id
  name                        = "${var.project_id}-${var.service_name}-build"
  location                    = var.region
  labels                      = var.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  # Copies of the source for the time of a build.
  force_destroy = true

  dynamic "encryption" {
    for_each = local.uses_region_key ? [var.kms_keys["region"]] : []
    content {
      default_kms_key_name = encryption.value
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 7
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.build,
    google_kms_crypto_key_iam_member.storage,
    google_project_service.required,
  ]
}

resource "google_storage_bucket_iam_member" "build" {
  count = var.build.enabled ? 1 : 0

  bucket = google_storage_bucket.build_source[0].name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build[0].member
}

resource "google_artifact_registry_repository_iam_member" "build" {
  count = var.build.enabled ? 1 : 0

  project    = var.project_id
  location   = var.region
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build[0].member
}

resource "google_project_iam_member" "build" {
  count = var.build.enabled ? 1 : 0

  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.build[0].member
}

resource "google_artifact_registry_repository_iam_member" "deploy" {
  project    = var.project_id
  location   = var.region
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.deploy.member
}

resource "google_cloud_run_v2_service_iam_member" "deploy" {
  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.backup.name
  role     = "roles/run.developer"
  member   = google_service_account.deploy.member
}

resource "google_cloud_run_v2_job_iam_member" "deploy" {
  # By the names that are known before there is a job: `terraform import` knows nothing else.
  for_each = local.jobs

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_job.job[each.key].name
  role     = "roles/run.developer"
  member   = google_service_account.deploy.member
}

# Whoever deploys a revision must be allowed to act as the account that it runs as.
resource "google_service_account_iam_member" "deploy" {
  for_each = {
    backup  = google_service_account.backup.name
    restore = google_service_account.restore.name
  }

  service_account_id = each.value
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.deploy.member
}

resource "google_project_iam_member" "deploy" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.deploy.member
}

# Asks a new revision whether it is well (AUTH_READERS), where that is wanted.
resource "google_cloud_run_v2_service_iam_member" "canary" {
  count = var.build.canary ? 1 : 0

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.backup.name
  role     = "roles/run.invoker"
  member   = google_service_account.deploy.member
}
