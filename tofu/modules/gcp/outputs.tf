output "hosts" {
  description = "What each machine became."
  value = {
    for name, h in var.hosts : name => {
      public_ipv4   = google_compute_address.host[name].address
      public_ipv6   = ""
      private_ip    = google_compute_instance.host[name].network_interface[0].network_ip
      volume_device = h.volume_gb > 0 ? "/dev/disk/by-id/google-data" : ""
      provider_id   = google_compute_instance.host[name].instance_id
      region        = h.region
      ssh_user      = local.ssh_user
    }
  }
}
