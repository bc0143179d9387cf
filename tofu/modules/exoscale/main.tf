# Exoscale. An instance keeps its address as long as it lives and gets another when it is replaced: an elastic address
# would have to be set up inside of the machine, and its own traffic would still leave from the first.

locals {
  # A template is an id that differs by zone.
  templates = {
    for h in var.hosts : "${h.region}/${h.image}" => {
      zone = h.region
      name = h.image != "" ? h.image : "Linux Debian 12 (Bookworm) 64-bit"
    }...
  }

  # A rule has ports or types of messages.
  ports_in = { for key, r in local.rule_list : key => r if r.port != 0 }
  pings_in = { for key, r in local.rule_list : key => r if r.port == 0 }
}

# Each reference to a resource from within another one decodes all of its instances, once for each machine. So they are looked
# up here, where it is done once.
locals {
  group_ids  = tomap({ for name, r in exoscale_security_group.host : name => r.id })
  spread_ids = tomap({ for key, r in exoscale_anti_affinity_group.spread : key => r.id })
  volume_ids = tomap({ for name, r in exoscale_block_storage_volume.data : name => r.id })
}

data "exoscale_template" "image" {
  for_each = local.templates

  zone = each.value[0].zone
  name = each.value[0].name
}

resource "exoscale_anti_affinity_group" "spread" {
  for_each = local.groups

  name        = "${local.prefix}-${each.key}"
  description = "pressenter ${var.id}"
}

# A new group lets nothing in and all out.
resource "exoscale_security_group" "host" {
  for_each = var.hosts

  name        = local.names[each.key]
  description = "pressenter ${var.id}"
}

resource "exoscale_security_group_rule" "in" {
  for_each = local.ports_in

  security_group_id = local.group_ids[each.value.host]
  type              = "INGRESS"
  description       = "pressenter ${var.id}"
  cidr              = each.value.source
  protocol          = upper(each.value.protocol)
  start_port        = each.value.port
  end_port          = each.value.port
}

resource "exoscale_security_group_rule" "ping" {
  for_each = local.pings_in

  security_group_id = local.group_ids[each.value.host]
  type              = "INGRESS"
  description       = "pressenter ${var.id}"
  cidr              = each.value.source
  protocol          = each.value.v6 ? "ICMPv6" : "ICMP"
  icmp_type         = each.value.v6 ? 128 : 8 # echo request
  icmp_code         = 0
}

resource "exoscale_block_storage_volume" "data" {
  for_each = local.with_volume

  zone   = each.value.region
  name   = "${local.names[each.key]}-data"
  size   = each.value.volume_gb
  labels = local.labels[each.key]
}

resource "exoscale_compute_instance" "host" {
  for_each = var.hosts

  zone              = each.value.region
  name              = local.names[each.key]
  type              = each.value.size
  template_id       = data.exoscale_template.image["${each.value.region}/${each.value.image}"].id
  disk_size         = each.value.role == "cosigner" ? 10 : 50
  ipv6              = true
  user_data         = local.cloud_init
  destroy_protected = each.value.protected
  labels            = local.labels[each.key]

  security_group_ids      = [local.group_ids[each.key]]
  anti_affinity_group_ids = each.value.group != "" ? [local.spread_ids["${each.value.group}-${each.value.region}"]] : []

  # Named here and not the other way round, so a replaced instance goes first and its volume moves on.
  block_storage_volume_ids = each.value.volume_gb > 0 ? [local.volume_ids[each.key]] : []

  # The provider cannot read private back, and would replace an imported instance for it; nor its volumes, and would attach
  # them once more. So a volume that is made anew is attached by hand, or with a new instance.
  lifecycle {
    ignore_changes = [ssh_keys, user_data, template_id, private, block_storage_volume_ids]
  }

  # Rules before the first boot.
  depends_on = [exoscale_security_group_rule.in, exoscale_security_group_rule.ping]
}
