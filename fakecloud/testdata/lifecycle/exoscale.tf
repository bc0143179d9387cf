terraform {
  required_providers {
    exoscale = {
      source = "exoscale/exoscale"
    }
  }
}

variable "image" { default = "Linux Debian 12 (Bookworm) 64-bit" }

data "exoscale_template" "t" {
  zone = "de-fra-1"
  name = var.image
}

resource "exoscale_ssh_key" "me" {
  name       = "me"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd2jYQ0HqbYjGqdyYBVxKzDYTpN0Qn3u0TGTg1OtVv me"
}

resource "exoscale_anti_affinity_group" "g" {
  name = "g"
}

resource "exoscale_security_group" "f" {
  name = "f"
}

resource "exoscale_security_group_rule" "ssh" {
  security_group_id = exoscale_security_group.f.id
  type              = "INGRESS"
  cidr              = "0.0.0.0/0"
  start_port        = 22
  end_port          = 22
}

resource "exoscale_private_network" "n" {
  zone = "de-fra-1"
  name = "n"
}

resource "exoscale_elastic_ip" "a" {
  zone = "de-fra-1"
}

resource "exoscale_block_storage_volume" "v" {
  zone = "de-fra-1"
  name = "v"
  size = 10
}

resource "exoscale_compute_instance" "s" {
  zone                     = "de-fra-1"
  name                     = "s1"
  type                     = "standard.medium"
  template_id              = data.exoscale_template.t.id
  disk_size                = 50
  ipv6                     = true
  ssh_keys                 = [exoscale_ssh_key.me.name]
  user_data                = "#cloud-config\n"
  security_group_ids       = [exoscale_security_group.f.id]
  anti_affinity_group_ids  = [exoscale_anti_affinity_group.g.id]
  elastic_ip_ids           = [exoscale_elastic_ip.a.id]
  block_storage_volume_ids = [exoscale_block_storage_volume.v.id]
  labels                   = { deployment = "d1" }

  network_interface {
    network_id = exoscale_private_network.n.id
  }
}

data "exoscale_compute_instance_list" "mine" {
  zone       = "de-fra-1"
  labels     = { deployment = "d1" }
  depends_on = [exoscale_compute_instance.s]
}

output "listed" { value = [for s in data.exoscale_compute_instance_list.mine.instances : s.name] }
output "address" { value = exoscale_compute_instance.s.public_ip_address }
