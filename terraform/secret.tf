# Qdrant's key. Its value is in no state: it comes by an argument that only writes, or out of band with gcloud.

resource "google_secret_manager_secret" "qdrant_api_key" {
  count = var.use_qdrant_api_key ? 1 : 0

  project   = var.project_id
  secret_id = "${var.service_name}-qdrant-api-key"
  labels    = var.labels

  replication {
    dynamic "auto" {
      for_each = var.secret_regional ? [] : [true]
      content {
        dynamic "customer_managed_encryption" {
          for_each = local.secret_key == null ? [] : [var.kms_keys[local.secret_key]]
          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }

    dynamic "user_managed" {
      for_each = var.secret_regional ? [var.region] : []
      content {
        replicas {
          location = user_managed.value

          dynamic "customer_managed_encryption" {
            for_each = local.secret_key == null ? [] : [var.kms_keys[local.secret_key]]
            content {
              kms_key_name = customer_managed_encryption.value
            }
          }
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = local.secret_key == null ? true : lower(split("/", var.kms_keys[local.secret_key])[3]) == (var.secret_regional ? var.region : "global")
      error_message = "The key of the secret is in another location than the secret, ${var.secret_regional ? var.region : "global"}. Name one of that location in kms_keys.secret."
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.secret,
    google_project_service.required,
  ]
}

resource "google_secret_manager_secret_version" "qdrant_api_key" {
  count = var.qdrant_api_key_version == null ? 0 : 1

  secret                 = google_secret_manager_secret.qdrant_api_key[0].id
  secret_data_wo         = var.qdrant_api_key
  secret_data_wo_version = var.qdrant_api_key_version
  # The version before is for going back; who has it can no longer read it from here.
  deletion_policy = "DISABLE"

  lifecycle {
    create_before_destroy = true
  }
}
