"""Patroni's bootstrap where a clone or a standby is asked for, which this version cannot make: says so, and fails.

Only the first member of a cluster that holds nothing comes here. A replica copies the leader, also where the variables of
the clone that the cluster once was are still set.
"""

from __future__ import annotations

import logging
import sys

from howdah.instance.configure import EXIT_WRONG_ENVIRONMENT
from howdah.instance.ending import end


def main() -> None:
    """`refuse_bootstrap.py VARIABLE …`, the variable that asks for it; Patroni adds arguments of its own."""
    logging.basicConfig(format="%(asctime)s %(levelname)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    end(
        EXIT_WRONG_ENVIRONMENT,
        f"{sys.argv[1]} asks for a clone or a standby, which this version cannot make; "
        "an empty database instead would not be what was asked for",
    )


if __name__ == "__main__":
    main()
