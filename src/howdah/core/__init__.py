"""Decides, without I/O: manifest and observation in, objects, plan and status out."""
