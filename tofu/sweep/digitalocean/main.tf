# Droplets and tags. A tag that still counts something says that volumes are left.

variable "id" {
  description = "The deployment's id."
  type        = string
}

data "digitalocean_droplets" "found" {
  filter {
    key    = "tags"
    values = ["pressenter:${var.id}"]
  }
}

data "digitalocean_tags" "all" {}

locals {
  # A host's tag names it as its resources are named, with six digits of the id.
  hosts = { for t in data.digitalocean_tags.all.tags : t.name => trimprefix(t.name, "pressenter-host:") if startswith(t.name, "pressenter-host:") && strcontains(t.name, "-${substr(var.id, 0, 6)}-") }
}

output "found" {
  description = "What is there: its type, its id for an import block, its name, and whose it is."
  value = concat(
    [for r in data.digitalocean_droplets.found.droplets : { type = "digitalocean_droplet", id = tostring(r.id), name = r.name, host = try(split("-${substr(var.id, 0, 6)}-", r.name)[1], "") }],
    [for tag, name in local.hosts : { type = "digitalocean_tag", id = tag, name = name, host = try(split("-${substr(var.id, 0, 6)}-", name)[1], "") }],
  )
}
