"""The benchmark: how fast and how small howdah is, against what is asked of it. `python -m bench --help`."""
