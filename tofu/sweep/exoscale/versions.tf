terraform {
  # Terraform from 1.6. OpenTofu counts on from there; it is tried from 1.8.
  required_version = ">= 1.6"

  required_providers {
    exoscale = {
      source  = "exoscale/exoscale"
      version = "0.70.0"
    }
  }
}
