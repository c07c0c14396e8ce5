"""The howdah command."""
