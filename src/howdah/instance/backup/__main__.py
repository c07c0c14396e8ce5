"""`python -m howdah.instance.backup`."""

from howdah.instance.backup.job import main

main()
