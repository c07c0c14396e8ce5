"""AWS, as far as volumes need it: signed requests, credentials as on EKS, and EC2's volumes (docs/adr/0021)."""
