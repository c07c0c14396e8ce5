"""`python -m defects [NAME…]`: put one seeded defect after the other into a copy of the tree; its tests must notice.

Exit code 0 when every defect is caught, 1 when one survives, does not apply, or its tests fail without it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from defects.patches import Defect, apply, copied, defects

TEST_TIMEOUT_S = 240
PASSED, FAILED = 0, 1  # what pytest ends with; others mean that nothing was tested


def main(names: tuple[str, ...]) -> int:
    """Print a line per defect; the exit code."""
    chosen = defects(names)
    if not chosen:
        print(f"no patch has one of these words in its name: {', '.join(names)}", file=sys.stderr)
        return 1
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="howdah-defects-") as folder:
        tree = Path(folder)
        copied(tree)
        sound = _run(tree, tuple(sorted({test for defect in chosen for test in defect.caught_by})))
        if sound.returncode != PASSED:
            print(f"tests fail without any defect:\n{sound.stdout[-4000:]}{sound.stderr[-2000:]}")
            return 1
        survivors = sum(not _is_caught(defect, tree) for defect in chosen)
    print(f"{len(chosen) - survivors} of {len(chosen)} defects caught in {time.monotonic() - started:.0f} s")
    return 1 if survivors else 0


def _is_caught(defect: Defect, tree: Path) -> bool:
    verdict = _verdict(defect, tree)
    print(f"{'caught' if verdict is None else 'SURVIVES':9} {defect.name:36} {defect.breaks}", flush=True)
    if verdict is not None:
        print(f"{'':9} {verdict}", flush=True)
    return verdict is None


def _verdict(defect: Defect, tree: Path) -> str | None:
    """Why the defect counts as not caught; None when every one of its tests fails."""
    why_not = apply(defect, tree)
    if why_not is not None:
        return f"does not apply any more; make the patch anew: {why_not}"
    try:
        for test in defect.caught_by:
            code = _run(tree, (test,)).returncode
            if code != FAILED:
                return f"{test} {'passes' if code == PASSED else f'ends with code {code}'}"
        return None
    finally:
        apply(defect, tree, "--reverse")


def _run(tree: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Without bytecode files: two versions of a module within a second would be taken for the same."""
    paths = os.pathsep.join((str(tree / "src"), str(tree / "tests")))
    return subprocess.run(
        [
            sys.executable,
            "-B",
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "--no-header",
            "--tb=line",
            *tests,
        ],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TEST_TIMEOUT_S,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))
