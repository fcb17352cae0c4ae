# What an apply does beside making resources, where it is asked to: it builds the first image, and makes the first backup. Both by
# gcloud on the machine where Terraform runs, with the login of gcloud (`gcloud auth login`), and once: nothing here changes when
# the source does.
# (The provider could start the job, too: `start_execution_token`. It does so again at each change of the job:
# hashicorp/terraform-provider-google#24451.)

locals {
  # The source around this module: there in a checkout, and where the module comes by git::. No plan reads it.
  build_source = coalesce(var.build.source, "${path.module}/..")
  # As gcloud takes it, for builds and deployments.
  build_where = join(" ", concat(
    var.build.region == null ? [] : ["--region=${var.build.region}"],
    var.build.worker_pool == null ? [] : ["--worker-pool=${var.build.worker_pool}"],
  ))
}

resource "terraform_data" "image" {
  count = var.build.on_apply && var.image == null ? 1 : 0

  provisioner "local-exec" {
    command = "bash \"$SCRIPT\""
    environment = {
      SCRIPT          = "${path.module}/build.sh"
      SOURCE          = local.build_source
      PROJECT         = var.project_id
      SERVICE_ACCOUNT = google_service_account.build[0].id
      STAGING         = "${google_storage_bucket.build_source[0].url}/source"
      SUBSTITUTIONS   = "_REGION=${var.region},_REPOSITORY=${var.repository}"
      WHERE           = local.build_where
    }
  }

  depends_on = [
    google_artifact_registry_repository.images,
    google_artifact_registry_repository_iam_member.build,
    google_project_iam_member.build,
    google_project_service.required,
    google_storage_bucket_iam_member.build,
  ]
}

resource "terraform_data" "first_backup" {
  count = var.schedule.first_backup ? 1 : 0

  provisioner "local-exec" {
    command = "gcloud run jobs execute \"$JOB\" --project=\"$PROJECT\" --region=\"$REGION\" --wait"
    environment = {
      JOB     = google_cloud_run_v2_job.job["backup"].name
      PROJECT = var.project_id
      REGION  = var.region
    }
  }
}
