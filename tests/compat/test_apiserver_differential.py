"""Our API server gives the real one's answers to the whole corpus; what differs is listed with its reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifetimes import ended_with_us

KUBERNETES = Path(__file__).parents[2] / "e2e" / "kubernetes"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "howdah" / "kube"
IS_BUILT = any(CACHE.glob("*/bin/kube-apiserver"))
TIMEOUT_S, ENDING_S = 1200 * float(os.environ.get("HOWDAH_PATIENCE", "1")), 60
IS_WANTED = os.environ.get("HOWDAH_WITH_KUBERNETES") == "1"  # then a missing one is a failure

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.timeout(TIMEOUT_S + ENDING_S + 20),
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
    program = (sys.executable, "-m", "differential", "--digest", "--dir", folder, *options)
    command = ended_with_us(*program, by="TERM")  # not killed: it ends the servers that it has started
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=KUBERNETES, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        try:
            told, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            told, _ = process.communicate(timeout=ENDING_S)
            told += f"not done after {TIMEOUT_S} s"
    return process.returncode, told
