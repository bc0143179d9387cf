# DigitalOcean. It cannot spread droplets over hardware and cannot protect them from deletion: spread over regions, and
# mind the plan. No SSH key is registered: an account takes each key once, so two deployments would collide.

locals {
  # Tags are words of an account. A host's tag selects its firewall, so it carries the id as names do.
  deployment_tags = ["pressenter:${var.id}", "pressenter-deployment:${var.deployment}"]
  tags = tomap({
    for name, h in var.hosts :
    name => concat(local.deployment_tags, ["pressenter-host:${local.names[name]}", "pressenter-role:${h.role}"])
  })
}

# Each reference to a resource from within another one decodes all of its instances, once for each machine. So they are looked
# up here, where it is done once.
locals {
  tag_names   = tomap({ for name, r in digitalocean_tag.host : name => r.name })
  volume_ids  = tomap({ for name, r in digitalocean_volume.data : name => r.id })
  reserved    = tomap({ for name, r in digitalocean_reserved_ip.host : name => r.ip_address })
  droplet_ids = tomap({ for name, r in digitalocean_droplet.host : name => r.id })
}

resource "digitalocean_tag" "host" {
  for_each = var.hosts

  name = "pressenter-host:${local.names[each.key]}"
}

# By tag and not by droplet: it is there before the droplet boots, and replacing the droplet does not touch it. A droplet
# with a firewall lets in and out only what a rule allows.
resource "digitalocean_firewall" "host" {
  for_each = var.hosts

  name = local.names[each.key]
  tags = [local.tag_names[each.key]]

  dynamic "inbound_rule" {
    for_each = local.rules[each.key]

    content {
      protocol         = inbound_rule.value[0].protocol
      port_range       = inbound_rule.value[0].port == 0 ? null : tostring(inbound_rule.value[0].port)
      source_addresses = distinct(flatten(inbound_rule.value[*].sources))
    }
  }

  dynamic "outbound_rule" {
    for_each = { tcp = "1-65535", udp = "1-65535", icmp = null }

    content {
      protocol              = outbound_rule.key
      port_range            = outbound_rule.value
      destination_addresses = local.world
    }
  }
}

resource "digitalocean_volume" "data" {
  for_each = local.with_volume

  name   = "${local.names[each.key]}-data"
  region = each.value.region
  size   = each.value.volume_gb
  tags   = local.tags[each.key]
}

resource "digitalocean_droplet" "host" {
  for_each = var.hosts

  name          = local.names[each.key]
  region        = each.value.region
  size          = each.value.size
  image         = each.value.image != "" ? each.value.image : "debian-12-x64"
  user_data     = local.cloud_init
  ipv6          = true
  monitoring    = false
  droplet_agent = false
  tags          = local.tags[each.key]

  # A disk that has not grown can go back to a smaller size.
  resize_disk = false

  # Named here and not in an attachment of its own: this way the droplet is shut down, then the volume is detached.
  volume_ids        = each.value.volume_gb > 0 ? [local.volume_ids[each.key]] : []
  graceful_shutdown = true

  timeouts {
    delete = "10m" # the provider's own minute is shorter than a node's shutdown
  }

  # The provider cannot read droplet_agent back, and would replace an imported droplet for it.
  lifecycle {
    ignore_changes = [ssh_keys, user_data, image, droplet_agent]
  }

  depends_on = [digitalocean_firewall.host]
}

# An account has three of these unless more are asked for, so only those who are dialled have one.
resource "digitalocean_reserved_ip" "host" {
  for_each = local.dialled

  region = each.value.region

  # The assignment below says it.
  lifecycle {
    ignore_changes = [droplet_id]
  }
}

resource "digitalocean_reserved_ip_assignment" "host" {
  for_each = local.dialled

  ip_address = local.reserved[each.key]
  droplet_id = local.droplet_ids[each.key]
}
