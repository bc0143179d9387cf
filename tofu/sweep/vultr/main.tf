# Instances. The provider finds other things only one at a time, and fails where there is none.

variable "id" {
  description = "The deployment's id."
  type        = string
}

data "vultr_instances" "found" {
  filter {
    name   = "tags"
    values = ["pressenter-${var.id}"]
  }
}

output "found" {
  description = "What is there: its type, its id for an import block, its name, and whose it is."
  value = [
    for r in data.vultr_instances.found.instances : {
      type = "vultr_instance"
      id   = r.id
      name = r.label
      host = try([for t in r.tags : trimprefix(t, "pressenter-host-") if startswith(t, "pressenter-host-")][0], "")
    }
  ]
}
