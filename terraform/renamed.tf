# Names that were variables before there were objects. They are refused for one version, because Terraform only warns of a name
# that it does not know: a bucket_name that nobody reads would plan a new bucket, and one who does not look loses sight of the
# backups in the old one. Delete this file with the version after.

# terraform-docs-ignore
variable "auth_admins" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.auth_admins == "unset", false)
    error_message = "auth_admins was renamed: access = { admins = ... }."
  }
}

# terraform-docs-ignore
variable "auth_allowed_emails" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.auth_allowed_emails == "unset", false)
    error_message = "auth_allowed_emails was renamed: access = { admins = ... }."
  }
}

# terraform-docs-ignore
variable "auth_default_role" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.auth_default_role == "unset", false)
    error_message = "auth_default_role was renamed: access = { default_role = ... }."
  }
}

# terraform-docs-ignore
variable "auth_mode" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.auth_mode == "unset", false)
    error_message = "auth_mode was renamed: access = { mode = ... }."
  }
}

# terraform-docs-ignore
variable "auth_operators" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.auth_operators == "unset", false)
    error_message = "auth_operators was renamed: access = { operators = ... }."
  }
}

# terraform-docs-ignore
variable "auth_readers" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.auth_readers == "unset", false)
    error_message = "auth_readers was renamed: access = { readers = ... }."
  }
}

# terraform-docs-ignore
variable "backup_max_age_hours" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.backup_max_age_hours == "unset", false)
    error_message = "backup_max_age_hours was renamed: alerts = { backup_max_age_hours = ... }."
  }
}

# terraform-docs-ignore
variable "bucket_location" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.bucket_location == "unset", false)
    error_message = "bucket_location was renamed: bucket = { location = ... }."
  }
}

# terraform-docs-ignore
variable "bucket_name" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.bucket_name == "unset", false)
    error_message = "bucket_name was renamed: bucket = { name = ... }."
  }
}

# terraform-docs-ignore
variable "concurrency" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.concurrency == "unset", false)
    error_message = "concurrency was renamed: resources = { concurrency = ... }."
  }
}

# terraform-docs-ignore
variable "connector_machine_type" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.connector_machine_type == "unset", false)
    error_message = "connector_machine_type was renamed: network = { connector_machine_type = ... }."
  }
}

# terraform-docs-ignore
variable "connector_max_instances" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.connector_max_instances == "unset", false)
    error_message = "connector_max_instances was renamed: network = { connector_max_instances = ... }."
  }
}

# terraform-docs-ignore
variable "cpu" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.cpu == "unset", false)
    error_message = "cpu was renamed: resources = { cpu = ... }."
  }
}

# terraform-docs-ignore
variable "create_bucket" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.create_bucket == "unset", false)
    error_message = "create_bucket was renamed: bucket = { create = ... }."
  }
}

# terraform-docs-ignore
variable "create_firewall_rule" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.create_firewall_rule == "unset", false)
    error_message = "create_firewall_rule was renamed: network = { firewall = ... }."
  }
}

# terraform-docs-ignore
variable "egress" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.egress == "unset", false)
    error_message = "egress was renamed: network = { mode = ... }."
  }
}

# terraform-docs-ignore
variable "egress_cidr" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.egress_cidr == "unset", false)
    error_message = "egress_cidr was renamed: network = { cidr = ... }."
  }
}

# terraform-docs-ignore
variable "freshness_check" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.freshness_check == "unset", false)
    error_message = "freshness_check was renamed: alerts = { freshness_check = ... }."
  }
}

# terraform-docs-ignore
variable "ingress" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.ingress == "unset", false)
    error_message = "ingress was renamed: access = { ingress = ... }."
  }
}

# terraform-docs-ignore
variable "invoker_members" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.invoker_members == "unset", false)
    error_message = "invoker_members was renamed: access = { invoker_members = ... }."
  }
}

# terraform-docs-ignore
variable "job_max_retries" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.job_max_retries == "unset", false)
    error_message = "job_max_retries was renamed: job = { max_retries = ... }."
  }
}

# terraform-docs-ignore
variable "job_tasks" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.job_tasks == "unset", false)
    error_message = "job_tasks was renamed: job = { tasks = ... }."
  }
}

# terraform-docs-ignore
variable "job_timeout_seconds" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.job_timeout_seconds == "unset", false)
    error_message = "job_timeout_seconds was renamed: job = { timeout_seconds = ... }."
  }
}

# terraform-docs-ignore
variable "kms_key" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.kms_key == "unset", false)
    error_message = "kms_key was renamed: kms_keys = { region = \"...\" }, or { bucket = \"...\" } where the bucket is in another location."
  }
}

# terraform-docs-ignore
variable "max_instances" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.max_instances == "unset", false)
    error_message = "max_instances was renamed: resources = { max_instances = ... }."
  }
}

# terraform-docs-ignore
variable "memory_mib" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.memory_mib == "unset", false)
    error_message = "memory_mib was renamed: resources = { memory_mib = ... }."
  }
}

# terraform-docs-ignore
variable "min_instances" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.min_instances == "unset", false)
    error_message = "min_instances was renamed: resources = { min_instances = ... }."
  }
}

# terraform-docs-ignore
variable "nearline_after_days" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.nearline_after_days == "unset", false)
    error_message = "nearline_after_days was renamed: bucket = { nearline_after_days = ... }."
  }
}

# terraform-docs-ignore
variable "noncurrent_version_days" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.noncurrent_version_days == "unset", false)
    error_message = "noncurrent_version_days was renamed: bucket = { noncurrent_version_days = ... }."
  }
}

# terraform-docs-ignore
variable "notification_channels" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.notification_channels == "unset", false)
    error_message = "notification_channels was renamed: alerts = { channels = ... }."
  }
}

# terraform-docs-ignore
variable "notification_emails" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.notification_emails == "unset", false)
    error_message = "notification_emails was renamed: alerts = { emails = ... }."
  }
}

# terraform-docs-ignore
variable "prefix" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.prefix == "unset", false)
    error_message = "prefix was renamed: bucket = { prefix = ... }."
  }
}

# terraform-docs-ignore
variable "qdrant_network_tags" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.qdrant_network_tags == "unset", false)
    error_message = "qdrant_network_tags was renamed: network = { qdrant_tags = ... }."
  }
}

# terraform-docs-ignore
variable "request_timeout_seconds" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.request_timeout_seconds == "unset", false)
    error_message = "request_timeout_seconds was renamed: resources = { request_timeout_seconds = ... }."
  }
}

# terraform-docs-ignore
variable "restore_members" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.restore_members == "unset", false)
    error_message = "restore_members was renamed: access = { restore_members = ... }."
  }
}

# terraform-docs-ignore
variable "schedule_paused" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.schedule_paused == "unset", false)
    error_message = "schedule_paused was renamed: schedule = { paused = ... }."
  }
}

# terraform-docs-ignore
variable "schedule_retries" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.schedule_retries == "unset", false)
    error_message = "schedule_retries was renamed: schedule = { retries = ... }."
  }
}

# terraform-docs-ignore
variable "schedule_target" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.schedule_target == "unset", false)
    error_message = "schedule_target was renamed: schedule = { target = ... }."
  }
}

# terraform-docs-ignore
variable "soft_delete_days" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.soft_delete_days == "unset", false)
    error_message = "soft_delete_days was renamed: bucket = { soft_delete_days = ... }."
  }
}

# terraform-docs-ignore
variable "time_zone" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.time_zone == "unset", false)
    error_message = "time_zone was renamed: schedule = { time_zone = ... }."
  }
}

# terraform-docs-ignore
variable "vault_copy_hours" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.vault_copy_hours == "unset", false)
    error_message = "vault_copy_hours was renamed: vault = { copy_hours = ... }."
  }
}

# terraform-docs-ignore
variable "vault_delete_after_days" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.vault_delete_after_days == "unset", false)
    error_message = "vault_delete_after_days was renamed: vault = { delete_after_days = ... }."
  }
}

# terraform-docs-ignore
variable "vault_location" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.vault_location == "unset", false)
    error_message = "vault_location was renamed: vault = { location = ... }."
  }
}

# terraform-docs-ignore
variable "vault_locked" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.vault_locked == "unset", false)
    error_message = "vault_locked was renamed: vault = { locked = ... }."
  }
}

# terraform-docs-ignore
variable "vault_retention_days" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.vault_retention_days == "unset", false)
    error_message = "vault_retention_days was renamed: vault = { retention_days = ... }."
  }
}

# terraform-docs-ignore
variable "verified_max_age_hours" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.verified_max_age_hours == "unset", false)
    error_message = "verified_max_age_hours was renamed: alerts = { verified_max_age_hours = ... }."
  }
}

# terraform-docs-ignore
variable "verify_schedule" {
  description = "Renamed."
  type        = any
  default     = "unset"

  validation {
    condition     = try(var.verify_schedule == "unset", false)
    error_message = "verify_schedule was renamed: schedule = { verify = ... }, and never in place of null."
  }
}
