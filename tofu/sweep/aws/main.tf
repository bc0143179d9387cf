# UNVERIFIED: written from the provider's documentation, planned by nobody against AWS.
#
# Everything that carries the id, in the region of the environment.

variable "id" {
  description = "The deployment's id."
  type        = string
}

data "aws_resourcegroupstaggingapi_resources" "found" {
  tag_filter {
    key    = "pressenter"
    values = [var.id]
  }
}

output "found" {
  description = "What is there, by its ARN: its type, its id for an import block, its name, and whose it is."
  value = [
    for r in data.aws_resourcegroupstaggingapi_resources.found.resource_tag_mapping_list : {
      type = try(split(":", r.resource_arn)[2], "")
      id   = try(split("/", r.resource_arn)[1], r.resource_arn)
      name = r.resource_arn
      host = lookup(r.tags, "pressenter-host", "")
    }
  ]
}
