# Three variables and one apply: the image is built, the key stored, everything made, and a first backup taken.

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

variable "qdrant_url" {
  description = "Address of Qdrant's HTTP API with its port, such as http://10.140.0.5:6333."
  type        = string
}

variable "qdrant_api_key" {
  description = "Qdrant's API key: TF_VAR_qdrant_api_key. It is in no state and no plan."
  type        = string
  ephemeral   = true
  sensitive   = true
}

module "qdrant_backup" {
  source = "../.."

  project_id = var.project_id
  qdrant_url = var.qdrant_url

  qdrant_api_key         = var.qdrant_api_key
  qdrant_api_key_version = 1

  build    = { on_apply = true }
  schedule = { first_backup = true }

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
