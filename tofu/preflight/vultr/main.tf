# Whether what is asked for is there to be bought. That the run succeeds at all is the proof of the token. A plan or region
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
      ]
    ])
  )
}
