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
