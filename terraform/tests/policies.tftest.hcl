# What organisation policies ask for, one by one. All of them together: examples/locked-down.

provider "google" {
  access_token = "not-a-token"
}

# Nothing is asked over the network: what a plan would read from the project is given here.
override_data {
  target = data.google_project.this
  values = { number = "123456789012" }
}

override_data {
  target = data.google_storage_project_service_account.this
  values = { member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
}

variables {
  project_id = "demo-project"
  qdrant_url = "http://10.140.0.5:6333"
}

run "every_thing_that_takes_a_key_has_one" {
  command = plan

  variables {
    kms_keys        = { region = "projects/keys/locations/asia-east1/keyRings/r/cryptoKeys/k", vault = "projects/keys/locations/asia-northeast1/keyRings/r/cryptoKeys/k" }
    secret_regional = true
    vault           = { retention_days = 7, location = "asia-northeast1" }
  }

  assert {
    condition = toset(concat(
      [google_artifact_registry_repository.images.kms_key_name, google_cloud_run_v2_service.backup.template[0].encryption_key],
      [for job in google_cloud_run_v2_job.job : job.template[0].template[0].encryption_key],
      [for bucket in [google_storage_bucket.backup[0], google_storage_bucket.build_source[0]] : bucket.encryption[0].default_kms_key_name],
      [google_secret_manager_secret.qdrant_api_key[0].replication[0].user_managed[0].replicas[0].customer_managed_encryption[0].kms_key_name],
    )) == toset([var.kms_keys["region"]])
    error_message = "what is in the region has the key of the region"
  }
  assert {
    condition     = google_storage_bucket.vault[0].encryption[0].default_kms_key_name == var.kms_keys["vault"]
    error_message = "the vault has its own"
  }
  assert {
    condition = toset(concat(
      [for grant in google_kms_crypto_key_iam_member.registry : "${grant.crypto_key_id} ${grant.member}"],
      [for grant in google_kms_crypto_key_iam_member.run : "${grant.crypto_key_id} ${grant.member}"],
      [for grant in google_kms_crypto_key_iam_member.secret : "${grant.crypto_key_id} ${grant.member}"],
      [for grant in google_kms_crypto_key_iam_member.storage : "${grant.crypto_key_id} ${grant.member}"],
      [for grant in google_kms_crypto_key_iam_member.vault : "${grant.crypto_key_id} ${grant.member}"],
      [for grant in google_kms_crypto_key_iam_member.build : "${grant.crypto_key_id} ${grant.member}"],
      )) == toset([
      "${var.kms_keys["region"]} serviceAccount:service-123456789012@gcp-sa-artifactregistry.iam.gserviceaccount.com",
      "${var.kms_keys["region"]} serviceAccount:service-123456789012@serverless-robot-prod.iam.gserviceaccount.com",
      "${var.kms_keys["region"]} serviceAccount:service-123456789012@gcp-sa-secretmanager.iam.gserviceaccount.com",
      "${var.kms_keys["region"]} serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com",
      "${var.kms_keys["vault"]} serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com",
    ])
    error_message = "and each account of Google's may use the key of what it keeps, granted once"
  }
}

run "the_source_of_builds_has_the_key_where_no_other_bucket_does" {
  command = plan

  variables {
    kms_keys = { region = "projects/keys/locations/asia-east1/keyRings/r/cryptoKeys/k" }
    bucket   = { create = false, name = "existing" }
  }

  assert {
    condition     = google_kms_crypto_key_iam_member.build[0].crypto_key_id == var.kms_keys["region"] && length(google_kms_crypto_key_iam_member.storage) == 0
    error_message = "it is granted for the bucket of builds alone"
  }
}

run "secret_under_a_global_key" {
  command = plan

  variables {
    kms_keys = { secret = "projects/keys/locations/global/keyRings/r/cryptoKeys/k" }
  }

  assert {
    condition     = google_secret_manager_secret.qdrant_api_key[0].replication[0].auto[0].customer_managed_encryption[0].kms_key_name == var.kms_keys["secret"]
    error_message = "a secret that Google spreads has a key in global"
  }
  assert {
    condition     = length(google_kms_crypto_key_iam_member.run) == 0 && google_cloud_run_v2_service.backup.template[0].encryption_key == null
    error_message = "and nothing else has"
  }
}

run "key_of_the_secret_in_another_place" {
  command = plan

  variables {
    kms_keys = { secret = "projects/keys/locations/asia-east1/keyRings/r/cryptoKeys/k" }
  }

  expect_failures = [google_secret_manager_secret.qdrant_api_key]
}

run "secret_in_one_region" {
  command = plan

  variables {
    secret_regional = true
  }

  assert {
    condition     = google_secret_manager_secret.qdrant_api_key[0].replication[0].user_managed[0].replicas[0].location == "asia-east1" && length(google_secret_manager_secret.qdrant_api_key[0].replication[0].auto) == 0
    error_message = "the secret does not leave the region"
  }
}

run "binary_authorization" {
  command = plan

  variables {
    binary_authorization = "projects/demo-project/platforms/cloudRun/policies/built-here"
  }

  assert {
    condition = alltrue([
      for enforced in concat(google_cloud_run_v2_service.backup.binary_authorization, flatten([for job in google_cloud_run_v2_job.job : job.binary_authorization])) :
      enforced.policy == var.binary_authorization && enforced.use_default == null
    ]) && length(google_cloud_run_v2_service.backup.binary_authorization) == 1
    error_message = "service and jobs go by the policy"
  }
  assert {
    condition     = contains(keys(google_project_service.required), "binaryauthorization.googleapis.com")
    error_message = "its API is enabled"
  }
}

run "binary_authorization_of_the_project" {
  command = plan

  variables {
    binary_authorization = "default"
  }

  assert {
    condition     = alltrue([for enforced in concat(google_cloud_run_v2_service.backup.binary_authorization, google_cloud_run_v2_job.job["restore"].binary_authorization) : enforced.use_default && enforced.policy == null])
    error_message = "the policy of the project"
  }
}

run "all_traffic_through_a_network_that_is_not_the_default_one" {
  command = plan

  variables {
    network = { mode = "direct", name = "corp", egress = "ALL_TRAFFIC" }
  }

  assert {
    condition     = google_compute_subnetwork.direct[0].network == "corp" && google_compute_subnetwork.direct[0].private_ip_google_access && google_compute_firewall.qdrant["direct"].network == "corp"
    error_message = "the subnet reaches Google's APIs without an address of its own"
  }
  assert {
    condition     = alltrue([for access in concat(google_cloud_run_v2_service.backup.template[0].vpc_access, flatten([for job in google_cloud_run_v2_job.job : job.template[0].template[0].vpc_access])) : access.egress == "ALL_TRAFFIC"])
    error_message = "everything goes that way"
  }
}

run "only_members_of_the_organisation" {
  command = plan

  variables {
    alerts = { freshness_check = false }
  }

  assert {
    condition     = length(output.service_agents) == 0
    error_message = "without keys, vault and check of freshness no account of Google's is granted anything"
  }
}

run "no_builds" {
  command = plan

  variables {
    build = { enabled = false }
    image = "docker.io/example/qdrant-backup-api@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }

  assert {
    condition     = length(google_service_account.build) + length(google_storage_bucket.build_source) + length(google_storage_bucket_iam_member.build) + length(google_artifact_registry_repository_iam_member.build) + length(google_project_iam_member.build) + length(terraform_data.image) == 0
    error_message = "no account that builds, and no bucket"
  }
  assert {
    condition     = toset(concat([google_cloud_run_v2_service.backup.template[0].containers[0].image], [for job in google_cloud_run_v2_job.job : job.template[0].template[0].containers[0].image])) == toset([var.image])
    error_message = "service and jobs run the image that is named"
  }
  assert {
    condition     = google_service_account_iam_member.deploy["backup"].member == google_service_account.deploy.member && output.build_service_account == null
    error_message = "a new version can be deployed all the same"
  }
}

run "the_key_is_stored" {
  command = plan

  variables {
    qdrant_api_key         = "not-a-key"
    qdrant_api_key_version = 3
  }

  assert {
    condition     = tostring(google_secret_manager_secret_version.qdrant_api_key[0].secret_data_wo_version) == "3" && google_secret_manager_secret_version.qdrant_api_key[0].secret_data == null && google_secret_manager_secret_version.qdrant_api_key[0].deletion_policy == "DISABLE"
    error_message = "by the argument that only writes"
  }
}

run "nothing_is_run_unless_asked_for" {
  command = plan

  assert {
    condition     = length(terraform_data.image) + length(terraform_data.first_backup) + length(google_secret_manager_secret_version.qdrant_api_key) == 0
    error_message = "no build, no backup, no key"
  }
}

run "first_backup" {
  command = plan

  variables {
    schedule = { first_backup = true }
  }

  assert {
    condition     = length(terraform_data.first_backup) == 1
    error_message = "the apply makes one"
  }
}

run "nodes" {
  command = plan

  variables {
    qdrant_url   = "http://10.140.0.5:6333"
    qdrant_nodes = ["http://10.140.0.5:6333", "http://10.140.0.6:6333", "http://10.140.0.7:7333"]
  }

  assert {
    condition     = one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "QDRANT_NODES"]) == "http://10.140.0.5:6333,http://10.140.0.6:6333,http://10.140.0.7:7333"
    error_message = "the service knows the nodes"
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.job : contains([for e in job.template[0].template[0].containers[0].env : e.name], "QDRANT_NODES")])
    error_message = "and so do the jobs"
  }
  assert {
    condition     = one(google_compute_firewall.qdrant["connector"].allow).ports == tolist(["6333", "7333"])
    error_message = "each node's port is opened"
  }
}

run "nodes_of_a_headless_service" {
  command = plan

  variables {
    qdrant_url   = "http://qdrant.qdrant.svc.gke.internal:6333"
    qdrant_nodes = ["dns://qdrant-headless.qdrant.svc.gke.internal:6333"]
  }

  assert {
    condition     = one([for e in google_cloud_run_v2_job.job["backup"].template[0].template[0].containers[0].env : e.value if e.name == "QDRANT_NODES"]) == "dns://qdrant-headless.qdrant.svc.gke.internal:6333"
    error_message = "the nodes are the addresses of the name"
  }
}

run "canary" {
  command = plan

  variables {
    alerts = { freshness_check = false }
    build  = { canary = true }
  }

  assert {
    condition     = google_cloud_run_v2_service_iam_member.canary[0].member == google_service_account.deploy.member && one([for e in google_cloud_run_v2_service.backup.template[0].containers[0].env : e.value if e.name == "AUTH_READERS"]) == google_service_account.deploy.email
    error_message = "the deployment may call the service, and only read"
  }
}
