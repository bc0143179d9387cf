# UNVERIFIED: written from the provider's documentation, planned by nobody against Google Cloud.
#
# Google Compute Engine. A region is written as a zone, as in europe-west1-b. Its Debian images have no cloud-init: the guest
# agent reads the keys from the metadata, and makes the user with sudo.

locals {
  regions = { for name, h in var.hosts : name => regex("^(.*)-[a-z]$", h.region)[0] }

  # Spread policies belong to a region; the key is a group and a zone, as everywhere.
  firewalls = {
    for r in flatten([
      for name, rules in local.rules : [
        for key, rs in rules : [
          for family, sources in {
            v4 = [for s in distinct(flatten(rs[*].sources)) : s if !strcontains(s, ":")]
            v6 = [for s in distinct(flatten(rs[*].sources)) : s if strcontains(s, ":")]
          } : { key = "${name}-${key}-${family}", host = name, rule = rs[0], sources = sources, v6 = family == "v6" } if length(sources) > 0
        ]
      ]
    ]) : r.key => r
  }
}

# The network named default lets SSH in from everywhere.
resource "google_compute_network" "own" {
  for_each = toset(length(var.hosts) > 0 ? ["own"] : [])

  name                    = local.prefix
  description             = "pressenter ${var.id}"
  auto_create_subnetworks = true
}

resource "google_compute_firewall" "in" {
  for_each = local.firewalls

  name          = "${local.prefix}-${substr(sha256(each.key), 0, 12)}"
  description   = "pressenter ${var.id} ${each.key}"
  network       = google_compute_network.own["own"].name
  direction     = "INGRESS"
  target_tags   = [local.names[each.value.host]]
  source_ranges = each.value.sources

  allow {
    protocol = each.value.rule.protocol == "icmp" && each.value.v6 ? "58" : each.value.rule.protocol
    ports    = each.value.rule.port == 0 ? null : [tostring(each.value.rule.port)]
  }
}

resource "google_compute_resource_policy" "spread" {
  for_each = local.groups

  name        = "${local.prefix}-${each.key}"
  region      = regex("^(.*)-[a-z]$", each.value[0].region)[0]
  description = "pressenter ${var.id}"

  group_placement_policy {
    availability_domain_count = 8
  }
}

resource "google_compute_address" "host" {
  for_each = var.hosts

  name        = local.names[each.key]
  region      = local.regions[each.key]
  description = "pressenter ${var.id}"
  labels      = local.labels[each.key]
}

resource "google_compute_disk" "data" {
  for_each = local.with_volume

  name        = "${local.names[each.key]}-data"
  zone        = each.value.region
  type        = "pd-balanced"
  size        = each.value.volume_gb
  description = "pressenter ${var.id}"
  labels      = local.labels[each.key]
}

resource "google_compute_instance" "host" {
  for_each = var.hosts

  name                      = local.names[each.key]
  zone                      = each.value.region
  machine_type              = each.value.size
  description               = "pressenter ${var.id}"
  deletion_protection       = each.value.protected
  allow_stopping_for_update = true
  resource_policies         = each.value.group != "" ? [google_compute_resource_policy.spread["${each.value.group}-${each.value.region}"].self_link] : []
  labels                    = local.labels[each.key]
  tags                      = [local.names[each.key]]

  boot_disk {
    initialize_params {
      image  = each.value.image != "" ? each.value.image : "debian-cloud/debian-12"
      size   = 20
      type   = "pd-balanced"
      labels = local.labels[each.key]
    }
  }

  dynamic "attached_disk" {
    for_each = each.value.volume_gb > 0 ? [google_compute_disk.data[each.key].self_link] : []

    content {
      source      = attached_disk.value
      device_name = "data"
    }
  }

  network_interface {
    network = google_compute_network.own["own"].name

    access_config {
      nat_ip = google_compute_address.host[each.key].address
    }
  }

  metadata = {
    "enable-oslogin"         = "FALSE"
    "block-project-ssh-keys" = "TRUE"
    "ssh-keys"               = join("\n", [for k in var.ssh_keys : "${local.ssh_user}:${k}"])
    "user-data"              = local.cloud_init # read by Ubuntu's images
  }

  lifecycle {
    ignore_changes = [metadata, boot_disk[0].initialize_params[0].image]
  }

  depends_on = [google_compute_firewall.in]
}
