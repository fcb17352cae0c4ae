# Two identities without keys: the service's and the scheduler's. Grants are single members on single resources, so
# that nothing that others have granted is taken away. The identity of the build is in build.tf.
#
# Rights on the bucket. Backups are written once and never changed, so the service may create objects and read them,
# and may not overwrite or delete: roles/storage.objectCreator and objectViewer hold no storage.objects.delete, which
# Cloud Storage asks for to replace an object, too. Not even a stolen token of the service can destroy a backup. The
# exceptions are the lease (lock.json) and the records of snapshots in the making (intents/), which live by being
# rewritten and removed: there, and only there, objectUser adds that.
#
# Each grant ends at the prefix by a condition on resource.name, which for an object is
# projects/_/buckets/BUCKET/objects/NAME. Listing is different: storage.objects.list is checked against the bucket,
# projects/_/buckets/BUCKET, whatever prefix is asked for, so a condition on objects alone would refuse every listing,
# and no condition can narrow one. The conditions for reading and creating therefore name the bucket as well: the one
# for listing, both for testIamPermissions on the bucket, by which the service checks its rights and which would
# otherwise deny what it has. That gives nothing more than the listing, because every other permission of these two
# roles is checked against an object. In effect the service can see the names of foreign objects of a shared bucket,
# but neither read nor make one. Conditions need uniform bucket-level access.

locals {
  bucket_resource = "projects/_/buckets/${local.bucket_name}"
  prefix_resource = "${local.bucket_resource}/objects/${var.prefix}"
  below_prefix    = "resource.name == \"${local.bucket_resource}\" || resource.name.startsWith(\"${local.prefix_resource}/\")"

  bucket_grants = {
    create = {
      role       = "roles/storage.objectCreator"
      title      = "Below the prefix"
      expression = local.below_prefix
    }
    lease = {
      role       = "roles/storage.objectUser"
      title      = "Lease and intents"
      expression = "resource.name == \"${local.prefix_resource}/lock.json\" || resource.name.startsWith(\"${local.prefix_resource}/intents/\")"
    }
    read = {
      role       = "roles/storage.objectViewer"
      title      = "Below the prefix, and listing"
      expression = local.below_prefix
    }
  }
}

resource "google_service_account" "backup" {
  project      = var.project_id
  account_id   = var.service_name
  display_name = "Qdrant backup service"

  depends_on = [google_project_service.required]
}

resource "google_service_account" "scheduler" {
  project      = var.project_id
  account_id   = "${var.service_name}-cron"
  display_name = "Calls the Qdrant backup service on schedule"

  depends_on = [google_project_service.required]
}

resource "google_storage_bucket_iam_member" "backup" {
  for_each = local.bucket_grants

  bucket = local.bucket_name
  role   = each.value.role
  member = google_service_account.backup.member

  condition {
    title      = each.value.title
    expression = each.value.expression
  }
}

resource "google_secret_manager_secret_iam_member" "backup" {
  count = var.use_qdrant_api_key ? 1 : 0

  project   = var.project_id
  secret_id = google_secret_manager_secret.qdrant_api_key[0].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.backup.member
}

resource "google_cloud_run_v2_service_iam_member" "scheduler" {
  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.backup.name
  role     = "roles/run.invoker"
  member   = google_service_account.scheduler.member
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = var.invoker_members

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.backup.name
  role     = "roles/run.invoker"
  member   = each.value
}
