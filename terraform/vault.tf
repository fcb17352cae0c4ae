# A second copy that nobody can delete before its time (vault.retention_days), not even an owner of the project once it is
# locked. It is a bucket of its own, because a retention policy holds for every object of its bucket: the lease could
# then be neither renewed nor given back, and no backup would succeed. The Storage Transfer Service copies what is
# missing; it never overwrites and never deletes. A backup's manifest is written last, so a manifest that was there when
# a copy began has all its objects beside it in the vault.

locals {
  vault = var.vault.retention_days == null ? [] : [var.vault.retention_days]
}

resource "google_storage_bucket" "vault" {
  count = length(local.vault)

  project                     = var.project_id
  name                        = "${var.project_id}-${var.service_name}-vault"
  location                    = coalesce(var.vault.location, var.bucket.location, var.region)
  labels                      = var.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  retention_policy {
    retention_period = tostring(local.vault[0] * 24 * 60 * 60)
    is_locked        = var.vault.locked
  }

  dynamic "encryption" {
    for_each = local.vault_key == null ? [] : [var.kms_keys[local.vault_key]]
    content {
      default_kms_key_name = encryption.value
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.vault.delete_after_days == null ? [] : [var.vault.delete_after_days]
    content {
      action {
        type = "Delete"
      }
      condition {
        age = lifecycle_rule.value
      }
    }
  }

  lifecycle {
    precondition {
      condition     = local.vault_key == null ? true : lower(split("/", var.kms_keys[local.vault_key])[3]) == lower(coalesce(var.vault.location, var.bucket.location, var.region))
      error_message = "The key of the vault is in another location than the vault, ${coalesce(var.vault.location, var.bucket.location, var.region)}. Name one of that location in kms_keys.vault."
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.storage,
    google_kms_crypto_key_iam_member.vault,
    google_project_service.required,
  ]
}

data "google_storage_transfer_project_service_account" "this" {
  count = length(local.vault)

  project = var.project_id

  depends_on = [google_project_service.required]
}

locals {
  # Source: read below the prefix, and list (names of foreign objects of a shared bucket: see iam.tf); target: create and
  # list. No right to delete on either side.
  vault_grants = {
    source_read = { bucket = local.bucket_name, role = "roles/storage.objectViewer", condition = [local.below_prefix] }
    source_list = { bucket = local.bucket_name, role = "roles/storage.legacyBucketReader", condition = [] }
    vault_write = { bucket = one(google_storage_bucket.vault[*].name), role = "roles/storage.objectCreator", condition = [] }
    vault_list  = { bucket = one(google_storage_bucket.vault[*].name), role = "roles/storage.legacyBucketReader", condition = [] }
  }
}

resource "google_storage_bucket_iam_member" "vault" {
  for_each = length(local.vault) == 0 ? {} : local.vault_grants

  bucket = each.value.bucket
  role   = each.value.role
  member = "serviceAccount:${data.google_storage_transfer_project_service_account.this[0].email}"

  # It copies for every job of the project: without an end at the prefix, whoever may create a transfer job could have the
  # rest of a shared bucket copied.
  dynamic "condition" {
    for_each = each.value.condition
    content {
      title      = "Below the prefix, and listing"
      expression = condition.value
    }
  }
}

resource "google_storage_transfer_job" "vault" {
  count = length(local.vault)

  project     = var.project_id
  description = "Copies Qdrant backups into the vault"

  transfer_spec {
    gcs_data_source {
      bucket_name = local.bucket_name
      path        = "${var.bucket.prefix}/backups/"
    }
    gcs_data_sink {
      bucket_name = google_storage_bucket.vault[0].name
      path        = "${var.bucket.prefix}/backups/"
    }
    transfer_options {
      overwrite_when = "NEVER"
    }
  }

  schedule {
    # In the past: it begins at once and goes on.
    schedule_start_date {
      year  = 2026
      month = 1
      day   = 1
    }
    repeat_interval = "${var.vault.copy_hours * 60 * 60}s"
  }

  depends_on = [google_storage_bucket_iam_member.vault]
}
