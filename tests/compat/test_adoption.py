"""Clusters that the reference made are taken over without replacing a pod: every recorded one, as a server keeps it."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from compat.compare import CASES, Case, cases_in, documents, facts_of, read_case, references_of
from howdah.core.objects.build import build
from howdah.core.objects.diff import Effect, compare, template_differences
from howdah.core.resolve import resolve
from howdah.local.apiserver.defaulting import apply_defaults
from howdah.model.errors import InvalidSpec
from howdah.model.names import STREAM_KIND

STORAGE = {
    "StatefulSet": "statefulsets.apps",
    "Deployment": "deployments.apps",
    "CronJob": "cronjobs.batch",
    STREAM_KIND: "",  # a custom one, kept as it is
    "Service": "services",
    "PodDisruptionBudget": "poddisruptionbudgets.policy",
    "Endpoints": "endpoints",
    "ServiceAccount": "serviceaccounts",
    "RoleBinding": "rolebindings.rbac.authorization.k8s.io",
}


CREDENTIALS = (
    *("CLONE_AWS_ACCESS_KEY_ID", "CLONE_AWS_SECRET_ACCESS_KEY", "SCALYR_API_KEY"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),  # of the logical backup
)


def _as_kept(recorded: Mapping[str, Any]) -> dict[str, Any]:
    live = deepcopy(dict(recorded))
    if STORAGE[live["kind"]]:
        apply_defaults(STORAGE[live["kind"]], live)
    return live


def _adopted() -> list[tuple[Case, dict[tuple[str, str], dict[str, Any]]]]:
    found = []
    for folder in cases_in([CASES]):
        bodies = [
            body
            for body in documents(folder / "objects.yaml")
            if body["kind"] in STORAGE and not body["metadata"]["name"].endswith("-config")
        ]
        live = {(body["kind"], body["metadata"]["name"]): _as_kept(body) for body in bodies}
        if any(kind == "StatefulSet" for kind, _ in live):
            found.append((read_case(folder), live))
    return found


ADOPTED = _adopted()


@pytest.mark.parametrize(("case", "live"), ADOPTED, ids=[case.name for case, _ in ADOPTED])
def test_adopting_a_recorded_cluster_changes_no_object_and_replaces_no_pod(
    case: Case, live: dict[tuple[str, str], dict[str, Any]]
) -> None:
    try:
        cluster = resolve(case.manifest, case.settings, references_of(case), facts_of(list(live.values())))
    except InvalidSpec:
        pytest.fail("a manifest that the reference runs is refused")
    for body in build(cluster):
        there = live[body["kind"], body["metadata"]["name"]]
        differences = compare(body, there)
        # Credentials become references: a patch, and the only one.
        costly = [d for d in differences if d.effect is not Effect.PATCH or not _is_credential(d.path)]
        assert not costly, costly
        if body["kind"] == "StatefulSet":
            rolls = template_differences(body["spec"]["template"], there["spec"]["template"])
            assert all(d.effect is Effect.PATCH for d in rolls), rolls


def _is_credential(path: str) -> bool:
    return any(f"env[{name}]" in path for name in CREDENTIALS)


def test_the_recorded_clusters_are_many() -> None:
    assert len(ADOPTED) > 120
