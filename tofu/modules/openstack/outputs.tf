locals {
  # A port in an external network has an address of each family, in no fixed order.
  ipv4 = { for name, h in var.hosts : name => [for a in coalesce(openstack_networking_port_v2.host[name].all_fixed_ips, []) : a if !strcontains(a, ":")] }
  ipv6 = { for name, h in var.hosts : name => [for a in coalesce(openstack_networking_port_v2.host[name].all_fixed_ips, []) : a if strcontains(a, ":")] }
}

output "hosts" {
  description = "What each machine became. A volume's device is a pattern: what comes before its id depends on the hypervisor."
  value = {
    for name, h in var.hosts : name => {
      public_ipv4   = local.direct[h.region] ? try(local.ipv4[name][0], "") : openstack_networking_floatingip_v2.host[name].address
      public_ipv6   = local.direct[h.region] ? try(local.ipv6[name][0], "") : ""
      private_ip    = local.direct[h.region] ? "" : try(local.ipv4[name][0], "")
      volume_device = h.volume_gb > 0 ? "/dev/disk/by-id/*${substr(openstack_blockstorage_volume_v3.data[name].id, 0, 20)}*" : ""
      provider_id   = openstack_compute_instance_v2.host[name].id
      region        = h.region
      ssh_user      = local.ssh_user
    }
  }
}
