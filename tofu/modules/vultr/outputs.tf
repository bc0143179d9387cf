output "hosts" {
  description = "What each machine became."
  value = {
    for name, h in var.hosts : name => {
      public_ipv4   = vultr_instance.host[name].main_ip
      public_ipv6   = vultr_instance.host[name].v6_main_ip
      private_ip    = vultr_instance.host[name].internal_ip
      volume_device = h.volume_gb > 0 ? "/dev/disk/by-id/virtio-${vultr_block_storage.data[name].mount_id}" : ""
      provider_id   = vultr_instance.host[name].id
      region        = h.region
      ssh_user      = local.ssh_user
    }
  }
}
