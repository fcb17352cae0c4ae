# The bucket's options, and the vault.

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

run "own_key" {
  command = plan

  override_data {
    target = data.google_storage_project_service_account.this
    values = { member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
  }

  variables {
    kms_keys = { region = "projects/demo-project/locations/asia-east1/keyRings/backup/cryptoKeys/backup" }
  }

  assert {
    condition     = google_storage_bucket.backup[0].encryption[0].default_kms_key_name == "projects/demo-project/locations/asia-east1/keyRings/backup/cryptoKeys/backup"
    error_message = "the bucket uses the key"
  }
  assert {
    condition     = google_kms_crypto_key_iam_member.storage[0].role == "roles/cloudkms.cryptoKeyEncrypterDecrypter" && google_kms_crypto_key_iam_member.storage[0].member == "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
    error_message = "Cloud Storage's own account may use it"
  }
  assert {
    condition     = contains(keys(google_project_service.required), "cloudkms.googleapis.com")
    error_message = "its API is enabled"
  }
}

run "own_key_for_the_images" {
  command = plan

  override_data {
    target = data.google_storage_project_service_account.this
    values = { member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
  }

  variables {
    kms_keys = { region = "projects/demo-project/locations/asia-east1/keyRings/backup/cryptoKeys/backup" }
  }

  assert {
    condition     = google_artifact_registry_repository.images.kms_key_name == "projects/demo-project/locations/asia-east1/keyRings/backup/cryptoKeys/backup"
    error_message = "the repository uses the key of its region"
  }
  assert {
    condition     = google_kms_crypto_key_iam_member.registry[0].role == "roles/cloudkms.cryptoKeyEncrypterDecrypter" && google_kms_crypto_key_iam_member.registry[0].member == "serviceAccount:service-123456789012@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    error_message = "Artifact Registry's own account may use it"
  }
}

run "a_key_elsewhere_is_not_for_the_images" {
  command = plan

  override_data {
    target = data.google_storage_project_service_account.this
    values = { member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
  }

  variables {
    kms_keys = { bucket = "projects/demo-project/locations/asia/keyRings/backup/cryptoKeys/backup" }
    bucket   = { location = "ASIA" }
  }

  assert {
    condition     = google_artifact_registry_repository.images.kms_key_name == null && length(google_kms_crypto_key_iam_member.registry) == 0 && google_storage_bucket.backup[0].encryption[0].default_kms_key_name == "projects/demo-project/locations/asia/keyRings/backup/cryptoKeys/backup"
    error_message = "a repository takes no key of another location; the bucket does"
  }
}

run "versions_too" {
  command = plan

  variables {
    bucket = { noncurrent_version_days = 3, soft_delete_days = 0 }
  }

  assert {
    condition     = google_storage_bucket.backup[0].versioning[0].enabled && google_storage_bucket.backup[0].soft_delete_policy[0].retention_duration_seconds == 0 && one(google_storage_bucket.backup[0].lifecycle_rule[0].condition).days_since_noncurrent_time == 3
    error_message = "versions in place of soft delete"
  }
}

run "a_key_is_in_the_location_of_the_bucket" {
  command = plan

  override_data {
    target = data.google_storage_project_service_account.this
    values = { member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
  }

  variables {
    kms_keys = { region = "projects/demo-project/locations/asia-east1/keyRings/backup/cryptoKeys/backup" }
    bucket   = { location = "ASIA" }
  }

  expect_failures = [google_storage_bucket.backup]
}

run "and_of_the_vault" {
  command = plan

  override_data {
    target = data.google_storage_project_service_account.this
    values = { member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
  }

  variables {
    kms_keys = { region = "projects/demo-project/locations/asia-east1/keyRings/backup/cryptoKeys/backup" }
    vault    = { retention_days = 7, location = "asia-northeast1" }
  }

  expect_failures = [google_storage_bucket.vault]
}

run "and_of_the_repository" {
  command = plan

  override_data {
    target = data.google_storage_project_service_account.this
    values = { member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
  }

  variables {
    kms_keys = { region = "projects/demo-project/locations/asia/keyRings/backup/cryptoKeys/backup", bucket = "projects/demo-project/locations/asia-east1/keyRings/backup/cryptoKeys/backup" }
  }

  expect_failures = [google_artifact_registry_repository.images]
}

run "colder" {
  command = plan

  variables {
    bucket = { nearline_after_days = 7 }
  }

  assert {
    condition     = [for rule in google_storage_bucket.backup[0].lifecycle_rule : one(rule.condition).matches_suffix if one(rule.action).type == "SetStorageClass"] == [tolist([".snapshot"])]
    error_message = "snapshots get colder, records do not"
  }
  assert {
    condition     = alltrue([for rule in google_storage_bucket.backup[0].lifecycle_rule : one(rule.condition).with_state == "ARCHIVED" if one(rule.action).type == "Delete"])
    error_message = "no rule deletes a live object"
  }
}

run "no_vault" {
  command = plan

  assert {
    condition     = length(google_storage_bucket.vault) + length(google_storage_transfer_job.vault) + length(google_storage_bucket_iam_member.vault) == 0 && length(google_storage_bucket.backup[0].retention_policy) == 0
    error_message = "no vault, and never a retention policy on the bucket with the lease"
  }
}

run "vault" {
  command = plan

  override_data {
    target = data.google_storage_transfer_project_service_account.this
    values = { email = "project-123456789012@storage-transfer-service.iam.gserviceaccount.com" }
  }

  variables {
    vault = { retention_days = 30, location = "asia-northeast1" }
  }

  assert {
    condition     = google_storage_bucket.vault[0].retention_policy[0].retention_period == "2592000" && !google_storage_bucket.vault[0].retention_policy[0].is_locked
    error_message = "30 days, unlocked until told"
  }
  assert {
    condition     = length(google_storage_bucket.backup[0].retention_policy) == 0
    error_message = "the lease has to be renewed: no retention policy where it is"
  }
  assert {
    condition     = google_storage_transfer_job.vault[0].transfer_spec[0].gcs_data_source[0].path == "qdrant/backups/" && google_storage_transfer_job.vault[0].transfer_spec[0].transfer_options[0].overwrite_when == "NEVER" && google_storage_transfer_job.vault[0].transfer_spec[0].transfer_options[0].delete_objects_from_source_after_transfer != true
    error_message = "backups are copied, and nothing is overwritten or taken away"
  }
  assert {
    condition     = toset([for grant in google_storage_bucket_iam_member.vault : grant.role]) == toset(["roles/storage.legacyBucketReader", "roles/storage.objectCreator", "roles/storage.objectViewer"])
    error_message = "the copier may delete nothing"
  }
  assert {
    condition     = google_storage_bucket_iam_member.vault["source_read"].condition[0].expression == google_storage_bucket_iam_member.backup["read"].condition[0].expression
    error_message = "the copier reads nothing outside of the prefix"
  }
  assert {
    condition     = google_storage_bucket.vault[0].location == "ASIA-NORTHEAST1" && length(google_storage_bucket.vault[0].lifecycle_rule) == 0 && google_storage_bucket.vault[0].public_access_prevention == "enforced" && google_storage_bucket.vault[0].uniform_bucket_level_access
    error_message = "elsewhere, and nothing deletes there"
  }
}

run "locked_vault" {
  command = plan

  override_data {
    target = data.google_storage_transfer_project_service_account.this
    values = { email = "project-123456789012@storage-transfer-service.iam.gserviceaccount.com" }
  }

  variables {
    vault = { retention_days = 30, delete_after_days = 60, locked = true }
  }

  assert {
    condition     = google_storage_bucket.vault[0].retention_policy[0].is_locked && one(google_storage_bucket.vault[0].lifecycle_rule[0].condition).age == 60
    error_message = "locked, and old copies go"
  }
}
