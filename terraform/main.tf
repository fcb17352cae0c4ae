# The service: enabled APIs, the image's repository, and Cloud Run itself. The jobs are in jobs.tf, Qdrant's key in secret.tf.

data "google_project" "this" {
  project_id = var.project_id
}

locals {
  # Where Qdrant's key is mounted.
  key_file = "/secrets/qdrant/api-key"

  image_repository = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
  # By tag where none is given: the digest of an image that is yet to be built is not known. It is the first revision's only:
  # every later one is deployed by digest (../cloudbuild.deploy.yaml), which is then ignored here.
  image      = coalesce(var.image, "${local.image_repository}/${local.image_name}:latest")
  image_name = "qdrant-backup-api"

  # Which images may run, for service and jobs alike.
  binary_authorization = var.binary_authorization == null ? [] : [{
    use_default = var.binary_authorization == "default" ? true : null
    policy      = var.binary_authorization == "default" ? null : var.binary_authorization
  }]

  # The address that Cloud Run gives a service, known before there is one. Tokens are asked for it (by the scheduler, and
  # by the uptime check, which always takes the address that it calls) and accepted for it (by the platform, and by the
  # service itself with auth_mode = "oidc"), and nothing has to wait for anything else to exist.
  service_host = "${var.service_name}-${data.google_project.this.number}.${var.region}.run.app"
  audience     = "https://${local.service_host}"

  # What a service or job needs that reads backups or makes them.
  environment = merge({
    # The same on a new machine for Qdrant, and another one than that of whatever else may come to use the bucket.
    BACKUP_SOURCE_NAME = "${var.project_id}/${var.service_name}"
    }, var.environment, {
    BACKUP_STORE         = "gs://${local.bucket_name}/${var.bucket.prefix}"
    GOOGLE_CLOUD_PROJECT = var.project_id
    QDRANT_URL           = var.qdrant_url
  }, length(var.qdrant_nodes) == 0 ? {} : { QDRANT_NODES = join(",", var.qdrant_nodes) })

  # What comes on top where backups are made: which of them are kept.
  retention_environment = merge(
    { for rule, number in var.retention : "RETAIN_${upper(rule)}" => tostring(number) if number != null },
    var.prune ? { PRUNE_AFTER_BACKUP = "true" } : {},
  )

  # And on top of that for the service: who may do what, and when it has to raise the alarm.
  service_environment = merge(
    local.environment,
    local.retention_environment,
    {
      AUTH_AUDIENCE  = local.audience
      AUTH_MODE      = var.access.mode
      BACKUP_MAX_AGE = "${local.backup_max_age_hours}h"
    },
    # Whoever may call the platform's way (run.invoker) and is in no list: members may be groups, whose people have other
    # addresses.
    var.access.mode == "iam" ? { AUTH_DEFAULT_ROLE = var.access.default_role } : {},
    { for variable, emails in local.roles : variable => join(",", sort(tolist(emails))) if length(emails) > 0 },
  )

  # What a caller may do, by e-mail address. The two machines get no more than their work: the agent of the uptime check
  # reads, the scheduler makes backups and restores nothing.
  roles = {
    AUTH_READERS   = setunion(var.access.readers, var.alerts.freshness_check ? [local.uptime_agent_email] : [], var.build.canary ? [google_service_account.deploy.email] : [])
    AUTH_OPERATORS = setunion(var.access.operators, [google_service_account.scheduler.email])
    AUTH_ADMINS    = var.access.admins
  }

  # Made by Google with the first uptime check that uses it.
  uptime_agent_email = "service-${data.google_project.this.number}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"

  services = concat(
    [
      "artifactregistry.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "cloudscheduler.googleapis.com",
      "compute.googleapis.com",
      "iam.googleapis.com",
      "iamcredentials.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
      "storage.googleapis.com",
    ],
    local.makes_connector ? ["vpcaccess.googleapis.com"] : [],
    var.binary_authorization == null ? [] : ["binaryauthorization.googleapis.com"],
    # The provenance of what is built.
    var.build.enabled ? ["containeranalysis.googleapis.com"] : [],
    length(var.kms_keys) == 0 ? [] : ["cloudkms.googleapis.com"],
    var.vault.retention_days == null ? [] : ["storagetransfer.googleapis.com"],
  )
}

resource "google_project_service" "required" {
  for_each = toset(local.services)

  project = var.project_id
  service = each.value
  # Something else in the project may use it by then.
  disable_on_destroy = false
}

resource "google_artifact_registry_repository" "images" {
  project       = var.project_id
  location      = var.region
  repository_id = var.repository
  description   = "Images of the Qdrant backup service"
  format        = "DOCKER"
  labels        = var.labels
  kms_key_name  = lookup(var.kms_keys, "region", null)

  # The newest ten images stay whatever their age, so that one can go back. Other images in the repository are not touched.
  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      package_name_prefixes = [local.image_name]
      keep_count            = 10
    }
  }
  cleanup_policies {
    id     = "delete-old-ones"
    action = "DELETE"
    condition {
      package_name_prefixes = [local.image_name]
      older_than            = "${90 * 24 * 60 * 60}s"
    }
  }

  lifecycle {
    # It cannot be changed later, and a new repository would be an empty one: no revision could start from it.
    ignore_changes = [kms_key_name]

    precondition {
      condition     = !contains(keys(var.kms_keys), "region") || try(split("/", var.kms_keys["region"])[3], var.region) == var.region
      error_message = "kms_keys.region is a key in ${var.region}, the region of the repository. For a bucket in another location, name its key in kms_keys.bucket."
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.registry,
    google_project_service.required,
  ]
}

resource "google_cloud_run_v2_service" "backup" {
  project             = var.project_id
  location            = var.region
  name                = var.service_name
  description         = "Backs up every collection of a Qdrant into gs://${local.bucket_name}/${var.bucket.prefix}"
  labels              = var.labels
  ingress             = var.access.ingress
  custom_audiences    = [local.audience]
  deletion_protection = var.deletion_protection
  # The platform checks every caller's identity, and the service relies on it. With "oidc" the service does so itself,
  # which it only can when the platform passes tokens on untouched: where the platform checks them, it takes the
  # signature off.
  invoker_iam_disabled = var.access.mode == "oidc"

  dynamic "binary_authorization" {
    for_each = local.binary_authorization
    content {
      use_default = binary_authorization.value.use_default
      policy      = binary_authorization.value.policy
    }
  }

  template {
    encryption_key                   = lookup(var.kms_keys, "region", null)
    service_account                  = google_service_account.backup.email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = var.resources.concurrency
    timeout                          = "${var.resources.request_timeout_seconds}s"
    labels                           = var.labels

    scaling {
      min_instance_count = var.resources.min_instances
      max_instance_count = var.resources.max_instances
    }

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
      for_each = google_secret_manager_secret.qdrant_api_key
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

      ports {
        container_port = 8080
      }

      resources {
        limits = {
          cpu    = tostring(var.resources.cpu)
          memory = "${var.resources.memory_mib}Mi"
        }
        # A backup goes on when its client has hung up, so the CPU must not be taken away with the last open request,
        # and an instance is paid for as long as it is there. Where a job makes the backups, the service only answers.
        cpu_idle          = var.schedule.target == "job"
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.service_environment
        content {
          name  = env.key
          value = env.value
        }
      }

      # A file, which Cloud Run reads from Secret Manager each time: a new key reaches an instance that runs. A variable is read
      # when an instance starts.
      dynamic "env" {
        for_each = google_secret_manager_secret.qdrant_api_key
        content {
          name  = "QDRANT_API_KEY_FILE"
          value = local.key_file
        }
      }

      dynamic "volume_mounts" {
        for_each = google_secret_manager_secret.qdrant_api_key
        content {
          name       = "qdrant-api-key"
          mount_path = dirname(local.key_file)
        }
      }

      dynamic "env" {
        for_each = var.secret_environment
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

      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 30
        http_get {
          path = "/health"
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 10
        failure_threshold = 4
        http_get {
          path = "/health"
        }
      }
    }
  }

  lifecycle {
    # New images are deployed by Cloud Build. gcloud leaves its name and version behind, and a label that makes a revision new;
    # the console names containers. The scaling of the service as a whole is the operator's: nothing here sets it, and the
    # API answers it all the same.
    ignore_changes = [
      client,
      client_version,
      scaling,
      template[0].containers[0].image,
      template[0].containers[0].name,
      template[0].labels["client.knative.dev/nonce"],
      template[0].revision,
    ]
  }

  # A first revision that may not read its key never gets ready, and a first backup needs the other grants.
  depends_on = [
    google_compute_firewall.qdrant,
    google_kms_crypto_key_iam_member.run,
    google_project_service.required,
    google_secret_manager_secret_iam_member.backup,
    google_secret_manager_secret_iam_member.environment,
    google_secret_manager_secret_version.qdrant_api_key,
    google_storage_bucket_iam_member.backup,
    terraform_data.image,
  ]
}
