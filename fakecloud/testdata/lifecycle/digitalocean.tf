terraform {
  required_providers {
    digitalocean = {
      source = "digitalocean/digitalocean"
    }
  }
}

variable "image" { default = "debian-12-x64" }

resource "digitalocean_ssh_key" "me" {
  name       = "me"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd2jYQ0HqbYjGqdyYBVxKzDYTpN0Qn3u0TGTg1OtVv me"
}

resource "digitalocean_vpc" "n" {
  name   = "n"
  region = "fra1"
}

resource "digitalocean_tag" "d" {
  name = "deployment:d1"
}

resource "digitalocean_droplet" "s" {
  name      = "s1"
  region    = "fra1"
  size      = "s-2vcpu-4gb"
  image     = var.image
  ssh_keys  = [digitalocean_ssh_key.me.id]
  user_data = "#cloud-config\n"
  vpc_uuid  = digitalocean_vpc.n.id
  ipv6      = true
  tags      = [digitalocean_tag.d.name]
}

resource "digitalocean_firewall" "f" {
  name = "f"
  tags = [digitalocean_tag.d.name]

  inbound_rule {
    protocol         = "tcp"
    port_range       = "22"
    source_addresses = ["0.0.0.0/0", "::/0"]
  }

  outbound_rule {
    protocol              = "icmp"
    destination_addresses = ["0.0.0.0/0"]
  }
}

resource "digitalocean_volume" "v" {
  name   = "v"
  region = "fra1"
  size   = 10
}

resource "digitalocean_volume_attachment" "v" {
  volume_id  = digitalocean_volume.v.id
  droplet_id = digitalocean_droplet.s.id
}

resource "digitalocean_reserved_ip" "a" {
  region = "fra1"
}

resource "digitalocean_reserved_ip_assignment" "a" {
  ip_address = digitalocean_reserved_ip.a.ip_address
  droplet_id = digitalocean_droplet.s.id
}

data "digitalocean_droplets" "mine" {
  filter {
    key    = "tags"
    values = ["deployment:d1"]
  }

  depends_on = [digitalocean_droplet.s]
}

data "digitalocean_account" "a" {}

data "digitalocean_sizes" "s" {
  filter {
    key    = "slug"
    values = ["s-2vcpu-4gb"]
  }
}

output "listed" { value = [for s in data.digitalocean_droplets.mine.droplets : s.name] }
output "address" { value = data.digitalocean_account.a.droplet_limit > 0 ? digitalocean_droplet.s.ipv4_address : "" }
