# The same in every module, byte for byte: whoever calls one can call all.

variable "deployment" {
  description = "Name of the deployment."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.deployment))
    error_message = "A deployment's name has at most 40 lower-case letters, digits and inner hyphens, a letter first."
  }
}

variable "id" {
  description = "The deployment's id. It is part of every name and label, so that two deployments in one account never meet."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{12}$", var.id))
    error_message = "A deployment's id has 12 lower-case hexadecimal digits."
  }
}

variable "ssh_keys" {
  description = "Public keys that may log in as the user in the output ssh_user. Read when a machine is made, and never again."
  type        = list(string)

  validation {
    condition = length(var.ssh_keys) > 0 && alltrue([
      for k in var.ssh_keys :
      can(regex("^(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\\.com) [A-Za-z0-9+/]+=*( [[:print:]]*)?$", k))
    ])
    error_message = "There must be a key, and each must be one line of a public key file, as in id_ed25519.pub."
  }

  # They are in the user data, of which no cloud takes less than 16 KB.
  validation {
    condition     = length(join("", var.ssh_keys)) <= 12000
    error_message = "All keys together have at most 12000 characters."
  }
}

variable "admin_cidrs" {
  description = "From where SSH is let in. None: SSH is closed at the cloud."
  type        = list(string)

  validation {
    condition     = alltrue([for c in var.admin_cidrs : can(cidrhost(c, 0)) && try(cidrhost(c, 0) == split("/", c)[0], false)])
    error_message = "Each must be a network in CIDR notation that starts at its own first address, as in 192.0.2.0/24 or 2001:db8::/64."
  }
}

variable "hosts" {
  description = "The machines, by their stable names."
  type = map(object({
    role      = string # validator, sentry or cosigner
    region    = string # the cloud's own name
    size      = string # the cloud's own name
    image     = string # the cloud's own name; "" is the module's default
    volume_gb = number # the chain's data volume; 0 is none
    protected = bool   # the cloud refuses to delete it, where the cloud can
    group     = string # machines of one group are put on different hardware; "" is none
    ports = list(object({
      protocol = string # tcp or udp
      port     = number
    })) # open to the world
  }))

  validation {
    condition     = alltrue([for k, h in var.hosts : can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", k))])
    error_message = "A host's name has at most 40 lower-case letters, digits and inner hyphens, a letter first."
  }

  validation {
    condition     = alltrue([for h in var.hosts : contains(["validator", "sentry", "cosigner"], h.role)])
    error_message = "A host's role is validator, sentry or cosigner."
  }

  validation {
    condition     = alltrue([for h in var.hosts : can(regex("^([a-z]([a-z0-9-]{0,18}[a-z0-9])?)?$", h.group))])
    error_message = "A group's name has at most 20 lower-case letters, digits and inner hyphens, a letter first."
  }

  validation {
    condition     = alltrue([for h in var.hosts : h.volume_gb == 0 || (h.volume_gb >= 10 && h.volume_gb <= 10000 && floor(h.volume_gb) == h.volume_gb)])
    error_message = "A volume has 10 to 10000 whole gigabytes, or 0 for none."
  }

  validation {
    condition = alltrue(flatten([
      for h in var.hosts : [
        for p in h.ports : contains(["tcp", "udp"], p.protocol) && p.port >= 1 && p.port <= 65535 && floor(p.port) == p.port
      ]
    ]))
    error_message = "A port is tcp or udp, 1 to 65535."
  }
}
