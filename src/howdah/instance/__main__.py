"""`python -m howdah.instance`."""

from howdah.instance.main import main

main()
