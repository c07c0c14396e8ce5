"""A running operator takes up every changed option but those by which it finds what it made."""

from howdah.model.settings import OPTIONS, settings_from_configmap
from howdah.model.settings.changes import AT_START, taken_up


def test_a_changed_option_is_taken_up() -> None:
    old, new = settings_from_configmap({})[0], settings_from_configmap({"docker_image": "spilo:2"})[0]

    found = taken_up(old, new)

    assert (found.settings, found.changed, found.held) == (new, ("docker_image",), ())


def test_an_option_by_which_things_are_found_keeps_its_value_and_that_is_said() -> None:
    old = settings_from_configmap({})[0]
    new = settings_from_configmap({"cluster_name_label": "other", "resync_period": "1m"})[0]

    found = taken_up(old, new)

    assert found.settings.cluster_name_label == "cluster-name"
    assert found.settings.resync_period == new.resync_period
    assert found.changed == ("resync_period",)
    assert [str(problem) for problem in found.held] == [
        "configuration.kubernetes.cluster_name_label: waits for a restart of the operator; "
        "the objects of every cluster are found by it"
    ]


def test_only_options_wait() -> None:
    assert set(AT_START) <= set(OPTIONS)
