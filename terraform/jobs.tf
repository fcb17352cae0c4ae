# Cloud Run jobs from the service's image: no request that could time out, an identity each may differ in, and command
# lines that a person can change for one execution (gcloud run jobs execute --args=...).
#
#   backup    every collection; may be split over several tasks; up to 7 days
#   verify    reads the newest backup back and records whether it is intact
#   restore   the only one that runs as the identity for restores; shows a plan unless told otherwise

locals {
  jobs = {
    backup = {
      name        = var.service_name
      args        = ["backup"]
      account     = google_service_account.backup.email
      needs_key   = true
      tasks       = var.job.tasks
      max_retries = var.job.max_retries
      timeout     = var.job.timeout_seconds
      environment = merge(local.environment, local.retention_environment, {
        # The tool has to know which attempt is the last one: only then may it say how the backup ended.
        BACKUP_JOB_MAX_RETRIES = tostring(var.job.max_retries)
      })
    }
    verify = {
      name        = "${var.service_name}-verify"
      args        = ["verify", "latest"]
      account     = google_service_account.backup.email
      needs_key   = false
      tasks       = 1
      max_retries = 1
      timeout     = var.job.timeout_seconds
      environment = local.environment
    }
    restore = {
      name    = "${var.service_name}-restore"
      args    = ["restore", "latest", "--dry-run"]
      account = google_service_account.restore.email
      # The key that may write to Qdrant.
      needs_key = true
      tasks     = 1
      # A person looks at what came of it before it is tried again.
      max_retries = 0
      timeout     = var.job.timeout_seconds
      environment = local.environment
    }
  }
}

resource "google_cloud_run_v2_job" "job" {
  for_each = local.jobs

  project             = var.project_id
  location            = var.region
  name                = each.value.name
  labels              = var.labels
  deletion_protection = var.deletion_protection

  dynamic "binary_authorization" {
    for_each = local.binary_authorization
    content {
      use_default = binary_authorization.value.use_default
      policy      = binary_authorization.value.policy
    }
  }

  template {
    labels      = var.labels
    task_count  = each.value.tasks
    parallelism = each.value.tasks

    template {
      encryption_key        = lookup(var.kms_keys, "region", null)
      service_account       = each.value.account
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      max_retries           = each.value.max_retries
      timeout               = "${each.value.timeout}s"

      dynamic "vpc_access" {
        for_each = local.vpc_access
        content {
          egress    = var.network.egress
          connector = vpc_access.value.connector

          dynamic "network_interfaces" {
            for_each = vpc_access.value.interfaces
            content {
              network    = local.network_path
              subnetwork = network_interfaces.value
            }
          }
        }
      }

      dynamic "volumes" {
        for_each = each.value.needs_key ? google_secret_manager_secret.qdrant_api_key : []
        content {
          name = "qdrant-api-key"
          secret {
            secret = volumes.value.secret_id
            items {
              version = "latest"
              path    = basename(local.key_file)
            }
          }
        }
      }

      containers {
        image = local.image
        args  = each.value.args

        resources {
          limits = {
            cpu    = tostring(var.resources.cpu)
            memory = "${var.resources.memory_mib}Mi"
          }
        }

        dynamic "env" {
          for_each = each.value.environment
          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "env" {
          for_each = each.value.needs_key ? google_secret_manager_secret.qdrant_api_key : []
          content {
            name  = "QDRANT_API_KEY_FILE"
            value = local.key_file
          }
        }

        dynamic "volume_mounts" {
          for_each = each.value.needs_key ? google_secret_manager_secret.qdrant_api_key : []
          content {
            name       = "qdrant-api-key"
            mount_path = dirname(local.key_file)
          }
        }

        dynamic "env" {
          for_each = { for name, secret in var.secret_environment : name => secret if each.value.needs_key || startswith(name, "NOTIFY_") }
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret  = env.value
                version = "latest"
              }
            }
          }
        }
      }
    }
  }

  lifecycle {
    # As for the service: Cloud Build deploys new images.
    ignore_changes = [
      client,
      client_version,
      template[0].labels["client.knative.dev/nonce"],
      template[0].template[0].containers[0].image,
      template[0].template[0].containers[0].name,
    ]
  }

  depends_on = [
    google_compute_firewall.qdrant,
    google_kms_crypto_key_iam_member.run,
    google_project_service.required,
    google_secret_manager_secret_iam_member.backup,
    google_secret_manager_secret_iam_member.environment,
    google_secret_manager_secret_iam_member.restore,
    google_secret_manager_secret_version.qdrant_api_key,
    google_storage_bucket_iam_member.backup,
    google_storage_bucket_iam_member.restore,
    terraform_data.image,
  ]
}
