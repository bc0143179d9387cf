output "hosts" {
  description = "What each machine became."
  value = {
    for name, h in var.hosts : name => {
      public_ipv4   = hcloud_primary_ip.ipv4[name].ip_address
      public_ipv6   = hcloud_server.host[name].ipv6_address
      private_ip    = ""
      volume_device = h.volume_gb > 0 ? hcloud_volume.data[name].linux_device : ""
      provider_id   = tostring(hcloud_server.host[name].id)
      region        = h.region
      ssh_user      = local.ssh_user
    }
  }
}
