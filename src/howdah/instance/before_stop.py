"""When this leader is to leave: take its own label off while PostgreSQL shuts down, so that the service lets go early.

Patroni runs `before_stop.py PATRONI_YAML` before each stop of PostgreSQL and waits for it. It is never kept waiting: the
work is done by a child that it does not know, and that ends after a second, before Patroni gives the lock away. Only a
switchover, a failover that was asked for and a deleted pod count; after a restart in place the leader goes on.
Whatever fails here costs time only: Patroni takes the label off, too, at the end.

kube-proxy writes what changes after a quiet second at once, and holds back for a second what comes next. The former leader's
leaving is the first change: so it has to come as early as it can.

Source: https://patroni.readthedocs.io/en/latest/yaml_configuration.html (postgresql.before_stop)
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and os.fork():
    os._exit(0)

import datetime as dt
import http.client
import signal
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from howdah.instance.pod_labels import Api, api_of, pods_path, read, unlabel

AT_MOST_S = 1  # Patroni waits that long after the shutdown before it gives the lock away


def why_it_leaves(api: Api, name: str, scope: str, section: Mapping[str, Any], pod: Mapping[str, Any]) -> str | None:
    """The reason, if this member leads (`pod`: its metadata) and will not go on leading."""
    if (pod.get("labels") or {}).get(section["role_label"]) != section["leader_label_value"]:
        return None
    if pod.get("deletionTimestamp"):
        return "its pod is deleted"
    path = f"/api/v1/namespaces/{quote(section['namespace'])}/configmaps/{quote(scope)}-failover"
    status, found = api.ask("GET", path)
    request = (found["metadata"].get("annotations") or {}) if status == http.client.OK else {}
    return "another member is to lead" if asks_to_leave(name, request, dt.datetime.now(dt.UTC)) else None


def asks_to_leave(name: str, request: Mapping[str, str], now: dt.datetime) -> bool:
    """Whether Patroni's request (annotations of its failover object) is for this leader, now."""
    leader, candidate, at = (request.get(key) or "" for key in ("leader", "member", "scheduled_at"))
    is_for_us = leader in ("", name) and candidate != name and bool(leader or candidate)
    return is_for_us and (not at or dt.datetime.fromisoformat(at) <= now)


def main(patroni_yaml: str) -> None:
    """Says what it did, or why not."""
    try:
        document = read(patroni_yaml)
        name, section = document["name"], document["kubernetes"]
        api = api_of(os.environ, section.get("context"))
        status, pod = api.ask("GET", f"{pods_path(section)}/{quote(name)}")
        why = (
            why_it_leaves(api, name, document["scope"], section, pod["metadata"]) if status == http.client.OK else None
        )
        if why is not None and unlabel(api, section, pod["metadata"]):
            print(f"{name} has the label of the leader no more: {why}", file=sys.stderr)  # noqa: T201
    except Exception as error:  # noqa: BLE001 - PostgreSQL stops anyway
        print(f"the label of the leader stays a little longer: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    signal.alarm(AT_MOST_S)
    main(sys.argv[1])
