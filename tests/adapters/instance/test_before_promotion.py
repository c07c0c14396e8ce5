"""The script that Patroni runs before a promotion: who loses the label of the leader, and who does not."""

import os

import pytest

from adapters.instance.world import run_script
from howdah.instance import before_promotion

POD = {"spec": {"containers": [{"name": "postgres", "image": "spilo"}]}}


@pytest.fixture
def pods(api):
    """Labels of pods as they are made: this member, the former leader, a replica, and another cluster's leader."""
    scope = f"bp{os.getpid()}"
    labels = {
        f"{scope}-0": {"cluster-name": scope, "spilo-role": "replica"},
        f"{scope}-1": {"cluster-name": scope, "spilo-role": "master"},
        f"{scope}-2": {"cluster-name": scope, "spilo-role": "replica"},
        f"{scope}x-0": {"cluster-name": f"{scope}x", "spilo-role": "master"},
    }
    for name, found in labels.items():
        metadata = {"name": name, "labels": {"application": "spilo", **found}}
        api.call(
            "POST", "/api/v1/namespaces/default/pods", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **POD}
        )
    yield labels
    for name in labels:
        api.call("DELETE", f"/api/v1/namespaces/default/pods/{name}", {"gracePeriodSeconds": 0})


def run(api, folder, scope, **changes):
    return run_script(before_promotion, api, folder, scope, **changes)


def roles(api, labels):
    found = {name: api.call("GET", f"/api/v1/namespaces/default/pods/{name}")["metadata"]["labels"] for name in labels}
    return {name: held.get("spilo-role") for name, held in found.items()}


def test_only_the_former_leader_of_this_cluster_loses_its_label(api, pods, tmp_path):
    scope = next(iter(pods)).removesuffix("-0")
    done = run(api, tmp_path, scope)
    assert done.returncode == 0
    assert f"{scope}-1 had the label of the leader" in done.stderr
    before = {name: labels["spilo-role"] for name, labels in pods.items()}
    assert roles(api, pods) == {**before, f"{scope}-1": None}
    assert run(api, tmp_path, scope).stderr == ""  # the second time there is nothing to do


@pytest.mark.parametrize("changes", [{"context": "no-such"}, {"namespace": None}, {"labels": None}])
def test_what_goes_wrong_is_said_and_keeps_nobody_from_being_promoted(api, pods, tmp_path, changes):
    scope = next(iter(pods)).removesuffix("-0")
    done = run(api, tmp_path, scope, **changes)
    assert done.returncode == 0
    assert "other pods keep the label that they have" in done.stderr
    assert roles(api, pods)[f"{scope}-1"] == "master"
