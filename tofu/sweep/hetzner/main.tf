# Everything in the project that carries the id.

variable "id" {
  description = "The deployment's id."
  type        = string
}

locals {
  selector = "pressenter=${var.id}"
}

data "hcloud_servers" "found" {
  with_selector = local.selector
}

data "hcloud_volumes" "found" {
  with_selector = local.selector
}

data "hcloud_primary_ips" "found" {
  with_selector = local.selector
}

data "hcloud_firewalls" "found" {
  with_selector = local.selector
}

data "hcloud_placement_groups" "found" {
  with_selector = local.selector
}

output "found" {
  description = "What is there: its type, its id for an import block, its name, and whose it is."
  value = concat(
    [for r in data.hcloud_servers.found.servers : { type = "hcloud_server", id = tostring(r.id), name = r.name, host = lookup(r.labels, "pressenter-host", "") }],
    [for r in data.hcloud_volumes.found.volumes : { type = "hcloud_volume", id = tostring(r.id), name = r.name, host = lookup(r.labels, "pressenter-host", "") }],
    [for r in data.hcloud_primary_ips.found.primary_ips : { type = "hcloud_primary_ip", id = tostring(r.id), name = r.name, host = lookup(r.labels, "pressenter-host", "") }],
    [for r in data.hcloud_firewalls.found.firewalls : { type = "hcloud_firewall", id = tostring(r.id), name = r.name, host = lookup(r.labels, "pressenter-host", "") }],
    [for r in data.hcloud_placement_groups.found.placement_groups : { type = "hcloud_placement_group", id = tostring(r.id), name = r.name, host = lookup(r.labels, "pressenter-group", "") }],
  )
}
