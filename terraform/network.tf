# The way from service and jobs to Qdrant: a Serverless VPC Access connector or Direct VPC egress, made here or there already.
#
# What may be reached that way. With Direct VPC egress the firewall decides, and the rule below opens Qdrant's port and nothing
# else. A connector comes with a rule of Google's own that no list of rules shows: from its range everything in the network may
# be reached (priority 1000). The rule below adds nothing to that and narrows nothing; it is there for the day that somebody
# denies the range more, by rules of a priority below 1000.

locals {
  makes_connector = var.network.mode == "connector" && var.network.connector == null
  makes_subnet    = var.network.mode == "direct" && var.network.subnet == null

  # The range that calls come from; null where it is that of something that exists, and nobody has said it.
  network_cidr = try(coalesce(
    var.network.cidr,
    local.makes_subnet ? "10.8.0.64/26" : null,
    local.makes_connector && var.network.subnet == null ? "10.8.0.0/28" : null,
  ), null)
  qdrant_ports = sort(distinct([for url in concat([var.qdrant_url], var.qdrant_nodes) : regex(":([0-9]+)$", url)[0]]))

  # Less than 21 characters, and there a hyphen counts twice.
  connector_name = length(var.service_name) + length(regexall("-", var.service_name)) <= 20 ? var.service_name : replace(var.service_name, "-", "")

  # A Shared VPC is named with its project.
  network_path = var.network.host_project == null ? var.network.name : "projects/${var.network.host_project}/global/networks/${var.network.name}"
  subnet_path  = var.network.host_project == null || var.network.subnet == null ? var.network.subnet : "projects/${var.network.host_project}/regions/${var.region}/subnetworks/${var.network.subnet}"

  # For the service and the jobs alike: one way, or none.
  vpc_access = var.network.mode == "none" ? [] : [{
    connector  = local.makes_connector ? one(google_vpc_access_connector.backup[*].id) : var.network.connector
    interfaces = var.network.mode == "direct" ? [local.makes_subnet ? one(google_compute_subnetwork.direct[*].name) : local.subnet_path] : []
  }]
}

resource "google_vpc_access_connector" "backup" {
  count = local.makes_connector ? 1 : 0

  project       = var.project_id
  region        = var.region
  name          = local.connector_name
  network       = var.network.subnet == null ? var.network.name : null
  ip_cidr_range = var.network.subnet == null ? local.network_cidr : null
  machine_type  = var.network.connector_machine_type
  min_instances = 2
  max_instances = var.network.connector_max_instances

  dynamic "subnet" {
    for_each = var.network.subnet == null ? [] : [var.network.subnet]
    content {
      name       = subnet.value
      project_id = coalesce(var.network.host_project, var.project_id)
    }
  }

  lifecycle {
    # Who leaves it for another way is first moved there. (Another range for a connector of the same name is therefore
    # refused by the API, before anything is cut off: go by way of mode = "direct", or make a connector of your own.)
    create_before_destroy = true
  }

  depends_on = [google_project_service.required]
}

resource "google_compute_subnetwork" "direct" {
  count = local.makes_subnet ? 1 : 0

  project                  = var.project_id
  region                   = var.region
  name                     = var.service_name
  description              = "Addresses of the Qdrant backup service (Direct VPC egress)"
  network                  = var.network.name
  ip_cidr_range            = local.network_cidr
  private_ip_google_access = true

  lifecycle {
    # As above. Cloud Run holds a subnet that it has used for an hour or two: until then its removal fails, and a later
    # apply makes up for it.
    create_before_destroy = true
  }

  depends_on = [google_project_service.required]
}

# One for each way, so that the one that is left stays open until service and jobs have left it.
resource "google_compute_firewall" "qdrant" {
  for_each = toset(var.network.firewall && var.network.mode != "none" && local.network_cidr != null ? [var.network.mode] : [])

  project       = coalesce(var.network.host_project, var.project_id)
  name          = each.key == "direct" ? "${var.service_name}-direct-to-qdrant" : "${var.service_name}-to-qdrant"
  description   = "The Qdrant backup service may reach Qdrant's HTTP API"
  network       = var.network.name
  direction     = "INGRESS"
  source_ranges = [local.network_cidr]
  target_tags   = length(var.network.qdrant_tags) > 0 ? var.network.qdrant_tags : null

  allow {
    protocol = "tcp"
    ports    = local.qdrant_ports
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.required]
}

moved {
  from = google_compute_firewall.qdrant[0]
  to   = google_compute_firewall.qdrant["connector"]
}
