"""The embedded platform: a Kubernetes API, controllers and pods as processes on one machine."""
