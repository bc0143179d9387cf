# Whether what is asked for is there. That the run succeeds at all is the proof of the key. A template that does not exist fails
# the run, and the message names it.

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
  images = { for h in var.hosts : "${h.region}|${h.image}" => h... }
}

data "exoscale_zones" "all" {}

data "exoscale_template" "used" {
  for_each = local.images

  zone = each.value[0].region
  name = each.value[0].image
}

data "exoscale_compute_instance_list" "all" {
  for_each = toset([for h in var.hosts : h.region])

  zone = each.key
}

output "checks" {
  description = "One line for each thing looked at."
  value = flatten([
    for name, h in var.hosts : [
      { host = name, what = "region", name = h.region, ok = contains(data.exoscale_zones.all.zones, h.region) },
      { host = name, what = "image", name = h.image, ok = data.exoscale_template.used["${h.region}|${h.image}"].id != "" },
      { host = name, what = "name", name = h.name, ok = !contains(data.exoscale_compute_instance_list.all[h.region].instances[*].name, h.name) },
    ]
  ])
}
