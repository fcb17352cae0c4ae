# Each example can be planned, and is what it says.

provider "google" {
  access_token = "not-a-token"
}

# Nothing is asked over the network: what a plan would read from the project is given here.
override_data {
  target = module.qdrant_backup.data.google_project.this
  values = { number = "123456789012" }
}

variables {
  project_id = "demo-project"
}

run "connector" {
  command = plan

  module {
    source = "./examples/connector"
  }

  assert {
    condition     = output.backup_store == "gs://demo-project-qdrant-backup/qdrant"
    error_message = "a bucket of its own"
  }
}

run "direct_vpc" {
  command = plan

  module {
    source = "./examples/direct-vpc"
  }

  assert {
    condition     = output.backup_store == "gs://demo-project-qdrant-backup/qdrant"
    error_message = "a bucket of its own"
  }
}

run "existing_bucket" {
  command = plan

  module {
    source = "./examples/existing-bucket"
  }

  assert {
    condition     = output.backup_store == "gs://csfiledata.ariel.com.tw/qdrant"
    error_message = "the existing bucket"
  }
}

run "minimal" {
  command = plan

  module {
    source = "./examples/minimal"
  }

  variables {
    qdrant_url     = "http://10.140.0.5:6333"
    qdrant_api_key = "not-a-key"
  }

  assert {
    condition     = output.backup_store == "gs://demo-project-qdrant-backup/qdrant"
    error_message = "a bucket of its own"
  }
}

run "job_large" {
  command = plan

  module {
    source = "./examples/job-large"
  }

  assert {
    condition     = output.backup_store == "gs://demo-project-qdrant-backup/qdrant"
    error_message = "a bucket of its own"
  }
}

run "gke" {
  command = plan

  module {
    source = "./examples/gke"
  }

  assert {
    condition     = output.backup_store == "gs://demo-project-qdrant-backup/qdrant"
    error_message = "a bucket of its own"
  }
}

# With keys that are made in the same configuration, and so unknown.
run "locked_down" {
  command = plan

  module {
    source = "./examples/locked-down"
  }

  override_data {
    target = module.qdrant_backup.data.google_storage_project_service_account.this
    values = { email_address = "service-123456789012@gs-project-accounts.iam.gserviceaccount.com", member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
  }

  variables {
    qdrant_api_key    = "not-a-key"
    image             = "europe-west3-docker.pkg.dev/demo-project/qdrant/qdrant-backup-api@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    build_worker_pool = "projects/corp-build/locations/europe-west3/workerPools/private"
  }

  assert {
    condition     = google_kms_crypto_key.backup.name == "qdrant-backup" && google_kms_key_ring.backup.location == "europe-west3"
    error_message = "the keys are made here"
  }
  assert {
    condition     = output.backup_store == "gs://demo-project-qdrant-backup/qdrant"
    error_message = "a bucket of its own"
  }
  assert {
    condition = output.service_agents == tomap({
      "check of freshness"      = "service-123456789012@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
      "copies into the vault"   = "project-123456789012@storage-transfer-service.iam.gserviceaccount.com"
      "key of service and jobs" = "service-123456789012@serverless-robot-prod.iam.gserviceaccount.com"
      "key of the repository"   = "service-123456789012@gcp-sa-artifactregistry.iam.gserviceaccount.com"
      "key of the secret"       = "service-123456789012@gcp-sa-secretmanager.iam.gserviceaccount.com"
      "keys of buckets"         = "service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
    })
    error_message = "Google's accounts that somebody has to admit are listed"
  }
}
