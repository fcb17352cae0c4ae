# A small Qdrant, backed up every hour by the service through a Serverless VPC Access connector; 48 hourly, 30 daily and 12
# monthly backups are kept, and alerts go to an e-mail address.

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

  network = { mode = "connector", cidr = "10.8.0.0/28" }

  prune     = true
  retention = { hourly = 48, daily = 30, monthly = 12 }

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
