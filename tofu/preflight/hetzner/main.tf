# Whether what is asked for is there to be bought. That the run succeeds at all is the proof of the token.

variable "hosts" {
  description = "The machines to be, by their stable names."
  type = map(object({
    name   = string # of the resources to be
    region = string
    size   = string
    image  = string
  }))
}

data "hcloud_locations" "all" {}

data "hcloud_server_types" "all" {}

data "hcloud_images" "all" {}

data "hcloud_servers" "all" {}

data "hcloud_firewalls" "all" {}

locals {
  # Each host has a firewall. An account has 50: https://docs.hetzner.com/cloud/firewalls/faq
  walls = length(data.hcloud_firewalls.all.firewalls)
  fresh = length([for h in var.hosts : h if !contains([for f in data.hcloud_firewalls.all.firewalls : f.name], h.name)])
}

output "checks" {
  description = "One line for each thing looked at."
  value = concat([{ host = "", what = "quota", name = "${local.walls} of 50 firewalls", ok = local.walls + local.fresh <= 50 }], flatten([
    for name, h in var.hosts : [
      {
        host = name, what = "region", name = h.region
        ok   = contains([for l in data.hcloud_locations.all.locations : l.name], h.region)
      },
      {
        host = name, what = "size", name = h.size
        ok = anytrue(flatten([
          for t in data.hcloud_server_types.all.server_types : [
            for l in t.locations : t.name == h.size && l.name == h.region && l.available && !l.is_deprecated
          ]
        ]))
      },
      {
        host = name, what = "image", name = h.image
        ok   = contains([for i in data.hcloud_images.all.images : i.name], h.image)
      },
      {
        host = name, what = "name", name = h.name
        ok   = !contains([for s in data.hcloud_servers.all.servers : s.name], h.name)
      },
    ]
  ]))
}
