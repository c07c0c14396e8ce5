"""The chart on a real control plane: it installs, its permissions are what the API server grants, and they are enough.

There are no nodes: pods stay pending. What the operator asks of the API until then is what counts here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.rendering import CACHE, CHART, IS_WANTED, ROOT, Json, tool
from howdah.core.permissions import GRANTS, Installation, Place
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.resources import Resource

SCRIPTS = ROOT / "e2e" / "kubernetes"
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
IS_BUILT = any(CACHE.glob("*/bin/kube-apiserver"))

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (IS_BUILT or IS_WANTED), reason="no real control plane is built: `make kube-build` (Go, 7 minutes)"
    ),
]

MANIFEST: Json = {
    "apiVersion": "acid.zalan.do/v1",
    "kind": "postgresql",
    "metadata": {"name": "acid-a", "namespace": "team"},
    "spec": {
        "teamId": "acid",
        "numberOfInstances": 2,
        "volume": {"size": "1Gi"},
        "postgresql": {"version": "18"},
        "users": {"zalando": []},
        "databases": {"foo": "zalando"},
    },
}


@dataclass(frozen=True, slots=True)
class Cluster:
    folder: Path

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def run(self, name: str, *arguments: str | Path, text: str = "") -> str:
        """helm or kubectl as the administrator."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HELM_CACHE_HOME": str(self.folder / "helm")}
        command = [tool(name), *arguments]
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=120, check=False, env=environment
        )
        assert done.returncode == 0, f"{name} {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def kubectl(self, *arguments: str, text: str = "") -> str:
        return self.run("kubectl", *arguments, text=text)

    def names(self, kind: str, namespace: str = "team") -> set[str]:
        return set(self.kubectl("get", kind, "-n", namespace, "-o", "name").split())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="howdah-chart-"))
    try:
        subprocess.run([SCRIPTS / "up.sh", folder], check=True, timeout=120, capture_output=True)
        found = Cluster(folder)
        for namespace in ("team", "other"):
            found.kubectl("create", "namespace", namespace)
        yield found
    finally:
        subprocess.run([SCRIPTS / "down.sh", folder, "remove"], check=False, timeout=60, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def installed(cluster: Cluster, *settings: str) -> Iterator[None]:
    arguments = ("--namespace", "ops", "--create-namespace", "--set", "crds.upgrade=false", *settings)
    cluster.run("helm", "install", "howdah", CHART, *arguments)
    try:
        yield
    finally:
        cluster.run("helm", "uninstall", "howdah", "--namespace", "ops", "--wait")


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
        cluster.run("helm", "uninstall", "howdah", "--namespace", "restricted")


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
            everywhere = {Place.CLUSTER: ("",), Place.NODES: ("",)}
            places = {**everywhere, Place.OWN: ("ops",), Place.WATCHED: watched or ("team", "other")}[grant.place]
            for verb in grant.verbs:
                for name in rule.get("resourceNames", [""]):
                    for place in places:
                        is_for_all = grant.place in everywhere and watched is not None
                        allowed = await may(verb, grant.group, grant.resource, place, name)
                        if allowed is is_for_all:
                            (granted if allowed else refused).append(f"{verb} {grant.resource} {place} {name}")
                if rule.get("resourceNames") and await may(verb, grant.group, grant.resource, places[0], "another"):
                    is_given_by_another_row = any(
                        other is not grant and not other.names and verb in other.verbs
                        and (other.group, other.resource) == (grant.group, grant.resource)
                        for other in GRANTS
                    )  # fmt: skip
                    granted += [] if is_given_by_another_row else [f"{verb} {grant.resource} another"]
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
        cluster.kubectl("apply", "-f", "-", text=json.dumps(MANIFEST))
        until(lambda: "statefulset.apps/acid-a" in cluster.names("statefulset"), log)
        until(lambda: "Creating" in cluster.kubectl("get", "postgresql", "acid-a", "-n", "team", "-o", "yaml"), log)
        assert cluster.names("rolebinding") >= {"rolebinding.rbac.authorization.k8s.io/postgres-pod"}
        cluster.kubectl(
            "patch", "postgresql", "acid-a", "-n", "team", "--type=merge", "-p", '{"spec":{"numberOfInstances":1}}'
        )
        until(
            lambda: cluster.kubectl("get", "sts", "acid-a", "-n", "team", "-o", "jsonpath={.spec.replicas}") == "1", log
        )
        cluster.kubectl("delete", "postgresql", "acid-a", "-n", "team", "--timeout=60s")
        assert not cluster.names("statefulset,service,secret,poddisruptionbudget")
    refused = [line for line in log() if re.search(r"\b403\b|forbidden", line.lower())]
    # Definitions belong to no namespace: who may see only some of them neither registers nor reads one, and says so.
    unexpected = [line for line in refused if mode is None or not re.search("CRD not (registered|read)", line)]
    assert not unexpected, "\n".join(unexpected)


Log = Callable[[], list[str]]


@contextlib.contextmanager
def operator(cluster: Cluster, folder: Path) -> Iterator[Log]:
    """The operator outside of the cluster, as the chart's service account; ready."""
    token = cluster.kubectl("create", "token", "howdah", "--namespace", "ops").strip()
    config: Any = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    kubeconfig, output = folder / "kubeconfig", folder / "log"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "OPERATOR_NAMESPACE": "ops",
        "POSTGRES_OPERATOR_CONFIGURATION_OBJECT": "howdah",
    }
    command = "from howdah.cli.main import run; run()"
    arguments = ("operator", "--kubeconfig", kubeconfig, "--listen", f"127.0.0.1:{port}")
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", command, *arguments], stderr=file, stdout=file, env=environment
        )
    log: Log = lambda: output.read_text().splitlines()  # noqa: E731
    try:
        until(lambda: is_ready(port), log)
        yield log
    finally:
        process.terminate()
        process.wait(20)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(holds: Callable[[], bool], log: Log, within_s: float = 60.0) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, "\n".join(log()[-20:])
        time.sleep(0.3)
