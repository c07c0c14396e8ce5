"""Before this member is promoted: take the leader's label off every other pod, so that no service leads there any more.

Patroni runs `before_promotion.py PATRONI_YAML` once it holds the leader lock, and promotes when it ends. The former
leader takes its label off itself, unless its Patroni hangs; then its PostgreSQL may still
accept writes, which would be lost. A failure here is told and keeps nobody from being promoted.

Source: https://patroni.readthedocs.io/en/latest/yaml_configuration.html (postgresql.pre_promote)
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from howdah.instance.pod_labels import Api, api_of, pods_path, read, unlabel


def unlabel_others(api: Api, name: str, scope: str, section: Mapping[str, Any]) -> list[str]:
    """Names of the pods whose label was taken off. `section`: Patroni's `kubernetes`, with every key decided."""
    labels = {**section["labels"], section["scope_label"]: scope, section["role_label"]: section["leader_label_value"]}
    selector = quote(",".join(f"{key}={value}" for key, value in sorted(labels.items())))
    status, found = api.ask("GET", f"{pods_path(section)}?labelSelector={selector}")
    if status != http.client.OK:
        raise OSError(f"pods cannot be listed: {status} {found.get('message', '')}")
    others = [pod["metadata"] for pod in found["items"] if pod["metadata"]["name"] != name]
    return [other["name"] for other in others if unlabel(api, section, other)]


def main(patroni_yaml: str) -> int:
    """Always 0: Patroni would give the lock back, and a cluster without leader helps nobody."""
    try:
        document = read(patroni_yaml)
        section = document["kubernetes"]
        api = api_of(os.environ, section.get("context"))
        for pod in unlabel_others(api, document["name"], document["scope"], section):
            print(f"{pod} had the label of the leader, and {document['name']} holds the lock", file=sys.stderr)  # noqa: T201
    except Exception as error:  # noqa: BLE001 - whatever it is, the member is to be promoted
        print(f"other pods keep the label that they have: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
