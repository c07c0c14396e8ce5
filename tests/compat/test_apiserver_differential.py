"""Our API server gives the real one's answers to the whole corpus; what differs is listed with its reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KUBERNETES = Path(__file__).parents[2] / "e2e" / "kubernetes"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "howdah" / "kube"
IS_BUILT = any(CACHE.glob("*/bin/kube-apiserver"))
IS_WANTED = os.environ.get("HOWDAH_WITH_KUBERNETES") == "1"  # then a missing one is a failure

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (IS_BUILT or IS_WANTED), reason="no real control plane is built: `make kube-build` (Go, 7 minutes)"
    ),
]


def test_answers_equal_those_of_the_real_api_server(tmp_path: Path) -> None:
    code, told = _differential(tmp_path)
    assert code == 0, told


def test_kubectl_shows_the_same_against_both(tmp_path: Path) -> None:
    code, told = _differential(tmp_path, "--kubectl")
    assert code == 0, told


def _differential(folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and report; code 2 and one line where the real server is not built."""
    done = subprocess.run(
        [sys.executable, "-m", "differential", "--digest", "--dir", folder, *options],
        cwd=KUBERNETES,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
