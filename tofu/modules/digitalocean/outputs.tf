output "hosts" {
  description = "What each machine became."
  value = {
    for name, h in var.hosts : name => {
      public_ipv4   = h.role == "sentry" ? digitalocean_reserved_ip.host[name].ip_address : digitalocean_droplet.host[name].ipv4_address
      public_ipv6   = digitalocean_droplet.host[name].ipv6_address
      private_ip    = digitalocean_droplet.host[name].ipv4_address_private
      volume_device = h.volume_gb > 0 ? "/dev/disk/by-id/scsi-0DO_Volume_${digitalocean_volume.data[name].name}" : ""
      provider_id   = tostring(digitalocean_droplet.host[name].id)
      region        = h.region
      ssh_user      = local.ssh_user
    }
  }
}
