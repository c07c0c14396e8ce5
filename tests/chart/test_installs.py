"""Every key of the values, installed away from its default on a real control plane: what the API server keeps and the operator reads.

A few releases set many keys each. Nodes are simulated, so that helm's job ends and Deployments become ready; the operator itself, and
the job, run outside with the account, the arguments and the environment that the live objects give them.
"""
# ruff: noqa: E501  # a row is a line

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench.side.operators import are_served

from chart.control_plane import (
    HANGS_S,
    MANIFEST,
    Cluster,
    control_plane,
    kubeconfig_of,
    needs_control_plane,
    operator,
    until,
)
from chart.rendering import CHART, ROOT, Json, one
from chart.test_values import (
    GROUP_KEYS,
    ONLY_AS_OBJECTS,
    OURS,
    SPREAD,
    VALUES,
    Objects,
    See,
    as_values,
    container,
    env,
    images,
    job,
    labels,
    leases,
    names,
    pod,
    unexpected,
)
from howdah.controller import configuration
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.model.names import lease
from howdah.model.settings import OPTIONS, Settings, settings_from_configuration
from side.releases import previous_release, unpacked

pytestmark = needs_control_plane

WATCHED = {"configKubernetes": {"watched_namespace": "team,third"}}
TOLERATION = {"key": "k", "operator": "Exists", "effect": "NoSchedule"}
AFFINITY = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "zone"}}]
    }
}


@dataclass(frozen=True, slots=True)
class Install:
    """One release. `seen`: of its live objects, what to look at and what is there."""

    name: str
    values: Json
    seen: tuple[tuple[See, Any], ...]
    before: tuple[Json, ...] = ()
    release: str = "howdah"
    objects: list[Json] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return f"ops-{self.name}"


def merged(*parts: Json) -> Json:
    """The later wins, map by map."""
    made: Json = {}
    for part in parts:
        for key, value in part.items():
            both_are_maps = isinstance(value, dict) and isinstance(made.get(key), dict)
            made[key] = merged(made[key], value) if both_are_maps else value
    return made


def without(values: Json, *option_names: str) -> Json:
    for name in option_names:
        del values[GROUP_KEYS[OPTIONS[name].group]][name]
    return values


# Of the first release, by key: a value, what to look at among the live objects, and what is there.
KEYS: tuple[tuple[str, Any, See, Any], ...] = (
    ("image", {"registry": "registry.example.com", "repository": "a/b", "tag": "v9", "pullPolicy": "Always"}, lambda o: [(c["image"], c["imagePullPolicy"]) for c in (container(o), job(o)["containers"][0])], [("registry.example.com/a/b:v9", "Always")] * 2),
    ("imagePullSecrets", [{"name": "s"}], lambda o: (pod(o)["imagePullSecrets"], job(o)["imagePullSecrets"]), ([{"name": "s"}],) * 2),
    ("replicaCount", 3, lambda o: (one(o, "Deployment")["spec"]["replicas"], one(o, "Deployment")["status"]["readyReplicas"]), (3, 3)),
    ("podAnnotations", {"a": "b"}, lambda o: [p["metadata"]["annotations"]["a"] for p in pods(o)], ["b"] * 3),
    ("podLabels", {"x": "z"}, lambda o: [p["metadata"]["labels"]["x"] for p in pods(o)], ["z"] * 3),
    ("enableJsonLogging", True, lambda o: "ENABLE_JSON_LOGGING" in env(o), False),
    ("extraArgs", ["--observe-only"], lambda o: container(o)["args"][-1], "--observe-only"),
    ("enableStreams", True, lambda o: names(o, "Deployment"), ["pgo"]),
    ("rbac.createAggregateClusterRoles", True, lambda o: [n for n in names(o, "ClusterRole") if ":" in n], ["pgo:users:admin", "pgo:users:edit", "pgo:users:view"]),
    ("rbac.nodes", True, lambda o: "sa-nodes" in names(o, "ClusterRole"), True),
    ("serviceAccount", {"name": "sa", "annotations": {"a": "b"}}, lambda o: (pod(o)["serviceAccountName"], one(o, "ServiceAccount", "sa")["metadata"]["annotations"]["a"]), ("sa", "b")),
    ("priorityClassName", "system-cluster-critical", lambda o: [p["spec"]["priority"] for p in pods(o)], [2_000_000_000] * 3),
    ("resources", {"limits": {"memory": "1Gi"}, "requests": {"cpu": "200m", "memory": "1Gi"}}, lambda o: [c["resources"] for c in (container(o), job(o)["containers"][0])], [{"limits": {"memory": "1Gi"}, "requests": {"cpu": "200m", "memory": "1Gi"}}] * 2),
    ("podSecurityContext", {"fsGroup": 5}, lambda o: [p["spec"]["securityContext"]["fsGroup"] for p in pods(o)], [5] * 3),
    ("securityContext", {"runAsUser": 9}, lambda o: (container(o)["securityContext"]["runAsUser"], job(o)["containers"][0]["securityContext"]["runAsUser"]), (9, 9)),
    ("readinessProbe", {"periodSeconds": 3}, lambda o: [container(o)["readinessProbe"][key] for key in ("periodSeconds", "httpGet")], [3, {"path": "/readyz", "port": "http", "scheme": "HTTP"}]),
    ("livenessProbe", {"periodSeconds": 4}, lambda o: [container(o)["livenessProbe"][key] for key in ("periodSeconds", "httpGet")], [4, {"path": "/healthz", "port": "http", "scheme": "HTTP"}]),
    ("terminationGracePeriodSeconds", 60, lambda o: [p["spec"]["terminationGracePeriodSeconds"] for p in pods(o)], [60] * 3),
    ("extraEnvs", [{"name": "HOWDAH_LOG_LEVEL", "value": "info"}], lambda o: (env(o)["HOWDAH_LOG_LEVEL"], job(o)["containers"][0]["env"]), ("info", [{"name": "HOWDAH_LOG_LEVEL", "value": "info"}])),
    ("extraEnvFrom", [{"secretRef": {"name": "more"}}], lambda o: (container(o)["envFrom"], job(o)["containers"][0]["envFrom"]), ([{"secretRef": {"name": "more"}}],) * 2),
    ("affinity", AFFINITY, lambda o: [p["spec"]["affinity"] for p in pods(o)] == [AFFINITY] * 3, True),
    ("nodeSelector", {"kubernetes.io/os": "linux"}, lambda o: [s["nodeSelector"] for s in (pod(o), job(o))], [{"kubernetes.io/os": "linux"}] * 2),
    ("tolerations", [TOLERATION], lambda o: [TOLERATION in s["tolerations"] for s in (pod(o), job(o))], [True, True]),
    ("topologySpreadConstraints", [SPREAD], lambda o: pod(o)["topologySpreadConstraints"], [SPREAD]),
    ("fullnameOverride", "pgo", lambda o: (names(o, "OperatorConfiguration"), names(o, "Service"), env(o)["POSTGRES_OPERATOR_CONFIGURATION_OBJECT"]), (["pgo"], ["pgo"], "pgo")),
    ("podMonitor", {"create": True, "interval": "5s", "labels": {"r": "p"}}, lambda o: (labels("PodMonitor")(o)["r"], one(o, "PodMonitor")["spec"]["podMetricsEndpoints"]), ("p", [{"port": "http", "path": "/metrics", "interval": "5s"}])),
    ("prometheusRule", {"create": True, "labels": {"r": "p"}}, lambda o: (labels("PrometheusRule")(o)["r"], len(one(o, "PrometheusRule")["spec"]["groups"])), ("p", 1)),
    ("grafanaDashboard", {"create": True, "labels": {"d": "1"}, "annotations": {"folder": "db"}}, lambda o: (labels("ConfigMap")(o)["d"], one(o, "ConfigMap")["metadata"]["annotations"]["folder"]), ("1", "db")),
)  # fmt: skip


def nested(path: str, value: Any) -> Json:
    for key in reversed(path.split(".")):
        value = {key: value}
    found: Json = value
    return found


def pods(objects: Objects) -> list[Json]:
    return [o for o in objects if o["kind"] == "Pod"]


EVERYTHING = Install(
    "everything",
    merged(as_values(), WATCHED, *(nested(path, value) for path, value, *_ in KEYS)),
    tuple((see, there) for _, _, see, there in KEYS),
    before=(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "more"},
            "stringData": {"WATCHED_NAMESPACE": "third"},
        },
    ),
)
BY_CONFIGMAP = Install(
    "by-configmap",
    merged(without(as_values(), *ONLY_AS_OBJECTS), WATCHED, {
        "configTarget": "ConfigMap",
        "nameOverride": "operator",
        "podDisruptionBudget": {"create": False},
        "podPriorityClassName": {"create": False},
        "crds": {"upgrade": False},
    }),
    (
        (lambda o: (names(o, "ConfigMap"), env(o)["CONFIG_MAP_NAME"]), (["howdah-operator"], "howdah-operator")),
        (lambda o: names(o, "PodDisruptionBudget") + names(o, "PriorityClass") + names(o, "Job"), []),
        (lambda o: one(o, "Deployment")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"], "operator"),
    ),
)  # fmt: skip
PRACTICAL = Install(
    "practical",
    {
        "configTarget": "ConfigMap",
        "configKubernetes": {"watched_namespace": "team"},
        "images": {"from": "howdah", "registry": "r.example.com", "repository": "x", "tag": "v7"},
        "podServiceAccount": {"name": "pods"},
        "podPriorityClassName": {"name": "db", "priority": 7_000_000},
        "controllerID": {"create": True, "name": "mine"},
        "resources": {"requests": {"cpu": "50m"}},
    },
    (
        (lambda o: env(o)["CONTROLLER_ID"], "mine"),
        (leases, [lease("mine")]),
        (lambda o: [(p["metadata"]["name"], p["value"]) for p in o if p["kind"] == "PriorityClass"], [("db", 7_000_000)]),
        (lambda o: "pods" in names(o, "ClusterRole"), True),
        (lambda o: one(o, "Deployment")["status"]["readyReplicas"], 2),
    ),
)  # fmt: skip
BARE = Install(
    "bare",
    {
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "given"},
        "readinessProbe": None,
        "livenessProbe": None,
        "podPriorityClassName": {"create": False},
        "images": {"from": "howdah", "tag": "v7"},
        "configKubernetes": {"watched_namespace": ""},
    },
    (
        (lambda o: [kind for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Job", "ServiceAccount") if names(o, kind)], []),
        (lambda o: pod(o)["serviceAccountName"], "given"),
        (lambda o: [probe for probe in ("readinessProbe", "livenessProbe") if probe in container(o)], []),
        (images, tuple(f"ghcr.io/howdah/{name}:v7" for name in OURS)),
    ),
    before=({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "given"}},),
)  # fmt: skip
INSTALLS = (EVERYTHING, BY_CONFIGMAP, PRACTICAL, BARE)


def leaves(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Of the chart's own keys by path: maps that have keys of their own are gone into."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if path == "" and key in GROUP_KEYS.values():
            continue
        where = f"{path}{key}"
        if isinstance(value, dict) and value and where in OF_KEYS:
            found |= leaves(value, f"{where}.")
        else:
            found[where] = value
    return found


OF_KEYS = {
    "image", "images", "crds", "rbac", "serviceAccount", "podServiceAccount", "podPriorityClassName", "controllerID",
    "podDisruptionBudget", "podMonitor", "prometheusRule", "grafanaDashboard",
}  # fmt: skip


def test_every_key_is_away_from_its_default_in_an_install() -> None:
    away = {
        path
        for install in INSTALLS
        for path, value in leaves(install.values).items()
        if value != leaves(VALUES).get(path)
    }
    assert not set(leaves(VALUES)) - away
    options_set = {
        option.name
        for option in OPTIONS.values()
        if option.name in EVERYTHING.values[GROUP_KEYS[option.group]]
        and EVERYTHING.values[GROUP_KEYS[option.group]][option.name]
        != (VALUES.get(GROUP_KEYS[option.group]) or {}).get(option.name, option.default)
    }
    assert not set(OPTIONS) - options_set


# --- the releases ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with control_plane("team", "third", nodes=True) as found:
        yield found


@pytest.fixture(scope="module", params=INSTALLS, ids=lambda install: install.name)
def install(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Install]:
    """The release, and its live objects; after it, nothing is left but what is said."""
    found: Install = request.param
    before = everything(cluster)
    cluster.kubectl("create", "namespace", found.namespace)
    for body in found.before:
        cluster.kubectl("apply", "-n", found.namespace, "-f", "-", text=json.dumps(body))
    if found is EVERYTHING:
        cluster.kubectl("apply", "-f", "-", text=json.dumps(MONITORING))
        until(lambda: are_served(json.loads(cluster.kubectl("get", "crd", "-o", "json"))["items"]), list)
    roles = granted(found) if found is BARE else ""
    if roles:
        cluster.kubectl("apply", "-f", "-", text=roles)
    helm_install(cluster, found)
    try:
        found.objects[:] = live(cluster, found)
        yield found
    finally:
        for body in hooks_of(cluster, found):
            cluster.kubectl("delete", "-f", "-", "--ignore-not-found", text=json.dumps(body))
        uninstalled(cluster, found)
        if roles:
            cluster.kubectl("delete", "-f", "-", text=roles)
    until(lambda: not left_of(found, cluster, before), lambda: sorted(left_of(found, cluster, before)))


def left_of(install: Install, cluster: Cluster, before: set[str]) -> set[str]:
    """What is there now and ought not to be. A volume may come and go a while after the cluster of a test that asked for it."""
    made = {line for line in everything(cluster) - before if not line.startswith(LEFT)}
    given = {f"v1 {body['kind']} {install.namespace}/{body['metadata']['name']}" for body in install.before}
    leases_of_operators = {f"coordination.k8s.io/v1 Lease {install.namespace}/{lease(whose)}" for whose in ("", "mine")}
    return made - given - leases_of_operators - of_namespace(install.namespace) - {f"v1 Namespace /{install.namespace}"}


def uninstalled(cluster: Cluster, install: Install) -> None:
    """What running clusters need is kept, and belongs to a person then: here the next release is to have its names."""
    rendered = yaml.safe_load_all(
        cluster.run("helm", "get", "manifest", install.release, "--namespace", install.namespace)
    )
    needed = {
        (body["kind"], body["metadata"]["name"])
        for body in rendered
        if body and body["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert {kind for kind, _ in needed} <= {"ClusterRole", "PriorityClass"}
    cluster.run("helm", "uninstall", install.release, "--namespace", install.namespace, "--wait")
    for kind, name in needed:
        cluster.kubectl("delete", kind, name)  # raises where it was not kept


def of_namespace(name: str) -> set[str]:
    """What Kubernetes makes in each."""
    return {f"v1 ServiceAccount {name}/default", f"v1 ConfigMap {name}/kube-root-ca.crt"}


LEFT = (
    "apiextensions.k8s.io/v1 CustomResourceDefinition ",  # helm never removes them, and clusters with them
    "apiregistration.k8s.io/v1 APIService ",  # likewise
    "v1 Event ",
    "events.k8s.io/v1 Event ",
    "coordination.k8s.io/v1 Lease kube-node-lease/",
)


def everything(cluster: Cluster) -> set[str]:
    """`kind namespace/name` of all that there is."""
    kinds = cluster.kubectl("api-resources", "--verbs=list,delete", "-o", "name").split()
    path = 'jsonpath={range .items[*]}{.apiVersion} {.kind} {.metadata.namespace}/{.metadata.name}{"\\n"}{end}'
    return set(cluster.kubectl("get", ",".join(kinds), "-A", "-o", path).splitlines())


def helm_install(cluster: Cluster, install: Install, *arguments: str | Path) -> None:
    place = ("--namespace", install.namespace, "--wait", "--timeout", f"{HANGS_S:g}s")
    done = cluster.tried(
        "helm", "install", install.release, CHART, *place, "-f", "-", *arguments, text=yaml.safe_dump(install.values)
    )
    assert done.returncode == 0, done.stderr
    assert "unknown field" not in done.stderr, done.stderr
    assert "would violate" not in done.stderr, done.stderr


def live(cluster: Cluster, install: Install) -> list[Json]:
    """What the API server has of what the chart makes, and pods. The job and its account are gone when it has ended: they are made again."""
    of_release = (install.release, "--namespace", install.namespace)
    rendered = [body for body in yaml.safe_load_all(cluster.run("helm", "get", "manifest", *of_release)) if body]
    hooks = hooks_of(cluster, install)
    found = as_they_are(cluster, rendered)
    if hooks:
        cluster.kubectl("create", "-f", "-", text=yaml.safe_dump_all(hooks))
        found += as_they_are(cluster, hooks)
    for there, body in zip(found, rendered + hooks, strict=True):
        assert not missing(there, body), f"{body['kind']} {body['metadata']['name']}: {missing(there, body)}"
    deployment = one(found, "Deployment")
    selector = ",".join(f"{k}={v}" for k, v in deployment["spec"]["selector"]["matchLabels"].items())
    listed = json.loads(cluster.kubectl("get", "pods", "-n", install.namespace, "-l", selector, "-o", "json"))
    return [*found, *listed["items"]]


def hooks_of(cluster: Cluster, install: Install) -> list[Json]:
    hooks = cluster.run("helm", "get", "hooks", install.release, "--namespace", install.namespace)
    return [body for body in yaml.safe_load_all(hooks) if body]


def as_they_are(cluster: Cluster, bodies: list[Json]) -> list[Json]:
    """What the API server has of them, in their order."""
    told = json.loads(cluster.kubectl("get", "-o", "json", "-f", "-", text=yaml.safe_dump_all(bodies)))
    found: list[Json] = told["items"] if told["kind"] == "List" else [told]
    return found


def missing(there: Any, asked: Any, path: str = "") -> list[str]:
    """Paths of what was asked for and is not there; what is empty need not be."""
    if isinstance(asked, dict) and isinstance(there, dict):
        return [
            line
            for key, value in asked.items()
            if value not in (None, {}, [], "", False) or key in there
            for line in missing(there.get(key), value, f"{path}.{key}")
        ]
    if isinstance(asked, list) and isinstance(there, list):
        if len(asked) != len(there):
            return [f"{path}: {asked} → {there}"]
        return [
            line for n, pair in enumerate(zip(there, asked, strict=True)) for line in missing(*pair, f"{path}[{n}]")
        ]
    return [] if there == asked else [f"{path}: {asked} → {there}"]


def definition(plural: str, kind: str) -> Json:
    """A kind of the Prometheus operator, as far as the chart needs it."""
    any_spec = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": any_spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


MONITORING = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [definition("podmonitors", "PodMonitor"), definition("prometheusrules", "PrometheusRule")],
}


# before the fixture that installs many: two releases must not have one name for what belongs to no namespace


def test_monitoring_without_its_definitions_is_refused_before_anything_is_made(cluster: Cluster) -> None:
    before = everything(cluster)
    for key, kind in (("podMonitor", "PodMonitor"), ("prometheusRule", "PrometheusRule")):
        done = cluster.tried("helm", "install", "howdah", CHART, "--namespace", "team", "--set", f"{key}.create=true")
        assert done.returncode != 0
        assert f'no matches for kind "{kind}"' in done.stderr
    assert not {line for line in everything(cluster) - before if not line.startswith(LEFT)}


def test_a_release_of_the_previous_chart_is_upgraded_and_rolled_back_in_place(cluster: Cluster, tmp_path: Path) -> None:
    """With values of a person, which stay. Nothing is made anew: clusters find their operator's account, options and role."""
    previous = unpacked(previous_release(), "charts", tmp_path) / "howdah"
    person = Install("upgraded", {"configGeneral": {"workers": 9}, "replicaCount": 3, **PRACTICAL.values}, ())
    place = ("--namespace", person.namespace, "--wait", "--timeout", f"{HANGS_S:g}s")
    before = everything(cluster)
    cluster.run(
        "helm",
        "install",
        "howdah",
        previous,
        *place,
        "--create-namespace",
        "-f",
        "-",
        text=yaml.safe_dump(person.values),
    )
    first = identities(cluster, person)
    cluster.run("helm", "upgrade", "howdah", CHART, *place, "--reset-then-reuse-values", "--set", "replicaCount=1")
    assert {name: uid for name, uid in identities(cluster, person).items() if name in first} == {
        name: uid for name, uid in first.items() if not name.startswith("PodDisruptionBudget")
    }
    assert cluster.get("deployment", "howdah", person.namespace)["spec"]["replicas"] == 1
    assert cluster.get("configmap", "howdah", person.namespace)["data"]["workers"] == "9"
    cluster.run("helm", "rollback", "howdah", "1", *place)
    now = identities(cluster, person)
    assert set(now) == set(first)
    assert {n: uid for n, uid in now.items() if first[n] != uid}.keys() <= {"PodDisruptionBudget howdah"}
    uninstalled(cluster, person)
    left = {line for line in everything(cluster) - before if not line.startswith(LEFT)}
    assert left == {f"v1 Namespace /{person.namespace}", *of_namespace(person.namespace)}


def identities(cluster: Cluster, install: Install) -> dict[str, str]:
    """`kind name` → uid of what the release has now."""
    manifest = cluster.run("helm", "get", "manifest", install.release, "--namespace", install.namespace)
    bodies = [body for body in yaml.safe_load_all(manifest) if body]
    there = as_they_are(cluster, bodies)
    return {f"{body['kind']} {body['metadata']['name']}": body["metadata"]["uid"] for body in there}


def test_live_objects_are_as_the_values_say(install: Install) -> None:
    for number, (see, there) in enumerate(install.seen):
        assert see(install.objects) == there, f"check {number} of {install.name}"


def test_the_operator_reads_every_option_as_the_values_say(cluster: Cluster, install: Install, tmp_path: Path) -> None:
    account = pod(install.objects)["serviceAccountName"]
    kubeconfig = kubeconfig_of(cluster, account, install.namespace, tmp_path / "kubeconfig")
    found = asyncio.run(_read(kubeconfig, environment(cluster, install)))
    assert not unexpected(found.warnings)
    if install in (EVERYTHING, BY_CONFIGMAP):
        asked = expected_settings(install.values)
        left_out = {*(ONLY_AS_OBJECTS if install is BY_CONFIGMAP else ()), "oauth_token_secret_name"}
        differ = {
            name: (getattr(asked, name), getattr(found.settings, name))
            for name in set(OPTIONS) - left_out
            if getattr(asked, name) != getattr(found.settings, name)
        }
        assert not differ


async def _read(kubeconfig: Path, asked: Mapping[str, str]) -> configuration.Configuration:
    async with Client(load_access(str(kubeconfig))) as client:
        return await configuration.read(client, configuration.source(asked, asked["OPERATOR_NAMESPACE"]))


def expected_settings(values: Json) -> Settings:
    asked: Json = {}
    for group, key in GROUP_KEYS.items():
        asked = merged(asked, {group: values[key]} if group else values[key])
    return settings_from_configuration({"configuration": asked})[0]


def environment(cluster: Cluster, install: Install) -> dict[str, str]:
    """As the kubelet would make it of the live Deployment."""
    made: dict[str, str] = {}
    for source in container(install.objects).get("envFrom") or ():
        secret = cluster.get("secret", source["secretRef"]["name"], install.namespace)
        made |= {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    fields = {"metadata.namespace": install.namespace, "metadata.name": "outside"}
    for name, value in env(install.objects).items():
        made[name] = value if isinstance(value, str) else fields[value["fieldRef"]["fieldPath"]]
    return made


def granted(install: Install) -> str:
    """What an administrator gives who lets the chart make no roles."""
    told = subprocess.run(
        [sys.executable, "-m", "howdah.cli.main", "rbac", "--name", "given", "--namespace", install.namespace, "--watch", install.namespace],
        capture_output=True, text=True, check=True, timeout=HANGS_S, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    return told.stdout


@contextlib.contextmanager
def at_work(cluster: Cluster, install: Install, folder: Path) -> Iterator[Any]:
    """The operator with arguments, environment and account of the live Deployment."""
    _, listen, *arguments = container(install.objects)["args"]
    assert listen.startswith("--listen=")
    account = pod(install.objects)["serviceAccountName"]
    with operator(
        cluster, folder, account=account, namespace=install.namespace,
        environment=environment(cluster, install), arguments=arguments,
    ) as log:  # fmt: skip
        yield log


def test_the_operator_runs_with_what_was_installed(cluster: Cluster, install: Install, tmp_path: Path) -> None:
    manifest = merged(
        MANIFEST,
        {"metadata": {"namespace": {"everything": "third", "bare": install.namespace}.get(install.name, "team")}},
    )
    if install is BY_CONFIGMAP:
        with at_work(cluster, install, tmp_path) as log:
            assert not refused(log())
        return
    place, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    if install is PRACTICAL:
        manifest = merged(manifest, {"metadata": {"annotations": {"acid.zalan.do/controller": "mine"}}})
    cluster.kubectl("apply", "-f", "-", text=json.dumps(manifest))
    try:
        with at_work(cluster, install, tmp_path) as log:
            if install is EVERYTHING:  # it only observes; the namespace is from envFrom, the level of the log from env
                until(lambda: any('"decided"' in line or '"caches are full"' in line for line in log()), log)
                (configured,) = [json.loads(line) for line in log() if '"configured"' in line]
                assert configured["observe_only"] is True
                assert [json.loads(line)["clusters"] for line in log() if '"caches are full"' in line] == [1]
                assert not [line for line in log() if '"debug"' in line]
                assert not cluster.names("statefulset", place)
            else:
                until(lambda: f"statefulset.apps/{name}" in cluster.names("statefulset", place), log)
                made = cluster.get("statefulset", name, place)["spec"]["template"]["spec"]
                if install is PRACTICAL:
                    assert made["serviceAccountName"] == "pods"
                    assert made["priorityClassName"] == "db"
                    assert made["containers"][0]["image"] == "r.example.com/x/instance:v7"
                    until(lambda: f"pod/{name}-0" in cluster.names("pods", place), log)
                    assert cluster.get("pod", f"{name}-0", place)["spec"]["priority"] == 7_000_000
                    assert f"lease.coordination.k8s.io/{lease('mine')}" in cluster.names("lease", install.namespace)
                assert made["containers"][0]["image"].endswith("/instance:v7")
                cluster.kubectl("delete", "postgresql", name, "-n", place, f"--timeout={HANGS_S:g}s")
                for kind in ("serviceaccount", "rolebinding"):
                    cluster.kubectl("delete", kind, made["serviceAccountName"], "-n", place)
            assert not refused(log())
    finally:
        cluster.kubectl("delete", "postgresql", name, "-n", place, "--ignore-not-found", "--wait=false")


def refused(lines: list[str]) -> list[str]:
    return [line for line in lines if "forbidden" in line.lower() and "CRD not" not in line]


def test_the_job_brings_the_definitions_up_to_date_with_its_own_account(
    cluster: Cluster, install: Install, tmp_path: Path
) -> None:
    if not names(install.objects, "Job"):
        assert install.values.get("crds") == {"upgrade": False} or install.values["rbac"] == {"create": False}
        return
    crd = "postgresqls.acid.zalan.do"
    cluster.kubectl("patch", "crd", crd, "--type=json", "-p", '[{"op": "remove", "path": "/spec/names/shortNames"}]')
    account, run = job(install.objects)["serviceAccountName"], job(install.objects)["containers"][0]
    kubeconfig = kubeconfig_of(cluster, account, install.namespace, tmp_path / "kubeconfig")
    assert run["command"] == ["howdah"]
    done = subprocess.run(
        [sys.executable, "-m", "howdah.cli.main", *run["args"]], capture_output=True, text=True, check=False, timeout=HANGS_S,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "KUBECONFIG": str(kubeconfig)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = cluster.get("crd", crd, "default")["spec"]["names"]
    assert found["shortNames"]
    asked = install.values.get("configGeneral", {}).get("crd_categories", ["all"])
    assert found["categories"] == asked
