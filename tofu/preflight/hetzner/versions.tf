terraform {
  # Terraform from 1.6. OpenTofu counts on from there; it is tried from 1.8.
  required_version = ">= 1.6"

  required_providers {
    hcloud = {
      source  = "hetznercloud/hcloud"
      version = "1.68.0"
    }
  }
}
