"""A Kubernetes client layer of its own: imports nothing of howdah."""
