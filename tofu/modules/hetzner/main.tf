# Hetzner Cloud. No SSH key is registered: a project takes each key once, so two deployments of one operator would collide.
# The key goes in by cloud-init.

# Each reference to a resource from within another one decodes all of its instances, once for each machine. So they are looked
# up here, where it is done once.
locals {
  spread_ids   = tomap({ for key, r in hcloud_placement_group.spread : key => r.id })
  firewall_ids = tomap({ for name, r in hcloud_firewall.host : name => r.id })
  ipv4_ids     = tomap({ for name, r in hcloud_primary_ip.ipv4 : name => r.id })
  ipv6_ids     = tomap({ for name, r in hcloud_primary_ip.ipv6 : name => r.id })
  server_ids   = tomap({ for name, r in hcloud_server.host : name => r.id })
}

resource "hcloud_placement_group" "spread" {
  for_each = local.groups

  name   = "${local.prefix}-${each.key}"
  type   = "spread" # at most ten servers each
  labels = merge(local.deployment_labels, { "pressenter-group" = each.key })
}

resource "hcloud_firewall" "host" {
  for_each = var.hosts

  name   = local.names[each.key]
  labels = local.labels[each.key]

  # What no rule lets in is dropped; without any rule for going out, all goes out.
  dynamic "rule" {
    for_each = local.rules[each.key]

    content {
      description = rule.key
      direction   = "in"
      protocol    = rule.value[0].protocol
      port        = rule.value[0].port == 0 ? null : tostring(rule.value[0].port)
      source_ips  = distinct(flatten(rule.value[*].sources))
    }
  }
}

# Addresses of their own outlive their servers, so that replacing a machine keeps its address.
resource "hcloud_primary_ip" "ipv4" {
  for_each = var.hosts

  name              = "${local.names[each.key]}-v4"
  type              = "ipv4"
  assignee_type     = "server"
  auto_delete       = false
  location          = each.value.region
  delete_protection = each.value.protected
  labels            = local.labels[each.key]
}

resource "hcloud_primary_ip" "ipv6" {
  for_each = var.hosts

  name              = "${local.names[each.key]}-v6"
  type              = "ipv6"
  assignee_type     = "server"
  auto_delete       = false
  location          = each.value.region
  delete_protection = each.value.protected
  labels            = local.labels[each.key]
}

resource "hcloud_server" "host" {
  for_each = var.hosts

  name        = local.names[each.key]
  server_type = each.value.size
  image       = each.value.image != "" ? each.value.image : "debian-12"
  location    = each.value.region
  user_data   = local.cloud_init
  labels      = local.labels[each.key]

  firewall_ids       = [local.firewall_ids[each.key]]
  placement_group_id = each.value.group != "" ? local.spread_ids["${each.value.group}-${each.value.region}"] : null

  # The API wants these two to be the same.
  delete_protection  = each.value.protected
  rebuild_protection = each.value.protected

  # A disk that has not grown can go back to a smaller type.
  keep_disk = true

  # File systems are whole before the volume is taken away.
  shutdown_before_deletion = true

  public_net {
    ipv4_enabled = true
    ipv4         = local.ipv4_ids[each.key]
    ipv6_enabled = true
    ipv6         = local.ipv6_ids[each.key]
  }

  # The provider cannot read public_net back. After an import it would stop the server and delete its addresses, to give
  # it the same again. So a new address wants a new server: replace both in one plan.
  lifecycle {
    ignore_changes = [ssh_keys, user_data, image, public_net]
  }
}

# The server is named here and not in an attachment of its own: an attachment is destroyed before its server, which pulls
# the volume from under a running node. This way a replaced server goes first, shut down, and its volume moves on.
resource "hcloud_volume" "data" {
  for_each = local.with_volume

  name              = "${local.names[each.key]}-data"
  size              = each.value.volume_gb
  server_id         = local.server_ids[each.key]
  automount         = false
  delete_protection = each.value.protected
  labels            = local.labels[each.key]
}
