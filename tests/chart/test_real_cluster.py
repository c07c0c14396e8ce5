"""The chart on a real control plane: it installs, its permissions are what the API server grants, and they are enough.

There are no nodes: pods stay pending. What the operator asks of the API until then is what counts here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chart.control_plane import (
    HANGS_S,
    MANIFEST,
    Cluster,
    await_rights,
    control_plane,
    needs_control_plane,
    operator,
    until,
)
from chart.rendering import CHART, ROOT
from howdah.core.permissions import GRANTS, Installation, Place
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.resources import Resource

ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)

pytestmark = needs_control_plane


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with control_plane("team", "other") as found:
        yield found


@contextlib.contextmanager
def installed(cluster: Cluster, *settings: str) -> Iterator[None]:
    arguments = ("--namespace", "ops", "--create-namespace", "--set", "crds.upgrade=false", *settings)
    cluster.run("helm", "install", "howdah", CHART, *arguments)
    try:
        yield
    finally:
        uninstall(cluster, "ops")


def uninstall(cluster: Cluster, namespace: str) -> None:
    """With what running clusters would need, so that a release in another namespace may have it."""
    cluster.run("helm", "uninstall", "howdah", "--namespace", namespace, "--wait")
    for kind in ("clusterrole", "priorityclass"):
        cluster.kubectl("delete", kind, "-l", "app.kubernetes.io/instance=howdah")


# before the fixture that installs the chart for several tests: two releases of one name cannot be there


def test_pods_are_admitted_where_the_restricted_standard_is_enforced(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "restricted")
    cluster.kubectl("label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted")
    arguments = ("--namespace", "restricted", "--set", "crds.upgrade=false")
    cluster.run("helm", "install", "howdah", CHART, *arguments)
    try:
        until(lambda: len(cluster.names("pods", "restricted")) == 2, list)
        upgraded = cluster.run("helm", "upgrade", "howdah", CHART, *arguments, "--set", "configGeneral.workers=9")
        assert "STATUS: deployed" in upgraded
        stored = cluster.kubectl("get", "operatorconfiguration", "howdah", "-n", "restricted", "-o", "yaml")
        assert yaml.safe_load(stored)["configuration"]["workers"] == 9
    finally:
        uninstall(cluster, "restricted")


def test_the_kustomize_base_is_taken(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "howdah")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(CHART / "crds"))
    try:
        said = cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy" / "kustomize"))
        assert "deployment.apps/howdah serverside-applied" in said
    finally:
        for kind in ("clusterrole", "clusterrolebinding", "priorityclass"):
            cluster.kubectl("delete", kind, "-l", "app.kubernetes.io/instance=howdah")
        cluster.kubectl("delete", "namespace", "howdah", "--wait=false")


MODES = {
    "whole cluster": ((), None),
    "one namespace": (("--set", "configKubernetes.watched_namespace=team"), ("team",)),
    "a list": (("--set", r"configKubernetes.watched_namespace=team\,third"), ("team", "third")),
}


@pytest.fixture(scope="module", params=MODES, ids=lambda mode: mode.replace(" ", "-"))
def mode(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[tuple[str, ...] | None]:
    """The chart, installed in one of the three modes; what is watched."""
    if "third" not in cluster.kubectl("get", "namespaces"):
        cluster.kubectl("create", "namespace", "third")
    settings, watched = MODES[request.param]
    with installed(cluster, *settings):
        yield watched


def test_the_api_server_grants_exactly_the_rows(cluster: Cluster, mode: tuple[str, ...] | None) -> None:
    await_rights(cluster)
    granted, refused = asyncio.run(_reviewed(cluster, mode))
    assert not refused, f"rows of the table that the API server does not grant: {refused}"
    assert not granted, f"granted beyond the table: {granted}"


async def _reviewed(cluster: Cluster, watched: tuple[str, ...] | None) -> tuple[list[str], list[str]]:
    """What is granted beyond the table, and what of the table is not."""
    async with Client(load_access(str(cluster.kubeconfig))) as client:

        async def may(verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool:
            plural, _, subresource = resource.partition("/")
            what = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
            asked = {**what, "namespace": namespace, "name": name}
            spec = {"user": "system:serviceaccount:ops:howdah", "resourceAttributes": asked}
            body = {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.kind, "metadata": {}, "spec": spec}
            answer = await client.create(ACCESS_REVIEWS, body)
            return bool(answer["status"]["allowed"])

        called = Installation("howdah", "ops", watched, configuration="howdah").called
        granted, refused = [], []
        for grant in GRANTS:
            rule = grant.rule(called)
            (resource,) = rule["resources"]
            everywhere = {Place.CLUSTER: ("",), Place.NODES: ("",)}
            places = {**everywhere, Place.OWN: ("ops",), Place.WATCHED: watched or ("team", "other")}[grant.place]
            for verb in grant.verbs:
                for name in rule.get("resourceNames", [""]):
                    for place in places:
                        is_for_all = grant.place in everywhere and watched is not None
                        allowed = await may(verb, grant.group, resource, place, name)
                        if allowed is is_for_all:
                            (granted if allowed else refused).append(f"{verb} {resource} {place} {name}")
                if rule.get("resourceNames") and await may(verb, grant.group, resource, places[0], "another"):
                    is_given_by_another_row = any(
                        other is not grant and not other.names and verb in other.verbs
                        and (other.group, other.resource) == (grant.group, grant.resource)
                        for other in GRANTS
                    )  # fmt: skip
                    granted += [] if is_given_by_another_row else [f"{verb} {resource} another"]
        beyond = [("patch", "", "nodes", ""), ("get", "", "secrets", "kube-system"), ("update", "", "pods", "team")]
        beyond += [("escalate", "rbac.authorization.k8s.io", "clusterroles", ""), ("create", "", "pods", "team")]
        beyond += [("list", "", "secrets", "other")] if watched is not None else []
        for verb, group, resource, place in beyond if watched is not None else [*beyond[:1], *beyond[2:]]:
            if await may(verb, group, resource, place):
                granted.append(f"{verb} {resource} {place}")
        return granted, refused


def test_a_cluster_is_made_and_removed_with_these_permissions(
    cluster: Cluster, mode: tuple[str, ...] | None, tmp_path: Path
) -> None:
    if mode is None:  # the operator makes it again
        cluster.kubectl("delete", "crd", "postgresteams.acid.zalan.do")
    with operator(cluster, tmp_path) as log:
        cluster.kubectl("get", "crd", "postgresteams.acid.zalan.do")
        of_two = {**MANIFEST, "spec": {**MANIFEST["spec"], "numberOfInstances": 2}}
        cluster.kubectl("apply", "-f", "-", text=json.dumps(of_two))
        until(lambda: "statefulset.apps/acid-a" in cluster.names("statefulset"), log)
        until(lambda: "Creating" in cluster.kubectl("get", "postgresql", "acid-a", "-n", "team", "-o", "yaml"), log)
        assert cluster.names("rolebinding") >= {"rolebinding.rbac.authorization.k8s.io/postgres-pod"}
        cluster.kubectl(
            "patch", "postgresql", "acid-a", "-n", "team", "--type=merge", "-p", '{"spec":{"numberOfInstances":1}}'
        )
        until(
            lambda: cluster.kubectl("get", "sts", "acid-a", "-n", "team", "-o", "jsonpath={.spec.replicas}") == "1", log
        )
        cluster.kubectl("delete", "postgresql", "acid-a", "-n", "team", f"--timeout={HANGS_S:g}s")
        assert not cluster.names("statefulset,service,secret,poddisruptionbudget")
    refused = [line for line in log() if re.search(r"\b403\b|forbidden", line.lower())]
    # Definitions belong to no namespace: who may see only some of them neither registers nor reads one, and says so.
    unexpected = [line for line in refused if mode is None or not re.search("CRD not (registered|read)", line)]
    assert not unexpected, "\n".join(unexpected)
