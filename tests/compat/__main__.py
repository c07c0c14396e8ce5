"""`python -m compat [DIR…]`: folders of cases, or single cases; ends with one line of totals.

Exit code 1 on a difference that nothing explains, in objects or in catalogues; 2 where there is no case.
"""

import sys
from pathlib import Path

from compat.catalogues import compare_catalogues
from compat.compare import CASES, cases_in, compare_folders


def main(arguments: list[str]) -> int:
    """Objects first, then, where this machine has a PostgreSQL, roles and databases."""
    folders = [Path(argument) for argument in arguments] or [CASES]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    cases = [] if missing else cases_in(folders)
    if not cases:
        print(f"no cases in {', '.join(missing or map(str, folders))}")
        return 2
    totals, catalogues = compare_folders(folders), compare_catalogues(cases)
    for difference in (*map(str, totals.unexplained), *catalogues.unexplained):
        print(difference)
    print(f"{totals}; {catalogues}")
    return 1 if totals.unexplained or catalogues.unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
