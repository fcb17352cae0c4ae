# `terraform destroy` removes what nothing else needs first: alerts, schedule and grants would be gone by the time that the
# service, protected from deletion, refuses. This has a say before them: it depends on everything, so it is the first to go,
# and while it refuses nothing else is touched.

resource "terraform_data" "deletion_protection" {
  input = var.deletion_protection

  provisioner "local-exec" {
    when    = destroy
    command = self.input ? "echo deletion_protection is on, so nothing was destroyed. Set deletion_protection = false and run terraform apply, then terraform destroy. && exit 1" : "exit 0"
  }

  depends_on = [
    google_artifact_registry_repository.images,
    google_artifact_registry_repository_iam_member.build,
    google_artifact_registry_repository_iam_member.deploy,
    google_cloud_run_v2_job.job,
    google_cloud_run_v2_job_iam_member.deploy,
    google_cloud_run_v2_job_iam_member.invoker,
    google_cloud_run_v2_job_iam_member.restore,
    google_cloud_run_v2_job_iam_member.scheduler,
    google_cloud_run_v2_job_iam_member.viewer,
    google_cloud_run_v2_service.backup,
    google_cloud_run_v2_service_iam_member.deploy,
    google_cloud_run_v2_service_iam_member.invoker,
    google_cloud_run_v2_service_iam_member.scheduler,
    google_cloud_run_v2_service_iam_member.uptime,
    google_cloud_run_v2_service_iam_member.viewer,
    google_cloud_scheduler_job.backup,
    google_cloud_scheduler_job.verify,
    google_compute_firewall.qdrant,
    google_compute_subnetwork.direct,
    google_kms_crypto_key_iam_member.registry,
    google_kms_crypto_key_iam_member.storage,
    google_kms_crypto_key_iam_member.vault,
    google_logging_metric.events,
    google_logging_metric.sizes,
    google_monitoring_alert_policy.counted,
    google_monitoring_alert_policy.freshness,
    google_monitoring_alert_policy.job,
    google_monitoring_alert_policy.logged,
    google_monitoring_alert_policy.vault,
    google_monitoring_dashboard.backup,
    google_monitoring_notification_channel.email,
    google_monitoring_uptime_check_config.freshness,
    google_project_iam_audit_config.data_access,
    google_project_iam_member.build,
    google_project_iam_member.deploy,
    google_project_service.required,
    google_secret_manager_secret.qdrant_api_key,
    google_secret_manager_secret_iam_member.backup,
    google_secret_manager_secret_iam_member.environment,
    google_secret_manager_secret_iam_member.restore,
    google_service_account.backup,
    google_service_account.build,
    google_service_account.deploy,
    google_service_account.restore,
    google_service_account.scheduler,
    google_service_account_iam_member.deploy,
    google_service_account_iam_member.restore_signs_as_itself,
    google_storage_bucket.backup,
    google_storage_bucket.build_source,
    google_storage_bucket.vault,
    google_storage_bucket_iam_member.backup,
    google_storage_bucket_iam_member.build,
    google_storage_bucket_iam_member.restore,
    google_storage_bucket_iam_member.vault,
    google_storage_transfer_job.vault,
    google_vpc_access_connector.backup,
  ]
}
