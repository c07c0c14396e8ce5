"""What the machine offers a member: memory, a UTF-8 locale, the kubeconfig's context, the number of API servers."""

from __future__ import annotations

import http.client
import locale
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from howdah.instance.pod_labels import api_of

GIB = 1024**3
# Pods of the local platform share one machine: without a limit each plans with this much.
SHARED_MACHINE_BYTES = GIB
CGROUP = Path("/sys/fs/cgroup")


def memory_bytes(limit: int | None, *, shares_machine: bool) -> int:
    """What this member may plan with: its limit, else its cgroup's, never more than the machine has."""
    ceilings = [total_memory_bytes(), *(value for value in (limit, cgroup_limit_bytes()) if value is not None)]
    if shares_machine and limit is None:
        ceilings.append(SHARED_MACHINE_BYTES)
    return min(ceilings)


def total_memory_bytes() -> int:
    """The machine's memory."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match is not None else SHARED_MACHINE_BYTES


def cgroup_limit_bytes(root: Path = CGROUP) -> int | None:
    """The smallest limit of this process's cgroups (version 2, else 1); None where there is none."""
    files = [*_own_cgroup_files(root), root / "memory" / "memory.limit_in_bytes"]
    limits = []
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits, default=None)


def _own_cgroup_files(root: Path) -> Iterable[Path]:
    try:
        line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    folder = root / line.removeprefix("0::").lstrip("/")
    while folder != root.parent:
        yield folder / "memory.max"
        folder = folder.parent


def utf8_locale(*names: str) -> str:
    """The first of `names` that this machine has with UTF-8, else C.UTF-8."""
    return next((name for name in names if name and _is_utf8(name)), "C.UTF-8")


def _is_utf8(name: str) -> bool:
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
        return locale.nl_langinfo(locale.CODESET).upper().replace("-", "") == "UTF8"
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def kube_context(kubeconfig: str | None) -> str | None:
    """The kubeconfig's current context: Patroni has to be told which one it is. Raises OSError or ValueError."""
    if not kubeconfig:
        return None
    document = yaml.load(Path(kubeconfig).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    if not isinstance(document, dict) or not document.get("current-context"):
        raise ValueError("it names no current-context")
    return str(document["current-context"])


def api_servers(environ: Mapping[str, str]) -> int | None:
    """How many addresses the service `kubernetes` has, as its Endpoints say; None where they cannot be read.

    Who may not read them may not bypass the service either: Patroni finds that out by itself.
    """
    try:
        status, found = api_of(environ, None).ask("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None
    if status != http.client.OK:
        return None
    return sum(len(subset.get("addresses") or ()) for subset in found.get("subsets") or ())
