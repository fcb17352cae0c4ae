# A large Qdrant, whose backup takes hours: a job of four tasks makes it every night over Direct VPC egress. A second copy
# goes to another region, where nobody can delete it for 30 days. The database administrators may restore.

terraform {
  required_version = ">= 1.9"

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

  egress      = "direct"
  egress_cidr = "10.8.0.0/26"

  schedule_target      = "job"
  schedule             = "0 2 * * *"
  job_tasks            = 4
  backup_max_age_hours = 50

  prune     = true
  retention = { daily = 14, weekly = 8, monthly = 12 }

  vault_retention_days    = 30
  vault_delete_after_days = 60
  vault_location          = "asia-northeast1"

  restore_members     = ["group:dba@example.com"]
  notification_emails = ["ops@example.com"]
}

output "backup_store" {
  description = "Where the backups are."
  value       = module.qdrant_backup.backup_store
}

output "next_steps" {
  description = "The commands that one needs next."
  value       = module.qdrant_backup.next_steps
}
