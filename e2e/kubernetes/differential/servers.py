"""Starts the two judges' servers, each in a folder of its own, and stops exactly what it started."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SCRIPTS = Path(__file__).parents[1]
READY_S = 60


class NotReadyError(Exception):
    """A server did not start; the message says where its log is."""


def programs() -> Path:
    """The folder of the built programs; the rule is the one of lib.sh."""
    line = next(s for s in (SCRIPTS / "go.mod").read_text().splitlines() if "k8s.io/kubernetes v" in s)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = cache / "howdah" / "kube" / line.split()[-1] / "bin"
    return Path(os.environ.get("KUBE_BIN", built))


def missing() -> str | None:
    """What must be built before the real server can run, as a sentence."""
    absent = [p for p in ("etcd", "kube-apiserver", "kubectl") if not (programs() / p).exists()]
    if absent:
        return f"{', '.join(absent)} not in {programs()}: run 'make kube-build' (needs Go, takes about 7 minutes)"
    return None


@contextlib.contextmanager
def real(folder: Path) -> Iterator[Path]:
    """etcd and kube-apiserver, without controllers; the path of the kubeconfig."""
    try:
        _script("up.sh", folder, CONTROLLERS="no")
        yield folder / "kubeconfig"
    finally:
        _script("down.sh", folder)


@contextlib.contextmanager
def ours(folder: Path) -> Iterator[Path]:
    """The embedded API server alone; the path of the kubeconfig."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    command = [sys.executable, "-m", "howdah.local.apiserver", "--dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS.parents[1] / "src")}
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment) as process,
    ):
        try:
            _await(process, folder / "kubeconfig", log)
            yield folder / "kubeconfig"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=READY_S)
            process.kill()


def _await(process: "subprocess.Popen[bytes]", kubeconfig: Path, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while not kubeconfig.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotReadyError(f"the embedded API server did not start: {log.read_text()[-1500:]}")
        time.sleep(0.05)


def _script(name: str, folder: Path, **environment: str) -> None:
    done = subprocess.run(
        [SCRIPTS / name, folder],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise NotReadyError(done.stderr.decode().strip())
