output "hosts" {
  description = "What each machine became. A volume's device is a pattern: what comes before its id depends on the template."
  value = {
    for name, h in var.hosts : name => {
      public_ipv4   = exoscale_compute_instance.host[name].public_ip_address
      public_ipv6   = exoscale_compute_instance.host[name].ipv6_address
      private_ip    = ""
      volume_device = h.volume_gb > 0 ? "/dev/disk/by-id/*${substr(exoscale_block_storage_volume.data[name].id, 0, 20)}*" : ""
      provider_id   = exoscale_compute_instance.host[name].id
      region        = h.region
      ssh_user      = local.ssh_user
    }
  }
}
