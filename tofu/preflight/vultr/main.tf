# Whether what is asked for is there to be bought. That the run succeeds at all is the proof of the token. A plan, region or
# system that does not exist fails the run, and the message names it.

variable "hosts" {
  description = "The machines to be, by their stable names."
  type = map(object({
    name   = string # of the resources to be
    region = string
    size   = string
    image  = string
  }))
}

data "vultr_account" "own" {}

data "vultr_region" "used" {
  for_each = toset([for h in var.hosts : h.region])

  filter {
    name   = "id"
    values = [each.key]
  }
}

data "vultr_plan" "used" {
  for_each = toset([for h in var.hosts : h.size])

  filter {
    name   = "id"
    values = [each.key]
  }
}

data "vultr_os" "used" {
  for_each = toset([for h in var.hosts : h.image])

  filter {
    name   = "id"
    values = [each.key]
  }
}

data "vultr_instances" "named" {
  filter {
    name   = "label"
    values = [for h in var.hosts : h.name]
  }
}

output "checks" {
  description = "One line for each thing looked at."
  value = concat(
    [{
      # Vultr counts what it owes as negative.
      host = "", what = "account", name = "balance ${data.vultr_account.own.balance}, pending ${data.vultr_account.own.pending_charges}"
      ok   = contains(data.vultr_account.own.acl, "provisioning")
    }],
    flatten([
      for name, h in var.hosts : [
        { host = name, what = "region", name = h.region, ok = data.vultr_region.used[h.region].id == h.region },
        { host = name, what = "size", name = h.size, ok = contains(data.vultr_plan.used[h.size].locations, h.region) },
        # A number says nothing to people.
        { host = name, what = "image", name = "${h.image}, ${data.vultr_os.used[h.image].name}", ok = data.vultr_os.used[h.image].id == h.image },
        { host = name, what = "name", name = h.name, ok = !contains(data.vultr_instances.named.instances[*].label, h.name) },
      ]
    ])
  )
}
