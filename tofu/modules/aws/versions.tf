terraform {
  # Terraform from 1.6. OpenTofu counts on from there; it is tried from 1.8.
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "6.0.0"
    }
  }
}
