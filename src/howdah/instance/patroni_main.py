"""Patroni's process: Patroni as it is, a thread beside it (`watching`), and less to load on the way.

`python -m howdah.instance.patroni_main PATRONI_YAML`. Patroni starts PostgreSQL by a new Python process (multiprocessing,
`spawn`), which imports this module again, as `__mp_main__`: that is why it is light.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Never returns before Patroni ends."""
    import multiprocessing
    from pathlib import Path

    import yaml
    from patroni.__main__ import main as patroni

    from howdah.instance.watching import begin

    # PyYAML's own parser in Python takes 0.15 s for Patroni's tables of PostgreSQL's settings, the one in C a tenth.
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # type: ignore[misc]
    file = Path(sys.argv[1])
    if os.getpid() == 1:
        # Then Patroni makes itself a child, and threads do not survive a fork.
        multiprocessing.set_start_method("fork")
        os.register_at_fork(after_in_child=lambda: begin(file) if os.getppid() == 1 else None)
    else:
        begin(file)
    patroni()


def load_only_what_starts_postgres() -> None:
    """Patroni's `pg_ctl_start` lives in a package whose import takes 0.3 s, and needs nothing of it but its own module.

    So the package is entered without running its `__init__`. Where that does not do, all of it is imported as always.
    """
    from importlib import import_module
    from importlib.util import find_spec, module_from_spec

    name = "patroni.postgresql"
    spec = find_spec(name)
    if spec is None:
        return
    sys.modules[name] = module_from_spec(spec)
    try:
        import_module(f"{name}.postmaster")
    except Exception:  # noqa: BLE001 - whatever it is, PostgreSQL is to be started
        for loaded in [loaded for loaded in sys.modules if loaded.startswith(name)]:
            del sys.modules[loaded]


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    load_only_what_starts_postgres()
