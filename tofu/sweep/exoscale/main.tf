# Instances, zone by zone. The provider finds other things only one at a time.

variable "id" {
  description = "The deployment's id."
  type        = string
}

data "exoscale_zones" "all" {}

data "exoscale_compute_instance_list" "found" {
  for_each = toset(data.exoscale_zones.all.zones)

  zone   = each.key
  labels = { pressenter = var.id }
}

output "found" {
  description = "What is there: its type, its id for an import block, its name, and whose it is."
  value = flatten([
    for zone, list in data.exoscale_compute_instance_list.found : [
      for r in list.instances : {
        type = "exoscale_compute_instance"
        id   = "${r.id}@${zone}"
        name = r.name
        host = try(r.labels["pressenter-host"], "")
      }
    ]
  ])
}
