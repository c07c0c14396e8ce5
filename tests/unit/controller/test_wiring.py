"""What is watched, and where the operator's own configuration is looked for: from the environment and the settings."""

import pytest

from howdah.controller.configuration import source
from howdah.controller.main import Options, scope
from howdah.kube.credentials import Access
from howdah.kube.testing.server import NoCredentials
from howdah.model.settings import settings_from_configmap


def options(**environment):
    return Options(Access("http://127.0.0.1:1", "own", NoCredentials()), environment)


@pytest.mark.parametrize(
    ("environment", "option", "namespaces"),
    [
        ({}, "", ("own",)),
        ({"OPERATOR_NAMESPACE": "elsewhere"}, "", ("elsewhere",)),
        ({}, "a", ("a",)),
        ({"WATCHED_NAMESPACE": "b"}, "a", ("b",)),
        ({"WATCHED_NAMESPACE": "*"}, "a", (None,)),
        ({"WATCHED_NAMESPACE": "a, b"}, "", ("a", "b")),
    ],
)
def test_the_environment_wins_over_the_option_and_that_over_the_own_namespace(environment, option, namespaces):
    settings = settings_from_configmap({"watched_namespace": option})[0]
    assert scope(settings, options(**environment)).namespaces == namespaces


def test_objects_are_found_by_the_labels_of_the_settings():
    settings = settings_from_configmap({"cluster_labels": "app:pg,zone:x", "cluster_name_label": "cluster"})[0]
    found = scope(settings, options())
    assert (found.selector, found.cluster_label) == ("app=pg,zone=x", "cluster")


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, "built-in defaults"),
        ({"CONFIG_MAP_NAME": "postgres-operator"}, "ConfigMap own/postgres-operator"),
        ({"CONFIG_MAP_NAME": "there/postgres-operator"}, "ConfigMap there/postgres-operator"),
        (
            {"POSTGRES_OPERATOR_CONFIGURATION_OBJECT": "main", "CONFIG_MAP_NAME": "other"},
            "OperatorConfiguration own/main",
        ),
    ],
)
def test_where_the_configuration_is(environment, place):
    assert str(source(environment, "own")) == place
