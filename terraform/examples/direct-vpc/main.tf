# A large Qdrant, whose backup takes hours: a job of four tasks makes it every night over Direct VPC egress. A second copy
# goes to another region, where nobody can delete it for 30 days. The database administrators may restore.

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

  schedule = { target = "job", backup = "0 2 * * *" }
  job      = { tasks = 4 }
  alerts   = { emails = ["ops@example.com"] }

  prune     = true
  retention = { daily = 14, weekly = 8, monthly = 12 }

  vault = { retention_days = 30, delete_after_days = 60, location = "asia-northeast1" }

  access = { restore_members = ["group:dba@example.com"] }
}

output "backup_store" {
  description = "Where the backups are."
  value       = module.qdrant_backup.backup_store
}

output "next_steps" {
  description = "The commands that one needs next."
  value       = module.qdrant_backup.next_steps
}
