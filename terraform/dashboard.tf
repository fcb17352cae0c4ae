# One page: is there a backup, how did the last runs end, how large and how long are they, what went wrong.

locals {
  charts = [
    { title = "Backups by outcome", filter = "metric.type=\"logging.googleapis.com/user/${local.metric_prefix}_backup_finished\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = ["metric.label.outcome"] },
    { title = "Verifications by outcome", filter = "metric.type=\"logging.googleapis.com/user/${local.metric_prefix}_verify_finished\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = ["metric.label.outcome"] },
    { title = "Bytes of a backup", filter = "metric.type=\"logging.googleapis.com/user/${local.metric_prefix}_backup_bytes\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_MEAN", group = [] },
    { title = "Seconds that a backup took", filter = "metric.type=\"logging.googleapis.com/user/${local.metric_prefix}_backup_seconds\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_MEAN", group = [] },
    { title = "Drills by outcome", filter = "metric.type=\"logging.googleapis.com/user/${local.metric_prefix}_drill_finished\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = ["metric.label.outcome"] },
    { title = "Restores by outcome", filter = "metric.type=\"logging.googleapis.com/user/${local.metric_prefix}_restore_finished\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = ["metric.label.outcome"] },
    { title = "Prunes by outcome", filter = "metric.type=\"logging.googleapis.com/user/${local.metric_prefix}_prune_finished\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = ["metric.label.outcome"] },
    { title = "Bytes in the bucket", filter = "metric.type=\"storage.googleapis.com/storage/v2/total_bytes\" resource.type=\"gcs_bucket\" resource.label.bucket_name=\"${local.bucket_name}\"", aligner = "ALIGN_MEAN", reducer = "REDUCE_SUM", group = ["metric.label.type"] },
    { title = "Memory of the service (share of its limit)", filter = "metric.type=\"run.googleapis.com/container/memory/utilizations\" resource.type=\"cloud_run_revision\" resource.label.service_name=\"${var.service_name}\"", aligner = "ALIGN_PERCENTILE_99", reducer = "REDUCE_MAX", group = [] },
  ]
}

resource "google_monitoring_dashboard" "backup" {
  project = var.project_id

  # Without zeros and empty lists: the API drops them, and every plan would put them back.
  dashboard_json = jsonencode({
    displayName = "Qdrant backup (${var.service_name})"
    labels      = { for key, value in var.labels : key => "" }
    mosaicLayout = {
      columns = 48
      tiles = concat(
        [for i, chart in local.charts : merge({ for key, value in { xPos = 24 * (i % 2), yPos = 16 * floor(i / 2) } : key => value if value != 0 }, {
          width  = 24
          height = 16
          widget = {
            title = chart.title
            xyChart = {
              dataSets = [{
                plotType = "LINE"
                timeSeriesQuery = {
                  timeSeriesFilter = {
                    filter = chart.filter
                    aggregation = merge({
                      alignmentPeriod    = "3600s"
                      perSeriesAligner   = chart.aligner
                      crossSeriesReducer = chart.reducer
                    }, { for group in chart.group : "groupByFields" => group... })
                  }
                }
              }]
            }
          }
        })],
        [{
          yPos   = 16 * ceil(length(local.charts) / 2)
          width  = 48
          height = 20
          widget = {
            title = "Warnings and errors"
            logsPanel = {
              filter        = "(${local.log_source}) AND severity>=WARNING"
              resourceNames = ["projects/${var.project_id}"]
            }
          }
        }],
      )
    }
  })

  depends_on = [google_project_service.required]
}
