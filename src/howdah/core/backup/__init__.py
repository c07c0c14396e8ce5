"""Backups as decisions: what a job is asked to do, where things are in a store, what is too old. No I/O."""
