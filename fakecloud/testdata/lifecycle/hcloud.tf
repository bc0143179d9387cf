terraform {
  required_providers {
    hcloud = {
      source = "hetznercloud/hcloud"
    }
  }
}

variable "image" { default = "debian-12" }

resource "hcloud_ssh_key" "me" {
  name       = "me"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd2jYQ0HqbYjGqdyYBVxKzDYTpN0Qn3u0TGTg1OtVv me"
}

resource "hcloud_network" "n" {
  name     = "n"
  ip_range = "10.0.0.0/16"
}

resource "hcloud_network_subnet" "n" {
  network_id   = hcloud_network.n.id
  type         = "cloud"
  network_zone = "eu-central"
  ip_range     = "10.0.1.0/24"
}

resource "hcloud_placement_group" "g" {
  name = "g"
  type = "spread"
}

resource "hcloud_firewall" "f" {
  name = "f"

  rule {
    direction  = "in"
    protocol   = "tcp"
    port       = "22"
    source_ips = ["0.0.0.0/0", "::/0"]
  }

  rule {
    direction  = "in"
    protocol   = "icmp"
    source_ips = ["0.0.0.0/0"]
  }
}

resource "hcloud_primary_ip" "v4" {
  name          = "v4"
  type          = "ipv4"
  assignee_type = "server"
  location      = "fsn1"
}

resource "hcloud_server" "s" {
  name               = "s1"
  server_type        = "cx23"
  image              = var.image
  location           = "fsn1"
  ssh_keys           = [hcloud_ssh_key.me.name]
  user_data          = "#cloud-config\n"
  placement_group_id = hcloud_placement_group.g.id
  firewall_ids       = [hcloud_firewall.f.id]
  labels             = { deployment = "d1" }

  public_net {
    ipv4 = hcloud_primary_ip.v4.id
  }

  network {
    network_id = hcloud_network.n.id
  }

  depends_on = [hcloud_network_subnet.n]
}

resource "hcloud_volume" "v" {
  name     = "v"
  size     = 10
  location = "fsn1"
}

resource "hcloud_volume_attachment" "v" {
  volume_id = hcloud_volume.v.id
  server_id = hcloud_server.s.id
}

data "hcloud_servers" "mine" {
  with_selector = "deployment=d1"
  depends_on    = [hcloud_server.s]
}

data "hcloud_server_type" "size" {
  name = "cx23"
}

output "listed" { value = [for s in data.hcloud_servers.mine.servers : s.name] }
output "address" { value = hcloud_server.s.ipv4_address == hcloud_primary_ip.v4.ip_address ? hcloud_server.s.ipv4_address : "" }
