"""The chart's defaults mean what those of the reference's chart mean, in both forms; what does not is listed, with its reason.

An option that no values name has the default of the code in a ConfigMap and that of the schema in an OperatorConfiguration,
and the reference's are not the same: a values file that is silent must not make a load balancer of every leader's service.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from chart.rendering import Json, one, rendered
from chart.test_values import as_stored, options
from howdah.model.settings import OPTIONS, Settings, settings_from_configmap, settings_from_configuration

RECORDED: Mapping[str, Json] = {
    file.stem: yaml.safe_load(file.read_text()) for file in (Path(__file__).parent / "reference").glob("*.yaml")
}
FORMS = ("ConfigMap", "OperatorConfigurationCRD")

OF_ITS_TIME = (
    "each release of the reference names its own images and majors, and its upgrade to 2.0.1 changes them, too"
)
NO_RESOURCES = "its ConfigMap leaves out configPostgresPodResources, whatever is set there; here what is set acts"
IMAGES = dict.fromkeys(
    (
        *("docker_image", "connection_pooler_image", "logical_backup_docker_image"),
        *("minimal_major_version", "target_major_version"),
    ),
    OF_ITS_TIME,
)
RESOURCES = dict.fromkeys(
    (
        *("default_cpu_request", "default_memory_request", "default_cpu_limit", "default_memory_limit"),
        *("min_cpu_limit", "min_memory_limit"),
    ),
    NO_RESOURCES,
)
WAITS = {"ready_wait_interval": "nothing waits in place here, so the option has no effect"}
OLDEST = {**IMAGES, "major_version_upgrade_mode": OF_ITS_TIME}

DIFFERS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("ConfigMap", "2.0.1"): {**WAITS, **RESOURCES},
    ("ConfigMap", "1.15.1"): {**WAITS, **RESOURCES, **IMAGES},
    ("ConfigMap", "1.10.1"): {
        **WAITS,
        **RESOURCES,
        **OLDEST,
        "pod_priority_class_name": "it made a priority class only where one was named; later releases do so in this form",
    },
    ("OperatorConfigurationCRD", "2.0.1"): WAITS,
    ("OperatorConfigurationCRD", "1.15.1"): {**WAITS, **IMAGES},
    ("OperatorConfigurationCRD", "1.10.1"): {
        **WAITS,
        **OLDEST,
        "persistent_volume_claim_retention_policy": "it had no such option; retain is what Kubernetes does without one",
    },
}
"""By form and release: options whose effective value is another one, and why that is meant."""


def effective(form: str, made: Json) -> Settings:
    if form == "ConfigMap":
        return settings_from_configmap(made)[0]
    return settings_from_configuration({"configuration": as_stored(made)})[0]


def ours(form: str, **values: object) -> Settings:
    """Of the documented upgrade of a release that is called like the reference."""
    objects = rendered({"configTarget": form, "fullnameOverride": "postgres-operator", **values})
    return effective(form, one(objects, "ConfigMap")["data"] if form == "ConfigMap" else options(objects))


def differing(one_: Settings, other: Settings) -> set[str]:
    return {name for name in OPTIONS if getattr(one_, name) != getattr(other, name)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("release", sorted(RECORDED))
def test_defaults_mean_what_those_of_the_reference_mean(form: str, release: str) -> None:
    theirs = effective(form, RECORDED[release][form])
    assert differing(ours(form), theirs) == set(DIFFERS[form, release])


def test_a_configmap_without_resources_leaves_pods_without_them_as_the_reference_does() -> None:
    theirs = effective("ConfigMap", RECORDED["2.0.1"]["ConfigMap"])
    assert differing(ours("ConfigMap", configPostgresPodResources=None), theirs) == set(WAITS)


def test_release_1_10_named_a_priority_class_by_a_string_and_none_by_an_empty_one() -> None:
    theirs = effective("ConfigMap", RECORDED["1.10.1"]["ConfigMap"])
    assert differing(ours("ConfigMap", podPriorityClassName=""), theirs) == {*DIFFERS["ConfigMap", "1.10.1"]} - {
        "pod_priority_class_name"
    }
    assert ours("ConfigMap", podPriorityClassName="db").pod_priority_class_name == "db"
