terraform {
  required_providers {
    openstack = {
      source = "terraform-provider-openstack/openstack"
    }
  }
}

variable "image" { default = "Debian 12" }

resource "openstack_compute_keypair_v2" "me" {
  name       = "me"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd2jYQ0HqbYjGqdyYBVxKzDYTpN0Qn3u0TGTg1OtVv me"
}

data "openstack_networking_network_v2" "public" {
  name     = "public"
  external = true
}

resource "openstack_networking_network_v2" "n" {
  name = "n"
}

resource "openstack_networking_subnet_v2" "n" {
  network_id = openstack_networking_network_v2.n.id
  cidr       = "10.0.0.0/24"
}

resource "openstack_networking_router_v2" "r" {
  name                = "r"
  external_network_id = data.openstack_networking_network_v2.public.id
}

resource "openstack_networking_router_interface_v2" "r" {
  router_id = openstack_networking_router_v2.r.id
  subnet_id = openstack_networking_subnet_v2.n.id
}

resource "openstack_networking_secgroup_v2" "f" {
  name = "f"
}

resource "openstack_networking_secgroup_rule_v2" "ssh" {
  security_group_id = openstack_networking_secgroup_v2.f.id
  direction         = "ingress"
  ethertype         = "IPv4"
  protocol          = "tcp"
  port_range_min    = 22
  port_range_max    = 22
  remote_ip_prefix  = "0.0.0.0/0"
}

resource "openstack_networking_port_v2" "p" {
  network_id         = openstack_networking_network_v2.n.id
  security_group_ids = [openstack_networking_secgroup_v2.f.id]

  fixed_ip {
    subnet_id = openstack_networking_subnet_v2.n.id
  }
}

resource "openstack_networking_floatingip_v2" "a" {
  pool = "public"
}

resource "openstack_networking_floatingip_associate_v2" "a" {
  floating_ip = openstack_networking_floatingip_v2.a.address
  port_id     = openstack_networking_port_v2.p.id
  depends_on  = [openstack_networking_router_interface_v2.r]
}

resource "openstack_compute_servergroup_v2" "g" {
  name     = "g"
  policies = ["anti-affinity"]
}

resource "openstack_compute_instance_v2" "s" {
  name        = "s1"
  flavor_name = "b3-8"
  image_name  = var.image
  key_pair    = openstack_compute_keypair_v2.me.name
  user_data   = "#cloud-config\n"
  metadata    = { deployment = "d1" }

  network {
    port = openstack_networking_port_v2.p.id
  }

  scheduler_hints {
    group = openstack_compute_servergroup_v2.g.id
  }
}

resource "openstack_blockstorage_volume_v3" "v" {
  name = "v"
  size = 10
}

resource "openstack_compute_volume_attach_v2" "v" {
  instance_id = openstack_compute_instance_v2.s.id
  volume_id   = openstack_blockstorage_volume_v3.v.id
}

data "openstack_compute_flavor_v2" "size" {
  name = "b3-8"
}

output "listed" { value = [openstack_compute_instance_v2.s.name] }
output "address" { value = openstack_networking_floatingip_v2.a.address }
