# UNVERIFIED: written from the provider's documentation, planned by nobody against AWS.
#
# Amazon EC2, in the default VPC of each region.

data "aws_availability_zones" "here" {
  for_each = toset([for h in var.hosts : h.region])

  region = each.key
  state  = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

# Debian's own account.
data "aws_ami" "default" {
  for_each = toset([for h in var.hosts : h.region if h.image == ""])

  region      = each.key
  owners      = ["136693071363"]
  most_recent = true

  filter {
    name   = "name"
    values = ["debian-12-amd64-*"]
  }
}

resource "aws_placement_group" "spread" {
  for_each = local.groups

  region   = each.value[0].region
  name     = "${local.prefix}-${each.key}"
  strategy = "spread" # at most seven instances in one zone
  tags     = local.deployment_labels
}

resource "aws_security_group" "host" {
  for_each = var.hosts

  region      = each.value.region
  name        = local.names[each.key]
  description = "pressenter ${var.id}"
  tags        = merge(local.labels[each.key], { Name = local.names[each.key] })
}

resource "aws_vpc_security_group_ingress_rule" "in" {
  for_each = local.rule_list

  region            = var.hosts[each.value.host].region
  security_group_id = aws_security_group.host[each.value.host].id
  ip_protocol       = each.value.protocol == "icmp" && each.value.v6 ? "icmpv6" : each.value.protocol
  from_port         = each.value.port == 0 ? -1 : each.value.port
  to_port           = each.value.port == 0 ? -1 : each.value.port
  cidr_ipv4         = each.value.v6 ? null : each.value.source
  cidr_ipv6         = each.value.v6 ? each.value.source : null
  tags              = local.labels[each.value.host]
}

resource "aws_vpc_security_group_egress_rule" "out" {
  for_each = var.hosts

  region            = each.value.region
  security_group_id = aws_security_group.host[each.key].id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.labels[each.key]
}

resource "aws_eip" "host" {
  for_each = var.hosts

  region = each.value.region
  domain = "vpc"
  tags   = merge(local.labels[each.key], { Name = local.names[each.key] })
}

resource "aws_instance" "host" {
  for_each = var.hosts

  region                  = each.value.region
  availability_zone       = data.aws_availability_zones.here[each.value.region].names[0]
  ami                     = each.value.image != "" ? each.value.image : data.aws_ami.default[each.value.region].id
  instance_type           = each.value.size
  user_data               = local.cloud_init
  disable_api_termination = each.value.protected
  placement_group         = each.value.group != "" ? aws_placement_group.spread["${each.value.group}-${each.value.region}"].name : null
  vpc_security_group_ids  = [aws_security_group.host[each.key].id]
  tags                    = merge(local.labels[each.key], { Name = local.names[each.key] })

  # Credentials of the instance can be asked for only by who can set a header.
  metadata_options {
    http_tokens = "required"
  }

  root_block_device {
    volume_size = 20
    volume_type = "gp3"
    encrypted   = true
    tags        = local.labels[each.key]
  }

  lifecycle {
    ignore_changes = [key_name, user_data, ami, availability_zone]
  }

  depends_on = [aws_vpc_security_group_ingress_rule.in, aws_vpc_security_group_egress_rule.out]
}

resource "aws_eip_association" "host" {
  for_each = var.hosts

  region        = each.value.region
  allocation_id = aws_eip.host[each.key].id
  instance_id   = aws_instance.host[each.key].id
}

resource "aws_ebs_volume" "data" {
  for_each = local.with_volume

  region            = each.value.region
  availability_zone = data.aws_availability_zones.here[each.value.region].names[0]
  size              = each.value.volume_gb
  type              = "gp3"
  encrypted         = true
  tags              = merge(local.labels[each.key], { Name = "${local.names[each.key]}-data" })

  # A list of zones that changes must not move a volume.
  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_volume_attachment" "data" {
  for_each = local.with_volume

  region                         = each.value.region
  device_name                    = "/dev/sdf"
  instance_id                    = aws_instance.host[each.key].id
  volume_id                      = aws_ebs_volume.data[each.key].id
  stop_instance_before_detaching = true
}
