# Backups into a bucket that exists already, here one named after a domain, below the folder "qdrant"; Qdrant runs on
# a machine with the network tag "qdrant", and an operations team may start backups and restores from
# their laptops.

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

  bucket = { create = false, name = "csfiledata.ariel.com.tw", prefix = "qdrant" }

  network = { qdrant_tags = ["qdrant"] }

  access = {
    ingress         = "INGRESS_TRAFFIC_ALL"
    invoker_members = ["group:ops@ariel.com.tw"]
    restore_members = ["group:ops@ariel.com.tw"]
  }

  alerts = { emails = ["ops@ariel.com.tw"] }

  environment = {
    BACKUP_CONCURRENCY = "2"
  }
}

output "backup_store" {
  description = "Where the backups are."
  value       = module.qdrant_backup.backup_store
}

output "next_steps" {
  description = "The commands that one needs next."
  value       = module.qdrant_backup.next_steps
}
