"""The node of the local platform: pods as supervised process groups."""
