# Each choice that changes which resources there are.

provider "google" {
  access_token = "not-a-token"
}

# Nothing is asked over the network: what a plan would read from the project is given here.
override_data {
  target = data.google_project.this
  values = { number = "123456789012" }
}

variables {
  project_id = "demo-project"
  qdrant_url = "http://10.140.0.5:6333"
}

run "direct_vpc_egress" {
  command = plan

  variables {
    network = { mode = "direct", qdrant_tags = ["qdrant"] }
  }

  assert {
    condition     = length(google_vpc_access_connector.backup) == 0 && google_compute_subnetwork.direct[0].ip_cidr_range == "10.8.0.64/26"
    error_message = "a subnet in place of the connector"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].vpc_access[0].network_interfaces[0].subnetwork == "qdrant-backup" && google_cloud_run_v2_service.backup.template[0].vpc_access[0].network_interfaces[0].network == "default"
    error_message = "the service has its addresses there"
  }
  assert {
    condition     = one(values(google_compute_firewall.qdrant)).source_ranges == toset(["10.8.0.64/26"]) && one(values(google_compute_firewall.qdrant)).target_tags == toset(["qdrant"])
    error_message = "the firewall rule is for the subnet, toward the tagged machines"
  }
  assert {
    condition     = !contains(keys(google_project_service.required), "vpcaccess.googleapis.com")
    error_message = "no API that is not used"
  }
}

run "public_qdrant" {
  command = plan

  variables {
    network    = { mode = "none" }
    qdrant_url = "https://cluster.example.com:6333"
  }

  assert {
    condition     = length(google_vpc_access_connector.backup) + length(google_compute_subnetwork.direct) + length(google_compute_firewall.qdrant) == 0
    error_message = "nothing in the VPC"
  }
  assert {
    condition     = length(google_cloud_run_v2_service.backup.template[0].vpc_access) == 0
    error_message = "and no way into it"
  }
}

run "other_port" {
  command = plan

  variables {
    qdrant_url = "http://qdrant.internal.example:7333"
  }

  assert {
    condition     = one(one(values(google_compute_firewall.qdrant)).allow).ports == tolist(["7333"])
    error_message = "the firewall rule follows Qdrant's port"
  }
}

run "own_firewall" {
  command = plan

  variables {
    network = { firewall = false }
  }

  assert {
    condition     = length(google_compute_firewall.qdrant) == 0
    error_message = "no firewall rule"
  }
}

run "existing_connector" {
  command = plan

  variables {
    network = { connector = "projects/network-host/locations/asia-east1/connectors/shared", host_project = "network-host" }
  }

  assert {
    condition     = length(google_vpc_access_connector.backup) + length(google_compute_subnetwork.direct) + length(google_compute_firewall.qdrant) == 0
    error_message = "nothing is made in the network, least of all in another project's"
  }
  assert {
    condition = alltrue([
      for access in concat(google_cloud_run_v2_service.backup.template[0].vpc_access, flatten([for job in google_cloud_run_v2_job.job : job.template[0].template[0].vpc_access])) :
      access.connector == "projects/network-host/locations/asia-east1/connectors/shared" && length(access.network_interfaces) == 0
    ])
    error_message = "service and jobs go through it"
  }
}

run "existing_subnet_for_the_connector" {
  command = plan

  variables {
    network = { subnet = "connectors", host_project = "network-host", cidr = "10.20.0.0/28" }
  }

  assert {
    condition     = one(google_vpc_access_connector.backup[0].subnet).name == "connectors" && one(google_vpc_access_connector.backup[0].subnet).project_id == "network-host" && google_vpc_access_connector.backup[0].ip_cidr_range == null
    error_message = "the connector takes its addresses from the subnet of the Shared VPC"
  }
  assert {
    condition     = one(values(google_compute_firewall.qdrant)).project == "network-host" && one(values(google_compute_firewall.qdrant)).source_ranges == toset(["10.20.0.0/28"])
    error_message = "the rule is where the network is"
  }
}

run "shared_vpc_with_direct_egress" {
  command = plan

  variables {
    network = { mode = "direct", name = "shared", subnet = "backups", host_project = "network-host", egress = "ALL_TRAFFIC" }
  }

  assert {
    condition     = length(google_vpc_access_connector.backup) + length(google_compute_subnetwork.direct) + length(google_compute_firewall.qdrant) == 0
    error_message = "nothing is made in another project's network"
  }
  assert {
    condition = alltrue([
      for access in concat(google_cloud_run_v2_service.backup.template[0].vpc_access, flatten([for job in google_cloud_run_v2_job.job : job.template[0].template[0].vpc_access])) :
      one(access.network_interfaces).network == "projects/network-host/global/networks/shared" && one(access.network_interfaces).subnetwork == "projects/network-host/regions/asia-east1/subnetworks/backups" && access.egress == "ALL_TRAFFIC"
    ])
    error_message = "service and jobs have their addresses in the shared subnet, and send everything through it"
  }
}

run "existing_bucket" {
  command = plan

  variables {
    bucket = { create = false, name = "csfiledata.ariel.com.tw", prefix = "backups/qdrant" }
  }

  assert {
    condition     = length(google_storage_bucket.backup) == 0
    error_message = "an existing bucket is not managed"
  }
  assert {
    condition     = output.backup_store == "gs://csfiledata.ariel.com.tw/backups/qdrant"
    error_message = "the store is the bucket with the prefix"
  }
  assert {
    condition     = alltrue([for grant in google_storage_bucket_iam_member.backup : grant.bucket == "csfiledata.ariel.com.tw" && strcontains(grant.condition[0].expression, "projects/_/buckets/csfiledata.ariel.com.tw/objects/backups/qdrant/")])
    error_message = "every grant on it ends at the prefix"
  }
}

run "no_key" {
  command = plan

  variables {
    use_qdrant_api_key = false
  }

  assert {
    condition     = length(google_secret_manager_secret.qdrant_api_key) == 0 && length(google_secret_manager_secret_iam_member.backup) == 0
    error_message = "no secret"
  }
  assert {
    condition     = !contains([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.name], "QDRANT_API_KEY_FILE") && length(google_cloud_run_v2_service.backup.template[0].volumes) == 0
    error_message = "no variable that waits for one"
  }
}

run "people_may_call" {
  command = plan

  variables {
    access = {
      ingress         = "INGRESS_TRAFFIC_ALL"
      invoker_members = ["group:ops@example.com", "user:someone@example.com"]
    }
  }

  assert {
    condition     = alltrue([for grant in google_cloud_run_v2_service_iam_member.invoker : grant.role == "roles/run.invoker"]) && toset([for grant in google_cloud_run_v2_service_iam_member.invoker : grant.member]) == toset(["group:ops@example.com", "user:someone@example.com"])
    error_message = "the listed members may call, and no more than that"
  }
  assert {
    condition     = toset([for grant in google_cloud_run_v2_service_iam_member.viewer : "${grant.role} ${grant.member}"]) == toset(["roles/run.viewer group:ops@example.com", "roles/run.viewer user:someone@example.com"])
    error_message = "but look at it, which `gcloud run services proxy` does"
  }
}

run "long_requests" {
  command = plan

  variables {
    resources = { min_instances = 1, request_timeout_seconds = 3600 }
  }

  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].scaling[0].min_instance_count == 1
    error_message = "the instance stays although its request has ended"
  }

  assert {
    condition     = google_cloud_run_v2_service.backup.template[0].timeout == "3600s" && google_cloud_scheduler_job.backup.attempt_deadline == "1800s"
    error_message = "the scheduler's deadline stays within its limit"
  }
}

run "short_requests" {
  command = plan

  variables {
    resources = { request_timeout_seconds = 600 }
  }

  assert {
    condition     = google_cloud_scheduler_job.backup.attempt_deadline == "600s"
    error_message = "the scheduler does not wait for an answer that cannot come"
  }
}

run "other_name" {
  command = plan

  variables {
    service_name = "products-qdrant-back"
    environment  = { BACKUP_CONCURRENCY = "4" }
  }

  assert {
    condition     = google_service_account.build[0].email == "products-qdrant-back-build@demo-project.iam.gserviceaccount.com" && google_storage_bucket.backup[0].name == "demo-project-products-qdrant-back"
    error_message = "the longest name gives legal names throughout"
  }
  assert {
    condition     = google_vpc_access_connector.backup[0].name == "productsqdrantback"
    error_message = "a connector's is shorter, and there a hyphen counts twice"
  }
  assert {
    condition     = google_cloud_run_v2_service.backup.custom_audiences == tolist([google_cloud_scheduler_job.backup.http_target[0].oidc_token[0].audience])
    error_message = "the audience is the same in both places, whatever the name"
  }
  assert {
    condition     = contains([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : "${e.name}=${e.value}"], "BACKUP_CONCURRENCY=4")
    error_message = "further variables arrive"
  }
}

run "oidc" {
  command = plan

  variables {
    access = { mode = "oidc", admins = ["someone@example.com"] }
  }

  assert {
    condition     = google_cloud_run_v2_service.backup.invoker_iam_disabled && one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "AUTH_MODE"]) == "oidc"
    error_message = "the platform lets tokens through untouched, and the service verifies them: never one without the other"
  }
  assert {
    condition     = one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "AUTH_ADMINS"]) == "someone@example.com"
    error_message = "the listed people may do everything"
  }
  assert {
    condition     = one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "AUTH_OPERATORS"]) == "qdrant-backup-cron@demo-project.iam.gserviceaccount.com" && !contains([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.name], "AUTH_DEFAULT_ROLE")
    error_message = "the scheduler makes backups; whoever is in no list may do nothing"
  }
  assert {
    condition     = one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "AUTH_READERS"]) == "service-123456789012@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
    error_message = "the check of freshness may only read"
  }
}

run "roles" {
  command = plan

  variables {
    access = {
      admins       = ["dba@example.com", "boss@example.com"]
      operators    = ["night@example.com"]
      readers      = ["wall@example.com"]
      default_role = "reader"
    }
  }

  assert {
    condition = {
      for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.name => e.value if startswith(e.name, "AUTH_") && e.name != "AUTH_AUDIENCE"
      } == {
      AUTH_ADMINS       = "boss@example.com,dba@example.com"
      AUTH_DEFAULT_ROLE = "reader"
      AUTH_MODE         = "iam"
      AUTH_OPERATORS    = "night@example.com,qdrant-backup-cron@demo-project.iam.gserviceaccount.com"
      AUTH_READERS      = "service-123456789012@gcp-sa-monitoring-notification.iam.gserviceaccount.com,wall@example.com"
    }
    error_message = "each list beside the account that is always in it"
  }
}

run "a_scheduled_job_calls_no_service" {
  command = plan

  variables {
    schedule = { target = "job" }
  }

  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.scheduler) == 0
    error_message = "the scheduler may start jobs, and need not call the service"
  }
}

run "keys_of_other_qdrants" {
  command = plan

  variables {
    secret_environment = { DRILL_QDRANT_API_KEY = "drill-key", NOTIFY_URLS = "notify-urls" }
    environment        = { DRILL_QDRANT_URL = "http://10.140.0.9:6333" }
  }

  assert {
    condition = { for role, job in google_cloud_run_v2_job.job : role => {
      for e in job.template[0].template[0].containers[0].env : e.name => e.value_source[0].secret_key_ref[0].secret if length(e.value_source) > 0
      } } == {
      backup  = { DRILL_QDRANT_API_KEY = "drill-key", NOTIFY_URLS = "notify-urls" }
      restore = { DRILL_QDRANT_API_KEY = "drill-key", NOTIFY_URLS = "notify-urls" }
      verify  = { NOTIFY_URLS = "notify-urls" }
    }
    error_message = "the value comes from Secret Manager, where a Qdrant is asked"
  }
  assert {
    condition     = contains([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.name if length(e.value_source) > 0], "DRILL_QDRANT_API_KEY")
    error_message = "the service drills, too"
  }
  assert {
    condition     = toset([for grant in google_secret_manager_secret_iam_member.environment : "${grant.secret_id} ${grant.role} ${grant.member}"]) == toset([for pair in setproduct(["drill-key", "notify-urls"], [google_service_account.backup.member, google_service_account.restore.member]) : "${pair[0]} roles/secretmanager.secretAccessor ${pair[1]}"])
    error_message = "both may read these secrets"
  }
}

run "data_access_logs" {
  command = plan

  variables {
    data_access_logs = true
  }

  assert {
    condition     = { for service, config in google_project_iam_audit_config.data_access : service => toset([for log in config.audit_log_config : log.log_type]) } == { "secretmanager.googleapis.com" = toset(["DATA_READ", "DATA_WRITE"]), "storage.googleapis.com" = toset(["DATA_READ", "DATA_WRITE"]) }
    error_message = "who reads objects, and who takes the key"
  }
}

run "partial_backups" {
  command = plan

  variables {
    prune     = true
    retention = { hourly = 48, partial = 2 }
  }

  assert {
    condition = {
      for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.name => e.value if startswith(e.name, "RETAIN_")
    } == { RETAIN_HOURLY = "48", RETAIN_PARTIAL = "2" }
    error_message = "a rule of their own"
  }
}
