# OpenStack: OVHcloud and others. A region is written REGION or REGION/NETWORK, NETWORK being the external network;
# OVHcloud's name for it is the default.
#
# Where the external network may be used by all (OVHcloud), a machine's port lies in it. Elsewhere the machine has a private
# network, a router and a floating address. Both are told from the network itself.

locals {
  places = {
    for place in distinct([for h in var.hosts : h.region]) : place => {
      region  = split("/", place)[0]
      network = try(split("/", place)[1], "Ext-Net")
    }
  }

  direct  = { for place, p in local.places : place => lower(data.openstack_networking_network_v2.external[place].shared) == "true" }
  private = { for place, p in local.places : place => p if !local.direct[place] }
  floats  = tomap({ for name, h in var.hosts : name => h if !local.direct[h.region] })

  # Networks' tags have at most 60 characters.
  deployment_tags = [for key, value in local.deployment_labels : substr("${key}=${value}", 0, 60)]
  tags            = tomap({ for name, labels in local.labels : name => [for key, value in labels : substr("${key}=${value}", 0, 60)] })
}

# Each reference to a resource from within another one decodes all of its instances, once for each machine. So they are looked
# up here, where it is done once.
locals {
  group_ids    = tomap({ for name, r in openstack_networking_secgroup_v2.host : name => r.id })
  port_ids     = tomap({ for name, r in openstack_networking_port_v2.host : name => r.id })
  floating     = tomap({ for name, r in openstack_networking_floatingip_v2.host : name => r.address })
  spread_ids   = tomap({ for key, r in openstack_compute_servergroup_v2.spread : key => r.id })
  instance_ids = tomap({ for name, r in openstack_compute_instance_v2.host : name => r.id })
  volume_ids   = tomap({ for name, r in openstack_blockstorage_volume_v3.data : name => r.id })
}

data "openstack_networking_network_v2" "external" {
  for_each = local.places

  region   = each.value.region
  name     = each.value.network
  external = true
}

resource "openstack_networking_network_v2" "private" {
  for_each = local.private

  region         = each.value.region
  name           = "${local.prefix}-${each.value.region}"
  admin_state_up = true
  tags           = local.deployment_tags
}

resource "openstack_networking_subnet_v2" "private" {
  for_each = local.private

  region     = each.value.region
  name       = "${local.prefix}-${each.value.region}"
  network_id = openstack_networking_network_v2.private[each.key].id
  cidr       = "10.237.0.0/24"
  ip_version = 4
  tags       = local.deployment_tags
}

resource "openstack_networking_router_v2" "private" {
  for_each = local.private

  region              = each.value.region
  name                = "${local.prefix}-${each.value.region}"
  admin_state_up      = true
  external_network_id = data.openstack_networking_network_v2.external[each.key].id
  tags                = local.deployment_tags
}

resource "openstack_networking_router_interface_v2" "private" {
  for_each = local.private

  region    = each.value.region
  router_id = openstack_networking_router_v2.private[each.key].id
  subnet_id = openstack_networking_subnet_v2.private[each.key].id
}

# A new group lets nothing in and all out.
resource "openstack_networking_secgroup_v2" "host" {
  for_each = var.hosts

  region      = local.places[each.value.region].region
  name        = local.names[each.key]
  description = "pressenter ${var.id}"
  tags        = local.tags[each.key]
}

resource "openstack_networking_secgroup_rule_v2" "in" {
  for_each = local.rule_list

  region            = local.places[var.hosts[each.value.host].region].region
  security_group_id = local.group_ids[each.value.host]
  direction         = "ingress"
  ethertype         = each.value.v6 ? "IPv6" : "IPv4"
  protocol          = each.value.protocol == "icmp" && each.value.v6 ? "ipv6-icmp" : each.value.protocol
  port_range_min    = each.value.port == 0 ? null : each.value.port
  port_range_max    = each.value.port == 0 ? null : each.value.port
  remote_ip_prefix  = each.value.source
  description       = "pressenter ${var.id}"
}

# The port holds the address, so replacing a machine keeps it.
resource "openstack_networking_port_v2" "host" {
  for_each = var.hosts

  region             = local.places[each.value.region].region
  name               = local.names[each.key]
  admin_state_up     = true
  security_group_ids = [local.group_ids[each.key]]
  tags               = local.tags[each.key]
  network_id = (local.direct[each.value.region]
    ? data.openstack_networking_network_v2.external[each.value.region].id
  : openstack_networking_network_v2.private[each.value.region].id)

  dynamic "fixed_ip" {
    for_each = { for place, s in openstack_networking_subnet_v2.private : place => s.id if place == each.value.region }

    content {
      subnet_id = fixed_ip.value
    }
  }
}

resource "openstack_networking_floatingip_v2" "host" {
  for_each = local.floats

  region      = local.places[each.value.region].region
  pool        = local.places[each.value.region].network
  description = "${local.names[each.key]} pressenter ${var.id}"
  tags        = local.tags[each.key]
}

resource "openstack_networking_floatingip_associate_v2" "host" {
  for_each = local.floats

  region      = local.places[each.value.region].region
  floating_ip = local.floating[each.key]
  port_id     = local.port_ids[each.key]

  # An address can be given out only once its router has a leg in the network.
  depends_on = [openstack_networking_router_interface_v2.private]
}

resource "openstack_compute_servergroup_v2" "spread" {
  for_each = local.groups

  region   = split("/", each.value[0].region)[0]
  name     = "${local.prefix}-${each.key}"
  policies = ["anti-affinity"]
}

resource "openstack_compute_instance_v2" "host" {
  for_each = var.hosts

  region      = local.places[each.value.region].region
  name        = local.names[each.key]
  flavor_name = each.value.size
  image_name  = each.value.image != "" ? each.value.image : "Debian 12"
  user_data   = local.cloud_init
  metadata    = local.labels[each.key]

  # The first boot does not wait for a network service.
  config_drive = true

  # File systems are whole before anything is taken away.
  stop_before_destroy = true

  network {
    port = local.port_ids[each.key]
  }

  dynamic "scheduler_hints" {
    for_each = each.value.group != "" ? ["${each.value.group}-${each.value.region}"] : []

    content {
      group = local.spread_ids[scheduler_hints.value]
    }
  }

  # The provider cannot read the last three back, and would replace an imported machine for them. So a new port wants a new
  # machine: replace both in one plan.
  lifecycle {
    ignore_changes = [key_pair, user_data, image_id, image_name, config_drive, network, scheduler_hints]
  }

  # Rules before the first boot, and a way out for it.
  depends_on = [openstack_networking_secgroup_rule_v2.in, openstack_networking_router_interface_v2.private]
}

resource "openstack_blockstorage_volume_v3" "data" {
  for_each = local.with_volume

  region      = local.places[each.value.region].region
  name        = "${local.names[each.key]}-data"
  description = "pressenter ${var.id}"
  size        = each.value.volume_gb
  metadata    = local.labels[each.key]

  # Otherwise the provider refuses to let one grow that is attached.
  enable_online_resize = true
}

# An attachment is destroyed before its instance is stopped: what drives this stops the node and unmounts first.
resource "openstack_compute_volume_attach_v2" "data" {
  for_each = local.with_volume

  region      = local.places[each.value.region].region
  instance_id = local.instance_ids[each.key]
  volume_id   = local.volume_ids[each.key]
}
