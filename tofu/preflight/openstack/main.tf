# Whether what is asked for is there. That the run succeeds at all is the proof of the credentials. A flavor, image or network
# that does not exist fails the run, and the message names it.

variable "hosts" {
  description = "The machines to be, by their stable names."
  type = map(object({
    name   = string # of the resources to be
    region = string
    size   = string
    image  = string
  }))
}

locals {
  sizes    = { for h in var.hosts : "${h.region}|${h.size}" => h... }
  images   = { for h in var.hosts : "${h.region}|${h.image}" => h... }
  networks = { for h in var.hosts : h.region => h... }
}

data "openstack_compute_flavor_v2" "used" {
  for_each = local.sizes

  region = split("/", each.value[0].region)[0]
  name   = each.value[0].size
}

data "openstack_images_image_v2" "used" {
  for_each = local.images

  region      = split("/", each.value[0].region)[0]
  name        = each.value[0].image
  most_recent = true
}

data "openstack_networking_network_v2" "external" {
  for_each = local.networks

  region   = split("/", each.key)[0]
  name     = try(split("/", each.key)[1], "Ext-Net")
  external = true
}

output "checks" {
  description = "One line for each thing looked at."
  value = flatten([
    for name, h in var.hosts : [
      { host = name, what = "region", name = h.region, ok = data.openstack_networking_network_v2.external[h.region].id != "" },
      { host = name, what = "size", name = h.size, ok = data.openstack_compute_flavor_v2.used["${h.region}|${h.size}"].id != "" },
      { host = name, what = "image", name = h.image, ok = data.openstack_images_image_v2.used["${h.region}|${h.image}"].id != "" },
    ]
  ])
}
