# The way from the service to Qdrant: an address range of the VPC, and a hole in the firewall for that range only.

locals {
  egress_cidr = coalesce(var.egress_cidr, var.egress == "direct" ? "10.8.0.64/26" : "10.8.0.0/28")
  qdrant_port = regex(":([0-9]+)$", var.qdrant_url)[0]
}

resource "google_vpc_access_connector" "backup" {
  count = var.egress == "connector" ? 1 : 0

  project       = var.project_id
  region        = var.region
  name          = var.service_name
  network       = var.network
  ip_cidr_range = local.egress_cidr
  machine_type  = var.connector_machine_type
  min_instances = 2
  max_instances = var.connector_max_instances

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.required]
}

resource "google_compute_subnetwork" "direct" {
  count = var.egress == "direct" ? 1 : 0

  project                  = var.project_id
  region                   = var.region
  name                     = var.service_name
  description              = "Addresses of the Qdrant backup service (Direct VPC egress)"
  network                  = var.network
  ip_cidr_range            = local.egress_cidr
  private_ip_google_access = true

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.required]
}

resource "google_compute_firewall" "qdrant" {
  count = var.create_firewall_rule && var.egress != "none" ? 1 : 0

  project       = var.project_id
  name          = "${var.service_name}-to-qdrant"
  description   = "The Qdrant backup service may reach Qdrant's HTTP API"
  network       = var.network
  direction     = "INGRESS"
  source_ranges = [local.egress_cidr]
  target_tags   = length(var.qdrant_network_tags) > 0 ? var.qdrant_network_tags : null

  allow {
    protocol = "tcp"
    ports    = [local.qdrant_port]
  }

  depends_on = [google_project_service.required]
}
