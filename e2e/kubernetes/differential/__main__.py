"""The command: `PYTHONPATH=e2e/kubernetes python -m differential --help`."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import NoReturn

from differential import corpus, known, kubectl, report, run, servers


def main() -> int:
    arguments = _arguments()
    if reason := servers.missing():
        print(reason, file=sys.stderr)
        return 2
    folder = Path(arguments.dir)
    accepted = known.known()
    with contextlib.ExitStack() as started:
        signal.signal(signal.SIGTERM, lambda number, _: _end(started, number))
        real = started.enter_context(servers.real(folder / "real")) if not arguments.real else Path(arguments.real)
        ours = started.enter_context(servers.ours(folder / "ours")) if not arguments.ours else Path(arguments.ours)
        if arguments.kubectl:
            results = kubectl.compared(kubectl.sessions(arguments.only), real, ours, accepted)
        else:
            results = run.compared(corpus.sequences(arguments.only), real, ours, accepted)
    if not arguments.keep:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(report.table(results)), end="\n\n")
    print("\n".join(report.digest(results) if arguments.digest else report.details(results)))
    mine = tuple(k for k in accepted if k.kubectl == arguments.kubectl)
    stale = run.stale(results, mine) if arguments.only == "*" else ()
    for row in stale:
        print(f"known.yaml: no longer so, remove the row: {row}")
    return 1 if stale or any(r.unexplained for r in results) else 0


def _end(started: contextlib.ExitStack, number: int) -> NoReturn:
    """No server outlives us; without them the threads that ask them come to an end, too."""
    started.close()
    sys.exit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="differential", description=__doc__)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="sequences whose name matches")
    parser.add_argument("--kubectl", action="store_true", help="kubectl's commands instead of the corpus")
    parser.add_argument("--digest", action="store_true", help="differences grouped, heaviest first")
    parser.add_argument("--dir", default=f"/tmp/howdah-differential-{os.getuid()}", help="where the servers live")
    parser.add_argument("--keep", action="store_true", help="keep that folder afterwards")
    parser.add_argument("--real", metavar="KUBECONFIG", help="a running real server, without controllers")
    parser.add_argument("--ours", metavar="KUBECONFIG", help="a running server of ours")
    return parser.parse_args()


sys.exit(main())
