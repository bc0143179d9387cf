# The same in every module, byte for byte: names, labels, first boot, and what the firewall lets in.

locals {
  prefix = "${trim(substr(var.deployment, 0, 20), "-")}-${substr(var.id, 0, 6)}"

  # At most 58 characters, so that with a suffix they still are host names. A long deployment's name is cut, never the
  # id or the host's name, which make it unique.
  #
  # Maps and not objects, here and below: whoever refers to an object of a thousand attributes carries its type along each
  # time, and each machine refers to it.
  names = tomap({
    for name, h in var.hosts :
    name => "${trim(substr(var.deployment, 0, 50 - length(name)), "-")}-${substr(var.id, 0, 6)}-${name}"
  })

  deployment_labels = {
    "pressenter"            = var.id
    "pressenter-deployment" = var.deployment
  }

  labels = tomap({
    for name, h in var.hosts : name => merge(local.deployment_labels, {
      "pressenter-host" = name
      "pressenter-role" = h.role
    })
  })

  with_volume = tomap({ for name, h in var.hosts : name => h if h.volume_gb > 0 })

  # Others dial a sentry, so its address has to outlive the machine. A validator and a cosigner dial out.
  dialled = tomap({ for name, h in var.hosts : name => h if h.role == "sentry" })

  # Hosts of a group that are in one region are spread over hardware; hosts in two regions are apart anyway.
  groups = tomap({ for h in var.hosts : "${h.group}-${h.region}" => { group = h.group, region = h.region }... if h.group != "" })

  world = tolist(["0.0.0.0/0", "::/0"])

  # What is let in, by host and by a key that stays the same when other rules come and go. A validator does not answer
  # the world's pings: it is not to be found.
  rules = tomap({
    for name, h in var.hosts : name => {
      for r in concat(
        [for p in distinct(h.ports) : { protocol = p.protocol, port = p.port, sources = local.world }],
        [{ protocol = "tcp", port = 22, sources = var.admin_cidrs }],
        [{ protocol = "icmp", port = 0, sources = h.role == "sentry" ? local.world : var.admin_cidrs }],
      ) : "${r.protocol}-${r.port}" => r... if length(r.sources) > 0
    }
  })

  # The same, one source each, for clouds whose rules are resources.
  rule_list = tomap({
    for r in flatten([
      for name, rules in local.rules : [
        for key, rs in rules : [
          for source in distinct(flatten(rs[*].sources)) : {
            key      = "${name}/${key}/${source}"
            host     = name
            protocol = rs[0].protocol
            port     = rs[0].port
            source   = source
            v6       = strcontains(source, ":")
          }
        ]
      ]
    ]) : r.key => r
  })

  ssh_user = "pressenter"

  # A user, public keys, and an sshd that takes nothing but keys. All else is done over SSH, where it can be changed
  # later: machines never read this twice. JSON is YAML, so nothing in a key can break out of its string.
  cloud_init = join("\n", ["#cloud-config", jsonencode({
    users = [{
      name                = local.ssh_user
      shell               = "/bin/bash"
      sudo                = "ALL=(ALL) NOPASSWD:ALL"
      lock_passwd         = true
      ssh_authorized_keys = var.ssh_keys
    }]
    disable_root = true
    ssh_pwauth   = false
    write_files = [{
      path        = "/etc/ssh/sshd_config.d/10-pressenter.conf"
      permissions = "0644"
      content     = "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\n"
    }]
    # Clouds that are given no key of theirs make a root password and mail or keep it. It opens nothing, and it does not
    # expire, because an expired password of root stops its cron jobs.
    runcmd = [
      ["passwd", "--lock", "root"],
      ["chage", "--lastday", "-1", "--maxdays", "-1", "root"],
      ["systemctl", "try-reload-or-restart", "ssh.service"],
    ]
  }), ""])
}
