# Vultr. It cannot spread instances over hardware and cannot protect them from deletion. Only instances have tags; what
# else there is carries the id in its label or description.

locals {
  # Tags are words.
  tags = tomap({
    for name, h in var.hosts : name => [
      "pressenter-${var.id}",
      "pressenter-deployment-${var.deployment}",
      "pressenter-host-${name}",
      "pressenter-role-${h.role}",
    ]
  })
}

# Each reference to a resource from within another one decodes all of its instances, once for each machine. So they are looked
# up here, where it is done once.
locals {
  group_ids    = tomap({ for name, r in vultr_firewall_group.host : name => r.id })
  reserved_ids = tomap({ for name, r in vultr_reserved_ip.host : name => r.id })
  instance_ids = tomap({ for name, r in vultr_instance.host : name => r.id })
}

resource "vultr_firewall_group" "host" {
  for_each = var.hosts

  description = "${local.names[each.key]} pressenter-${var.id}"
}

resource "vultr_firewall_rule" "in" {
  for_each = local.rule_list

  firewall_group_id = local.group_ids[each.value.host]
  protocol          = each.value.protocol
  port              = each.value.port == 0 ? "" : tostring(each.value.port)
  ip_type           = each.value.v6 ? "v6" : "v4"
  subnet            = split("/", each.value.source)[0]
  subnet_size       = tonumber(split("/", each.value.source)[1])
  notes             = "pressenter-${var.id}"
}

resource "vultr_reserved_ip" "host" {
  for_each = local.dialled

  region  = each.value.region
  ip_type = "v4"
  label   = "${local.names[each.key]} pressenter-${var.id}"

  # The instance takes it when it is made.
  lifecycle {
    ignore_changes = [instance_id]
  }
}

resource "vultr_instance" "host" {
  for_each = var.hosts

  label    = local.names[each.key]
  hostname = local.names[each.key]
  region   = each.value.region
  plan     = each.value.size

  # Debian 12 x64 (bookworm). Vultr has numbers, not names.
  os_id = tonumber(each.value.image != "" ? each.value.image : "2136")

  user_data         = local.cloud_init
  enable_ipv6       = true
  activation_email  = false
  firewall_group_id = local.group_ids[each.key]
  reserved_ip_id    = each.value.role == "sentry" ? local.reserved_ids[each.key] : null
  tags              = local.tags[each.key]

  # The provider cannot read reserved_ip_id and user_scheme back, and would replace an imported instance for them. So a new
  # address wants a new instance: replace both in one plan.
  lifecycle {
    ignore_changes = [ssh_key_ids, user_data, os_id, hostname, reserved_ip_id, user_scheme]
  }

  # Rules before the first boot.
  depends_on = [vultr_firewall_rule.in]
}

# It names its instance itself, so a replaced instance goes first and its volume moves on.
resource "vultr_block_storage" "data" {
  for_each = local.with_volume

  label                = "${local.names[each.key]}-data pressenter-${var.id}"
  region               = each.value.region
  size_gb              = each.value.volume_gb
  block_type           = "high_perf"
  attached_to_instance = local.instance_ids[each.key]
  live                 = true # otherwise attaching restarts the instance
}
