"""Roles and databases: desired against catalogue → statements."""
