"""When this leader is to leave: change what kube-proxy sees of it early, so that its pause is over when the new one leads.

kube-proxy writes what changes after a quiet second at once, and holds back for a second what comes next. Left alone, the
former leader's label is taken off a tenth of a second before the new one has its own: one change too many. So something
changes before, as early as can be: of a deleted pod its label goes, and in a switchover the candidate leaves the
service of replicas. (The leader's service is not emptied early there: clients without any endpoint get ICMP
errors, which Linux limits, and wait for a second try of TCP.)

Patroni runs `before_stop.py PATRONI_YAML` before each stop of PostgreSQL and waits for it. It is never kept waiting: the
work is done by a child that it does not know, and that ends after a second at most. After a
restart in place, or where anything fails here, nothing is changed; and Patroni's next report of its members sets labels right.

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

AT_MOST_S = 1


def leads(section: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """By the label of this pod (its metadata)."""
    return _label(section, pod) == str(section["leader_label_value"])


def follows(section: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """By the label, too."""
    return _label(section, pod) == str(section.get("follower_label_value", "replica"))


def _label(section: Mapping[str, Any], pod: Mapping[str, Any]) -> str | None:
    labels: Mapping[str, str] = pod.get("labels") or {}
    return labels.get(section["role_label"])


def candidate(api: Api, name: str, scope: str, namespace: str) -> str | None:
    """The member that a request for a switchover or failover away from this one names, if it is due."""
    status, found = api.ask("GET", f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(scope)}-failover")
    request = (found["metadata"].get("annotations") or {}) if status == http.client.OK else {}
    return request.get("member") if asks_to_leave(name, request, dt.datetime.now(dt.UTC)) else None


def asks_to_leave(name: str, request: Mapping[str, str], now: dt.datetime) -> bool:
    """Whether Patroni's request (annotations of its failover object) is for this leader, now."""
    leader, candidate, at = (request.get(key) or "" for key in ("leader", "member", "scheduled_at"))
    is_for_us = leader in ("", name) and candidate != name and bool(leader or candidate)
    return is_for_us and (not at or dt.datetime.fromisoformat(at) <= now)


def make_way(document: Mapping[str, Any]) -> str | None:
    """What was done, for the log."""
    name, section = document["name"], document["kubernetes"]
    api = api_of(os.environ, section.get("context"))
    own = _metadata(api, section, name)
    if not leads(section, own):
        return None
    if own.get("deletionTimestamp"):
        return f"{name} is deleted and has the label of the leader no more" if unlabel(api, section, own) else None
    other = candidate(api, name, document["scope"], section["namespace"])
    if other is None or not follows(section, pod := _metadata(api, section, other)):
        return None
    return f"{other} is to lead and has the label of a replica no more" if unlabel(api, section, pod) else None


def _metadata(api: Api, section: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    status, pod = api.ask("GET", f"{pods_path(section)}/{quote(name)}")
    found: Mapping[str, Any] = pod["metadata"] if status == http.client.OK else {}
    return found


def main(patroni_yaml: str) -> None:
    """Says what it did, or why not."""
    try:
        done = make_way(read(patroni_yaml))
    except Exception as error:  # noqa: BLE001 - PostgreSQL stops anyway
        done = f"labels stay as they are: {type(error).__name__}: {error}"
    if done is not None:
        print(done, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    signal.alarm(AT_MOST_S)
    main(sys.argv[1])
