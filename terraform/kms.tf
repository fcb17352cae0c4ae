# Keys of Cloud KMS (kms_keys), and the grants by which accounts of Google's use them. In a project that has never had them,
# some of these accounts must be made first:
#   gcloud beta services identity create --service=artifactregistry.googleapis.com
#   gcloud beta services identity create --service=secretmanager.googleapis.com

locals {
  # Names in kms_keys, not keys: which of them there are is known before a key is made.
  bucket_key = try([for use in ["bucket", "region"] : use if contains(keys(var.kms_keys), use)][0], null)
  vault_key  = contains(keys(var.kms_keys), "vault") ? "vault" : local.bucket_key
  secret_key = try([for use in concat(["secret"], var.secret_regional ? ["region"] : []) : use if contains(keys(var.kms_keys), use)][0], null)
  # Whether a bucket is made that uses the key of the bucket, whether the vault has one of its own, and whether the source of
  # builds uses one that no other bucket does.
  grants_bucket_key = local.bucket_key != null && (var.bucket.create || (length(local.vault) > 0 && local.vault_key != "vault"))
  grants_vault_key  = local.vault_key == "vault" && length(local.vault) > 0
  grants_build_key  = var.build.enabled && contains(keys(var.kms_keys), "region") && !(local.grants_bucket_key && local.bucket_key == "region")
  uses_region_key   = contains(keys(var.kms_keys), "region")

  agents = {
    registry = "service-${data.google_project.this.number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    run      = "service-${data.google_project.this.number}@serverless-robot-prod.iam.gserviceaccount.com"
    secrets  = "service-${data.google_project.this.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
  }
}

resource "google_kms_crypto_key_iam_member" "registry" {
  count = local.uses_region_key ? 1 : 0

  crypto_key_id = var.kms_keys["region"]
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${local.agents.registry}"

  depends_on = [google_project_service.required]
}

resource "google_kms_crypto_key_iam_member" "run" {
  count = local.uses_region_key ? 1 : 0

  crypto_key_id = var.kms_keys["region"]
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${local.agents.run}"

  depends_on = [google_project_service.required]
}

resource "google_kms_crypto_key_iam_member" "secret" {
  count = local.secret_key != null && var.use_qdrant_api_key ? 1 : 0

  crypto_key_id = var.kms_keys[local.secret_key]
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${local.agents.secrets}"

  depends_on = [google_project_service.required]
}

# Cloud Storage uses a key as this account of Google's: without the grant no object can be written.
data "google_storage_project_service_account" "this" {
  count = local.grants_bucket_key || local.grants_build_key || local.grants_vault_key ? 1 : 0

  project = var.project_id
}

resource "google_kms_crypto_key_iam_member" "storage" {
  count = local.grants_bucket_key ? 1 : 0

  crypto_key_id = var.kms_keys[local.bucket_key]
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this[0].member

  depends_on = [google_project_service.required]
}

resource "google_kms_crypto_key_iam_member" "vault" {
  count = local.grants_vault_key ? 1 : 0

  crypto_key_id = var.kms_keys["vault"]
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this[0].member

  depends_on = [google_project_service.required]
}

resource "google_kms_crypto_key_iam_member" "build" {
  count = local.grants_build_key ? 1 : 0

  crypto_key_id = var.kms_keys["region"]
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this[0].member

  depends_on = [google_project_service.required]
}
