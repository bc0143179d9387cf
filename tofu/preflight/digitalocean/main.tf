# Whether what is asked for is there to be bought. That the run succeeds at all is the proof of the token.

variable "hosts" {
  description = "The machines to be, by their stable names."
  type = map(object({
    name   = string # of the resources to be
    region = string
    size   = string
    image  = string

    addresses = number # to be reserved for it
  }))
}

data "digitalocean_account" "own" {}

data "digitalocean_regions" "all" {}

data "digitalocean_sizes" "all" {}

data "digitalocean_images" "all" {
  filter {
    key    = "type"
    values = ["base"]
  }
}

data "digitalocean_droplets" "all" {}

locals {
  fresh = [for h in var.hosts : h if !contains(data.digitalocean_droplets.all.droplets[*].name, h.name)]

  # The provider does not list reserved addresses. Every sentry that was made with the modules has one.
  reserved = length([for d in data.digitalocean_droplets.all.droplets : d if contains(coalesce(d.tags, []), "pressenter-role:sentry")])
}

output "checks" {
  description = "One line for each thing looked at."
  value = concat(
    [
      {
        host = "", what = "account", name = data.digitalocean_account.own.status
        ok   = data.digitalocean_account.own.status == "active" && data.digitalocean_account.own.email_verified
      },
      {
        host = "", what = "quota", name = "${length(data.digitalocean_droplets.all.droplets)} of ${data.digitalocean_account.own.droplet_limit} droplets"
        ok   = length(data.digitalocean_droplets.all.droplets) + length(local.fresh) <= data.digitalocean_account.own.droplet_limit
      },
      {
        host = "", what = "quota", name = "${local.reserved} of ${data.digitalocean_account.own.floating_ip_limit} reserved addresses"
        ok   = local.reserved + sum(concat([0], local.fresh[*].addresses)) <= data.digitalocean_account.own.floating_ip_limit
      },
    ],
    flatten([
      for name, h in var.hosts : [
        {
          host = name, what = "region", name = h.region
          ok   = contains([for r in data.digitalocean_regions.all.regions : r.slug if r.available], h.region)
        },
        {
          host = name, what = "size", name = h.size
          ok   = anytrue([for s in data.digitalocean_sizes.all.sizes : s.slug == h.size && s.available && contains(s.regions, h.region)])
        },
        {
          host = name, what = "image", name = h.image
          ok   = anytrue([for i in data.digitalocean_images.all.images : i.slug == h.image && contains(i.regions, h.region)])
        },
        {
          host = name, what = "name", name = h.name
          ok   = !contains(data.digitalocean_droplets.all.droplets[*].name, h.name)
        },
      ]
    ])
  )
}
