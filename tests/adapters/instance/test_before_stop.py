"""The script that Patroni runs before it stops PostgreSQL: whose label goes when, and that nobody waits."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
import yaml

from adapters.instance.world import run_script, until
from howdah.instance import before_stop, pod_labels
from steady import HANGS_S, quickest

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("request_", "leaves"),
    [
        ({}, False),
        ({"leader": "a-0", "member": "a-1"}, True),
        ({"leader": "a-0"}, True),
        ({"member": "a-1"}, True),
        ({"leader": "a-1", "member": "a-2"}, False),
        ({"member": "a-0"}, False),
        ({"leader": "a-0", "scheduled_at": "2026-01-01T12:00:00+00:00"}, True),
        ({"leader": "a-0", "scheduled_at": "2026-01-01T13:00:01+01:00"}, False),
    ],
)
def test_a_leader_leaves_when_a_request_for_it_is_due(request_, leaves):
    assert before_stop.asks_to_leave("a-0", request_, NOW) is leaves


@pytest.fixture
def scope(api):
    """A leader, its replica, and an empty request for a switchover; all are gone afterwards."""
    scope = f"bs{os.getpid()}"
    for name, role in ((f"{scope}-0", "master"), (f"{scope}-1", "replica")):
        labels = {"application": "spilo", "cluster-name": scope, "spilo-role": role}
        metadata = {"name": name, "labels": labels, "finalizers": ["howdah.dev/test"]}
        pod = {"metadata": metadata, "spec": {"containers": [{"name": "postgres", "image": "spilo"}]}}
        api.call("POST", "/api/v1/namespaces/default/pods", {"apiVersion": "v1", "kind": "Pod", **pod})
    place = f"/api/v1/namespaces/default/configmaps/{scope}-failover"
    failover = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{scope}-failover"}}
    api.call("POST", place.rpartition("/")[0], failover)
    yield scope
    for number in (0, 1):
        path = f"/api/v1/namespaces/default/pods/{scope}-{number}"
        api.call("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
        if api.call("GET", path):
            api.call("DELETE", path, {"gracePeriodSeconds": 0})
    api.call("DELETE", place)


def patch(api, path, metadata):
    api.call("PATCH", f"/api/v1/namespaces/default/{path}", {"metadata": metadata}, "application/merge-patch+json")


def run(api, folder, scope, **changes):
    """What it says; the pipe ends with its child."""
    done = run_script(before_stop, api, folder, scope, **changes)
    done.check_returncode()
    return done.stderr


def roles(api, scope):
    pods = [api.call("GET", f"/api/v1/namespaces/default/pods/{scope}-{number}") for number in (0, 1)]
    return [pod["metadata"]["labels"].get("spilo-role") for pod in pods]


def test_a_leader_that_restarts_changes_no_label(api, scope, tmp_path):
    assert run(api, tmp_path, scope) == ""
    assert roles(api, scope) == ["master", "replica"]


def test_who_is_to_lead_is_no_replica_any_more(api, scope, tmp_path):
    patch(api, f"configmaps/{scope}-failover", {"annotations": {"leader": f"{scope}-0", "member": f"{scope}-1"}})
    assert f"{scope}-1 is to lead" in run(api, tmp_path, scope)
    assert roles(api, scope) == ["master", None]


def test_who_leads_meanwhile_keeps_the_label(api, scope):
    seen = api.call("GET", f"/api/v1/namespaces/default/pods/{scope}-1")["metadata"]
    patch(api, f"pods/{scope}-1", {"labels": {"spilo-role": "master"}})
    section = {"namespace": "default", "role_label": "spilo-role"}
    context = yaml.safe_load(api.kubeconfig.read_text())["current-context"]
    mine = pod_labels.api_of({"KUBECONFIG": str(api.kubeconfig)}, context)
    assert not pod_labels.unlabel(mine, section, seen)
    assert roles(api, scope) == ["master", "master"]


def test_a_leader_that_leaves_to_anybody_changes_no_label(api, scope, tmp_path):
    patch(api, f"configmaps/{scope}-failover", {"annotations": {"leader": f"{scope}-0"}})
    assert run(api, tmp_path, scope) == ""
    assert roles(api, scope) == ["master", "replica"]


def test_a_leader_whose_pod_is_deleted_loses_its_label(api, scope, tmp_path):
    api.call("DELETE", f"/api/v1/namespaces/default/pods/{scope}-0", {"gracePeriodSeconds": 0})  # a finalizer holds it
    assert f"{scope}-0 is deleted" in run(api, tmp_path, scope)
    assert roles(api, scope) == [None, "replica"]


def test_a_replica_that_stops_changes_no_label(api, scope, tmp_path):
    patch(api, f"pods/{scope}-0", {"labels": {"spilo-role": "replica"}})
    patch(api, f"configmaps/{scope}-failover", {"annotations": {"member": f"{scope}-1"}})
    assert run(api, tmp_path, scope) == ""
    assert roles(api, scope) == ["replica", "replica"]


def test_what_goes_wrong_is_said(api, scope, tmp_path):
    assert "labels stay as they are" in run(api, tmp_path, scope, context="no-such")


def test_patroni_does_not_wait_for_an_api_server_that_does_not_answer(tmp_path):
    kubeconfig = tmp_path / "pipe"
    os.mkfifo(kubeconfig)  # nobody writes to it
    file = tmp_path / "patroni.yaml"
    file.write_text(yaml.safe_dump({"scope": "a", "name": "a-0", "kubernetes": {"context": "any"}}))
    command = [sys.executable, "-P", before_stop.__file__, str(file)]
    reading, writing = os.pipe()

    def took_s():
        begun = time.monotonic()
        subprocess.run(command, env={"KUBECONFIG": str(kubeconfig)}, stderr=writing, timeout=HANGS_S, check=True)
        return time.monotonic() - begun

    assert quickest(took_s, limit_s=0.9) < 0.9  # its child ends after a second
    os.close(writing)
    os.set_blocking(reading, False)
    until(lambda: _has_ended(reading), why="the child ends")
    os.close(reading)


def _has_ended(reading):
    try:
        return os.read(reading, 1) == b""
    except BlockingIOError:
        return False
