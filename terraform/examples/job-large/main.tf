# A Qdrant of some terabytes on one machine: a job backs it up every night over Direct VPC egress, which a connector of e2-micro
# would not carry (docs/explanation/cost.md). One task, because one machine's disk is the limit; one snapshot at a time, because
# each lies on that disk until it is copied. What was backed up is read back on Sundays.

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

module "qdrant_backup" {
  source = "../.."

  project_id = var.project_id
  qdrant_url = "http://10.140.0.5:6333"

  network = { mode = "direct", cidr = "10.8.0.64/26" }

  schedule  = { target = "job", backup = "0 20 * * *", verify = "0 12 * * 0" }
  job       = { timeout_seconds = 24 * 60 * 60 }
  resources = { cpu = 2, memory_mib = 1024 }

  environment = {
    BACKUP_CONCURRENCY         = "1"
    BACKUP_CREATE_TIMEOUT_SECS = tostring(12 * 60 * 60)
  }

  prune     = true
  retention = { daily = 7, weekly = 4 }

  alerts = { emails = ["ops@example.com"] }
}

output "backup_store" {
  description = "Where the backups are."
  value       = module.qdrant_backup.backup_store
}

output "next_steps" {
  description = "The commands that one needs next."
  value       = module.qdrant_backup.next_steps
}
