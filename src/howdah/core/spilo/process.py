"""The environment that Patroni and all that it starts may see: names that say where they are, never a password."""

from __future__ import annotations

from collections.abc import Mapping

_KEPT = frozenset(
    {"HOSTNAME", "KUBECONFIG", "NSS_WRAPPER_GROUP", "NSS_WRAPPER_PASSWD", "LD_PRELOAD", "PATH", "PGHOME", "RW_DIR"}
    | {"TERMINATION_LOG", "TMPDIR", "TZ"}
)
# POD_*: who this is; it also marks the processes of a pod for the node that has to prove them dead.
_KEPT_PREFIXES = ("HOWDAH_", "KUBERNETES_PORT", "KUBERNETES_ROLE", "KUBERNETES_SERVICE_", "POD_")


def patroni_environment(environ: Mapping[str, str], *, locale: str) -> dict[str, str]:
    """What is kept of `environ`; `locale` is the one that initdb takes where nothing else is said."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return {**kept, "LC_ALL": locale, "PATH": kept.get("PATH", "/usr/bin:/bin")}
