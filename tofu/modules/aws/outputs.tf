output "hosts" {
  description = "What each machine became."
  value = {
    for name, h in var.hosts : name => {
      public_ipv4   = aws_eip.host[name].public_ip
      public_ipv6   = ""
      private_ip    = aws_instance.host[name].private_ip
      volume_device = h.volume_gb > 0 ? "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${replace(aws_ebs_volume.data[name].id, "-", "")}" : ""
      provider_id   = aws_instance.host[name].id
      region        = h.region
      ssh_user      = local.ssh_user
    }
  }
}
