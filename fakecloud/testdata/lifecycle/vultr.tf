terraform {
  required_providers {
    vultr = {
      source = "vultr/vultr"
    }
  }
}

variable "image" { default = "2136" }

resource "vultr_ssh_key" "me" {
  name    = "me"
  ssh_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd2jYQ0HqbYjGqdyYBVxKzDYTpN0Qn3u0TGTg1OtVv me"
}

resource "vultr_firewall_group" "f" {
  description = "f"
}

resource "vultr_firewall_rule" "ssh" {
  firewall_group_id = vultr_firewall_group.f.id
  protocol          = "tcp"
  ip_type           = "v4"
  subnet            = "0.0.0.0"
  subnet_size       = 0
  port              = "22"
}

resource "vultr_vpc" "n" {
  region = "waw"
}

resource "vultr_reserved_ip" "a" {
  region  = "waw"
  ip_type = "v4"
}

resource "vultr_instance" "s" {
  label             = "s1"
  hostname          = "s1"
  region            = "waw"
  plan              = "vc2-2c-4gb"
  os_id             = tonumber(var.image)
  ssh_key_ids       = [vultr_ssh_key.me.id]
  user_data         = "#cloud-config\n"
  firewall_group_id = vultr_firewall_group.f.id
  reserved_ip_id    = vultr_reserved_ip.a.id
  vpc_ids           = [vultr_vpc.n.id]
  enable_ipv6       = true
  tags              = ["deployment:d1"]
}

resource "vultr_block_storage" "v" {
  label                = "v"
  region               = "waw"
  size_gb              = 10
  attached_to_instance = vultr_instance.s.id
}

data "vultr_instances" "mine" {
  filter {
    name   = "tags"
    values = ["deployment:d1"]
  }

  depends_on = [vultr_instance.s]
}

data "vultr_plan" "p" {
  filter {
    name   = "id"
    values = ["vc2-2c-4gb"]
  }
}

output "listed" { value = [for s in data.vultr_instances.mine.instances : s.label] }
output "address" { value = vultr_instance.s.main_ip == vultr_reserved_ip.a.subnet ? vultr_instance.s.main_ip : "" }
