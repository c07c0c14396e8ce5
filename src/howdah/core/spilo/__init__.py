"""Spilo's environment contract → Patroni configuration. Pure."""
