# The bucket: made here, or an existing one that is only granted on (iam.tf) and otherwise left alone.

locals {
  bucket_name = var.bucket.create ? google_storage_bucket.backup[0].name : var.bucket.name
}

resource "google_storage_bucket" "backup" {
  count = var.bucket.create ? 1 : 0

  project                     = var.project_id
  name                        = coalesce(var.bucket.name, "${var.project_id}-${var.service_name}")
  location                    = coalesce(var.bucket.location, var.region)
  labels                      = var.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  # A bucket with backups in it is not destroyed along with the rest.
  force_destroy = false

  # What is deleted or overwritten can be had back, once: by soft delete, which nobody who may delete can get around, or, where asked
  # for, by versions. Both together are paid for one after the other.
  versioning {
    enabled = var.bucket.noncurrent_version_days != null
  }

  soft_delete_policy {
    retention_duration_seconds = var.bucket.soft_delete_days * 24 * 60 * 60
  }

  dynamic "encryption" {
    for_each = local.bucket_key == null ? [] : [var.kms_keys[local.bucket_key]]
    content {
      default_kms_key_name = encryption.value
    }
  }

  # No rule deletes a live object: age alone does not tell whether a backup is the last good one.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      # Without versions: those of a time when there were some.
      days_since_noncurrent_time = coalesce(var.bucket.noncurrent_version_days, 1)
      with_state                 = "ARCHIVED"
    }
  }

  # The lease and what a run tells of itself are rewritten all the time that it works; old versions are of no use to anyone.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 1
      matches_prefix             = ["${var.bucket.prefix}/intents/", "${var.bucket.prefix}/lock.json", "${var.bucket.prefix}/runs/"]
      with_state                 = "ARCHIVED"
    }
  }

  # Snapshots only: small records are read often, and cheaper storage charges for reading.
  dynamic "lifecycle_rule" {
    for_each = var.bucket.nearline_after_days == null ? [] : [var.bucket.nearline_after_days]
    content {
      action {
        type          = "SetStorageClass"
        storage_class = "NEARLINE"
      }
      condition {
        age                   = lifecycle_rule.value
        matches_prefix        = ["${var.bucket.prefix}/backups/"]
        matches_suffix        = [".snapshot"]
        matches_storage_class = ["STANDARD"]
        with_state            = "LIVE"
      }
    }
  }

  lifecycle {
    precondition {
      condition     = local.bucket_key == null ? true : lower(split("/", var.kms_keys[local.bucket_key])[3]) == lower(coalesce(var.bucket.location, var.region))
      error_message = "The key of the bucket is in another location than the bucket, ${coalesce(var.bucket.location, var.region)}. Name one of that location in kms_keys.bucket."
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.storage,
    google_project_service.required,
  ]
}
