# A cluster of several Qdrant nodes in GKE, from Qdrant's Helm chart as "qdrant" in the namespace "qdrant". Service and jobs call each
# node by the address of its pod, which they learn from the headless service. For that the GKE cluster is VPC-native, and has Cloud
# DNS for the whole VPC (--cluster-dns=clouddns --cluster-dns-scope=vpc --cluster-dns-domain=gke.internal). The pods' addresses are
# behind the GKE nodes, so the firewall rule is for these: their network tag is shown by
#   gcloud compute instances list --format='table(name,tags.items)'

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

  project_id   = var.project_id
  qdrant_url   = "http://qdrant.qdrant.svc.gke.internal:6333"
  qdrant_nodes = ["dns://qdrant-headless.qdrant.svc.gke.internal:6333"]

  network = { mode = "direct", name = "gke", cidr = "10.8.0.64/26", qdrant_tags = ["gke-qdrant-0123abcd-node"] }

  # The tasks divide the shards.
  schedule = { target = "job", backup = "0 */6 * * *" }
  job      = { tasks = 3 }

  prune     = true
  retention = { last = 8, daily = 14 }

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
