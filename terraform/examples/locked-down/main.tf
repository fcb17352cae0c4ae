# Under the organisation policies that are met most often (docs/how-to/meet-organization-policies.md): everything in one region and
# under keys of one's own, all traffic through the VPC, no default network, only images that Binary Authorization admits, builds in
# a private pool, members of one's own organisation only. The keys are made in the same configuration.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.44, < 9.0"
    }
  }
}

variable "project_id" {
  description = "Project for everything."
  type        = string
}

variable "qdrant_api_key" {
  description = "Qdrant's API key: TF_VAR_qdrant_api_key. It is in no state and no plan."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "image" {
  description = "Image by its digest, which the policy of Binary Authorization admits."
  type        = string
}

variable "build_worker_pool" {
  description = "Private pool for builds, projects/P/locations/R/workerPools/NAME."
  type        = string
}

locals {
  region = "europe-west3"
}

resource "google_kms_key_ring" "backup" {
  project  = var.project_id
  name     = "qdrant-backup"
  location = local.region
}

resource "google_kms_crypto_key" "backup" {
  name            = "qdrant-backup"
  key_ring        = google_kms_key_ring.backup.id
  rotation_period = "${90 * 24 * 60 * 60}s"

  lifecycle {
    # Without the key there are no backups.
    prevent_destroy = true
  }
}

# For the copies in another region: a key there.
resource "google_kms_key_ring" "vault" {
  project  = var.project_id
  name     = "qdrant-backup-vault"
  location = "europe-west4"
}

resource "google_kms_crypto_key" "vault" {
  name            = "qdrant-backup-vault"
  key_ring        = google_kms_key_ring.vault.id
  rotation_period = "${90 * 24 * 60 * 60}s"

  lifecycle {
    prevent_destroy = true
  }
}

module "qdrant_backup" {
  source = "../.."

  project_id = var.project_id
  region     = local.region
  qdrant_url = "https://qdrant.corp.example.com:6333"

  # constraints/gcp.resourceLocations
  secret_regional = true
  vault           = { retention_days = 30, delete_after_days = 60, location = "europe-west4" }

  # constraints/gcp.restrictNonCmekServices
  kms_keys = { region = google_kms_crypto_key.backup.id, vault = google_kms_crypto_key.vault.id }

  # constraints/run.allowedVPCEgress, run.allowedIngress, compute.skipDefaultNetworkCreation, compute.restrictSharedVpcSubnetworks
  network = { mode = "direct", egress = "ALL_TRAFFIC", name = "corp", host_project = "corp-network", subnet = "backups" }

  # constraints/run.allowedBinaryAuthorizationPolicies
  image                = var.image
  binary_authorization = "default"

  # constraints/cloudbuild.allowedWorkerPools
  build = { worker_pool = var.build_worker_pool }

  # constraints/iam.allowedPolicyMemberDomains, run.managed.requireInvokerIam
  access = {
    mode            = "iam"
    invoker_members = ["group:ops@corp.example.com"]
    restore_members = ["group:dba@corp.example.com"]
  }

  qdrant_api_key         = var.qdrant_api_key
  qdrant_api_key_version = 1

  schedule = { target = "job" }
  alerts   = { emails = ["ops@corp.example.com"] }
}

output "backup_store" {
  description = "Where the backups are."
  value       = module.qdrant_backup.backup_store
}

output "next_steps" {
  description = "The commands that one needs next."
  value       = module.qdrant_backup.next_steps
}

output "service_agents" {
  description = "Accounts of Google's that a policy of domain-restricted members has to admit."
  value       = module.qdrant_backup.service_agents
}
