"""Every key of the values acts, and values of the reference's chart are taken as they are."""
# ruff: noqa: E501  # a row is a line

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.rendering import CHART, NAMESPACE, Json, generator, one, refusal, rendered
from howdah.core.permissions import Installation, roles
from howdah.model.errors import Problem
from howdah.model.names import lease
from howdah.model.settings import OPTIONS, Option, settings_from_configmap, settings_from_configuration

VALUES: Json = yaml.safe_load((CHART / "values.yaml").read_text())
REFERENCE: Json = yaml.safe_load((Path(__file__).parent / "reference-2.0.1.yaml").read_text())
GROUP_KEYS: Mapping[str, str] = generator().values_schema.__globals__["GROUP_KEYS"]

Objects = list[Json]
See = Callable[[Objects], Any]


def pod(objects: Objects) -> Json:
    found: Json = one(objects, "Deployment")["spec"]["template"]["spec"]
    return found


def container(objects: Objects) -> Json:
    found: Json = pod(objects)["containers"][0]
    return found


def job(objects: Objects) -> Json:
    found: Json = one(objects, "Job")["spec"]["template"]["spec"]
    return found


def env(objects: Objects) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container(objects)["env"]}


def names(objects: Objects, kind: str) -> list[str]:
    return sorted(o["metadata"]["name"] for o in objects if o["kind"] == kind)


def labels(kind: str) -> See:
    return lambda objects: one(objects, kind)["metadata"]["labels"]


def leases(objects: Objects) -> list[str]:
    """Those that the operator may take and watch."""
    rules = [rule for o in objects if o["kind"] == "Role" for rule in o["rules"] if rule["resources"] == ["leases"]]
    return sorted({name for rule in rules for name in rule.get("resourceNames", ())})


def options(objects: Objects) -> Json:
    found: Json = one(objects, "OperatorConfiguration")["configuration"]
    return found


def images(objects: Objects) -> tuple[Any, ...]:
    """Of database pods, poolers and logical backups, as the configuration names them."""
    asked = options(objects)
    return (
        asked.get("docker_image"),
        asked["connection_pooler"].get("connection_pooler_image"),
        asked["logical_backup"].get("logical_backup_docker_image"),
    )


OURS = ("instance", "pooler", "logical-backup")
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
NODES = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}

# Of the chart's own keys: path, a value, what to look at, and what is there then. Options of the operator are below.
KEYS: tuple[tuple[str, Any, See, Any], ...] = (
    ("image.registry", "", lambda o: container(o)["image"], "howdah/operator:0.1.0"),
    ("image.repository", "a/b", lambda o: container(o)["image"], "ghcr.io/a/b:0.1.0"),
    ("image.tag", "v9", lambda o: (container(o)["image"], job(o)["containers"][0]["image"]), ("ghcr.io/howdah/operator:v9",) * 2),
    ("image.pullPolicy", "Always", lambda o: container(o)["imagePullPolicy"], "Always"),
    ("images.from", "howdah", lambda o: images(o), tuple(f"ghcr.io/howdah/{name}:0.1.0" for name in OURS)),
    ("images.from", "howdah", lambda o: [options(o)["kubernetes"][f"spilo_{key}"] for key in ("runasuser", "runasgroup", "fsgroup")], [101, 103, 103]),
    ("images", {"from": "howdah", "registry": ""}, lambda o: images(o), tuple(f"howdah/{name}:0.1.0" for name in OURS)),
    ("images", {"from": "howdah", "repository": "a/b"}, lambda o: images(o), tuple(f"ghcr.io/a/b/{name}:0.1.0" for name in OURS)),
    ("images", {"from": "howdah", "tag": "v9"}, lambda o: images(o), tuple(f"ghcr.io/howdah/{name}:v9" for name in OURS)),
    ("images", {"registry": "r", "repository": "a", "tag": "v9"}, lambda o: images(o), (None, None, None)),
    ("imagePullSecrets", [{"name": "s"}], lambda o: (pod(o)["imagePullSecrets"], job(o)["imagePullSecrets"]), ([{"name": "s"}],) * 2),
    ("replicaCount", 3, lambda o: one(o, "Deployment")["spec"]["replicas"], 3),
    ("replicaCount", 1, lambda o: names(o, "PodDisruptionBudget"), []),
    ("podAnnotations", {"a": "b"}, lambda o: one(o, "Deployment")["spec"]["template"]["metadata"]["annotations"], {"a": "b"}),
    ("podLabels", {"x": "z"}, lambda o: one(o, "Deployment")["spec"]["template"]["metadata"]["labels"].get("x"), "z"),
    ("configTarget", "ConfigMap", lambda o: (names(o, "ConfigMap"), names(o, "OperatorConfiguration"), env(o)["CONFIG_MAP_NAME"]), (["howdah"], [], "howdah")),
    ("enableJsonLogging", True, lambda o: "ENABLE_JSON_LOGGING" in env(o), False),
    ("extraArgs", ["--observe-only"], lambda o: container(o)["args"][-1], "--observe-only"),
    ("enableStreams", True, lambda o: names(o, "Deployment"), ["howdah"]),
    ("crds.upgrade", False, lambda o: names(o, "Job"), []),
    ("rbac.create", False, lambda o: [kind for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Job") if names(o, kind)], []),
    ("rbac.createAggregateClusterRoles", True, lambda o: [n for n in names(o, "ClusterRole") if ":" in n], ["howdah:users:admin", "howdah:users:edit", "howdah:users:view"]),
    ("rbac.nodes", True, lambda o: "howdah-nodes" in names(o, "ClusterRole"), True),
    ("serviceAccount.create", False, lambda o: names(o, "ServiceAccount"), ["howdah-install-crds"]),
    ("serviceAccount.name", "sa", lambda o: (pod(o)["serviceAccountName"], one(o, "RoleBinding", "sa-own")["subjects"][0]["name"]), ("sa", "sa")),
    ("serviceAccount.annotations", {"a": "b"}, lambda o: one(o, "ServiceAccount", "howdah")["metadata"]["annotations"], {"a": "b"}),
    ("podServiceAccount.name", "pods", lambda o: (options(o)["kubernetes"]["pod_service_account_name"], "pods" in names(o, "ClusterRole")), ("pods", True)),
    ("podServiceAccount.name", "", lambda o: options(o)["kubernetes"]["pod_service_account_name"], "howdah-pod"),
    ("priorityClassName", "high", lambda o: pod(o)["priorityClassName"], "high"),
    ("podPriorityClassName.create", False, lambda o: names(o, "PriorityClass"), []),
    ("podPriorityClassName.name", "db", lambda o: (names(o, "PriorityClass"), options(o)["kubernetes"]["pod_priority_class_name"]), (["db"], "db")),
    ("podPriorityClassName.priority", 7_000_000, lambda o: one(o, "PriorityClass")["value"], 7_000_000),
    ("podPriorityClassName", "db", lambda o: (names(o, "PriorityClass"), options(o)["kubernetes"]["pod_priority_class_name"]), (["db"], "db")),
    ("podPriorityClassName", "db", lambda o: one(o, "PriorityClass")["value"], 1_000_000),
    ("podPriorityClassName", "", lambda o: (names(o, "PriorityClass"), options(o)["kubernetes"].get("pod_priority_class_name")), ([], None)),
    ("resources", {"limits": {"memory": "1Gi"}}, lambda o: container(o)["resources"]["limits"], {"memory": "1Gi"}),
    ("podSecurityContext", {"fsGroup": 5}, lambda o: pod(o)["securityContext"]["fsGroup"], 5),
    ("securityContext", {"runAsUser": 9}, lambda o: container(o)["securityContext"]["runAsUser"], 9),
    ("readinessProbe", {"periodSeconds": 3}, lambda o: container(o)["readinessProbe"]["periodSeconds"], 3),
    ("readinessProbe", None, lambda o: container(o).get("readinessProbe"), None),
    ("livenessProbe", {"periodSeconds": 3}, lambda o: container(o)["livenessProbe"]["periodSeconds"], 3),
    ("terminationGracePeriodSeconds", 60, lambda o: pod(o)["terminationGracePeriodSeconds"], 60),
    ("extraEnvs", [{"name": "A", "value": "b"}], lambda o: (env(o)["A"], job(o)["containers"][0]["env"]), ("b", [{"name": "A", "value": "b"}])),
    ("extraEnvFrom", [{"secretRef": {"name": "s"}}], lambda o: (container(o)["envFrom"], job(o)["containers"][0]["envFrom"]), ([{"secretRef": {"name": "s"}}],) * 2),
    ("affinity", NODES, lambda o: pod(o)["affinity"], NODES),
    ("nodeSelector", {"a": "b"}, lambda o: (pod(o)["nodeSelector"], job(o)["nodeSelector"]), ({"a": "b"},) * 2),
    ("tolerations", [{"key": "k"}], lambda o: (pod(o)["tolerations"], job(o)["tolerations"]), ([{"key": "k"}],) * 2),
    ("topologySpreadConstraints", [SPREAD], lambda o: pod(o)["topologySpreadConstraints"], [SPREAD]),
    ("controllerID.create", True, lambda o: env(o)["CONTROLLER_ID"], "howdah"),
    ("controllerID", {"create": True, "name": "mine"}, lambda o: env(o)["CONTROLLER_ID"], "mine"),
    ("controllerID", {"create": True, "name": "mine"}, lambda o: leases(o), [lease("mine")]),
    ("controllerID", {"create": True, "name": "Not a name"}, lambda o: leases(o), [lease("Not a name")]),
    ("controllerID.name", "mine", lambda o: leases(o), [lease("")]),
    ("controllerID.name", "mine", lambda o: env(o).get("CONTROLLER_ID"), None),
    ("nameOverride", "postgres-operator", lambda o: (names(o, "Deployment"), one(o, "Deployment")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]), (["howdah-postgres-operator"], "postgres-operator")),
    ("fullnameOverride", "pgo", lambda o: (names(o, "Deployment"), names(o, "OperatorConfiguration"), env(o)["POSTGRES_OPERATOR_CONFIGURATION_OBJECT"]), (["pgo"], ["pgo"], "pgo")),
    ("podDisruptionBudget.create", False, lambda o: names(o, "PodDisruptionBudget"), []),
    ("podMonitor.create", True, lambda o: one(o, "PodMonitor")["spec"]["podMetricsEndpoints"], [{"port": "http", "path": "/metrics", "interval": "30s"}]),
    ("podMonitor", {"create": True, "interval": "5s"}, lambda o: one(o, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["interval"], "5s"),
    ("podMonitor", {"create": True, "labels": {"r": "p"}}, lambda o: labels("PodMonitor")(o)["r"], "p"),
    ("prometheusRule.create", True, lambda o: one(o, "PrometheusRule")["spec"], yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())),
    ("prometheusRule", {"create": True, "labels": {"r": "p"}}, lambda o: labels("PrometheusRule")(o)["r"], "p"),
    ("grafanaDashboard.create", True, lambda o: one(o, "ConfigMap")["data"]["howdah.json"].rstrip("\n"), (CHART / "files" / "dashboard.json").read_text().rstrip("\n")),
    ("grafanaDashboard", {"create": True, "labels": {"d": "1"}}, lambda o: labels("ConfigMap")(o)["d"], "1"),
    ("grafanaDashboard", {"create": True, "annotations": {"folder": "db"}}, lambda o: one(o, "ConfigMap")["metadata"]["annotations"], {"folder": "db"}),
)  # fmt: skip


def nested(path: str, value: Any) -> Json:
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(("path", "value", "see", "there"), KEYS, ids=[f"{k[0]}-{i}" for i, k in enumerate(KEYS)])
def test_a_key_acts(path: str, value: Any, see: See, there: Any) -> None:
    assert see(rendered(nested(path, value))) == there


def test_every_key_of_the_chart_is_in_the_table() -> None:
    def leaves(values: Any, path: str) -> Iterator[str]:
        closed = {
            "image",
            "crds",
            "rbac",
            "serviceAccount",
            "podServiceAccount",
            "podPriorityClassName",
            "controllerID",
        }
        closed |= {"podDisruptionBudget", "podMonitor", "prometheusRule", "grafanaDashboard"}
        if path in closed:
            for key in values:
                yield f"{path}.{key}"
        else:
            yield path

    tested = {path for path, *_ in KEYS}
    tested |= {f"{path}.{key}" for path, value, *_ in KEYS if isinstance(value, dict) for key in value}
    known = {leaf for key, value in VALUES.items() if key not in GROUP_KEYS.values() for leaf in leaves(value, key)}
    assert not known - tested
    schema = generator().values_schema()["properties"]
    assert set(schema) == {*VALUES, "global"}


# Options of the operator


def example(option: Option) -> Any:
    """A value of the option's kind that is not its default: neither the chart's nor, where that names none, the code's."""
    schema = option.kind.schema
    default = (VALUES[GROUP_KEYS[option.group]] or {}).get(option.name, option.default)
    if words := schema.get("enum"):
        return next(word for word in reversed(words) if word != option.default)
    special = {
        "configuration.maintenance_windows": ["Sun:01:00-06:00"],
        "configuration.sidecars": [{"name": "s", "image": "i"}],
        "configuration.kubernetes.liveness_probe": {"httpGet": {"path": "/liveness"}},
        "configuration.kubernetes.cluster_labels": {"application": "spilo", "k": "v"},
        "configuration.howdah.leader_lease_duration": "17s",
        "configuration.howdah.leader_renew_deadline": "11s",
        "configuration.howdah.leader_retry_period": "3s",
        "configuration.kubernetes.infrastructure_roles_secrets": [{"secretname": "a", "userkey": "u"}],
        "configuration.kubernetes.persistent_volume_claim_retention_policy": {
            "when_deleted": "delete",
            "when_scaled": "delete",
        },
        "configuration.kubernetes.toleration": {"key": "db", "operator": "Exists"},
        "configuration.kubernetes.pod_service_account_definition": '{"kind": "ServiceAccount", "metadata": {"name": "p"}}',
        "configuration.logical_backup.logical_backup_schedule": "5 4 * * *",
    }
    by_kind = {"duration": "7m", "CPU quantity": "300m", "memory quantity": "300Mi", "cron schedule": "5 4 * * *"}
    by_type = {
        "boolean": default is not True,
        "integer": 9,
        "array": ["a", "b"],
        "object": {"k": "v"},
        "string": f"word-{option.name}",
    }
    return special.get(option.path, by_kind.get(option.kind.name, by_type[schema["type"]]))


def as_values() -> Json:
    values: Json = {}
    for option in OPTIONS.values():
        values.setdefault(GROUP_KEYS[option.group], {})[option.name] = example(option)
    return values


def unexpected(warnings: Iterable[Problem]) -> list[Problem]:
    """Without those of options that are read and not acted on."""
    return [warning for warning in warnings if warning.message != "is not acted on"]


def test_every_option_reaches_the_operator_by_an_operator_configuration() -> None:
    values = as_values()
    configuration = options(rendered(values))
    for option in OPTIONS.values():
        place = configuration.get(option.group, {}) if option.group else configuration
        assert place.get(option.name) == values[GROUP_KEYS[option.group]][option.name], option.path
    settings, warnings = settings_from_configuration({"configuration": configuration})
    assert not unexpected(warnings)
    assert settings.max_rolling_clusters == 9


ONLY_AS_OBJECTS = ("sidecars", "liveness_probe", "infrastructure_roles_secrets")


def test_every_option_that_can_be_a_string_reaches_it_by_a_configmap() -> None:
    values = as_values()
    for option in (OPTIONS[name] for name in ONLY_AS_OBJECTS):
        del values[GROUP_KEYS[option.group]][option.name]
    data = one(rendered({**values, "configTarget": "ConfigMap"}), "ConfigMap")["data"]
    assert set(data) >= set(OPTIONS) - set(ONLY_AS_OBJECTS)
    by_configmap, warnings = settings_from_configmap(data)
    by_object, _ = settings_from_configuration({"configuration": options(rendered(values))})
    assert not unexpected(warnings)
    differ = [n for n in OPTIONS if n not in ONLY_AS_OBJECTS and getattr(by_configmap, n) != getattr(by_object, n)]
    assert differ == ["oauth_token_secret_name"] or not differ


@pytest.mark.parametrize("name", ONLY_AS_OBJECTS)
def test_what_a_configmap_cannot_hold_is_refused(name: str) -> None:
    option = OPTIONS[name]
    said = refusal({"configTarget": "ConfigMap", GROUP_KEYS[option.group]: {name: example(option)}})
    assert "set configTarget to OperatorConfigurationCRD" in said


def test_a_large_number_stays_a_number() -> None:
    values = {
        "configTarget": "ConfigMap",
        "configLogicalBackup": {"logical_backup_ttl_seconds_after_finished": 2_500_000},
    }
    assert one(rendered(values), "ConfigMap")["data"]["logical_backup_ttl_seconds_after_finished"] == "2500000"


def test_an_image_that_an_option_names_wins() -> None:
    named = {"configConnectionPooler": {"connection_pooler_image": "mine"}, "configKubernetes": {"spilo_runasuser": 5}}
    made = rendered({"images": {"from": "howdah"}, **named})
    assert images(made)[1] == "mine"
    assert options(made)["kubernetes"]["spilo_runasuser"] == 5


def test_a_string_may_be_a_template() -> None:
    values = {"configKubernetes": {"watched_namespace": "{{ .Release.Namespace }}"}}
    objects = rendered(values)
    assert options(objects)["kubernetes"]["watched_namespace"] == NAMESPACE
    assert one(objects, "Role", "howdah")["metadata"]["namespace"] == NAMESPACE


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"configGeneral": {"workers": "many"}}, "workers"),
        ({"configKubernetes": {"storage_resize_mode": "sometimes"}}, "storage_resize_mode"),
        ({"configTimeouts": {"resource_check_timeout": "soon"}}, "resource_check_timeout"),
        ({"replicas": 3}, "replicas"),
        ({"podMonitor": {"enabled": True}}, "enabled"),
        ({"configTarget": "Secret"}, "configTarget"),
        ({"podPriorityClassName": {"value": 7}}, "podPriorityClassName"),
        ({"podPriorityClassName": 7}, "podPriorityClassName"),
    ],
)
def test_a_mistake_is_told_before_anything_is_installed(values: Json, path: str) -> None:
    assert path in refusal(values)


# The reference's chart


@pytest.mark.parametrize("target", ["OperatorConfigurationCRD", "ConfigMap"])
def test_values_of_the_reference_are_taken_as_they_are(target: str) -> None:
    objects = rendered({**REFERENCE, "configTarget": target})
    if target == "ConfigMap":
        settings, warnings = settings_from_configmap(one(objects, "ConfigMap")["data"])
    else:
        configuration = options(objects)
        settings, warnings = settings_from_configuration({"configuration": configuration})
        for group, key in GROUP_KEYS.items():
            place = configuration.get(group, {}) if group else configuration
            assert {name: place.get(name) for name in REFERENCE.get(key, {})} == REFERENCE.get(key, {})
    assert not unexpected(warnings)
    assert settings.watched_namespace == "*"
    assert container(objects)["image"] == "ghcr.io/zalando/postgres-operator:v2.0.1"


def as_stored(configuration: Json) -> Json:
    """With the schema's defaults, which the API server fills into objects that are there."""
    places = {"": configuration, **{group: configuration[group] for group in GROUP_KEYS if group in configuration}}
    for option in OPTIONS.values():
        if option.schema is not None and option.group in places:
            places[option.group].setdefault(option.name, option.schema)
    return configuration


# Permissions


@pytest.mark.parametrize(
    ("values", "watched"),
    [
        ({}, None),
        ({"configKubernetes": {"watched_namespace": "team-a"}}, ("team-a",)),
        ({"configKubernetes": {"watched_namespace": "team-a, team-b"}}, ("team-a", "team-b")),
        ({"configKubernetes": {"watched_namespace": ""}}, (NAMESPACE,)),
        ({"extraEnvs": [{"name": "WATCHED_NAMESPACE", "value": "team-c"}]}, ("team-c",)),
    ],
)
def test_permissions_are_those_of_the_table_in_each_mode(values: Json, watched: tuple[str, ...] | None) -> None:
    installation = Installation("howdah", NAMESPACE, watched, configuration="howdah")
    expected = {_identity(role): _without_labels(role) for role in roles(installation)}
    made = rendered(values, "--no-hooks")
    found = {_identity(o): _without_labels(o) for o in made if o["apiVersion"].startswith("rbac.")}
    assert found == expected


@pytest.mark.parametrize(
    "definition",
    [
        '{"kind": "RoleBinding", "metadata": {"name": "of-pods"}, "roleRef": {"kind": "ClusterRole", "name": "theirs"}}',
        "kind: RoleBinding\nmetadata: {labels: {a: b}}\nroleRef: {kind: Role, name: theirs}",
        "kind: RoleBinding\nmetadata: {name: of-pods}",
    ],
)
def test_permissions_follow_the_definition_of_the_pods_role_binding(definition: str) -> None:
    installation = Installation("howdah", NAMESPACE, role_binding=definition, configuration="howdah")
    expected = next(role for role in roles(installation) if _identity(role) == ("ClusterRole", "", "howdah"))
    values = {"configKubernetes": {"pod_service_account_role_binding_definition": definition}}
    assert _without_labels(one(rendered(values, "--no-hooks"), "ClusterRole", "howdah")) == expected


@pytest.mark.parametrize(("kind", "name"), [("ClusterRole", "postgres-pod"), ("PriorityClass", "howdah-pod")])
def test_what_running_clusters_need_stays_when_the_release_goes(kind: str, name: str) -> None:
    assert one(rendered(), kind, name)["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_without_registration_the_operator_may_not_write_definitions() -> None:
    objects = rendered({"configGeneral": {"enable_crd_registration": False}}, "--no-hooks")
    assert names(objects, "ClusterRole") == ["howdah", "howdah-nodes", "postgres-pod"]


def test_an_operator_of_single_namespaces_sees_nodes_only_where_that_is_said() -> None:
    single = {"configKubernetes": {"watched_namespace": "team-a"}}
    assert "howdah-nodes" not in names(rendered(single, "--no-hooks"), "ClusterRole")
    assert "howdah-nodes" in names(rendered({**single, "rbac": {"nodes": True}}, "--no-hooks"), "ClusterRole")


def _identity(body: Json) -> tuple[str, str, str]:
    return body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _without_labels(body: Json) -> Json:
    """Nor what the chart tells helm."""
    told = ("labels", "annotations")
    return {**body, "metadata": {key: value for key, value in body["metadata"].items() if key not in told}}
